// What the clock starts: schedules are defined, changed by people, and decided about, each in one
// transaction with the instance that is started. Decided with every claim, because to the engine a
// schedule that is due is one more thing that is due.
#include <fmt/format.h>

#include <stdexcept>

#include "engine/entries.h"
#include "engine/rfc3339.h"
#include "engine/transitions.h"

namespace steplog {
namespace {

constexpr std::size_t decided_at_once_max = 100;  // in one transaction; the rest is still due
constexpr int missed_counted_max = 10'000;        // in a row; beyond it the count is too small

StoreError refused(const std::string& why) { return {StoreError::Kind::constraint, why}; }

}  // namespace

struct Transitions::ScheduleRow {
    Schedule schedule;  // without its input
    std::int64_t input = 0;
    std::optional<std::int64_t> next_at_ms, due_at_ms;
    bool paused = false;

    std::int64_t due_of(std::int64_t at_ms) const {
        return due_with_jitter(schedule.name, at_ms, schedule.jitter);
    }
};

// --- defining
// -------------------------------------------------------------------------------------

void Transitions::define_schedules(const std::vector<Schedule>& schedules) {
    std::set<std::string> gone = names_of_schedules();
    for (const Schedule& schedule : schedules) {
        gone.erase(schedule.name);
        try {
            define_schedule(schedule);
        } catch (const std::invalid_argument& error) {
            throw refused(error.what());
        }
    }
    for (const std::string& name : gone) {
        Query(statements_,
              "DELETE FROM payloads WHERE id IN (SELECT input FROM schedules WHERE name=?)", name)
            .run();
        Query(statements_, "DELETE FROM schedules WHERE name=?", name).run();
    }
}

std::set<std::string> Transitions::names_of_schedules() {
    std::set<std::string> names;
    Query read(statements_, "SELECT name FROM schedules");
    while (read.next()) names.insert(read.text(0));
    return names;
}

void Transitions::define_schedule(const Schedule& schedule) {
    require_valid(schedule);
    const Cron cron(schedule.cron, schedule.time_zone);
    const auto fresh = cron.next_after_ms(now());
    const auto known = read_schedule(schedule.name);
    const std::string input = to_text(schedule.input);
    if (!known) {
        Query(statements_,
              "INSERT INTO schedules(name,workflow,version,cron,time_zone,overlap,key,on_stuck,"
              "catch_up_ms,jitter_ms,input,created_at_ms,updated_at_ms) "
              "VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
              schedule.name, schedule.workflow, schedule.version, schedule.cron, schedule.time_zone,
              steplog::to_string(schedule.overlap), or_null(key_of(schedule)),
              steplog::to_string(schedule.on_stuck), schedule.catch_up.count(),
              schedule.jitter.count(), write_schedule_input(schedule.name, input), now(), now())
            .run();
        set_next(schedule, false, fresh);
        return;
    }
    const Schedule& before = known->schedule;
    std::int64_t stored_input = known->input;
    if (payloads_.read(known->input).text != input) {
        Query(statements_, "DELETE FROM payloads WHERE id=?", known->input).run();
        stored_input = write_schedule_input(schedule.name, input);
    }
    Query(statements_,
          "UPDATE schedules SET workflow=?, version=?, cron=?, time_zone=?, overlap=?, key=?, "
          "on_stuck=?, "
          "catch_up_ms=?, jitter_ms=?, input=?, updated_at_ms=? WHERE name=?",
          schedule.workflow, schedule.version, schedule.cron, schedule.time_zone,
          steplog::to_string(schedule.overlap), or_null(key_of(schedule)),
          steplog::to_string(schedule.on_stuck), schedule.catch_up.count(), schedule.jitter.count(),
          stored_input, now(), schedule.name)
        .run();
    // What came due while no server ran stays to be decided. A time beyond the next one was
    // reckoned by a clock that stood ahead: ids keep what it started from being started twice.
    const bool same_times = before.cron == schedule.cron && before.time_zone == schedule.time_zone;
    const bool keep = same_times && known->next_at_ms && fresh && *known->next_at_ms <= *fresh;
    set_next(schedule, known->paused, keep ? known->next_at_ms : fresh);
}

std::int64_t Transitions::write_schedule_input(const std::string& name, const std::string& text) {
    return *payloads_.write(text, payloads_.data_key_for("schedule:" + name, now()));
}

void Transitions::set_next(const Schedule& schedule, bool paused,
                           std::optional<std::int64_t> next_at_ms) {
    std::optional<std::int64_t> due;
    if (next_at_ms && !paused) due = due_with_jitter(schedule.name, *next_at_ms, schedule.jitter);
    std::optional<std::string> error;
    if (!next_at_ms) error = "the next 60 years have no such time";
    Query(statements_, "UPDATE schedules SET next_at_ms=?, due_at_ms=?, error=? WHERE name=?",
          next_at_ms, due, error, schedule.name)
        .run();
}

// --- reading
// --------------------------------------------------------------------------------------

std::optional<Transitions::ScheduleRow> Transitions::read_schedule(const std::string& name) {
    Query read(
        statements_,
        "SELECT workflow, version, cron, time_zone, overlap, on_stuck, catch_up_ms, "
        "jitter_ms, input, next_at_ms, due_at_ms, paused_at_ms IS NOT NULL, key FROM schedules "
        "WHERE name=?",
        name);
    if (!read.next()) return std::nullopt;
    ScheduleRow row;
    row.schedule.name = name;
    row.schedule.workflow = read.text(0);
    row.schedule.version = static_cast<int>(read.integer(1));
    row.schedule.cron = read.text(2);
    row.schedule.time_zone = read.text(3);
    row.schedule.overlap = parse_overlap(read.text(4)).value_or(Overlap::skip);
    row.schedule.on_stuck = parse_on_stuck(read.text(5)).value_or(OnStuck::keep_key);
    row.schedule.catch_up = Ms(read.integer(6));
    row.schedule.jitter = Ms(read.integer(7));
    row.input = read.integer(8);
    row.next_at_ms = read.maybe_integer(9);
    row.due_at_ms = read.maybe_integer(10);
    row.paused = read.integer(11) != 0;
    row.schedule.key = read.text(12);
    return row;
}

std::optional<std::int64_t> Transitions::next_schedule_due_ms() {
    Query next(statements_,
               "SELECT due_at_ms FROM schedules WHERE due_at_ms<=9223372036854775807 ORDER BY "
               "due_at_ms LIMIT 1");  // a text, in a damaged index, is no time
    if (!next.next()) return std::nullopt;
    return next.integer(0);
}

std::string Transitions::holder_of(const std::string& key) {
    Query holder(statements_,
                 "SELECT id FROM instances WHERE key=? AND holds_key=1 ORDER BY seq LIMIT 1", key);
    return holder.next() ? holder.text(0) : "";
}

// --- deciding
// -------------------------------------------------------------------------------------

std::vector<ScheduleDecision> Transitions::decide_schedules() {
    std::vector<ScheduleDecision> decisions;
    for (std::size_t looked = 0; looked < decided_at_once_max; ++looked) {
        std::string name;
        {
            Query due(statements_,
                      "SELECT name FROM schedules WHERE due_at_ms<=? ORDER BY due_at_ms, name "
                      "LIMIT 1",
                      now());
            if (!due.next()) break;
            name = due.text(0);
        }
        const auto row = read_schedule(name);
        if (!row || !row->next_at_ms || row->due_at_ms.value_or(INT64_MAX) > now())
            throw refused(
                "a schedule is due that is not there, or is not due: the database is damaged, "
                "restore a backup");
        try {
            decide(*row, Cron(row->schedule.cron, row->schedule.time_zone), decisions);
        } catch (const std::invalid_argument& error) {
            // Read when it was defined, and not any more: time zones of the system have changed.
            Query(statements_,
                  "UPDATE schedules SET next_at_ms=NULL, due_at_ms=NULL, error=? WHERE name=?",
                  error.what(), name)
                .run();
        }
    }
    return decisions;
}

void Transitions::decide(const ScheduleRow& row, const Cron& cron,
                         std::vector<ScheduleDecision>& decisions) {
    const Schedule& schedule = row.schedule;
    ScheduleDecision decision{.schedule = schedule.name, .workflow = schedule.workflow};
    const std::int64_t too_old_ms = now() - schedule.catch_up.count();
    std::optional<std::int64_t> next = row.next_at_ms;
    if (*row.due_at_ms < too_old_ms) {
        decision.outcome = ScheduleDecision::Outcome::missed;
        decision.count = 0;
        while (next && row.due_of(*next) < too_old_ms) {
            decision.at_ms = *next;
            const bool counts = ++decision.count < missed_counted_max;
            next = cron.next_after_ms(counts ? *next : std::max(*next, too_old_ms - 1));
        }
    } else {
        decision.at_ms = *next;
        next = cron.next_after_ms(*next);
        if (find_instance(id_of(row, decision, false)))
            decision.count = 0;  // by a clock that stood ahead, before it was set back
        else if (schedule.overlap == Overlap::skip && !holder_of(schedule.key).empty())
            decision.outcome = ScheduleDecision::Outcome::skipped;
        else
            start_scheduled(row, decision, false);
    }
    set_next(schedule, false, next);
    if (decision.count == 0) return;
    note(decision);
    decisions.push_back(std::move(decision));
}

void Transitions::note(const ScheduleDecision& decision) {
    using Decided = ScheduleDecision::Outcome;
    const auto counted = [&](Decided outcome) {
        return decision.outcome == outcome ? decision.count : 0;
    };
    Query(statements_,
          "UPDATE schedules SET last_at_ms=?, last_outcome=?, last_instance=coalesce(?, "
          "last_instance), started=started+?, skipped=skipped+?, missed=missed+?, updated_at_ms=? "
          "WHERE name=?",
          decision.at_ms, steplog::to_string(decision.outcome), or_null(decision.instance),
          counted(Decided::started), counted(Decided::skipped), counted(Decided::missed), now(),
          decision.schedule)
        .run();
}

std::string Transitions::id_of(const ScheduleRow& row, const ScheduleDecision& decision,
                               bool triggered) {
    return scheduled_instance_id(row.schedule.workflow, row.schedule.name, decision.at_ms,
                                 triggered);
}

// Throws std::invalid_argument when the schedule's own input cannot be read.
void Transitions::start_scheduled(const ScheduleRow& row, ScheduleDecision& decision,
                                  bool triggered) {
    const Schedule& schedule = row.schedule;
    const Payloads::Body stored = payloads_.read(row.input);
    Json input = parse_stored(stored.text.value_or(""));
    if (!input.is_object())
        throw std::invalid_argument("its input cannot be read: start the program that defines it");
    input["scheduled_at"] = format_rfc3339(decision.at_ms);

    NewInstance instance{.id = id_of(row, decision, triggered),
                         .workflow = schedule.workflow,
                         .version = schedule.version,
                         .key = schedule.key,
                         .on_stuck = schedule.on_stuck,
                         .input = to_text(input),
                         .caused_at_ms = decision.at_ms};
    if (schedule.overlap == Overlap::cancel_other) cancel_others(schedule);
    BodyHashes hashes;
    hashes.input = keyed_hash(payload_hash_key_, *instance.input);
    accept(std::nullopt, instance, false, hashes);
    decision.instance = instance.id;
}

void Transitions::cancel_others(const Schedule& schedule) {
    cancel_all_of_key(schedule.key, {.actor = "schedule:" + schedule.name,
                                     .reason = "its schedule is due again"});
}

// --- people
// ---------------------------------------------------------------------------------------

ScheduleChanged Transitions::change_schedule(const ScheduleChange& change) {
    const auto row = read_schedule(change.name);
    if (!row)
        return {.refused = "there is no such schedule: workflow-inspect schedules lists them"};
    ScheduleChanged changed;
    Json detail = Json::object();
    try {
        switch (change.kind) {
            case ScheduleChange::Kind::pause:
                changed.refused = pause(*row);
                break;
            case ScheduleChange::Kind::unpause:
                changed.refused = unpause(*row);
                break;
            case ScheduleChange::Kind::trigger:
                changed.refused = trigger(*row, changed.instance);
                detail["instance"] = changed.instance;
                break;
        }
    } catch (const std::invalid_argument& error) {
        changed.refused = error.what();
    }
    if (!changed.refused.empty()) return changed;
    if (!change.reason.empty()) detail["reason"] = bounded(change.reason);
    audit(change.actor, fmt::format("schedule-{}", steplog::to_string(change.kind)), change.name,
          detail);
    const auto now_is = read_schedule(change.name);
    if (!now_is->paused) changed.next_at_ms = now_is->next_at_ms;
    return changed;
}

std::string Transitions::pause(const ScheduleRow& row) {
    if (row.paused) return "it is paused already";
    Query(statements_,
          "UPDATE schedules SET paused_at_ms=?1, due_at_ms=NULL, updated_at_ms=?1 WHERE name=?2",
          now(), row.schedule.name)
        .run();
    return "";
}

// The times that passed meanwhile are not made up for: that is what a pause means.
std::string Transitions::unpause(const ScheduleRow& row) {
    if (!row.paused) return "it is not paused";
    const Cron cron(row.schedule.cron, row.schedule.time_zone);
    Query(statements_, "UPDATE schedules SET paused_at_ms=NULL, updated_at_ms=? WHERE name=?",
          now(), row.schedule.name)
        .run();
    set_next(row.schedule, false, cron.next_after_ms(now()));
    return "";
}

std::string Transitions::trigger(const ScheduleRow& row, std::string& instance) {
    const std::string holder = holder_of(row.schedule.key);
    if (row.schedule.overlap == Overlap::skip && !holder.empty())
        return fmt::format("{} is unfinished, and its overlap policy is skip", holder);
    ScheduleDecision decision{
        .schedule = row.schedule.name, .workflow = row.schedule.workflow, .at_ms = now()};
    if (find_instance(id_of(row, decision, true))) return "it was triggered this very moment";
    start_scheduled(row, decision, true);
    Query(statements_, "UPDATE schedules SET last_instance=?, started=started+1 WHERE name=?",
          decision.instance, row.schedule.name)
        .run();
    instance = decision.instance;
    return "";
}

}  // namespace steplog
