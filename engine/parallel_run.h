// One call of Context::run_parallel: begins the steps, has their effects run in threads, and writes
// what became of each. Everything but the effects happens on the context's thread. Used by the
// context only; lives on the stack of one call.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>

#include "engine/step_run.h"

namespace steplog {

class Context::ParallelRun {
  public:
    ParallelRun(Context& context, const std::vector<ParallelStep>& steps, int concurrency);
    ParallelRun(const ParallelRun&) = delete;
    ParallelRun& operator=(const ParallelRun&) = delete;

    std::vector<ParallelEnd> run();

  private:
    struct Branch {
        const ParallelStep& step;
        std::optional<StepRun> run = {};  // once it has to be run
        ParallelEnd end = {};
        std::optional<Json> returned = {};
        std::exception_ptr thrown = {};  // by the effect
        std::jthread thread = {};        // the last member: ends before the others do
    };

    void prepare(Branch& branch);
    void begin(Branch& branch);
    void launch(Branch& branch);
    void call(Branch& branch) const;
    void settle(Branch& branch);
    Branch& wait_for_one();

    template <class Part>
    std::optional<Json> watch(Branch& branch, const Part& part);
    void put_off(Advance parting);
    void leave_if_put_off();

    Context& context_;
    const int concurrency_;
    std::deque<Branch*> waiting_;
    int running_ = 0;
    std::optional<Advance> leaving_;  // how the instance leaves, where a step was put off
    std::mutex mutex_;                // guards ended_
    std::condition_variable one_ended_;
    std::vector<Branch*> ended_;
    std::deque<Branch> branches_;  // the last member: its threads use the others
};

}  // namespace steplog
