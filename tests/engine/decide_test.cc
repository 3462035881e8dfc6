// A person's word on a step: taken as done with a given result, or as failed for good.
#include <gmock/gmock.h>

#include "engine/inspect.h"
#include "tests/engine/house.h"

namespace steplog {
namespace {

using ::testing::HasSubstr;
using testing::House;

class Decide : public ::testing::Test {
  protected:
    Decide() {
        house.defaults.retry.attempts_max = 2;
        house.add("w", [this](Context& ctx, const Json&) {
            const int first = ctx.step("first", [](const Attempt&) { return 1; });
            try {
                const int second =
                    ctx.step("second", {.once = once}, [this](const Attempt&) -> int {
                        ++calls;
                        if (refuses)
                            throw RetryableError("not now",
                                                 {.code = "busy", .outcome = Outcome::refused});
                        throw RetryableError("no answer", {.code = "timeout"});
                    });
                return Json(first + second);
            } catch (const StepFailed& failure) {
                return Json(failure.code() + ": " + failure.what());
            }
        });
    }
    std::string decide(StepDecision decision) {
        decision.instance = "o";
        decision.actor = "uid:7";
        const std::string refused = house.store().decide(std::move(decision)).get().refused;
        house.run_to_the_end();
        return refused;
    }
    std::string output() {
        return house.sql(
            "SELECT body FROM payloads WHERE id=(SELECT output_payload FROM instances "
            "WHERE id='o')");
    }
    void expect_whole() {
        Inspector inspector(house.database(), house.clock);
        for (const Check& check : inspector.check().checks)
            EXPECT_EQ(check.broken, 0) << check.name << ": " << check.examples.front();
    }

    House house;
    std::string once;
    bool refuses = false;
    int calls = 0;
};

TEST_F(Decide, ASkippedStepHasTheResultGivenAndIsNotCalledAgain) {
    house.start("o", "w");
    house.run_to_the_end();
    ASSERT_EQ(house.state("o"), "stuck");
    EXPECT_EQ(decide({.step = "second", .result = "41", .reason = "ticket 7"}), "");
    EXPECT_EQ(house.state("o"), "completed");
    EXPECT_EQ(output(), "42");
    EXPECT_EQ(calls, 2);
    EXPECT_THAT(house.log("o"), HasSubstr("stuck second, skipped second"));
    EXPECT_EQ(house.sql("SELECT actor||' '||action||' '||target||' '||detail FROM audit"),
              R"(uid:7 skip o {"reason":"ticket 7","step":"second","was":"stuck",)"
              R"("was_code":"retries_exhausted"})");
    expect_whole();
}

TEST_F(Decide, AFailedStepIsSeenByTheWorkflow) {
    house.start("o", "w");
    house.run_to_the_end();
    EXPECT_EQ(decide({.step = "second", .code = "gone", .message = "no such address"}), "");
    EXPECT_EQ(house.state("o"), "completed");
    EXPECT_EQ(output(), "\"gone: no such address\"");
    EXPECT_EQ(calls, 2);
    EXPECT_EQ(house.sql("SELECT action FROM audit"), "fail");
    expect_whole();
}

TEST_F(Decide, OneThatSleepsBetweenAttemptsGoesOnAtOnce) {
    house.start("o", "w");
    house.engine().run_until_idle();
    ASSERT_EQ(house.state("o"), "sleeping");
    house.store().decide({.instance = "o", .step = "second", .result = "1"}).get();
    house.engine().run_until_idle();
    EXPECT_EQ(house.state("o"), "completed");
    EXPECT_EQ(calls, 1);
}

TEST_F(Decide, IsRefusedWhereThereIsNothingToDecide) {
    EXPECT_EQ(decide({.step = "second", .result = "1"}), "not found");
    house.start("o", "w");
    house.run_to_the_end();
    EXPECT_THAT(decide({.step = "first", .result = "1"}), HasSubstr("finished"));
    EXPECT_EQ(decide({.step = "third", .result = "1"}),
              "it has tried no step of this name; it stands at second");
    EXPECT_EQ(house.state("o"), "stuck");
    EXPECT_EQ(house.sql("SELECT count(*) FROM audit"), "0");
    EXPECT_EQ(decide({.step = "second", .result = "1"}), "");
    EXPECT_EQ(decide({.step = "second", .result = "1"}), "completed: it has ended");
    EXPECT_THROW(decide({.step = "second", .result = "{"}), StoreError);
}

TEST_F(Decide, SettlesTheOnceKeyThatTheStepHolds) {
    once = "mail/1";
    house.start("o", "w");
    house.run_to_the_end();
    ASSERT_EQ(house.sql("SELECT state FROM once_keys"), "claimed") << "its attempt is in doubt";
    house.start("p", "w");
    house.run_to_the_end();
    EXPECT_EQ(house.state("p"), "waiting");
    EXPECT_EQ(decide({.step = "second", .result = "5"}), "");
    EXPECT_EQ(house.sql("SELECT state FROM once_keys"), "completed");
    EXPECT_EQ(house.state("p"), "completed") << "it adopts what was given";
    EXPECT_EQ(calls, 2);
    expect_whole();
}

TEST_F(Decide, LetsGoOfTheOnceKeyOfAStepThatFailed) {
    once = "mail/1";
    house.start("o", "w");
    house.run_to_the_end();
    EXPECT_EQ(decide({.step = "second", .message = "sent to nobody"}), "");
    EXPECT_EQ(house.sql("SELECT state FROM once_keys"), "free");
    expect_whole();
}

TEST_F(Decide, RetryNowMakesTheNextAttemptAtOnceAndCountsOn) {
    refuses = true;
    house.start("o", "w");
    house.engine().run_until_idle();
    ASSERT_EQ(house.state("o"), "sleeping");
    const Resumed retried = house.engine().resume(
        {.ids = {"o"}, .retry_now = true, .actor = "uid:7", .reason = "it is back"});
    EXPECT_EQ(retried.ids.size(), 1u);
    house.engine().run_until_idle();
    EXPECT_EQ(calls, 2);
    EXPECT_EQ(house.error_code("o"), "retries_exhausted") << "two attempts are all it has";
    EXPECT_EQ(house.sql("SELECT action||' '||detail FROM audit"),
              R"(retry-now {"reason":"it is back","step":"second"})");
    const Resumed stuck = house.engine().resume({.ids = {"o"}, .retry_now = true});
    EXPECT_THAT(stuck.skipped.at(0).reason, HasSubstr("workflow-resume"));
    expect_whole();
}

TEST_F(Decide, AStartByAPersonIsAuditedOnce) {
    const NewInstance instance{
        .id = "o", .workflow = "w", .input = "{}", .actor = "uid:7", .reason = "ticket 7"};
    EXPECT_FALSE(house.engine().accept(std::nullopt, instance).duplicate);
    EXPECT_TRUE(house.engine().accept(std::nullopt, instance).duplicate);
    EXPECT_EQ(house.sql("SELECT count(*)||max(actor||' '||action||' '||target||detail) FROM audit"),
              R"(1uid:7 start o{"reason":"ticket 7","workflow":"w"})");
}

}  // namespace
}  // namespace steplog
