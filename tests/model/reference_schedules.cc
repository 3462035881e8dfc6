// What the clock starts, of what a store must contain.
#include <algorithm>

#include "engine/entries.h"
#include "engine/rfc3339.h"
#include "tests/model/reference.h"

namespace steplog::testing {
namespace {

constexpr int decided_at_once_max = 100;

std::optional<std::int64_t> next_after(const Schedule& schedule, std::int64_t at_ms) {
    return Cron(schedule.cron, schedule.time_zone).next_after_ms(at_ms);
}

std::int64_t due_of(const Schedule& schedule, std::int64_t at_ms) {
    return due_with_jitter(schedule.name, at_ms, schedule.jitter);
}

}  // namespace

void Reference::define_schedules(std::int64_t now_ms, const std::vector<Schedule>& schedules) {
    for (const Schedule& schedule : schedules) define_schedule(now_ms, schedule);
    std::erase_if(schedules_, [&](const auto& row) {
        return std::none_of(schedules.begin(), schedules.end(),
                            [&](const Schedule& schedule) { return schedule.name == row.first; });
    });
}

void Reference::define_schedule(std::int64_t now_ms, const Schedule& schedule) {
    const auto [found, is_new] = schedules_.try_emplace(schedule.name);
    ReferenceSchedule& row = found->second;
    if (is_new) row.created_at_ms = now_ms;
    if (const std::string input = to_text(schedule.input); is_new || input != row.input) {
        row.input = input;
        row.input_sealed_by = seal_for("schedule:" + schedule.name);
    }
    const bool other_times =
        row.schedule.cron != schedule.cron || row.schedule.time_zone != schedule.time_zone;
    row.schedule = schedule;
    row.schedule.key = key_of(schedule);
    row.updated_at_ms = now_ms;
    // What came due while nobody looked is still decided; a time from a wrong clock's future is
    // not.
    const auto fresh = next_after(schedule, now_ms);
    if (other_times || !row.next_at_ms || *row.next_at_ms > *fresh)
        set_next(row, fresh);
    else
        set_next(row, row.next_at_ms);
}

void Reference::set_next(ReferenceSchedule& row, std::optional<std::int64_t> next_at_ms) {
    row.next_at_ms = next_at_ms;
    row.due_at_ms.reset();
    if (!row.paused_at_ms) row.due_at_ms = due_of(row.schedule, *next_at_ms);
}

std::optional<std::int64_t> Reference::next_schedule_due_ms() const {
    std::optional<std::int64_t> next;
    for (const auto& [name, row] : schedules_)
        if (row.due_at_ms && (!next || *row.due_at_ms < *next)) next = row.due_at_ms;
    return next;
}

const ReferenceInstance* Reference::holder_of(const std::string& key) const {
    for (const auto& [seq, instance] : instances_)
        if (instance.holds_key && instance.key == key) return &instance;
    return nullptr;
}

std::vector<ScheduleDecision> Reference::decide_schedules(std::int64_t now_ms) {
    std::vector<ScheduleDecision> decisions;
    for (int looked = 0; looked < decided_at_once_max; ++looked) {
        ReferenceSchedule* first = nullptr;
        for (auto& [name, row] : schedules_)
            if (row.due_at_ms && *row.due_at_ms <= now_ms &&
                (!first || *row.due_at_ms < *first->due_at_ms))
                first = &row;
        if (!first) break;
        if (auto decision = decide(*first, now_ms)) decisions.push_back(std::move(*decision));
    }
    return decisions;
}

// Nothing for a time that was decided before the clock was set back.
std::optional<ScheduleDecision> Reference::decide(ReferenceSchedule& row, std::int64_t now_ms) {
    using Outcome = ScheduleDecision::Outcome;
    const Schedule& schedule = row.schedule;
    ScheduleDecision decision{.schedule = schedule.name, .workflow = schedule.workflow};
    const std::int64_t oldest_ms = now_ms - schedule.catch_up.count();
    std::int64_t next_ms = *row.next_at_ms;
    bool known = false;
    if (due_of(schedule, next_ms) < oldest_ms) {
        decision.outcome = Outcome::missed;
        decision.count = 0;
        for (; due_of(schedule, next_ms) < oldest_ms; next_ms = *next_after(schedule, next_ms)) {
            decision.at_ms = next_ms;
            ++decision.count;
        }
        row.missed += decision.count;
    } else {
        decision.at_ms = next_ms;
        next_ms = *next_after(schedule, next_ms);
        known = find_known(scheduled_instance_id(schedule.workflow, schedule.name, decision.at_ms,
                                                 false)) != nullptr;
        if (!known && schedule.overlap == Overlap::skip && holder_of(schedule.key)) {
            decision.outcome = Outcome::skipped;
            ++row.skipped;
        } else if (!known) {
            start_scheduled(row, now_ms, decision, false);
            row.last_instance = decision.instance;
            ++row.started;
        }
    }
    set_next(row, next_ms);
    if (known) return std::nullopt;
    row.last_at_ms = decision.at_ms;
    row.last_outcome = to_string(decision.outcome);
    row.updated_at_ms = now_ms;
    return decision;
}

void Reference::start_scheduled(const ReferenceSchedule& row, std::int64_t now_ms,
                                ScheduleDecision& decision, bool triggered) {
    const Schedule& schedule = row.schedule;
    if (schedule.overlap == Overlap::cancel_other) {
        cancel(acting_, now_ms,
               {.ids = unfinished_of_key(schedule.key),
                .actor = "schedule:" + schedule.name,
                .reason = "its schedule is due again"});
    }
    Json input = schedule.input;
    input["scheduled_at"] = format_rfc3339(decision.at_ms);
    decision.instance =
        scheduled_instance_id(schedule.workflow, schedule.name, decision.at_ms, triggered);
    accept(acting_, now_ms, std::nullopt,
           NewInstance{.id = decision.instance,
                       .workflow = schedule.workflow,
                       .version = schedule.version,
                       .key = schedule.key,
                       .on_stuck = schedule.on_stuck,
                       .input = to_text(input),
                       .caused_at_ms = decision.at_ms},
           false);
}

ScheduleChanged Reference::change_schedule(std::int64_t owner, std::int64_t now_ms,
                                           const ScheduleChange& change) {
    acting_ = owner;
    const auto found = schedules_.find(change.name);
    if (found == schedules_.end()) return {.refused = "there is none"};
    ReferenceSchedule& row = found->second;
    ScheduleChanged changed;
    if (change.kind == ScheduleChange::Kind::trigger) {
        ScheduleDecision decision{.at_ms = now_ms};
        const Schedule& schedule = row.schedule;
        if ((schedule.overlap == Overlap::skip && holder_of(schedule.key)) ||
            find_known(scheduled_instance_id(schedule.workflow, schedule.name, now_ms, true)))
            return {.refused = "not now"};
        start_scheduled(row, now_ms, decision, true);
        changed.instance = row.last_instance = decision.instance;
        ++row.started;
    } else {
        const bool pause = change.kind == ScheduleChange::Kind::pause;
        if (pause == row.paused_at_ms.has_value()) return {.refused = "it is so already"};
        row.paused_at_ms = pause ? std::optional(now_ms) : std::nullopt;
        row.updated_at_ms = now_ms;
        set_next(row, pause ? row.next_at_ms : next_after(row.schedule, now_ms));
    }
    ++audited_;
    if (!row.paused_at_ms) changed.next_at_ms = row.next_at_ms;
    return changed;
}

}  // namespace steplog::testing
