#include "engine/context.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "engine/entries.h"
#include "engine/replay.h"
#include "engine/step_run.h"

namespace steplog {
Context::Context(const Surroundings& surroundings, Claimed claimed)
    : surroundings_(surroundings),
      claimed_(std::move(claimed)),
      replay_(std::make_unique<Replay>()) {
    replay_->log = StepLog(claimed_.log);
}

Context::~Context() = default;

int Context::continuations() const {
    constexpr std::int64_t day_ms = 24 * 60 * 60 * 1000;
    const std::int64_t age_ms = surroundings_.clock.now_ms() - claimed_.created_at_ms;
    return replay_->log.resumes + static_cast<int>(std::max<std::int64_t>(age_ms, 0) / day_ms);
}

bool Context::finished(std::string_view step) const {
    const auto found = replay_->log.steps.find(step);
    return found != replay_->log.steps.end() &&
           found->second.status == StepRecord::Status::completed;
}

std::string Context::asked_for(std::string_view name) {
    stay_suspended();
    std::string step(name);
    if (replay_->in_step)
        stuck("nested_step",
              fmt::format("step {} was begun inside another step: a step may not contain steps",
                          step));
    if (step.empty() || step.size() > 255)
        stuck("bad_step_name", "a step's name must have 1 to 255 characters");
    if (!replay_->asked.insert(step).second)
        stuck(
            "duplicate_step",
            fmt::format("two steps of this workflow are named {}: a step is known by its name, so "
                        "put what tells them apart into it",
                        step));
    return step;
}

Json Context::step_json(std::string_view name, const StepOptions& options,
                        const std::function<Json(const Attempt&)>& effect) {
    const std::string step = asked_for(name);
    const StepRecord& record = replay_->log.step(step);
    if (record.status == StepRecord::Status::completed) {
        if (!record.result)
            stuck("result_forgotten",
                  fmt::format("the stored result of {} was forgotten or purged", step));
        return parse_stored(*record.result);
    }
    if (record.status == StepRecord::Status::failed)
        throw StepFailed(step, record.code, record.error);
    return StepRun(*this, step, options).run(effect);
}

void Context::undecodable(std::string_view name, const Json& stored, const std::string& why) {
    stuck("undecodable_result",
          fmt::format("the stored result of {} is {} {} and no longer converts to what the code "
                      "expects ({}): "
                      "deploy code that reads it",
                      name, stored.is_object() || stored.is_array() ? "an" : "a",
                      stored.type_name(), why));
}

void Context::sleep_for(std::string_view name, Ms duration) {
    const std::int64_t now_ms = surroundings_.clock.now_ms();
    const std::int64_t longest_ms = std::numeric_limits<std::int64_t>::max() - now_ms;
    sleep_until(name, now_ms + std::min<std::int64_t>(duration.count(), longest_ms));
}

void Context::sleep_until(std::string_view name, std::int64_t at_ms) {
    const std::string step = asked_for(name);
    // Written in one transaction with the state: whoever has claimed the instance since has seen
    // the time come, whatever the clock says now.
    if (replay_->log.timers.contains(step)) return;
    Advance begun{.instance = claimed_.seq, .epoch = claimed_.epoch, .step = step};
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

void Context::take_key(const std::string& key) {
    stay_suspended();
    if (claimed_.key == key) return;
    begin_no_more_if_draining();
    Advance advance{.instance = claimed_.seq, .epoch = claimed_.epoch, .take_key = key};
    advance.entries.push_back({.kind = EntryKind::key, .data = {{"key", key}}});
    const Advanced taken = commit(advance);
    claimed_.key = key;
    if (taken.queued) leave_as_stored();
}

void Context::stuck(const std::string& code, const std::string& message) {
    Advance outcome{.instance = claimed_.seq, .epoch = claimed_.epoch};
    outcome.entries.push_back(stuck_entry("", code, message));
    outcome.to = Transition{
        .to = State::stuck, .error_code = code, .error = message, .release_key = may_release_key()};
    suspend(std::move(outcome));
}

bool Context::may_release_key() const {
    if (claimed_.on_stuck != OnStuck::release_key) return false;
    for (const auto& [name, record] : replay_->log.steps)
        if (record.in_doubt || record.lost_since_ms > 0) return false;
    return true;
}

void Context::stay_suspended() const {
    if (replay_->suspended) throw Suspended{};
}

void Context::begin_no_more_if_draining() {
    if (!surroundings_.draining.stop_requested()) return;
    Advance leave{.instance = claimed_.seq, .epoch = claimed_.epoch};
    leave.to = Transition{.to = State::pending, .delay = Ms(0)};
    suspend(std::move(leave));
}

void Context::suspend(Advance with) {
    replay_->suspended = true;
    replay_->parting = std::move(with);
    throw Suspended{};
}

void Context::leave_as_stored() {
    replay_->suspended = true;
    throw Suspended{};
}

void Context::abandon() {
    replay_->suspended = true;
    replay_->parting.reset();
    replay_->abandoned = true;
    throw Suspended{};
}

void Context::hand_in(Advance outcome) {
    settle_handed_in();
    replay_->handed_in = outcome;
    replay_->handed_in_result = surroundings_.store.advance(std::move(outcome));
}

// Makes certain that the last outcome is durable; hands it in again after a full disk.
void Context::settle_handed_in() {
    while (replay_->handed_in) {
        try {
            if (!replay_->handed_in_result.valid()) {
                Advance again = *replay_->handed_in;
                again.lazy = false;
                replay_->handed_in_result = surroundings_.store.advance(std::move(again));
            } else if (replay_->handed_in_result.wait_for(Ms(0)) != std::future_status::ready) {
                surroundings_.store.flush();
            }
            replay_->handed_in_result.get();
            replay_->handed_in.reset();
        } catch (const StoreError& error) {
            wait_or_abandon(error);
        }
    }
}

Advanced Context::commit(const Advance& advance) {
    while (true) {
        // Not handed in after all, for want of memory: it comes first.
        if (replay_->handed_in && !replay_->handed_in_result.valid()) settle_handed_in();
        // Handed in behind the last outcome, so that one commit carries both.
        auto result = surroundings_.store.advance(advance);
        bool outcome_lost = false;
        if (replay_->handed_in) {
            try {
                replay_->handed_in_result.get();
                replay_->handed_in.reset();
            } catch (const StoreError& error) {
                outcome_lost = true;
                result.wait();
                wait_or_abandon(error);
            }
        }
        if (outcome_lost) settle_handed_in();
        try {
            Advanced advanced = result.get();
            if (!advanced.cancelled) return advanced;
            observe("", "cancelled", 0);
            if (advance.to) return advanced;
            leave_as_stored();
        } catch (const StoreError& error) {
            wait_or_abandon(error);
        }
    }
}

void Context::wait_or_abandon(const StoreError& error) {
    if (error.kind() == StoreError::Kind::constraint) {
        replay_->handed_in.reset();
        stuck("write_refused", bounded(error.what()));
    }
    const bool worth_waiting = error.kind() == StoreError::Kind::full &&
                               surroundings_.store.await_room(surroundings_.ending);
    if (!worth_waiting) abandon();
}

void Context::observe(const std::string& step, const char* what, int attempt,
                      const std::string& code, const std::string& error,
                      std::int64_t took_ms) const {
    if (!surroundings_.observe) return;
    surroundings_.observe({.instance = claimed_.id,
                           .workflow = claimed_.workflow,
                           .step = step,
                           .what = what,
                           .error_code = code,
                           .error = error,
                           .attempt = attempt,
                           .epoch = claimed_.epoch,
                           .took_ms = took_ms});
}

}  // namespace steplog
