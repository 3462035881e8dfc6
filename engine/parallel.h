// Steps of different kinds that run at the same time:
//
//     Parallel parallel(ctx);
//     auto user = parallel.step("create_user", [&](const Attempt&) { return create_user(); });
//     auto seats = parallel.step("count_seats", [&](const Attempt&) { return 3; });
//     parallel.run();
//     invite(user.get(), seats.get());
//
// For one kind over many items: Context::map.
#pragma once

#include "engine/context.h"

namespace steplog {

/// Lives as long as the call of the workflow function that made it, on its thread.
class Parallel {
  public:
    /// At most `concurrency` of the steps run at once.
    explicit Parallel(Context& context, int concurrency = concurrency_default)
        : context_(context), concurrency_(concurrency) {}

    /// What a step returned. Valid as long as its Parallel.
    template <class T>
    class Result {
      public:
        /// After run(). Throws StepFailed when this step failed.
        T get() const {
            if (place_ >= parallel_.ends_.size())
                throw std::logic_error("the result of a parallel step was asked for before run()");
            const ParallelEnd& end = parallel_.ends_[place_];
            if (end.failure) throw *end.failure;
            if constexpr (!std::is_void_v<T>)
                return parallel_.context_.template decode<T>(name_, *end.result);
        }

      private:
        friend class Parallel;
        Result(Parallel& parallel, std::size_t place, std::string name)
            : parallel_(parallel), place_(place), name_(std::move(name)) {}
        Parallel& parallel_;
        std::size_t place_;
        std::string name_;
    };

    /// As Context::step, but begun by run(). What `effect` refers to must outlive that.
    template <class F>
    requires std::invocable<F, const Attempt&>
    auto step(std::string_view name, const StepOptions& options, F effect) {
        using T = std::invoke_result_t<F, const Attempt&>;
        static_assert(
            StepResult<T>,
            "a step's result must convert to and from JSON: give its type to_json and from_json");
        steps_.push_back({std::string(name), options, [effect](const Attempt& attempt) {
                              if constexpr (std::is_void_v<T>) {
                                  effect(attempt);
                                  return Json(nullptr);
                              } else {
                                  return Json(effect(attempt));
                              }
                          }});
        return Result<T>(*this, steps_.size() - 1, steps_.back().name);
    }
    template <class F>
    auto step(std::string_view name, F effect) {
        return step(name, StepOptions{}, std::move(effect));
    }

    /// Runs them all, once. Returns when each has ended, and throws nothing for those that failed:
    /// their results do.
    void run() { ends_ = context_.run_parallel(std::move(steps_), concurrency_); }

  private:
    Context& context_;
    const int concurrency_;
    std::vector<ParallelStep> steps_;
    std::vector<ParallelEnd> ends_;
};

}  // namespace steplog
