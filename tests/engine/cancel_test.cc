// Cancel: what waits ends at once, what runs ends before its next step, and nothing that was done
// is forgotten.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/inspect.h"
#include "engine/inspect_json.h"
#include "tests/engine/house.h"

namespace steplog {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::House;

RetryableError answer(Outcome outcome) {
    return RetryableError("no", {.code = "no", .outcome = outcome, .retry_after = Ms(1000)});
}

Cancelled cancel(House& house, const std::string& id, const std::string& reason = "") {
    return house.engine().cancel({.ids = {id}, .actor = "uid:7", .reason = reason});
}

std::string skipped_because(const Cancelled& cancelled) {
    return cancelled.skipped.empty() ? "" : cancelled.skipped.front().reason;
}

// No promise of the engine's is broken in the file.
void expect_whole(House& house) {
    house.store().flush();
    Inspector inspector(house.database(), house.clock);
    for (const Check& check : inspector.check().checks)
        EXPECT_EQ(check.broken, 0)
            << check.name << ": " << ::testing::PrintToString(check.examples);
}

std::string why(House& house, const std::string& id) {
    house.store().flush();
    return Inspector(house.database(), house.clock).why(id).explanation.sentence;
}

/// Workflows in every state that waits: "sleeping", "stuck", "pending", "queued" behind "stuck".
void fill(House& house) {
    house.add("sleeps", [](Context& ctx, const Json&) -> Json {
        ctx.step("a", [](const Attempt&) { throw answer(Outcome::refused); });
        return nullptr;
    });
    house.add("sticks", [](Context& ctx, const Json&) -> Json { ctx.stuck("odd", "is odd"); });
    house.start("sleeping", "sleeps");
    house.start("stuck", "sticks", {}, "key");
    house.engine().run_until_idle();
    house.start("queued", "sticks", {}, "key");
    house.start("pending", "sticks", {}, "other");
}

TEST(Cancel, EndsWhateverWaitsAtOnce) {
    for (const std::string id : {"sleeping", "stuck", "queued", "pending"}) {
        House house;
        fill(house);
        ASSERT_EQ(house.state(id), id);
        house.clock.advance(Ms(500));
        EXPECT_THAT(cancel(house, id).ids, ElementsAre(id));
        EXPECT_EQ(house.state(id), "cancelled");
        EXPECT_THAT(house.log(id),
                    ::testing::EndsWith("cancelled" + std::string(id == "sleeping" ? " a" : "")));
        EXPECT_EQ(house.sql("SELECT actor||' '||action||' '||target FROM audit"),
                  "uid:7 cancel " + id);
        EXPECT_THAT(house.sql("SELECT data FROM entries WHERE kind='cancelled'"),
                    HasSubstr("\"was\":\"" + id + "\""));
        EXPECT_EQ(house.sql("SELECT finished_at_ms FROM instances WHERE id='" + id + "'"),
                  std::to_string(house.clock.now_ms()));
        expect_whole(house);
        const std::string log = house.log(id);
        house.clock.advance(std::chrono::hours(1));
        house.engine().run_until_idle();
        EXPECT_EQ(house.log(id), log) << "it ran again";
    }
}

TEST(Cancel, SaysWhoWhenAndWhy) {
    House house;
    fill(house);
    cancel(house, "stuck", "the customer was refunded");
    EXPECT_THAT(why(house, "stuck"),
                HasSubstr(" by uid:7 while it was stuck (odd): the customer was refunded"));
}

TEST(Cancel, RefusesWhatHasEndedAndWhatIsNotThere) {
    House house;
    house.add("w", [](Context&, const Json&) { return Json(); });
    house.start("done", "w");
    house.start("gone", "w");
    cancel(house, "gone");
    house.engine().run_until_idle();
    EXPECT_THAT(skipped_because(cancel(house, "done")), HasSubstr("completed: it has ended"));
    EXPECT_THAT(skipped_because(cancel(house, "gone")), HasSubstr("cancelled: it has ended"));
    EXPECT_EQ(skipped_because(cancel(house, "never")), "not found");
    EXPECT_EQ(house.sql("SELECT count(*) FROM audit"), "1");
    EXPECT_THAT(house.resume("gone").skipped.at(0).reason, HasSubstr("it has ended"));
    EXPECT_EQ(house.state("gone"), "cancelled");
}

TEST(Cancel, LetsTheNextOfItsKeyGoOn) {
    House house;
    fill(house);
    house.start("third", "sticks", {}, "key");
    cancel(house, "queued");  // out of the line; the one behind it moves up
    cancel(house, "stuck");
    EXPECT_EQ(house.state("third"), "pending");
    house.engine().run_until_idle();
    EXPECT_EQ(house.state("third"), "stuck");
    expect_whole(house);
}

TEST(Cancel, OfARunningOneComesAfterTheOutcomeOfItsStep) {
    House house;
    bool b_ran = false;
    Cancelled answered, again;
    house.add("w", [&](Context& ctx, const Json&) -> Json {
        ctx.step("a", [&](const Attempt&) {
            if (ctx.instance_id() != "i") return 0;
            answered = cancel(house, "i", "changed my mind");
            again = cancel(house, "i");
            EXPECT_THAT(why(house, "i"), HasSubstr("ends as cancelled before it begins another"));
            return 1;
        });
        ctx.step("b", [&](const Attempt&) { b_ran = b_ran || ctx.instance_id() == "i"; });
        return nullptr;
    });
    house.start("i", "w", {}, "key");
    house.start("next", "w", {}, "key");
    house.engine().run_until_idle();
    EXPECT_THAT(answered.requested, ElementsAre("i"));
    EXPECT_TRUE(answered.ids.empty());
    EXPECT_THAT(again.requested, ElementsAre("i"));
    EXPECT_EQ(house.log("i"), "started a, completed a, cancelled a");
    EXPECT_EQ(house.state("i"), "cancelled");
    EXPECT_FALSE(b_ran);
    EXPECT_EQ(house.state("next"), "completed");
    EXPECT_EQ(house.sql("SELECT count(*) FROM audit WHERE action='cancel'"), "1");
    EXPECT_THAT(why(house, "i"), HasSubstr("by uid:7 while it was running: changed my mind"));
    EXPECT_EQ(house.told.back().what, "finished");  // the next one of its key
    expect_whole(house);
}

TEST(Cancel, OfARunningOneTakesThePlaceOfItsNextTry) {
    for (const Outcome outcome : {Outcome::refused, Outcome::unknown}) {
        House house;
        house.add("w", [&](Context& ctx, const Json&) -> Json {
            ctx.step("a", [&](const Attempt&) {
                cancel(house, "i");
                throw answer(outcome);
            });
            return nullptr;
        });
        house.start("i", "w");
        house.run_to_the_end();
        EXPECT_EQ(house.log("i"), "started a, retried a, cancelled a");
        EXPECT_EQ(house.state("i"), "cancelled");
        EXPECT_EQ(house.told.back().what, "cancelled");
        expect_whole(house);
    }
}

TEST(Cancel, OfARunningOneTakesThePlaceOfItsNextKey) {
    House house;
    house.add("w", [&](Context& ctx, const Json&) -> Json {
        cancel(house, "i");
        ctx.take_key("another");
        ADD_FAILURE() << "went on";
        return nullptr;
    });
    house.start("i", "w", {}, "key");
    house.engine().run_until_idle();
    EXPECT_EQ(house.state("i"), "cancelled");
    EXPECT_EQ(house.log("i"), "cancelled");
    expect_whole(house);
}

// Found by the simulation: the entry named the step before.
TEST(Cancel, OfARunningOneTakesThePlaceOfItsNextSleep) {
    House house;
    house.add("w", [&](Context& ctx, const Json&) -> Json {
        ctx.step("a", [&](const Attempt&) { cancel(house, "i"); });
        ctx.sleep_for("nap", Ms(1000));
        ADD_FAILURE() << "went on";
        return nullptr;
    });
    house.start("i", "w");
    house.run_to_the_end();
    EXPECT_EQ(house.state("i"), "cancelled");
    EXPECT_EQ(house.log("i"), "started a, completed a, timer nap, cancelled nap");
    expect_whole(house);
}

TEST(Cancel, ComesTooLateForAFunctionThatReturns) {
    House house;
    house.add("w", [&](Context& ctx, const Json&) -> Json {
        ctx.step("a", [&](const Attempt&) { cancel(house, "i"); });
        return "all was done";
    });
    house.start("i", "w");
    house.engine().run_until_idle();
    EXPECT_EQ(house.state("i"), "completed");
    EXPECT_EQ(house.log("i"), "started a, completed a");
    expect_whole(house);
}

TEST(Cancel, IsRememberedWhenTheServerDies) {
    House house;
    int calls = 0;
    house.add("w", [&](Context& ctx, const Json&) -> Json {
        ctx.step("a", [&](const Attempt&) {
            ++calls;
            if (ctx.instance_id() != "i") return;
            cancel(house, "i", "no longer wanted");
            house.remember();
        });
        return nullptr;
    });
    house.start("i", "w");
    house.start("j", "w");  // is due behind it, and must not wait for a second look
    house.engine().run_until_idle();
    house.die_as_remembered();
    house.clock.advance(Ms(1));
    house.engine().run_until_idle();
    EXPECT_EQ(house.state("i"), "cancelled");
    EXPECT_EQ(house.log("i"), "started a, cancelled a");
    EXPECT_EQ(house.state("j"), "completed");
    EXPECT_EQ(calls, 3);  // i before the death, j before and after it
    EXPECT_THAT(why(house, "i"), HasSubstr("no longer wanted"));
    expect_whole(house);
}

TEST(Cancel, EndsAtOnceWhatADeadServerLeftRunning) {
    House house;
    int calls = 0;
    house.add("w", [&](Context& ctx, const Json&) -> Json {
        ctx.step("a", [&](const Attempt&) {
            ++calls;
            house.remember();
        });
        return nullptr;
    });
    house.start("i", "w");
    house.engine().run_until_idle();
    house.die_as_remembered();
    ASSERT_EQ(house.state("i"), "running");
    EXPECT_THAT(cancel(house, "i").ids, ElementsAre("i"));
    house.run_to_the_end();
    EXPECT_EQ(house.state("i"), "cancelled");
    EXPECT_EQ(calls, 1);
    expect_whole(house);
}

TEST(Cancel, LeavesAnAttemptOfAOnceKeyInDoubtToWhoComesNext) {
    House house;
    std::vector<std::string> keys;
    house.add("w", [&](Context& ctx, const Json&) -> Json {
        ctx.step("mail",
                 {.idempotency_window = std::chrono::hours(1),
                  .once = "mail/1",
                  .request = {{"from", ctx.instance_id()}}},
                 [&](const Attempt& attempt) {
                     keys.push_back(attempt.idempotency_key);
                     EXPECT_EQ(attempt.request.at("from"), "first");
                     if (ctx.instance_id() == "first") throw answer(Outcome::unknown);
                 });
        return nullptr;
    });
    house.start("first", "w");
    house.start("second", "w");
    house.engine().run_until_idle();
    ASSERT_EQ(house.state("second"), "waiting");
    cancel(house, "first");
    EXPECT_EQ(house.state("second"), "pending");
    house.run_to_the_end();
    EXPECT_EQ(house.state("second"), "completed");
    ASSERT_EQ(keys.size(), 2u);
    EXPECT_EQ(keys[0], keys[1]);
    expect_whole(house);
}

TEST(Cancel, AppendsNothingToALogThatDoesNotVerify) {
    House house;
    house.add("w", [](Context& ctx, const Json&) -> Json {
        ctx.step("a", [](const Attempt&) {});
        ctx.step("b", [](const Attempt&) { throw answer(Outcome::refused); });
        return nullptr;
    });
    house.start("i", "w", {}, "key");
    house.start("next", "w", {}, "key");
    house.engine().run_until_idle();
    house.damage("DROP TRIGGER entries_are_immutable; UPDATE entries SET data='{}' WHERE n=1");
    house.run_to_the_end();
    ASSERT_EQ(house.error_code("i"), "log_damaged");
    const std::string log = house.log("i");
    EXPECT_THAT(cancel(house, "i").ids, ElementsAre("i"));
    EXPECT_EQ(house.state("i"), "cancelled");
    EXPECT_EQ(house.log("i"), log);
    EXPECT_NE(house.state("next"), "queued");
}

TEST(Cancel, IsWrittenWithItsAuditOrNotAtAll) {
    House house;
    fill(house);
    house.damage(
        "CREATE TRIGGER refuse BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT,'no'); END");
    EXPECT_THROW(cancel(house, "stuck"), StoreError);
    EXPECT_EQ(house.state("stuck"), "stuck");
    EXPECT_EQ(house.state("queued"), "queued");
}

}  // namespace
}  // namespace steplog
