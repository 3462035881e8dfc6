// What an instance waits for: a time, a signal, a child, a key. Each is written down in one
// transaction with the state, so that whoever claims it next knows what came.
#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "engine/context.h"
#include "engine/entries.h"
#include "engine/replay.h"
#include "engine/workflow.h"

namespace steplog {
namespace {

std::int64_t later(std::int64_t now_ms, Ms duration) {
    const std::int64_t longest_ms = std::numeric_limits<std::int64_t>::max() - now_ms;
    return now_ms + std::min<std::int64_t>(duration.count(), longest_ms);
}

}  // namespace

void Context::sleep_for(std::string_view name, Ms duration) {
    sleep_until(name, later(surroundings_.clock.now_ms(), duration));
}

void Context::sleep_until(std::string_view name, std::int64_t at_ms) {
    const std::string step = asked_for(name, EntryKind::timer);
    // Written in one transaction with the state: whoever has claimed the instance since has seen
    // the time come, whatever the clock says now.
    if (replay_->log.timers.contains(step)) return;
    Advance begun{.instance = claimed_.seq, .epoch = claimed_.epoch, .step = step};
    leave_if_cancelling();
    begun.progress = true;
    begun.entries.push_back(
        {.step = step, .kind = EntryKind::timer, .data = {{"due_at_ms", at_ms}}});
    if (at_ms <= surroundings_.clock.now_ms()) {
        begun.lazy = true;
        hand_in(std::move(begun));
        return;
    }
    begun.to = Transition{.to = State::sleeping, .waits_for = WaitsFor::timer, .due_at_ms = at_ms};
    observe(step, "sleeps", 0);
    suspend(std::move(begun));
}

std::optional<Json> Context::wait_for_json(std::string_view name, const WaitOptions& options) {
    const std::string wait = asked_for(name, EntryKind::signal);
    const std::string& signal = options.signal.empty() ? wait : options.signal;
    if (signal.size() > 255)
        stuck("bad_step_name", "a signal's name must have 1 to 255 characters");
    const auto known = replay_->log.waits.find(wait);
    const bool begun = known != replay_->log.waits.end();
    if (begun && known->second.timed_out) return std::nullopt;
    if (begun && known->second.taken > 0)
        return signal_of(name, replay_->log.signals[known->second.taken]);
    if (begun && known->second.signal != signal)
        replay_->differences.push_back(
            {wait, "other_signal",
             fmt::format("it began to wait for the signal {}, and the code waits for {}",
                         known->second.signal, signal)});
    leave_if_cancelling();
    begin_no_more_if_draining();
    AwaitSignal await{.wait = wait,
                      .signal = signal,
                      .first_only = options.policy == SignalPolicy::first,
                      .begun = begun};
    if (begun)
        await.until_ms = known->second.until_ms;
    else if (options.timeout)
        await.until_ms = later(surroundings_.clock.now_ms(), *options.timeout);
    const Advanced advanced = commit({.instance = claimed_.seq,
                                      .epoch = claimed_.epoch,
                                      .step = wait,
                                      .await_signal = await,
                                      .progress = true});
    switch (advanced.awaited.value_or(Awaited{}).kind) {
        case Awaited::Kind::taken:
            observe(wait, "signalled", 0);
            return signal_of(name, advanced.awaited->payload);
        case Awaited::Kind::timed_out:
            observe(wait, "timed_out", 0);
            return std::nullopt;
        case Awaited::Kind::waiting:
            break;
    }
    observe(wait, "waits", 0);
    replay_->due_at_ms = await.until_ms;
    leave_as_stored();
}

Json Context::signal_of(std::string_view name, const std::optional<std::string>& payload) {
    if (!payload)
        stuck("result_forgotten",
              fmt::format("the signal that {} took was forgotten or purged", name));
    return parse_stored(*payload);
}

std::string Context::start_child(std::string_view name, const std::string& workflow,
                                 const Json& input, const ChildOptions& options) {
    const std::string step = asked_for(name, EntryKind::child);
    const auto known = replay_->log.children.find(step);
    if (known != replay_->log.children.end()) {
        if (known->second.workflow != workflow)
            replay_->differences.push_back(
                {step, "other_workflow",
                 fmt::format("the child was started as {}, and the code starts {}",
                             known->second.workflow, workflow)});
        return known->second.id;
    }
    leave_if_cancelling();
    begin_no_more_if_draining();
    std::string input_text = to_text(input);
    require_size("the input of the child " + step, input_text.size(),
                 surroundings_.limits.input_bytes_max, "input_bytes_max");
    StartChild start{.name = step, .on_close = options.on_close};
    start.instance = {
        .id = options.id.empty() ? claimed_.id + "/" + step : options.id,
        .workflow = workflow,
        .version = surroundings_.registry.version_for(workflow, options.version),
        .key = options.key,
        .key_holders_max =
            surroundings_.flow ? surroundings_.flow->of_workflow(workflow).key_holders_max : 1,
        .on_stuck = options.on_stuck,
        .input = std::move(input_text),
        .delay = options.delay,
        .deadline = options.deadline,
        .priority = options.priority.value_or(claimed_.priority)};
    std::string id = start.instance.id;
    replay_->log.children[step] = {id, workflow, options.on_close == OnParentClose::await};
    commit({.instance = claimed_.seq,
            .epoch = claimed_.epoch,
            .step = step,
            .start_child = std::move(start),
            .progress = true});
    observe(step, "child_started", 0);
    if (surroundings_.due_now) surroundings_.due_now();
    return id;
}

Json Context::await_child_json(std::string_view name) {
    stay_suspended();
    const auto started = replay_->log.children.find(name);
    if (started == replay_->log.children.end())
        stuck("unknown_child", fmt::format("no child was started under the name {}", name));
    const std::string& child = started->second.id;
    const std::string wait = fmt::format("end of {}", name);
    replay_->ends_awaited.insert(wait);
    auto end = replay_->log.child_ends.find(child);
    if (end == replay_->log.child_ends.end()) {
        replay_->at = wait;
        leave_if_cancelling();
        begin_no_more_if_draining();
        const Advanced advanced = commit({.instance = claimed_.seq,
                                          .epoch = claimed_.epoch,
                                          .step = wait,
                                          .await_child = AwaitChild{wait, child},
                                          .progress = true});
        if (!advanced.child_end) {
            observe(wait, "waits", 0);
            leave_as_stored();
        }
        const ChildEnd& ended = *advanced.child_end;
        end = replay_->log.child_ends
                  .insert_or_assign(child, ChildEndRecord{std::string(to_string(ended.state)),
                                                          ended.code, ended.error, ended.output})
                  .first;
    }
    const ChildEndRecord& record = end->second;
    if (record.ended != to_string(State::completed))
        throw ChildFailed(child, record.code.empty() ? "child_" + record.ended : record.code,
                          fmt::format("the child {} was {}{}{}", name, record.ended,
                                      record.error.empty() ? "" : ": ", record.error));
    if (!record.output)
        stuck("result_forgotten",
              fmt::format("the output of the child {} was forgotten or purged", name));
    return parse_stored(*record.output);
}

// Before it completes: those that were started to be awaited, and were not.
void Context::await_children() {
    std::vector<std::string> names;
    for (const auto& [name, child] : replay_->log.children)
        if (child.awaited_at_the_end) names.push_back(name);
    for (const std::string& name : names) {
        try {
            await_child_json(name);
        } catch (const ChildFailed&) {
            // Nobody asked how it ended.
        }
    }
}

void Context::take_key(const std::string& key) {
    stay_suspended();
    replay_->keys_taken.insert(key);
    if (claimed_.key == key) return;
    replay_->at = "a key";
    leave_if_cancelling();
    begin_no_more_if_draining();
    Advance advance{.instance = claimed_.seq, .epoch = claimed_.epoch, .take_key = key};
    advance.entries.push_back({.kind = EntryKind::key, .data = {{"key", key}}});
    const Advanced taken = commit(advance);
    claimed_.key = key;
    if (taken.queued) leave_as_stored();
}

}  // namespace steplog
