// The testing kit itself: what it runs, what it counts, and that it catches what it is for.
#include "engine/testing/workflow_test.h"

#include <gmock/gmock.h>

#include <cstdlib>

#include "engine/parallel.h"

namespace steplog::testing {
namespace {

using std::chrono::hours;
using std::chrono::seconds;
using ::testing::AllOf;
using ::testing::HasSubstr;

StepOptions honoured() { return {.idempotency_window = hours(24)}; }

TEST(WorkflowTest, RunsAWorkflowInNoTimeAndCountsItsEffects) {
    int tries = 0;
    WorkflowTest test([&](Context& ctx, const Json& input) {
        ctx.step("charge", [&](const Attempt&) {
            if (++tries == 1)
                throw RetryableError("busy",
                                     {.outcome = Outcome::refused, .retry_after = seconds(9)});
        });
        ctx.sleep_for("trial", hours(72));
        return Json(input.at("order").get<int>() + 1);
    });
    const Ended ended = test.run({{"order", 7}});
    EXPECT_EQ(ended.state, State::completed);
    EXPECT_EQ(ended.output, 8);
    EXPECT_EQ(ended.took, Ms(hours(72)) + Ms(seconds(9)));
    EXPECT_EQ(ended.effects.at("charge").calls, 2);
    EXPECT_EQ(ended.effects.at("charge").times, 1);
}

TEST(WorkflowTest, TellsHowARunEnded) {
    WorkflowTest failing([](Context& ctx, const Json&) {
        ctx.step("charge", [](const Attempt&) { throw PermanentError("declined", "no money"); });
        return Json();
    });
    EXPECT_EQ(failing.run().state, State::failed);
    EXPECT_EQ(failing.run().error_code, "declined");
    WorkflowTest waiting([](Context& ctx, const Json&) {
        return Json(ctx.wait_for<std::string>("approved").value());
    });
    EXPECT_EQ(waiting.run().state, State::waiting);
    EXPECT_EQ(waiting.run().step, "approved");
    EXPECT_EQ(waiting.signal("approved", "ada").run().output, "ada");
}

TEST(WorkflowTest, PutsFakesInPlaceOfEffects) {
    WorkflowTest test([](Context& ctx, const Json&) {
        return Json(ctx.step("charge", [](const Attempt&) -> std::string {
            throw std::logic_error("a test must not charge anybody");
        }));
    });
    test.fake("charge", [](const Attempt& attempt) { return Json(attempt.idempotency_key); });
    EXPECT_EQ(test.run().output, "steplog:test:charge");
}

TEST(WorkflowTest, FindsNothingWrongWhereEveryEffectIsProtected) {
    std::set<std::string> created;
    WorkflowTest test([&](Context& ctx, const Json&) {
        StepOptions looked_up;
        looked_up.probe = probe([&](const Attempt& attempt) -> std::optional<int> {
            if (created.contains(attempt.idempotency_key)) return 1;
            return std::nullopt;
        });
        ctx.step("create", looked_up, [&](const Attempt& attempt) {
            return created.insert(attempt.idempotency_key), 1;
        });
        ctx.sleep_for("pause", seconds(10));
        ctx.map(
            "pay", std::vector<std::string>{"ada", "bob"},
            [](const std::string& payee) { return payee; },
            [](const std::string& payee, const Attempt&) { return payee; }, {.step = honoured()});
        ctx.start_child("child", "child");
        ctx.wait_for("approved");
        ctx.await_child("child");
        return Json();
    });
    test.with({.name = "child", .run = [](Context& ctx, const Json&) {
                   ctx.step("mail", honoured(), [](const Attempt&) { return 1; });
                   return Json();
               }});
    test.signal("approved").before_each([&] { created.clear(); });
    const Ended ended = test.run();
    EXPECT_EQ(ended.effects.at("test/child: mail").times, 1);
    const Crashes crashes = test.crash_everywhere();
    EXPECT_EQ(crashes.failure, "");
    EXPECT_GT(crashes.places, 30);
}

TEST(WorkflowTest, CatchesAnEffectThatACrashWouldRepeat) {
    WorkflowTest test([](Context& ctx, const Json&) {
        ctx.step("reserve", honoured(), [](const Attempt&) { return 1; });
        ctx.step("charge", [](const Attempt&) { return 1; });
        return Json();
    });
    const Crashes crashes = test.crash_everywhere();
    EXPECT_THAT(crashes.failure,
                AllOf(HasSubstr("after the effect of charge"), HasSubstr("charge happened 2 times"),
                      HasSubstr("STEPLOG_CRASH_AT=")));
    const std::string place = crashes.failure.substr(crashes.failure.rfind('=') + 1);
    ::setenv("STEPLOG_CRASH_AT", place.c_str(), 1);
    const Crashes again = test.crash_everywhere();
    ::unsetenv("STEPLOG_CRASH_AT");
    EXPECT_EQ(again.places, 1);
    EXPECT_EQ(again.failure, crashes.failure);
    EXPECT_EQ(test.may_repeat("charge").crash_everywhere().failure, "");
}

TEST(WorkflowTest, CatchesAWorkflowThatDoesNotReplay) {
    int calls = 0;
    WorkflowTest test([&](Context& ctx, const Json&) {
        // Decided by what is not in the log.
        const std::string name = "charge/" + std::to_string(++calls);
        ctx.step(name, honoured(), [](const Attempt&) { return 1; });
        return Json();
    });
    test.before_each([&] { calls = 0; });
    EXPECT_THAT(test.crash_everywhere().failure, HasSubstr("charge/1 did not happen"));
}

TEST(WorkflowTest, SaysWhenAPersonWouldHaveToDecide) {
    WorkflowTest test([](Context& ctx, const Json&) {
        ctx.step("mail", {.repeat = Repeat::at_most_once}, [](const Attempt&) { return 1; });
        return Json();
    });
    EXPECT_THAT(test.crash_everywhere().failure, HasSubstr("it is stuck instead of completed"));
}

TEST(WorkflowTest, LetsAFakesProbeFindWhatTheFakeDid) {
    StepOptions looked_up;
    looked_up.probe = [](const Attempt&) -> std::optional<Json> { return std::nullopt; };
    WorkflowTest test([&](Context& ctx, const Json&) {
        return Json(ctx.step("create", looked_up, [](const Attempt&) { return 0; }));
    });
    test.fake("create", [](const Attempt&) { return Json(5); });
    EXPECT_EQ(test.run().output, 5);
    EXPECT_EQ(test.crash_everywhere().failure, "");
}

TEST(WorkflowTest, SaysWhatIsWrongWithoutAnyCrash) {
    WorkflowTest stuck([](Context& ctx, const Json&) -> Json { ctx.stuck("no_plan", "no plan"); });
    EXPECT_THAT(stuck.crash_everywhere().failure, HasSubstr("no_plan"));
    WorkflowTest waiting([](Context& ctx, const Json&) {
        ctx.wait_for("approved");
        return Json();
    });
    EXPECT_THAT(waiting.crash_everywhere().failure, HasSubstr("waits for ever at approved"));
}

}  // namespace
}  // namespace steplog::testing
