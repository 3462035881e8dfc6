// Fork: a new instance has what another had finished before one of its steps, and goes on there.
#include <gmock/gmock.h>

#include "engine/inspect.h"
#include "tests/engine/house.h"

namespace steplog {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::House;

class Fork : public ::testing::Test {
  protected:
    Fork() {
        house.add("order", [this](Context& ctx, const Json& input) {
            const int number = call(ctx, "reserve");
            const Json letter = ctx.wait_for<Json>("letter").value_or(nullptr);
            call(ctx, "welcome", "welcome/cus_1");
            call(ctx, "pay");
            if (sticks) ctx.stuck("odd", "is odd");
            call(ctx, "mail");
            return Json{{"number", number}, {"letter", letter}, {"input", input}};
        });
    }
    int call(Context& ctx, const std::string& name, const std::string& once = "") {
        return ctx.step(name, {.once = once}, [&](const Attempt& attempt) {
            calls.push_back(ctx.instance_id() + " " + name);
            keys[ctx.instance_id() + " " + name] = attempt.idempotency_key;
            return static_cast<int>(calls.size());
        });
    }
    void run(const std::string& key = "") {
        house.start("order/cus_1", "order", {{"what", "shoes"}}, key);
        house.engine().run_until_idle();
        house.engine().signal({.instance = "order/cus_1", .name = "letter", .payload = "\"dear\""});
        house.run_to_the_end();
        calls.clear();
    }
    Operated fork(const std::string& from, const std::string& new_id = "",
                  bool cancel_old = false) {
        Operated operated = house.engine().operate({.kind = OperateRequest::Kind::fork,
                                                    .ids = {"order/cus_1"},
                                                    .step = from,
                                                    .new_id = new_id,
                                                    .cancel_old = cancel_old,
                                                    .actor = "uid:7",
                                                    .reason = "ticket 7"});
        house.run_to_the_end();
        return operated;
    }
    std::string refused(const std::string& from, const std::string& new_id = "") {
        const Operated operated = fork(from, new_id);
        return operated.skipped.empty() ? "" : operated.skipped.front().reason;
    }
    std::string output(const std::string& id) {
        return house.sql(
            "SELECT body FROM payloads WHERE id=(SELECT output_payload FROM instances WHERE id='" +
            id + "')");
    }
    void expect_whole() {
        house.store().flush();
        Inspector inspector(house.database(), house.clock);
        for (const Check& check : inspector.check().checks)
            EXPECT_EQ(check.broken, 0) << check.name << ": " << check.examples.front();
    }

    House house;
    bool sticks = false;
    std::vector<std::string> calls;
    std::map<std::string, std::string> keys;
};

TEST_F(Fork, KeepsWhatWasFinishedAndCallsTheRestUnderOtherKeys) {
    run();
    EXPECT_THAT(fork("pay").ids, ElementsAre("order/cus_1/fork/1"));
    EXPECT_THAT(calls, ElementsAre("order/cus_1/fork/1 pay", "order/cus_1/fork/1 mail"));
    EXPECT_NE(keys["order/cus_1 pay"], keys["order/cus_1/fork/1 pay"]);
    EXPECT_EQ(house.state("order/cus_1/fork/1"), "completed");
    EXPECT_EQ(output("order/cus_1/fork/1"), output("order/cus_1"));
    EXPECT_EQ(house.sql("SELECT actor||' '||action||' '||target||' '||detail FROM audit"),
              R"(uid:7 fork order/cus_1 {"forked_to":"order/cus_1/fork/1","reason":"ticket 7",)"
              R"("step":"pay","was":"completed"})");
    expect_whole();
    EXPECT_THAT(fork("mail", "another").ids, ElementsAre("another"));
    EXPECT_EQ(calls.back(), "another mail");
    EXPECT_THAT(fork("mail").ids, ElementsAre("order/cus_1/fork/2"));
}

TEST_F(Fork, WaitsAnewForWhatCameAfterTheStep) {
    run();
    fork("reserve", "new");
    EXPECT_EQ(house.state("new"), "waiting") << "the letter was for the other one";
    house.engine().signal({.instance = "new", .name = "letter", .payload = "\"again\""});
    house.run_to_the_end();
    EXPECT_THAT(output("new"), HasSubstr(R"("letter":"again")"));
    expect_whole();
}

TEST_F(Fork, DoesNotRepeatWhatHappensOnce) {
    run();
    fork("welcome", "new");
    EXPECT_THAT(calls, ElementsAre("new pay", "new mail"));
    EXPECT_EQ(house.state("new"), "completed");
    expect_whole();
}

TEST_F(Fork, LeavesAStuckOneAsItIsOrEndsIt) {
    sticks = true;
    run();
    ASSERT_EQ(house.state("order/cus_1"), "stuck");
    sticks = false;
    fork("pay", "beside");
    EXPECT_EQ(house.state("order/cus_1"), "stuck");
    EXPECT_EQ(house.state("beside"), "completed");
    fork("pay", "instead", true);
    EXPECT_EQ(house.state("order/cus_1"), "cancelled");
    EXPECT_EQ(house.state("instead"), "completed");
    expect_whole();
}

TEST_F(Fork, OfOneThatHoldsAKeyMustEndIt) {
    sticks = true;
    run("shop:cus_1");
    sticks = false;
    EXPECT_THAT(refused("pay", "new"), HasSubstr("--cancel-old"));
    EXPECT_THAT(fork("pay", "new", true).ids, ElementsAre("new"));
    EXPECT_EQ(house.sql("SELECT state||' '||key FROM instances WHERE id='new'"),
              "completed shop:cus_1");
    expect_whole();
}

TEST_F(Fork, RefusesWithAReason) {
    run();
    EXPECT_THAT(refused("nothing"), HasSubstr("its log has no step nothing"));
    EXPECT_THAT(refused("pay", "order/cus_1"), HasSubstr("there is an instance order/cus_1"));
    house.start("waits", "order");
    house.engine().run_until_idle();
    const auto of_waits = [this](bool cancel_old) {
        return house.engine().operate({.kind = OperateRequest::Kind::fork,
                                       .ids = {"waits"},
                                       .step = "reserve",
                                       .new_id = "new",
                                       .cancel_old = cancel_old});
    };
    EXPECT_THAT(of_waits(false).skipped.at(0).reason, HasSubstr("waiting: only what has ended"));
    EXPECT_THAT(of_waits(true).ids, ElementsAre("new"));
    EXPECT_EQ(house.state("waits"), "cancelled");
}

TEST_F(Fork, IsForgottenWithItsCustomer) {
    run("shop:cus_1");
    fork("pay", "new");
    ASSERT_EQ(house.state("new"), "completed");
    EXPECT_TRUE(house.store().forget({.subject = "cus_1"}).get().done);
    EXPECT_EQ(house.sql("SELECT count(*) FROM payloads WHERE body NOTNULL AND id IN (SELECT "
                        "input_payload FROM instances)"),
              "0");
    expect_whole();
}

// Of steps side by side, the one that ended after the other had begun.
TEST_F(Fork, CountsWhatBeganBeforeAsBefore) {
    house.add("pair", [this](Context& ctx, const Json&) {
        const auto sizes = ctx.map(
            "count", std::vector<std::string>{"left", "right"},
            [](const std::string& item) { return item; },
            [this](const std::string& item, const Attempt& attempt) {
                calls.push_back(attempt.instance_id + " " + item);
                return 1;
            });
        return Json(sizes);
    });
    house.restart();
    house.start("p", "pair");
    house.run_to_the_end();
    calls.clear();
    house.engine().operate(
        {.kind = OperateRequest::Kind::fork, .ids = {"p"}, .step = "count/right", .new_id = "q"});
    house.run_to_the_end();
    EXPECT_THAT(calls, ElementsAre("q right"));
    expect_whole();
}

}  // namespace
}  // namespace steplog
