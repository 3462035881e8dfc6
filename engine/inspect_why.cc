// Why an instance stands where it stands, in one sentence: for every state, and everything it can
// wait for.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "engine/entries.h"
#include "engine/file_lock.h"
#include "engine/inspect.h"
#include "engine/inspect_file.h"
#include "engine/inspect_redact.h"
#include "engine/inspect_rows.h"
#include "engine/rfc3339.h"
#include "engine/run_id.h"

namespace steplog {
namespace {

// What must be looked up beside the row.
struct Facts {
    std::int64_t now_ms = 0;
    std::string holder;  // id of the first instance that holds its key
    std::int64_t holders = 0;
    State holder_state = State::pending;
    std::int64_t ahead = 0;              // of it in the line for its key
    std::int64_t queued_behind = 0;      // in the line for the key that it holds
    std::string once_owner;              // id of the instance that is at its once key
    bool in_doubt = false;               // the last attempt's effect may have happened
    std::optional<BreakerView> breaker;  // of the provider that it waits for
    Rate rate;                           // at which it waits for its turn
    std::int64_t turns_before = 0;       // … and how many are before it
    std::string continued_as;            // id of the run that followed it
    std::string cancelled;               // who ended it, where it stood, and why
    std::string paused;                  // who paused it, and why
    std::optional<std::int64_t> workflow_paused_since_ms;
    bool nobody_runs = false;                   // no server has the database
    std::optional<std::int64_t> lost_since_ms;  // restored: its next step may have run since then
};

std::string shown(const std::string& text) { return printable(redact_text(text)); }

std::string instant(std::int64_t at_ms) { return format_rfc3339(at_ms); }

std::string since(const InstanceRow& row, const Facts& facts) {
    return fmt::format("since {} ({})", instant(row.updated_at_ms),
                       rough_span(facts.now_ms - row.updated_at_ms));
}

std::string until(std::int64_t at_ms, const Facts& facts) {
    if (at_ms <= facts.now_ms) return fmt::format("now (it was due at {})", instant(at_ms));
    return fmt::format("at {} (in {})", instant(at_ms), rough_span(at_ms - facts.now_ms));
}

std::string at_step(const InstanceRow& row) {
    return row.step.empty() ? "" : fmt::format(" at step {}", shown(row.step));
}

std::string with_error(const InstanceRow& row) {
    if (row.error_code.empty() && row.error.empty()) return "";
    if (row.error.empty()) return fmt::format(" ({})", shown(row.error_code));
    if (row.error_code.empty()) return fmt::format(" ({})", shown(row.error));
    return fmt::format(" ({}: {})", shown(row.error_code), shown(row.error));
}

// A time without a server to keep it is no promise.
std::string if_running(const Facts& facts) {
    return facts.nobody_runs ? ", once workflow-server runs (it does not now)" : "";
}

struct Parts {
    std::string what;  // "is stuck at step x since …"
    std::string next;  // what happens by itself
    std::string command;
    std::string how;  // what the command does: "{command} …"
};

Parts explain_stuck(const InstanceRow& row, const Facts& facts) {
    Parts parts;
    parts.what = fmt::format("is stuck{} {}{}", at_step(row), since(row, facts), with_error(row));
    if (facts.in_doubt && row.error_code != "in_doubt")
        parts.what += ", and its last attempt is in doubt: the effect may have happened";
    if (facts.queued_behind > 0)
        parts.what += fmt::format(", and {} more of its key {} behind it", facts.queued_behind,
                                  facts.queued_behind == 1 ? "waits" : "wait");
    if (row.error_code == "log_damaged") {
        parts.how = "workflow-resume refuses it, because its log does not verify: restore a backup";
        return parts;
    }
    parts.command = "workflow-resume " + row.id;
    if (row.error_code == unknown_version_code) {
        parts.how = fmt::format("when a program that has version {} of {} is deployed", row.version,
                                shown(row.workflow));
        return parts;
    }
    parts.how = facts.in_doubt ? "when you have looked at the provider and the step may be repeated"
                               : "when the cause is gone";
    return parts;
}

// "50 times in 1 s"
std::string spoken(const Rate& rate) {
    if (rate.limit == 1) return fmt::format("once in {}", rough_span(rate.period.count()));
    return fmt::format("{} times in {}", rate.limit, rough_span(rate.period.count()));
}

// As many have begun in this time as may.
Parts explain_turn(const InstanceRow& row, const Limit& limit, const Facts& facts) {
    const bool workflow = limit.scope == LimitOf::workflow;
    Parts parts;
    parts.what = fmt::format("is parked{} {} until it is its turn: the {} {} {} {}", at_step(row),
                             since(row, facts), workflow ? "workflow" : "provider",
                             shown(limit.name), workflow ? "begins at most" : "is called at most",
                             facts.rate.limit > 0 ? spoken(facts.rate) : "so many times");
    const bool has_turn = row.due_at_ms && *row.due_at_ms <= row.updated_at_ms;
    parts.next = has_turn ? "goes on now" : "goes on when it is its turn";
    if (!has_turn && facts.rate.limit > 0) {
        const double each_ms =
            static_cast<double>(facts.rate.period.count()) / std::max(facts.rate.limit, 1);
        const auto wait_ms =
            static_cast<std::int64_t>(static_cast<double>(facts.turns_before + 1) * each_ms);
        parts.next += fmt::format(", with {} before it, within {}", facts.turns_before,
                                  rough_span(std::max<std::int64_t>(wait_ms, 1000)));
    }
    parts.next += if_running(facts);
    return parts;
}

// There are as many at work as may be.
Parts explain_crowded(const InstanceRow& row, const Limit& limit, const Facts& facts) {
    const auto& [kind, scope, name] = limit;
    const bool workflow = scope == LimitOf::workflow;
    Parts parts;
    if (scope == LimitOf::entity) {
        parts.what = fmt::format("is parked{} {} because another instance updates the same thing",
                                 at_step(row), since(row, facts));
        parts.next = "goes on when that attempt has ended" + if_running(facts);
        return parts;
    }
    parts.what = fmt::format("is parked{} {} because as many {} {} as may at the same time",
                             at_step(row), since(row, facts),
                             workflow ? "instances of the workflow" : "steps of the provider",
                             shown(name) + " run");
    parts.next = "goes on when one of them has ended" + if_running(facts);
    return parts;
}

Parts explain_parked(const InstanceRow& row, const Facts& facts) {
    if (const auto limit = parse_limit(row.waits_detail))
        return limit->kind == Limit::Kind::rate ? explain_turn(row, *limit, facts)
                                                : explain_crowded(row, *limit, facts);
    const std::string provider = shown(row.waits_detail);
    const bool paused = facts.breaker && facts.breaker->held_at_ms;
    Parts parts;
    parts.what = fmt::format(
        "is parked{} {} because the provider {} {}{}", at_step(row), since(row, facts), provider,
        paused ? fmt::format("was paused at {}", instant(*facts.breaker->held_at_ms))
               : std::string("is out of order"),
        with_error(row));
    if (paused) {
        parts.command = "workflow-admin unpause --provider " + row.waits_detail;
        parts.how = "when it may be called again";
        return parts;
    }
    parts.command = "workflow-resume " + row.id;
    parts.how = "to try at once";
    std::string tried;
    if (facts.breaker && facts.breaker->state == BreakerState::half_open)
        tried = fmt::format(": it is being tried, and those parked follow a few at a time");
    else if (facts.breaker && facts.breaker->next_at_ms)
        tried = fmt::format(": one instance tries it {}", until(*facts.breaker->next_at_ms, facts));
    parts.next =
        fmt::format("goes on when the provider answers again{}{}", tried, if_running(facts));
    if (row.due_at_ms)
        parts.next += fmt::format("; becomes stuck {}", until(*row.due_at_ms, facts));
    return parts;
}

// What it would be otherwise stands in its place; a time that passes meanwhile does not pass by.
Parts explain_paused(const InstanceRow& row, const Facts& facts) {
    const Json place = rows::read_data(row.waits_detail);
    const bool with_its_workflow = place.contains("workflow");
    Parts parts;
    parts.what = fmt::format("is paused{} {}{}", at_step(row), since(row, facts),
                             with_its_workflow ? ", because its workflow is" : facts.paused);
    const auto due = place.find("due_at_ms");
    if (due != place.end() && due->is_number_integer() && due->get<std::int64_t>() > facts.now_ms)
        parts.what += fmt::format("; it would go on {}", until(due->get<std::int64_t>(), facts));
    parts.command =
        "workflow-admin unpause " + (with_its_workflow ? "--workflow " + row.workflow : row.id);
    parts.how = "when it may go on from where it stands";
    return parts;
}

Parts explain_sleeping(const InstanceRow& row, const Facts& facts) {
    if (row.waits_for == WaitsFor::circuit) return explain_parked(row, facts);
    if (row.waits_for == WaitsFor::pause) return explain_paused(row, facts);
    Parts parts;
    const std::string wakes =
        row.due_at_ms ? until(*row.due_at_ms, facts) : std::string("at a time nobody has set");
    if (row.waits_for == WaitsFor::timer) {
        parts.what = fmt::format("sleeps{} {} because its workflow wants to wait", at_step(row),
                                 since(row, facts));
        parts.next = fmt::format("goes on {}{}", wakes, if_running(facts));
    } else {
        parts.what = fmt::format("waits {} between attempts{} ({} so far{}){}", since(row, facts),
                                 at_step(row), row.attempt,
                                 facts.in_doubt ? ", the last one in doubt" : "", with_error(row));
        parts.next = fmt::format("tries again {}{}", wakes, if_running(facts));
        parts.command = "workflow-resume " + row.id;
        parts.how = "to try at once";
    }
    return parts;
}

Parts explain_waiting(const InstanceRow& row, const Facts& facts) {
    Parts parts;
    const std::string detail = shown(row.waits_detail);
    std::string otherwise;
    if (row.due_at_ms)
        otherwise = fmt::format(", or its {} passes {}{}",
                                row.due_at_ms == row.deadline_ms ? "deadline" : "time-out",
                                until(*row.due_at_ms, facts), if_running(facts));
    if (row.waits_for == WaitsFor::once) {
        parts.what = fmt::format("waits{} {} for {}, which instance {} is at", at_step(row),
                                 since(row, facts), detail,
                                 facts.once_owner.empty() ? "another" : shown(facts.once_owner));
        parts.next =
            "goes on when that one has finished it, refused it or ended" + if_running(facts);
        if (!facts.once_owner.empty()) {
            parts.command = "workflow-inspect why " + facts.once_owner;
            parts.how = "to see what that one waits for";
        }
    } else if (row.waits_for == WaitsFor::child &&
               first_run(row.waits_detail) == first_run(row.id)) {
        parts.what =
            fmt::format("waits {} for {}, which it replaces, to end", since(row, facts), detail);
        parts.next = "begins when that one has ended" + otherwise + if_running(facts);
        parts.command = "workflow-inspect why " + row.waits_detail;
        parts.how = "to see what that one is at";
    } else if (row.waits_for == WaitsFor::child) {
        parts.what = fmt::format("waits {} for its child {}", since(row, facts), detail);
        parts.next = "goes on when the child has ended" + otherwise + if_running(facts);
        if (!row.waits_detail.empty()) {
            parts.command = "workflow-inspect why " + row.waits_detail;
            parts.how = "to see what the child waits for";
        }
    } else {
        parts.what = fmt::format("waits {} for the signal {}", since(row, facts), detail);
        parts.next = "goes on when the signal arrives" + otherwise;
        parts.command = fmt::format("workflow-admin signal {} {}", row.id, row.waits_detail);
        parts.how = "to send it";
    }
    return parts;
}

Parts explain_queued(const InstanceRow& row, const Facts& facts) {
    Parts parts;
    parts.what = fmt::format("is queued {} for the key {}", since(row, facts), shown(row.key));
    if (facts.holder.empty()) {
        parts.what += ", which nobody holds: that must not be";
        parts.command = "workflow-inspect check";
        parts.how = "to find out what is broken";
        return parts;
    }
    parts.what +=
        fmt::format(", held by {} ({})", shown(facts.holder), to_string(facts.holder_state));
    if (facts.holders > 1) parts.what += fmt::format(" and {} more", facts.holders - 1);
    if (facts.ahead > 0) parts.what += fmt::format(", with {} before it in the line", facts.ahead);
    if (is_paused_in_line(row)) {
        parts.what += fmt::format(", and is paused{}: it stops when its turn comes", facts.paused);
        parts.command = "workflow-admin unpause " + row.id;
        parts.how = "when it may go on then";
        return parts;
    }
    if (facts.holder_state == State::stuck) {
        parts.next = "goes on when that one is resumed and ends" + if_running(facts);
        parts.command = "workflow-resume " + facts.holder;
        parts.how = "when the cause is gone";
    } else {
        parts.next =
            "goes on when that one ends or becomes stuck and lets the key go" + if_running(facts);
        parts.command = "workflow-inspect why " + facts.holder;
        parts.how = "to see what that one waits for";
    }
    return parts;
}

Parts explain_active(const InstanceRow& row, const Facts& facts) {
    Parts parts;
    if (row.state == State::pending) {
        parts.what = fmt::format("waits for a free worker {}", since(row, facts));
        const bool later = row.due_at_ms && *row.due_at_ms > facts.now_ms;
        parts.next = later ? fmt::format("starts {}", until(*row.due_at_ms, facts))
                           : "is taken by a worker at once";
        parts.next += if_running(facts);
        if (facts.workflow_paused_since_ms) {
            parts.what += fmt::format(", and its workflow was paused at {}",
                                      instant(*facts.workflow_paused_since_ms));
            parts.next = "";
            parts.command = "workflow-admin unpause --workflow " + row.workflow;
            parts.how = "when it may begin";
        }
        if (row.cancel_requested_at_ms) {
            parts.what +=
                fmt::format(", and was asked at {} to end", instant(*row.cancel_requested_at_ms));
            parts.next = "takes back what it has done, and ends as cancelled" + if_running(facts);
        }
        return parts;
    }
    parts.what = fmt::format("runs{}{} {}", at_step(row),
                             row.attempt > 0 ? fmt::format(", attempt {},", row.attempt) : "",
                             since(row, facts));
    if (facts.nobody_runs)
        parts.next = "is taken up again at once when workflow-server starts: its server has died";
    else if (row.due_at_ms && *row.due_at_ms <= facts.now_ms)
        parts.next = fmt::format("is taken up again at once: its worker's lease ended at {}",
                                 instant(*row.due_at_ms));
    else
        parts.next = "goes on when the call it makes has ended";
    if (row.waits_for == WaitsFor::pause) {
        parts.what += fmt::format(", and is paused{}", facts.paused);
        parts.next = "stops before it begins another step";
        parts.command = "workflow-admin unpause " + row.id;
        parts.how = "when it may go on";
    }
    if (row.cancel_requested_at_ms) {
        parts.what +=
            fmt::format(", and was asked at {} to end", instant(*row.cancel_requested_at_ms));
        parts.next = facts.nobody_runs ? "ends as cancelled when workflow-server starts"
                                       : "ends as cancelled before it begins another step";
    }
    return parts;
}

Parts explain_finished(const InstanceRow& row, const Facts& facts) {
    Parts parts;
    const std::int64_t at = row.finished_at_ms.value_or(row.updated_at_ms);
    const std::string when =
        fmt::format("at {} ({} ago)", instant(at), rough_span(facts.now_ms - at));
    if (row.state == State::completed)
        parts.what = facts.continued_as.empty()
                         ? fmt::format("completed {}, nothing is left to do", when)
                         : fmt::format("went on {} as {}", when, shown(facts.continued_as));
    else if (row.state == State::failed)
        parts.what = fmt::format("failed {}{}{}: the answer is no, and it does not run again", when,
                                 at_step(row), with_error(row));
    else
        parts.what = fmt::format("was cancelled {}{}", when, facts.cancelled);
    return parts;
}

Parts explain_by_state(const InstanceRow& row, const Facts& facts) {
    switch (row.state) {
        case State::pending:
        case State::running:
            return explain_active(row, facts);
        case State::queued:
            return explain_queued(row, facts);
        case State::sleeping:
            return explain_sleeping(row, facts);
        case State::waiting:
            return explain_waiting(row, facts);
        case State::stuck:
            return explain_stuck(row, facts);
        default:
            return explain_finished(row, facts);
    }
}

// What is queued or stuck has no time at which it could end.
void add_deadline(const InstanceRow& row, const Facts& facts, Parts& parts) {
    if (!row.deadline_ms || is_finished(row.state) || row.cancel_requested_at_ms) return;
    // Who is parked may go on before.
    const bool ends_next = (row.state == State::sleeping || row.state == State::pending) &&
                           row.due_at_ms == row.deadline_ms && row.waits_for != WaitsFor::circuit;
    if (ends_next)
        parts.next = fmt::format("ends at its deadline, {}{}", until(*row.deadline_ms, facts),
                                 if_running(facts));
    else if (*row.deadline_ms <= facts.now_ms)
        parts.what += fmt::format(", and its deadline passed at {}: it ends when it would go on",
                                  instant(*row.deadline_ms));
    else
        parts.what += fmt::format(", and must have ended by {}", instant(*row.deadline_ms));
}

void look_up_key(Statements& statements, const InstanceRow& row, Facts& facts) {
    if (row.key.empty()) return;
    if (row.holds_key) {
        Query behind(statements, "SELECT count(*) FROM instances WHERE key=? AND state='queued'",
                     row.key);
        if (behind.next()) facts.queued_behind = behind.integer(0);
    }
    if (row.state != State::queued) return;
    // One that is stuck last: the others come to their end by themselves.
    Query holder(statements,
                 "SELECT id, state FROM instances WHERE key=? AND holds_key=1 "
                 "ORDER BY state='stuck', key_place",
                 row.key);
    for (; holder.next(); ++facts.holders) {
        if (!facts.holder.empty()) continue;
        facts.holder = holder.text(0);
        facts.holder_state = parse_state(holder.text(1)).value_or(State::pending);
    }
    Query ahead(statements,
                "SELECT count(*) FROM instances WHERE key=?1 AND state='queued' AND key_ticket < "
                "(SELECT key_ticket FROM instances WHERE seq=?2)",
                row.key, row.seq);
    if (ahead.next()) facts.ahead = ahead.integer(0);
}

void look_up_rate(Statements& statements, const InstanceRow& row, Facts& facts) {
    const auto limit = parse_limit(row.waits_detail);
    if (!limit || limit->kind != Limit::Kind::rate) return;
    facts.rate = rows::read_rate(statements, *limit);
    Query before(statements,
                 "SELECT count(*) FROM instances WHERE waits_for='circuit' AND waits_detail=?1 AND "
                 "coalesce(due_at_ms>updated_at_ms, 1) AND (updated_at_ms, seq) < (?2, ?3)",
                 row.waits_detail, row.updated_at_ms, row.seq);
    if (before.next()) facts.turns_before = before.integer(0);
}

// Begun and never ended, or ended without anybody knowing how.
bool last_attempt_in_doubt(Statements& statements, const InstanceRow& row) {
    if (row.error_code == "in_doubt") return true;
    if (row.step.empty() || row.state == State::running) return false;
    Query last(statements,
               "SELECT kind, data FROM entries WHERE instance=? AND step=? AND kind IN "
               "('started','completed','retried','failed','skipped') ORDER BY n DESC LIMIT 1",
               row.seq, row.step);
    if (!last.next()) return false;
    if (last.text(0) == "started") return true;
    const Json data = rows::read_data(last.text(1));
    return last.text(0) == "retried" && data.value("outcome", Json()) == "unknown";
}

std::string next_run(Statements& statements, const InstanceRow& row) {
    Query last(statements, "SELECT data FROM entries WHERE instance=? AND n=? AND kind='recorded'",
               row.seq, row.log_length);
    if (!last.next()) return "";
    const Json data = rows::read_data(last.text(0));
    const auto id = data.find("continued_as");
    return id != data.end() && id->is_string() ? id->get<std::string>() : "";
}

// " by uid:0 while it was stuck (no_email): the customer was refunded"
std::string how_cancelled(Statements& statements, const InstanceRow& row) {
    Query last(statements,
               "SELECT data FROM entries WHERE instance=? AND kind='cancelled' "
               "ORDER BY n DESC LIMIT 1",
               row.seq);
    if (!last.next()) return "";
    const Json data = rows::read_data(last.text(0));
    const auto word = [&data](const char* name) {
        const auto found = data.find(name);
        return found != data.end() && found->is_string() ? shown(found->get<std::string>()) : "";
    };
    std::string text;
    if (!word("by").empty()) text += " by " + word("by");
    if (!word("was").empty()) text += " while it was " + word("was");
    if (!word("code").empty()) text += fmt::format(" ({})", word("code"));
    if (!word("reason").empty()) text += ": " + word("reason");
    return text;
}

// " by uid:0: the customer asked us to wait"
std::string how_paused(Statements& statements, const InstanceRow& row) {
    Query last(statements,
               "SELECT actor, detail FROM audit WHERE action='pause' AND target=? ORDER BY seq "
               "DESC LIMIT 1",
               row.id);
    if (!last.next()) return "";
    const Json detail = rows::read_data(last.text(1));
    const auto reason = detail.find("reason");
    std::string text = " by " + shown(last.text(0));
    if (reason != detail.end() && reason->is_string())
        text += ": " + shown(reason->get<std::string>());
    return text;
}

// Restored from a backup, and nothing begun since.
std::optional<std::int64_t> lost_and_not_begun(Statements& statements, const InstanceRow& row) {
    Query last(statements,
               "SELECT kind, data FROM entries WHERE instance=? AND (kind IN "
               "('started','completed') OR (kind='recorded' AND step='')) ORDER BY n DESC LIMIT 1",
               row.seq);
    if (!last.next() || last.text(0) != "recorded") return std::nullopt;
    return lost_since(Entry{.kind = EntryKind::recorded, .data = rows::read_data(last.text(1))});
}

bool nobody_has(const std::filesystem::path& database) {
    const std::string lock = database.string() + ".lock";
    if (access(lock.c_str(), F_OK) == 0 && access(lock.c_str(), R_OK) != 0) return false;
    return !FileLock::is_held(database);
}

}  // namespace

Explanation Inspector::explain(Statements& statements, const InstanceRow& row) {
    Facts facts;
    facts.now_ms = clock_.now_ms();
    look_up_key(statements, row, facts);
    facts.in_doubt = last_attempt_in_doubt(statements, row);
    if (row.state == State::completed) facts.continued_as = next_run(statements, row);
    if (row.state == State::cancelled) facts.cancelled = how_cancelled(statements, row);
    if (!is_finished(row.state)) facts.lost_since_ms = lost_and_not_begun(statements, row);
    if (row.waits_for == WaitsFor::once) {
        Query once(statements,
                   "SELECT coalesce((SELECT id FROM instances WHERE seq=instance), instance_id) "
                   "FROM once_keys WHERE key=?",
                   row.waits_detail);
        if (once.next()) facts.once_owner = once.text(0);
    }
    if (row.waits_for == WaitsFor::circuit) look_up_rate(statements, row, facts);
    if (row.waits_for == WaitsFor::pause || is_paused_in_line(row))
        facts.paused = how_paused(statements, row);
    if (row.state == State::pending)
        for (const PausedWorkflow& paused : rows::read_paused_workflows(statements))
            if (paused.workflow == row.workflow) facts.workflow_paused_since_ms = paused.since_ms;
    if (row.waits_for == WaitsFor::circuit)
        for (BreakerView& breaker : rows::read_breakers(statements))
            if (breaker.provider == row.waits_detail) facts.breaker = std::move(breaker);
    if (!is_finished(row.state) && row.state != State::stuck)
        facts.nobody_runs = nobody_has(file_->path());

    Parts parts = explain_by_state(row, facts);
    add_deadline(row, facts, parts);
    if (const Limits limits;
        !is_finished(row.state) && is_near(row.log_length, limits.log_entries_max))
        parts.what += ", and " + near_limit("its log", row.log_length, "entries",
                                            limits.log_entries_max, "log_entries_max", long_remedy);
    if (facts.lost_since_ms)
        parts.what += fmt::format(
            ", and was restored from a backup: what its next step may have done since {} is looked "
            "up before anything is repeated",
            instant(*facts.lost_since_ms));
    Explanation why;
    why.since_ms =
        is_finished(row.state) ? row.finished_at_ms.value_or(row.updated_at_ms) : row.updated_at_ms;
    why.next = parts.next;
    if (row.state == State::sleeping || row.state == State::waiting || row.state == State::pending)
        why.next_at_ms = row.due_at_ms;
    why.command = parts.command;
    why.queued_behind = facts.queued_behind;
    why.sentence = fmt::format("{} {}", shown(row.id), parts.what);
    if (!is_finished(row.state))
        why.sentence += parts.next.empty() ? "; nothing happens by itself"
                                           : fmt::format("; by itself it {}", parts.next);
    if (!parts.command.empty())
        why.sentence += fmt::format("; {}, run: {}", parts.how, printable(parts.command));
    else if (!parts.how.empty())
        why.sentence += "; " + parts.how;
    return why;
}

}  // namespace steplog
