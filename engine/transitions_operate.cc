// What people and retention do to instances: resume, cancel and purge.
#include <fmt/format.h>

#include "engine/entries.h"
#include "engine/rfc3339.h"
#include "engine/transitions.h"

namespace steplog {
namespace {

constexpr int skipped_listed_max = 1000;
constexpr const char* deadline_reason = "its deadline has passed";

std::string why_not(const std::string& state, const std::string& waits_for) {
    if (waits_for == "pause" && state == "sleeping")
        return "paused: workflow-admin unpause lets it go on";
    if (state == "sleeping" || state == "waiting")
        return fmt::format("{} for a {}: it goes on by itself", state,
                           waits_for == "once" ? "step of another instance" : waits_for);
    if (state == "queued")
        return "queued behind another instance of its key: it goes on when that one ends";
    if (state == "running") return "running: a worker has it";
    if (state == "pending") return "pending: a worker is about to take it";
    return fmt::format("{}: it has ended", state);
}

}  // namespace

Resumed Transitions::resume(const ResumeRequest& request) {
    Resumed resumed;
    const auto one = [&](std::int64_t seq, const std::string& id) {
        std::string reason = resume_one(seq, request);
        if (reason.empty())
            resumed.ids.push_back(id);
        else
            resumed.skipped.push_back({id, std::move(reason)});
    };
    for (const std::string& id : request.ids) {
        std::optional<std::int64_t> seq;
        {
            Query find(statements_, "SELECT seq FROM instances WHERE id=?", newest_run(id));
            if (find.next()) seq = find.integer(0);
        }
        if (seq)
            one(*seq, id);
        else
            resumed.skipped.push_back({id, "not found"});
    }
    if (!request.ids.empty()) return resumed;

    std::vector<std::pair<std::int64_t, std::string>> matching;
    {
        const std::string state =
            request.state ? std::string(steplog::to_string(*request.state)) : "";
        // What a clock since set back dated into the future was not touched just now, either.
        const std::int64_t age =
            std::min(request.older_than.value_or(Ms(0)).count(), INT64_MAX - now());
        Query find(statements_,
                   "SELECT seq, id FROM instances WHERE (state='stuck' OR (state='sleeping' AND "
                   "waits_for IN "
                   "('retry','circuit'))) AND (?1='' OR state=?1) AND (?2='' OR workflow=?2) AND "
                   "(?3='' OR step=?3) "
                   "AND (?4='' OR error_code=?4) AND (updated_at_ms<=?5 OR updated_at_ms>=?6) "
                   "ORDER BY seq",
                   state, request.workflow, request.step, request.error_code, now() - age,
                   now() + age);
        while (find.next()) matching.emplace_back(find.integer(0), find.text(1));
    }
    for (const auto& [seq, id] : matching) {
        if (request.limit > 0 && static_cast<int>(resumed.ids.size()) >= request.limit) break;
        one(seq, id);
    }
    list_waiting(request, resumed);
    return resumed;
}

// Names those that a bulk resume leaves alone although they wait.
void Transitions::list_waiting(const ResumeRequest& request, Resumed& resumed) {
    if (request.state) return;
    Query find(statements_,
               "SELECT id, state, waits_for FROM instances WHERE (state IN ('waiting','queued') OR "
               "(state='sleeping' "
               "AND waits_for NOT IN ('retry','circuit'))) AND (?1='' OR workflow=?1) AND (?2='' "
               "OR step=?2) AND "
               "?3='' ORDER BY seq LIMIT ?4",
               request.workflow, request.step, request.error_code, skipped_listed_max);
    while (find.next())
        resumed.skipped.push_back({find.text(0), why_not(find.text(1), find.text(2))});
}

std::string Transitions::resume_one(std::int64_t seq, const ResumeRequest& request) {
    Query read(
        statements_,
        "SELECT id, key, holds_key, step, log_length, log_hash, state, waits_for, error_code, "
        "waits_detail FROM instances WHERE seq=?",
        seq);
    read.next();
    Row row{seq,          read.text(0),    read.text(1), read.integer(2) != 0,
            read.text(3), read.integer(4), read.hash(5)};
    const std::string state = read.text(6), waits_for = read.text(7), code = read.text(8);
    const std::string provider = read.text(9);
    const bool by_id = !request.ids.empty();
    const bool between_attempts =
        state == "sleeping" && (waits_for == "retry" || waits_for == "circuit");
    if (const auto limit = parse_limit(provider); between_attempts && limit)
        return limit->kind == Limit::Kind::rate
                   ? "parked until it is its turn: it goes on by itself"
                   : "parked until others have ended: it goes on by itself";
    if (request.retry_now) return retry_now(row, state, waits_for, request);
    if (state != "stuck" && !between_attempts) return why_not(state, waits_for);
    if (code == "log_damaged") return "log_damaged: its log does not verify; restore a backup";
    if (code == "in_doubt" && !by_id)
        return "in_doubt: its effect may have happened; look at it, then resume it by its id to "
               "repeat the step";

    append(row,
           {.step = row.step,
            .kind = EntryKind::resumed,
            .data = {{"by", request.actor}, {"was", state}, {"code", code}, {"decided", by_id}}});
    Query(statements_, "UPDATE instances SET deaths=0, attempt=0 WHERE seq=?", seq).run();
    if (waits_for == "circuit") let_one_try(provider);
    put_back_to_work(row);
    audit(request.actor, "resume", row.id, {{"was", state}, {"code", code}, {"step", row.step}});
    return "";
}

// Nothing but the time changes: the attempts count on.
std::string Transitions::retry_now(Row& row, const std::string& state, const std::string& waits_for,
                                   const ResumeRequest& request) {
    if (state == "stuck")
        return "stuck: it has no attempt before it; workflow-resume gives it some";
    if (state != "sleeping" || waits_for != "retry") return why_not(state, waits_for);
    Query(statements_, "UPDATE instances SET due_at_ms=?, updated_at_ms=? WHERE seq=?", now(),
          now(), row.seq)
        .run();
    audit(request.actor, "retry-now", row.id, {{"step", row.step}, {"reason", request.reason}});
    return "";
}

// Due now, or behind whoever holds its key in the meantime.
void Transitions::put_back_to_work(Row& row) {
    const bool wants_key = !row.key.empty() && !row.holds_key;
    const std::int64_t place = wants_key ? place_for(row.key, key_holders_max_of(row.seq)) : 0;
    const bool queues = wants_key && place == 0;
    std::optional<std::int64_t> due, ticket;
    std::optional<std::string> waits;
    if (queues) {
        ticket = draw_ticket();
        waits = "key";
    } else {
        due = now();
    }
    Query(statements_,
          "UPDATE instances SET state=?, due_at_ms=?, waits_for=?, waits_detail=NULL, "
          "key_ticket=?, holds_key=?, key_place=CASE WHEN ?=1 THEN ? ELSE key_place END, "
          "log_length=?, log_hash=?, "
          "updated_at_ms=? WHERE seq=?",
          queues ? "queued" : "pending", due, waits, ticket, !row.key.empty() && !queues, place > 0,
          place, row.log_length, row.log_hash, now(), row.seq)
        .run();
}

StepDecided Transitions::decide(const StepDecision& decision) {
    if (decision.step.empty() || decision.step.size() > 255)
        throw StoreError(StoreError::Kind::constraint, "a step's name has 1 to 255 characters");
    if (decision.result && Json::parse(*decision.result, nullptr, false).is_discarded())
        throw StoreError(StoreError::Kind::constraint, "a step's result must be JSON");
    Row row;
    std::string state, waits_for, code;
    {
        Query read(statements_,
                   "SELECT seq, id, key, holds_key, step, log_length, log_hash, state, waits_for, "
                   "error_code FROM instances WHERE id=?",
                   newest_run(decision.instance));
        if (!read.next()) return {"not found"};
        row = {read.integer(0), read.text(1),    read.text(2), read.integer(3) != 0,
               read.text(4),    read.integer(5), read.hash(6)};
        state = read.text(7);
        waits_for = read.text(8);
        code = read.text(9);
    }
    const bool between_attempts =
        state == "sleeping" && (waits_for == "retry" || waits_for == "circuit");
    if (state != "stuck" && !between_attempts) return {why_not(state, waits_for)};
    if (code == "log_damaged") return {"log_damaged: its log does not verify; restore a backup"};
    if (std::string reason = why_not_decided(row, decision.step); !reason.empty()) return {reason};

    Json said = {{"by", decision.actor}, {"was", state}};
    if (!code.empty()) said["was_code"] = code;
    if (!decision.reason.empty()) said["reason"] = bounded(decision.reason);
    NewEntry entry{.step = decision.step, .data = said};
    if (decision.result) {
        entry.kind = EntryKind::skipped;
        entry.payload = decision.result;
    } else {
        entry.kind = EntryKind::failed;
        entry.data["code"] = decision.code;
        entry.data["error"] = bounded(decision.message);
    }
    append(row, entry);
    settle_decided_once_key(row, decision);
    Query(statements_, "UPDATE instances SET deaths=0, attempt=0 WHERE seq=?", row.seq).run();
    put_back_to_work(row);
    said["step"] = decision.step;
    if (!decision.result) said["code"] = decision.code;
    said.erase("by");
    audit(decision.actor, decision.result ? "skip" : "fail", row.id, said);
    return {};
}

// Empty where the step has been tried and has no end yet.
std::string Transitions::why_not_decided(const Row& row, const std::string& step) {
    std::string last;
    bool is_step = false;
    Query read(statements_, "SELECT kind FROM entries WHERE instance=? AND step=? ORDER BY n",
               row.seq, step);
    while (read.next()) {
        const std::string kind = read.text(0);
        if (kind == "completed" || kind == "skipped")
            return "finished: a finished step is never changed; workflow-inspect show has its "
                   "result";
        if (kind == "started" || kind == "retried" || kind == "failed") is_step = true;
        last = kind;
    }
    if (last == "failed") return "failed: the workflow knows that already";
    if (is_step || (last == "stuck" && row.step == step)) return "";
    return last.empty() ? fmt::format("it has tried no step of this name; it stands at {}",
                                      row.step.empty() ? "its beginning" : row.step)
                        : "not a step: only a step has a result that can be given";
}

void Transitions::settle_decided_once_key(const Row& row, const StepDecision& decision) {
    std::string key;
    {
        Query claimed(statements_,
                      "SELECT key FROM once_keys WHERE state='claimed' AND instance=? AND step=?",
                      row.seq, decision.step);
        if (!claimed.next()) return;
        key = claimed.text(0);
    }
    settle_once(row, {.key = key,
                      .completed = decision.result.has_value(),
                      .for_good = true,
                      .result = decision.result});
}

Cancelled Transitions::cancel(const CancelRequest& request) {
    Cancelled cancelled;
    for (const std::string& id : request.ids) cancel_one(newest_run(id), request, cancelled);
    return cancelled;
}

void Transitions::cancel_one(const std::string& id, const CancelRequest& request,
                             Cancelled& cancelled) {
    Row row;
    std::string state, waits_for, waits_detail, code;
    bool living_holder = false, asked_before = false;
    {
        Query read(statements_,
                   "SELECT seq, id, key, holds_key, step, log_length, log_hash, state, waits_for, "
                   "error_code, owner=?, cancel_requested_at_ms, waits_detail FROM instances WHERE "
                   "id=?",
                   owner_, id);
        if (!read.next()) {
            cancelled.skipped.push_back({id, "not found"});
            return;
        }
        row = {read.integer(0), read.text(1),    read.text(2), read.integer(3) != 0,
               read.text(4),    read.integer(5), read.hash(6)};
        state = read.text(7);
        waits_for = read.text(8);
        code = read.text(9);
        living_holder = state == "running" && read.integer(10) != 0;
        asked_before = !read.is_null(11);
        waits_detail = read.text(12);
    }
    if (is_finished(parse_state(state).value_or(State::pending))) {
        cancelled.skipped.push_back({id, why_not(state, waits_for)});
        return;
    }
    Json said = {{"by", request.actor}, {"was", state}};
    if (!code.empty()) said["code"] = code;
    if (!request.reason.empty()) said["reason"] = bounded(request.reason);
    const bool takes_back = code != "log_damaged" && can_take_back(row);
    if (request.kill || (!living_holder && !takes_back)) {
        end_cancelled(row, said);
        cancelled.ids.push_back(id);
    } else {
        cancelled.requested.push_back(id);
        if (asked_before) return;
        // To end is more than to pause.
        Query(statements_,
              "UPDATE instances SET cancel_requested_at_ms=?, "
              "waits_for=CASE WHEN state='running' THEN NULL ELSE waits_for END, "
              "waits_detail=CASE WHEN state='queued' THEN ? ELSE waits_detail END WHERE seq=?",
              now(), or_null(not_before_in_line(waits_detail)), row.seq)
            .run();
        // One that queues has its turn before it.
        if (!living_holder && state != "queued") put_back_to_work(row);
    }
    said["step"] = row.step;
    audit(request.actor, request.kill ? "kill" : "cancel", row.id, said);
}

bool Transitions::can_take_back(const Row& row) {
    // In JSON without spaces, and no text within it can hold the quotes.
    return Query(statements_,
                 "SELECT 1 FROM entries WHERE instance=? AND kind='completed' AND "
                 "data LIKE '%\"undo\":true%' LIMIT 1",
                 row.seq)
        .next();
}

// As somebody who cancels it; nothing if somebody has.
void Transitions::ask_past_deadline(const Row& row, const std::string& state) {
    Query(statements_, "UPDATE instances SET cancel_requested_at_ms=? WHERE seq=?", now(), row.seq)
        .run();
    audit("engine", "cancel", row.id,
          {{"by", "engine"},
           {"was", state},
           {"code", deadline_code},
           {"reason", deadline_reason},
           {"step", row.step}});
}

// Nothing is appended to a log that does not verify.
void Transitions::end_cancelled(Row& row, Json said) {
    const bool too_late = said.value("code", "") == deadline_code;
    if (said.value("code", "") != "log_damaged")
        append(row, {.step = row.step, .kind = EntryKind::cancelled, .data = std::move(said)});
    Query(statements_, "UPDATE instances SET log_length=?, log_hash=? WHERE seq=?", row.log_length,
          row.log_hash, row.seq)
        .run();
    apply(row, {.to = State::cancelled,
                .error_code = too_late ? deadline_code : "",
                .error = too_late ? deadline_reason : ""});
}

// Ends, or has its finished steps taken back first: then it is claimed anew for that.
void Transitions::leave_as_asked(Row& row, const std::string& code) {
    if (can_take_back(row))
        apply(row, {.to = State::pending, .delay = Ms(0)});
    else
        end_as_asked(row, code);
}

// Who asked stands in the audit: the newest such row is this one's.
void Transitions::end_as_asked(Row& row, const std::string& code) {
    Json said = {{"was", "running"}};
    {
        Query asked(statements_,
                    "SELECT actor, detail FROM audit WHERE action='cancel' AND target=? "
                    "ORDER BY seq DESC LIMIT 1",
                    row.id);
        if (asked.next()) {
            said["by"] = asked.text(0);
            const Json detail = parse_stored(asked.text(1));
            if (detail.is_object() && detail.contains("reason")) said["reason"] = detail["reason"];
            if (detail.is_object() && detail.value("code", Json()) == deadline_code) {
                said["code"] = deadline_code;
                said["was"] = detail["was"];
            }
        }
    }
    if (!code.empty() && !said.contains("code")) said["code"] = code;
    end_cancelled(row, std::move(said));
}

Rotated Transitions::rotate_keys(const RotateRequest& request) {
    if (options_.keys.empty())
        throw StoreError(StoreError::Kind::constraint,
                         "nothing is encrypted here: STEPLOG_ENCRYPTION_KEY is not set");
    Rotated rotated;
    rotated.done = payloads_.rewrap(request.limit);
    rotated.left = payloads_.to_rewrap();
    if (rotated.done > 0)
        audit(request.actor, "rotate-key", options_.keys.front().id,
              {{"data_keys", rotated.done}, {"left", rotated.left}, {"reason", request.reason}});
    return rotated;
}

Purged Transitions::purge(const PurgeRequest& request) {
    const std::int64_t finished_before_ms = now() - request.older_than.count();
    const std::int64_t received_before_ms =
        now() - std::max(request.older_than, events_kept_min).count();
    Purged purged;
    purged.instances = purge_instances(finished_before_ms, request.limit);
    purged.events = purge_events(received_before_ms, request.limit);
    if (!request.actor.empty() && purged.instances + purged.events > 0)
        audit(request.actor, "purge", "finished before " + format_rfc3339(finished_before_ms),
              {{"instances", purged.instances},
               {"events", purged.events},
               {"reason", request.reason}});
    return purged;
}

int Transitions::purge_instances(std::int64_t finished_before_ms, int limit) {
    std::vector<std::int64_t> ended;
    {
        // Children go before their parent, by which a forgotten customer's are found, and after its
        // end, because it may still ask how they ended.
        Query find(statements_,
                   "SELECT seq FROM instances i WHERE finished_at_ms<? AND NOT EXISTS (SELECT 1 "
                   "FROM instances WHERE parent=i.seq) AND NOT EXISTS (SELECT 1 FROM instances "
                   "WHERE seq=i.parent AND finished_at_ms IS NULL) ORDER BY finished_at_ms LIMIT ?",
                   finished_before_ms, limit);
        while (find.next()) ended.push_back(find.integer(0));
    }
    for (const std::int64_t seq : ended) {
        // The event's row stays for folding redeliveries; its body goes when no instance reads it.
        Query(statements_,
              "DELETE FROM payloads WHERE id IN (SELECT payload FROM entries WHERE instance=?1 "
              "AND payload IS NOT NULL UNION SELECT input_payload FROM instances WHERE seq=?1 "
              "UNION SELECT output_payload FROM instances WHERE seq=?1)",
              seq)
            .run();
        delete_signals(statements_, seq);
        Query(statements_, "DELETE FROM entries WHERE instance=?", seq).run();
        Query(statements_, "DELETE FROM instances WHERE seq=?", seq).run();
    }
    if (!ended.empty()) forget_bodies_for(ended);
    return static_cast<int>(ended.size());
}

// The bodies of all forms of the events that these instances came from. The rows must not go on
// naming them: numbers of payloads that are gone are given to new ones.
void Transitions::forget_bodies_for(const std::vector<std::int64_t>& instances) {
    std::vector<std::pair<std::int64_t, std::int64_t>> bodies;
    for (const std::int64_t instance : instances) {
        Query find(statements_,
                   "SELECT seq, payload FROM events WHERE payload IS NOT NULL AND instance=?",
                   instance);
        while (find.next()) bodies.emplace_back(find.integer(0), find.integer(1));
    }
    for (const auto& [event, payload] : bodies) {
        Query(statements_, "DELETE FROM payloads WHERE id=?", payload).run();
        Query(statements_, "UPDATE events SET payload=NULL WHERE seq=?", event).run();
    }
}

int Transitions::purge_events(std::int64_t received_before_ms, int limit) {
    std::vector<std::int64_t> received;
    {
        Query find(statements_,
                   "SELECT seq FROM events WHERE received_at_ms<? AND (instance IS NULL OR NOT "
                   "EXISTS (SELECT 1 FROM instances WHERE instances.seq=events.instance)) "
                   "ORDER BY received_at_ms LIMIT ?",
                   received_before_ms, limit);
        while (find.next()) received.push_back(find.integer(0));
    }
    for (const std::int64_t seq : received) {
        Query(statements_,
              "DELETE FROM payloads WHERE id IN (SELECT payload FROM events WHERE seq=?)", seq)
            .run();
        Query(statements_, "DELETE FROM events WHERE seq=?", seq).run();
    }
    return static_cast<int>(received.size());
}

void Transitions::audit(const std::string& actor, const std::string& action,
                        const std::string& target, const Json& detail) {
    Query(statements_, "INSERT INTO audit(at_ms,actor,action,target,detail) VALUES (?,?,?,?,?)",
          now(), actor, action, target, to_text(detail))
        .run();
}

}  // namespace steplog
