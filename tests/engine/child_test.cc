// What a child promises: it is started once, its parent gets how it ended once, and what becomes of
// it when its parent ends is what was said at its start.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/inspect.h"
#include "tests/engine/house.h"

namespace steplog {
namespace {

using std::chrono::hours;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::House;

// A parcel that is packed by one workflow and paid by another.
class Family : public ::testing::Test {
  protected:
    Family() {
        house.add("parent", [this](Context& ctx, const Json&) {
            ids.push_back(ctx.start_child("pay", "payment", {{"amount", 7}}, options));
            if (!awaits) {
                ctx.wait_for("go");
                return Json("did not wait");
            }
            results.push_back(ctx.await_child<std::string>("pay"));
            return Json(results.back());
        });
        house.add("payment", [this](Context& ctx, const Json& input) {
            ctx.step("charge", [&](const Attempt&) {
                ++charged;
                if (refuses) throw PermanentError("declined", "the card was declined");
            });
            if (sleeps) ctx.sleep_for("settle", hours(1));
            return Json("paid " + input.at("amount").dump());
        });
    }
    void begin(const std::string& key = "") {
        house.start("p", "parent", Json::object(), key);
        house.engine().run_until_idle();
    }

    House house;
    ChildOptions options;
    bool awaits = true, refuses = false, sleeps = false;
    int charged = 0;
    std::vector<std::string> ids, results;
};

TEST_F(Family, GivesTheParentWhatTheChildReturned) {
    begin();
    house.run_to_the_end();
    EXPECT_EQ(house.state("p"), "completed");
    EXPECT_EQ(house.state("p/pay"), "completed");
    EXPECT_THAT(results, ElementsAre("paid 7"));
    EXPECT_EQ(charged, 1);
    EXPECT_EQ(house.log("p"), "child pay, child end of pay");
}

TEST_F(Family, WaitsWithoutAThreadWhileTheChildSleeps) {
    sleeps = true;
    begin();
    EXPECT_EQ(house.sql("SELECT state || ' ' || waits_for || ' ' || waits_detail FROM instances "
                        "WHERE id='p'"),
              "waiting child p/pay");
    Inspector inspector(house.database(), house.clock);
    EXPECT_THAT(inspector.why("p").explanation.sentence, HasSubstr("for its child p/pay"));
    house.run_to_the_end();
    EXPECT_EQ(house.state("p"), "completed");
}

TEST_F(Family, IsStartedOnceWhateverDies) {
    house.start("p", "parent");
    house.remember();
    house.run_to_the_end();
    house.die_as_remembered();
    house.run_to_the_end();
    EXPECT_EQ(house.sql("SELECT count(*) FROM instances"), "2");
    EXPECT_EQ(house.state("p"), "completed");
}

TEST_F(Family, TellsTheParentOfAFailureInTheChildsWords) {
    refuses = true;
    begin();
    house.run_to_the_end();
    EXPECT_EQ(house.state("p/pay"), "failed");
    EXPECT_EQ(house.state("p"), "failed");
    EXPECT_EQ(house.error_code("p"), "declined");
}

TEST_F(Family, TellsTheParentOfACancelledChild) {
    sleeps = true;
    begin();
    house.engine().cancel({.ids = {"p/pay"}, .actor = "test"});
    house.run_to_the_end();
    EXPECT_EQ(house.error_code("p"), "child_cancelled");
}

TEST_F(Family, CancelsTheChildWithTheParentByDefault) {
    sleeps = true;
    begin();
    house.engine().cancel({.ids = {"p"}, .actor = "test"});
    EXPECT_EQ(house.state("p"), "cancelled");
    EXPECT_EQ(house.state("p/pay"), "cancelled");
}

TEST_F(Family, LeavesAnAbandonedChildAlone) {
    sleeps = true;
    options.on_close = OnParentClose::abandon;
    begin();
    house.engine().cancel({.ids = {"p"}, .actor = "test"});
    EXPECT_EQ(house.state("p/pay"), "sleeping");
    house.run_to_the_end();
    EXPECT_EQ(house.state("p/pay"), "completed");
}

TEST_F(Family, EndsOnlyAfterAChildThatIsAwaitedAtTheEnd) {
    sleeps = true;
    awaits = false;
    options.on_close = OnParentClose::await;
    begin();
    house.engine().signal({.instance = "p", .name = "go"});
    house.engine().run_until_idle();
    EXPECT_EQ(house.sql("SELECT waits_for FROM instances WHERE id='p'"), "child");
    house.run_to_the_end();
    EXPECT_EQ(house.state("p"), "completed");
    EXPECT_EQ(house.state("p/pay"), "completed");
}

TEST_F(Family, IsCancelledWhenTheParentReturnsWithoutIt) {
    sleeps = true;
    awaits = false;
    begin();
    house.engine().signal({.instance = "p", .name = "go"});
    house.engine().run_until_idle();
    EXPECT_EQ(house.state("p"), "completed");
    EXPECT_EQ(house.state("p/pay"), "cancelled");
}

TEST_F(Family, JoinsAnInstanceThatExists) {
    options.id = "payment/42";
    house.start("payment/42", "payment", {{"amount", 1}});
    begin();
    house.run_to_the_end();
    EXPECT_THAT(results, ElementsAre("paid 1"));
    EXPECT_EQ(house.sql("SELECT count(parent) FROM instances"), "0");
    EXPECT_EQ(charged, 1);
}

TEST_F(Family, IsStuckRatherThanWaitForItselfForEver) {
    options.key = "customer";
    begin("customer");
    EXPECT_EQ(house.error_code("p"), "write_refused");
    EXPECT_THAT(house.sql("SELECT error FROM instances WHERE id='p'"),
                HasSubstr("give the child another key"));
}

TEST_F(Family, IsStuckOnAChildThatNobodyStarted) {
    house.add("lonely", [](Context& ctx, const Json&) { return ctx.await_child("nobody"); });
    house.start("l", "lonely");
    house.engine().run_until_idle();
    EXPECT_EQ(house.error_code("l"), "unknown_child");
}

TEST_F(Family, IsPurgedInAnyOrder) {
    begin();
    house.run_to_the_end();
    house.clock.advance(hours(1));
    EXPECT_EQ(house.store().purge({.older_than = Ms(1), .limit = 1}).get().instances, 1);
    EXPECT_EQ(house.store().purge({.older_than = Ms(1)}).get().instances, 1);
    EXPECT_EQ(house.sql("SELECT count(*) FROM payloads"), "0");
}

TEST_F(Family, KeepsAChildForAParentThatMayStillAsk) {
    house.add("patient", [](Context& ctx, const Json&) {
        ctx.start_child("pay", "payment", {{"amount", 7}});
        ctx.wait_for("go");
        return Json(ctx.await_child<std::string>("pay"));
    });
    house.start("p", "patient");
    house.engine().run_until_idle();
    EXPECT_EQ(house.state("p/pay"), "completed");
    house.clock.advance(hours(1000));
    Inspector inspector(house.database(), house.clock);
    EXPECT_EQ(inspector.purgeable(Ms(1)).instances, 0);
    EXPECT_EQ(house.store().purge({.older_than = Ms(1)}).get().instances, 0);
    house.engine().signal({.instance = "p", .name = "go"});
    house.run_to_the_end();
    EXPECT_EQ(house.state("p"), "completed");
    house.clock.advance(hours(1));
    EXPECT_EQ(inspector.purgeable(Ms(1)).instances, 2);
    EXPECT_EQ(house.store().purge({.older_than = Ms(1)}).get().instances, 1) << "the child first";
    EXPECT_EQ(house.store().purge({.older_than = Ms(1)}).get().instances, 1);
}

// A forgotten customer's children are found by their parent.
TEST_F(Family, KeepsAParentAsLongAsItsChild) {
    sleeps = true;
    awaits = false;
    options.on_close = OnParentClose::abandon;
    begin();
    house.engine().signal({.instance = "p", .name = "go"});
    house.engine().run_until_idle();
    ASSERT_EQ(house.state("p"), "completed");
    house.clock.advance(Ms(hours(1)) - Ms(1));
    Inspector inspector(house.database(), house.clock);
    EXPECT_EQ(inspector.purgeable(Ms(1)).instances, 0);
    EXPECT_EQ(house.store().purge({.older_than = Ms(1)}).get().instances, 0);
    house.run_to_the_end();
    house.clock.advance(hours(1));
    EXPECT_EQ(inspector.purgeable(Ms(1)).instances, 2);
}

TEST_F(Family, IsForgottenWithItsParent) {
    house.start("p", "parent", Json::object(), "cus_1");
    house.run_to_the_end();
    const Forgotten forgotten = house.store().forget({.subject = "cus_1"}).get();
    EXPECT_TRUE(forgotten.done);
    EXPECT_EQ(forgotten.instances, 2);
    EXPECT_EQ(house.sql("SELECT count(*) FROM payloads WHERE body NOTNULL"), "0");
}

}  // namespace
}  // namespace steplog
