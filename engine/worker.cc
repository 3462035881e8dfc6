#include "engine/worker.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "engine/entries.h"
#include "engine/replay.h"
#include "engine/rfc3339.h"

namespace steplog {

void tell_schedules(const Surroundings& surroundings,
                    const std::vector<ScheduleDecision>& decisions) {
    if (!surroundings.observe) return;
    for (const ScheduleDecision& one : decisions) {
        const std::string schedule = "schedule:" + one.schedule;
        std::string about;
        if (one.outcome == ScheduleDecision::Outcome::missed)
            about = fmt::format("{} times passed with nobody there, the last at {}", one.count,
                                format_rfc3339(one.at_ms));
        else if (one.outcome == ScheduleDecision::Outcome::skipped)
            about = fmt::format("at {} an instance before it was unfinished",
                                format_rfc3339(one.at_ms));
        surroundings.observe({.instance = one.instance.empty() ? schedule : one.instance,
                              .workflow = one.workflow,
                              .what = fmt::format("schedule_{}", to_string(one.outcome)),
                              .error = about});
    }
}

Worker::Ran Worker::run(Claimed claimed) const {
    Context context(surroundings_, std::move(claimed));
    Ran ran;
    try {
        Advance parting = call(context);
        if (context.replay_->suspended) {
            ran.due_at_ms = context.replay_->due_at_ms;
            if (!context.replay_->parting) return ran;  // arranged by the store, or abandoned
            parting = std::move(*context.replay_->parting);
        }
        context.replay_->suspended = false;
        if (parting.to->to == State::sleeping) {
            ran.due_at_ms = parting.to->due_at_ms;
            if (parting.to->delay)
                ran.due_at_ms = surroundings_.clock.now_ms() + parting.to->delay->count();
            // When its turn will be is found out by looking.
            const auto limit = parse_limit(parting.to->waits_detail);
            if (limit && limit->kind == Limit::Kind::rate)
                ran.due_at_ms = surroundings_.clock.now_ms();
        }
        parting.to->claim_next = !surroundings_.draining.stop_requested();
        leave(context, parting, ran);
    } catch (const Suspended&) {
        // The parting itself could not be written. A refused write leaves a reason to be stuck
        // with; anything else means that the instance is no longer ours.
        if (!context.replay_->parting || context.replay_->abandoned) return ran;
        const Advance reason = std::move(*context.replay_->parting);
        try {
            leave(context, reason, ran);
        } catch (const Suspended&) {
            return ran;
        }
    }
    return ran;
}

Worker::Rehearsed Worker::rehearse(Claimed claimed) const {
    Context context(surroundings_, std::move(claimed));
    Context::Replay& replay = *context.replay_;
    Advance parting = call(context);
    if (replay.suspended) parting = std::move(replay.parting).value_or(Advance{});
    Rehearsed rehearsed;
    rehearsed.at = replay.at;
    if (!replay.stands_at_another_look()) rehearsed.not_asked_for = replay.not_asked_for();
    // Pending, or sleeping at a step or sleep: it would go on by what the log does not have.
    const bool goes_on =
        parting.to && (parting.to->to == State::pending ||
                       (parting.to->to == State::sleeping && !parting.step.empty()));
    if (!goes_on) rehearsed.to = std::move(parting.to);
    for (auto& [name, code, what] : replay.differences)
        rehearsed.differences.push_back({name, code, what});
    for (const auto& [name, as] : replay.asked)
        if (const char* found = replay.recorded_otherwise(name, as))
            rehearsed.differences.push_back(
                {name, "other_kind", fmt::format("the log has it as {}", found)});
    return rehearsed;
}

void Worker::leave(Context& context, const Advance& parting, Ran& ran) const {
    Advanced left = context.commit(parting);
    ran.next = std::move(left.next);
    tell_schedules(surroundings_, left.schedules);  // breakers are told of with every commit
    if (!left.cancelled) tell(context, parting);
}

// Calls the function; returns how the instance ends unless the context was suspended meanwhile.
Advance Worker::call(Context& context) const {
    const Claimed& claimed = context.claimed_;
    if (!claimed.damage.empty()) {
        Advance parting =
            stuck(context, "log_damaged",
                  fmt::format("{}: nothing was called; restore a backup or start it anew",
                              claimed.damage));
        parting.entries.clear();  // nothing is appended to a log that does not verify
        return parting;
    }
    const Workflow* workflow = surroundings_.registry.find(claimed.workflow, claimed.version);
    if (!workflow) return not_registered(context);
    if (!claimed.input)
        return stuck(context, "input_forgotten", "its input was forgotten or purged");
    const Json input = Json::parse(*claimed.input, nullptr, false);
    if (input.is_discarded()) return stuck(context, "undecodable_input", "its input is not JSON");
    try {
        return follow(context, *workflow, input);
    } catch (const Suspended&) {
        return context.replay_->leaves_to_undo ? take_back(context) : Advance{};
    } catch (const std::exception& error) {
        return unclassified(context, error.what());
    } catch (...) {
        return unclassified(context, "something that is not a std::exception was thrown");
    }
}

Advance Worker::follow(Context& context, const Workflow& workflow, const Json& input) const {
    const Claimed& claimed = context.claimed_;
    try {
        std::string output = to_text(workflow.run(context, input));
        context.stay_suspended();
        context.leave_if_cancelling();
        context.await_children();
        context.require_size("its result", output.size(), surroundings_.limits.result_bytes_max,
                             "result_bytes_max");
        Advance parting{.instance = claimed.seq, .epoch = claimed.epoch, .progress = true};
        parting.to = Transition{.to = State::completed, .output = std::move(output)};
        return parting;
    } catch (const PermanentError& error) {
        context.leave_if_cancelling();
        if (workflow.on_failure == OnFailure::fail) context.undo_finished_steps();
        return failed(context, workflow, error);
    }
}

// It was cancelled, and has left its function.
Advance Worker::take_back(Context& context) const {
    context.replay_->suspended = false;
    try {
        context.undo_finished_steps();
    } catch (const Suspended&) {
        return {};
    }
    Advance parting{
        .instance = context.claimed_.seq, .epoch = context.claimed_.epoch, .progress = true};
    parting.to = Transition{.to = State::cancelled};
    return parting;
}

Advance Worker::not_registered(Context& context) const {
    const Claimed& claimed = context.claimed_;
    const auto versions = surroundings_.registry.versions(claimed.workflow);
    if (versions.empty())
        return stuck(
            context, "unknown_workflow",
            fmt::format("this program has no workflow {}: deploy one that has", claimed.workflow));
    return stuck(
        context, unknown_version_code,
        fmt::format("this program has no version {} of workflow {}, only {}: deploy one that has, "
                    "then workflow-resume {}; or let it go on under another: workflow-admin move "
                    "{} --to-version {}",
                    claimed.version, claimed.workflow, fmt::join(versions, ", "), claimed.id,
                    claimed.id, versions.back()));
}

Advance Worker::failed(Context& context, const Workflow& workflow,
                       const PermanentError& error) const {
    const auto* step_failed = dynamic_cast<const StepFailed*>(&error);
    const std::string step = step_failed ? step_failed->step() : "";
    if (workflow.on_failure == OnFailure::stuck) {
        Advance parting = stuck(context, error.code(), error.what());
        parting.step = step;
        const auto record = context.replay_->log.steps.find(step);
        if (record != context.replay_->log.steps.end()) parting.attempt = record->second.number;
        parting.entries.front().step = step;
        return parting;
    }
    Advance parting{
        .instance = context.claimed_.seq, .epoch = context.claimed_.epoch, .progress = true};
    parting.to = Transition{.to = State::failed, .error_code = error.code(), .error = error.what()};
    return parting;
}

// The function itself threw: like a step's unknown error, it is tried again for as long as the
// policy says.
Advance Worker::unclassified(Context& context, const std::string& message) const {
    const StepLog& log = context.replay_->log;
    const RetryPolicy& policy = surroundings_.defaults.retry;
    const std::int64_t now = surroundings_.clock.now_ms();
    const int failures = log.failures + 1;
    const bool exhausted =
        failures >= policy.attempts_max ||
        (log.failures > 0 && now - log.failing_since_ms >= policy.retry_for.count());
    if (exhausted) return stuck(context, "retries_exhausted", message);
    Advance parting{
        .instance = context.claimed_.seq, .epoch = context.claimed_.epoch, .progress = true};
    const Ms delay = backoff(policy, failures, surroundings_.random);
    parting.entries.push_back({.kind = EntryKind::retried,
                               .attempt = failures,
                               .data = {{"outcome", to_string(Outcome::unknown)},
                                        {"code", "unclassified"},
                                        {"error", bounded(message)},
                                        {"delay_ms", delay.count()}}});
    parting.to = Transition{.to = State::sleeping,
                            .waits_for = WaitsFor::retry,
                            .delay = delay,
                            .error_code = "unclassified",
                            .error = bounded(message)};
    context.observe("", "retried", failures, "unclassified", message);
    return parting;
}

Advance Worker::stuck(Context& context, const std::string& code, const std::string& message) const {
    Advance parting{.instance = context.claimed_.seq, .epoch = context.claimed_.epoch};
    parting.entries.push_back(
        {.kind = EntryKind::stuck, .data = {{"code", code}, {"error", bounded(message)}}});
    parting.to = Transition{.to = State::stuck,
                            .error_code = code,
                            .error = bounded(message),
                            .release_key = context.may_release_key()};
    return parting;
}

void Worker::tell(const Context& context, const Advance& parting) const {
    const Transition& to = *parting.to;
    const std::int64_t age_ms = surroundings_.clock.now_ms() - context.created_at_ms();
    if (parting.continue_as)
        context.observe("", "continued", 0);
    else if (to.to == State::stuck)
        context.observe(parting.step, "stuck", parting.attempt, to.error_code, to.error, age_ms);
    else if (to.to == State::cancelled)
        context.observe("", "cancelled", 0, {}, {}, age_ms);
    else if (is_finished(to.to))
        context.observe("", to.to == State::completed ? "finished" : "instance_failed", 0,
                        to.error_code, to.error, age_ms);
}

}  // namespace steplog
