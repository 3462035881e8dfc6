#include "engine/parallel_run.h"

#include <fmt/format.h>

#include <limits>

#include "engine/entries.h"

namespace steplog {

std::vector<ParallelEnd> Context::run_parallel(std::vector<ParallelStep> steps, int concurrency) {
    return ParallelRun(*this, steps, concurrency).run();
}

Context::ParallelRun::ParallelRun(Context& context, const std::vector<ParallelStep>& steps,
                                  int concurrency)
    : context_(context), concurrency_(std::max(concurrency, 1)) {
    for (const ParallelStep& step : steps) branches_.push_back({step});
    ended_.reserve(branches_.size());  // no thread must need memory to say that it has ended
}

std::vector<ParallelEnd> Context::ParallelRun::run() {
    for (Branch& branch : branches_) prepare(branch);
    while (running_ > 0 || !waiting_.empty()) {
        while (running_ < concurrency_ && !waiting_.empty()) {
            Branch& next = *waiting_.front();
            waiting_.pop_front();
            begin(next);
        }
        if (running_ > 0) settle(wait_for_one());
    }
    leave_if_put_off();
    std::vector<ParallelEnd> ends;
    for (Branch& branch : branches_) ends.push_back(std::move(branch.end));
    return ends;
}

void Context::ParallelRun::prepare(Branch& branch) {
    const std::string name = context_.asked_for(branch.step.name, EntryKind::started);
    if (!branch.step.options.once.empty())
        context_.stuck("once_in_parallel",
                       fmt::format("step {} has a once key, for which it may have to wait: run it "
                                   "by itself, or in a child",
                                   name));
    try {
        branch.end.result = context_.stored_result(name);
    } catch (const StepFailed& failure) {
        branch.end.failure = failure;
    }
    if (branch.end.result)
        context_.remember_undo(name, branch.step.options, *branch.end.result);
    else if (!branch.end.failure)
        waiting_.push_back(&branch);
}

void Context::ParallelRun::begin(Branch& branch) {
    branch.run.emplace(context_, branch.step.name, branch.step.options);
    const std::int64_t retry_at_ms = branch.run->retry_at_ms();
    if (retry_at_ms > context_.surroundings_.clock.now_ms()) {
        const StepRecord& record = context_.replay_->log.step(branch.step.name);
        Advance later{.instance = context_.claimed_.seq,
                      .epoch = context_.claimed_.epoch,
                      .step = branch.step.name,
                      .attempt = record.number};
        later.to = Transition{.to = State::sleeping,
                              .waits_for = WaitsFor::retry,
                              .due_at_ms = retry_at_ms,
                              .error_code = record.code,
                              .error = record.error};
        return put_off(std::move(later));
    }
    bool begun = false;
    branch.end.result = watch(branch, [&]() -> std::optional<Json> {
        auto adopted = branch.run->begin();
        begun = !adopted;
        return adopted;
    });
    if (begun) launch(branch);
}

void Context::ParallelRun::launch(Branch& branch) {
    ++running_;
    if (!context_.surroundings_.threads) {
        context_.replay_->in_step = true;
        call(branch);
        context_.replay_->in_step = false;
        ended_.push_back(&branch);
        return;
    }
    branch.thread = std::jthread([this, &branch] {
        call(branch);
        const std::lock_guard lock(mutex_);
        ended_.push_back(&branch);
        one_ended_.notify_one();
    });
}

void Context::ParallelRun::call(Branch& branch) const {
    try {
        const ParallelStep& step = branch.step;
        branch.returned =
            context_.call_effect(step.name, step.options, branch.run->attempt(), step.effect);
    } catch (...) {
        branch.thrown = std::current_exception();
    }
}

Context::ParallelRun::Branch& Context::ParallelRun::wait_for_one() {
    std::unique_lock lock(mutex_);
    one_ended_.wait(lock, [this] { return !ended_.empty(); });
    Branch& branch = *ended_.front();
    ended_.erase(ended_.begin());
    return branch;
}

void Context::ParallelRun::settle(Branch& branch) {
    if (branch.thread.joinable()) branch.thread.join();
    --running_;
    branch.end.result = watch(branch, [&]() -> std::optional<Json> {
        return branch.run->end([&](const Attempt&) {
            if (branch.thrown) std::rethrow_exception(branch.thrown);
            return std::move(*branch.returned);
        });
    });
}

// What would suspend the instance or end the step, were it alone, is kept until the others have
// ended. What the store has arranged, or somebody else's instance, is no step's affair.
template <class Part>
std::optional<Json> Context::ParallelRun::watch(Branch& branch, const Part& part) {
    Replay& replay = *context_.replay_;
    try {
        std::optional<Json> result = part();
        if (result) context_.remember_undo(branch.step.name, branch.step.options, *result);
        return result;
    } catch (const StepFailed& failure) {
        branch.end.failure = failure;
    } catch (const Suspended&) {
        if (!replay.parting || replay.abandoned) throw;
        replay.suspended = false;
        put_off(*std::exchange(replay.parting, std::nullopt));
    }
    return std::nullopt;
}

// The outcome is written now, how the instance leaves is decided by the gravest: stuck before what
// is due first.
void Context::ParallelRun::put_off(Advance parting) {
    const std::int64_t now = context_.surroundings_.clock.now_ms();
    Transition& to = *parting.to;
    const bool stuck = to.to == State::stuck;
    if (to.delay) to.due_at_ms = now + std::exchange(to.delay, std::nullopt)->count();
    const bool already_stuck = leaving_ && leaving_->to->to == State::stuck;
    // One that is parked has no time of its own: it asks again when the instance goes on.
    constexpr auto never = std::numeric_limits<std::int64_t>::max();
    const bool leads = !leaving_ || (stuck && !already_stuck) ||
                       (!stuck && !already_stuck &&
                        to.due_at_ms.value_or(never) < leaving_->to->due_at_ms.value_or(never));
    if (stuck && leads) {
        // One transaction: an entry that says stuck, and the state.
        leaving_ = std::move(parting);
        return;
    }
    Advance outcome = parting;
    outcome.to.reset();
    std::erase_if(outcome.entries,
                  [](const NewEntry& entry) { return entry.kind == EntryKind::stuck; });
    if (!outcome.entries.empty()) context_.hand_in(std::move(outcome));
    parting.entries.clear();
    if (leads) leaving_ = std::move(parting);
}

void Context::ParallelRun::leave_if_put_off() {
    if (leaving_) context_.suspend(*std::move(leaving_));
}

}  // namespace steplog
