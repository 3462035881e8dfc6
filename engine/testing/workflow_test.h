// For the tests of those who write workflows: runs one under a virtual clock, with the effects of
// its steps replaced where wanted, and lets the process die at every place where that matters.
//
//     testing::WorkflowTest test(order);
//     const auto crashes = test.crash_everywhere({{"order", 7}});
//     EXPECT_EQ(crashes.failure, "") << crashes.places;
//
// Needs no test framework. One thread; a database in a temporary directory for each run.
#pragma once

#include <map>
#include <set>

#include "engine/workflow.h"

namespace steplog::testing {

/// What happened outside, as far as a step's calls show it.
struct Happened {
    int calls = 0;  // of the effect, those that threw included
    int returned = 0;
    int times = 0;  // calls that returned, those under one idempotency key counted once where the
                    // step counts on its provider honouring it (an idempotency_window, a once key)
};

/// How a run ended.
struct Ended {
    State state = State::pending;  // completed, failed, stuck, …; waiting when nothing more came
    Json output;                   // of a completed one
    std::string error_code, error, step;      // of a stuck or failed one, and where it stands
    Ms took{0};                               // by the virtual clock
    std::map<std::string, Happened> effects;  // by step; a child's as "<its id>: <step>"
};

/// What the deaths of the process did.
struct Crashes {
    int places = 0;       // at which the process died, one a run
    std::string failure;  // "", or the first in one line that says how to repeat it
};

/// A workflow and the world around it. What is set holds for every run after it.
class WorkflowTest {
  public:
    using Function = std::function<Json(Context&, const Json&)>;
    using Effect = std::function<Json(const Attempt&)>;

    /// The workflow under test, named "test".
    explicit WorkflowTest(Function run)
        : WorkflowTest(Workflow{.name = "test", .run = std::move(run)}) {}
    explicit WorkflowTest(Workflow workflow) { workflows_.push_back(std::move(workflow)); }

    /// Another one: a child's.
    WorkflowTest& with(Workflow workflow);
    /// This in place of the step's effect, in all workflows. What it returned is found by the
    /// step's probe, and returned again under the same idempotency key where the step counts on
    /// that: like a provider that works. It may throw what an effect may throw.
    WorkflowTest& fake(const std::string& step, Effect effect);
    /// A signal for the instance, sent when it has nothing else to do; in order.
    WorkflowTest& signal(const std::string& name, const Json& payload = nullptr);
    /// This step's effect may happen more than once: crash_everywhere says nothing of it.
    WorkflowTest& may_repeat(const std::string& step);
    /// What holds for steps that do not say otherwise.
    WorkflowTest& defaults(const StepDefaults& defaults);
    /// What is allowed at a time. The process that starts after a crash allows the same.
    WorkflowTest& flow(const FlowPolicy& flow);
    /// Called before each run: to reset the world that the effects act upon.
    WorkflowTest& before_each(std::function<void()> reset);

    /// Runs it once, to its end. Time passes only from one due time to the next.
    Ended run(const Json& input = Json::object()) const;

    /// Runs it once without a crash, then once for each place: before and after everything that is
    /// written, and before and after every effect; there the process dies, the next one starts on
    /// what was on the disk, and the sender sends again. Each run must end as the first did, and
    /// each effect must have happened once. STEPLOG_CRASH_AT=n in the environment: only the n-th.
    Crashes crash_everywhere(const Json& input = Json::object()) const;

  private:
    friend class Play;

    std::string judge(const Ended& first, const Ended& ended) const;

    std::vector<Workflow> workflows_;
    std::map<std::string, Effect> fakes_;
    std::vector<std::pair<std::string, Json>> signals_;
    std::set<std::string> may_repeat_;
    StepDefaults defaults_ = {.retry = {.base = Ms(1000), .cap = Ms(60'000)}};
    FlowPolicy flow_ = {};
    std::function<void()> before_each_ = [] {};
};

}  // namespace steplog::testing
