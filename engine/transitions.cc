#include "engine/transitions.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "engine/entries.h"
#include "engine/run_id.h"

namespace steplog {
namespace {

std::string_view to_string(NewEvent::Disposition disposition) {
    switch (disposition) {
        case NewEvent::Disposition::routed:
            return "routed";
        case NewEvent::Disposition::ignored:
            return "ignored";
        case NewEvent::Disposition::quarantined:
            return "quarantined";
    }
    return "";
}

Ms delay_of(const NewInstance& instance) {
    if (!instance.debounce) return instance.delay;
    return std::max(std::min(instance.debounce->period, instance.debounce->timeout), Ms(1));
}

// An intent, or a key to wait for: what an instance that was asked to end must not do any more.
bool begins_something(const Advance& advance) {
    return advance.change || advance.continue_as || advance.once_claim || advance.take_key ||
           advance.await_signal || advance.start_child || advance.await_child ||
           std::any_of(advance.entries.begin(), advance.entries.end(),
                       [](const NewEntry& entry) { return entry.kind == EntryKind::started; });
}

// Whether it comes upon the instance's own row before it has ended.
bool looks_at_row(const Advance& advance) {
    return advance.change || advance.once_claim || advance.once_settle || advance.await_signal ||
           advance.start_child || advance.await_child;
}

}  // namespace

Transitions::Transitions(Connection& connection, Clock& clock, const Hash& payload_hash_key,
                         TransitionsOptions options)
    : options_(std::move(options)),
      statements_(connection),
      payloads_(statements_, options_.keys),
      clock_(clock),
      payload_hash_key_(payload_hash_key),
      lease_ms_(options_.lease.count()) {
    payloads_.require_keys(options_.database);
    anything_forgotten_ = Query(statements_, "SELECT 1 FROM meta WHERE name='forgotten'").next();
    any_debounce_ = Query(statements_, "SELECT 1 FROM debounces").next();
    any_breaker_ = Query(statements_, "SELECT 1 FROM breakers").next();
    any_priority_ = Query(statements_, "SELECT 1 FROM meta WHERE name='priorities'").next();
    any_run_ = Query(statements_, "SELECT 1 FROM meta WHERE name='runs'").next();
    any_workflow_paused_ = true;
    any_workflow_paused_ = !paused_workflows().empty();
}

void Transitions::end_ownership() {
    Query(statements_, "UPDATE owners SET ended_at_ms=? WHERE id=?", now(), owner_).run();
}

bool Transitions::is_owner() {
    Query newest(statements_, "SELECT max(id) FROM owners");
    return newest.next() && newest.integer(0) == owner_;
}

std::optional<std::int64_t> Transitions::write_payload(const Row& row,
                                                       const std::optional<std::string>& body) {
    if (!body) return std::nullopt;
    return payloads_.write(body, payloads_.data_key_of_instance(row.seq, now()));
}

EntryBytes::EntryBytes(const NewEntry& entry, const Hash& secret)
    : data(to_text(entry.data)), content(content_hash(secret, entry.step, data)) {
    if (entry.payload) payload = keyed_hash(secret, *entry.payload);
}

Entry Transitions::append(Row& row, const NewEntry& entry) {
    return append(row, entry, EntryBytes(entry, payload_hash_key_));
}

Entry Transitions::append(Row& row, const NewEntry& entry, const EntryBytes& bytes) {
    const std::int64_t at_ms = now();
    const std::int64_t n = ++row.log_length;
    const std::optional<std::int64_t> payload = write_payload(row, entry.payload);
    const std::string_view kind = steplog::to_string(entry.kind);
    row.log_hash = chain_hash(row.log_hash, n, bytes.content, kind, entry.attempt, entry.generation,
                              at_ms, bytes.payload);
    Query(statements_,
          "INSERT INTO "
          "entries(instance,n,step,kind,attempt,generation,at_ms,data,payload,payload_hash,hash) "
          "VALUES (?,?,?,?,?,?,?,?,?,?,?)",
          row.seq, n, entry.step, kind, entry.attempt, entry.generation, at_ms, bytes.data, payload,
          bytes.payload, row.log_hash)
        .run();
    return {n,     entry.step, entry.kind,   entry.attempt, entry.generation,
            at_ms, entry.data, entry.payload};
}

// --- accept
// ---------------------------------------------------------------------------------------

Accepted Transitions::accept(const std::optional<NewEvent>& event,
                             const std::optional<NewInstance>& wanted, bool claim,
                             const BodyHashes& hashes) {
    std::optional<NewInstance> instance = wanted;
    std::string behind;  // the former run of its id that must have ended first
    if (event) {
        if (const auto known = find_event(*event, hashes.event)) return *known;
    }
    if (instance && !event) {
        if (auto settled = resolve_conflicts(*instance, behind)) return *settled;
    } else if (instance && (instance->id_conflict != IdConflict::join ||
                            instance->key_conflict != KeyConflict::queue)) {
        throw StoreError(StoreError::Kind::constraint,
                         "an event's instance joins the one of its id and queues for its key: "
                         "start it without the event to have it otherwise");
    }
    claim = claim && behind.empty();
    Accepted accepted;
    bool exists = false;
    if (instance) {
        const auto existing = find_instance(instance->id);
        exists = existing.has_value();
        accepted.instance = existing.value_or(0);
        if (exists && !event) {
            accepted.duplicate = true;
            return accepted;
        }
    }
    if (instance && !exists && instance->id == wanted->id) require_may_be_given(instance->id);
    std::string_view subject = instance ? std::string_view(instance->key) : std::string_view();
    if (event && !event->subject.empty()) subject = event->subject;
    const auto data_key = payloads_.data_key_for(subject, now());
    std::optional<std::int64_t> event_payload;
    if (event) event_payload = payloads_.write(event->body, data_key);
    if (instance && !exists) {
        const bool own_input = instance->input.has_value();
        if (!own_input && !event_payload)
            throw StoreError(StoreError::Kind::constraint,
                             "an instance needs an input or an event");
        const std::int64_t input =
            own_input ? *payloads_.write(instance->input, data_key) : *event_payload;
        const Hash& hash = own_input ? hashes.input : hashes.event;
        const auto waiting = find_debounced(*instance);
        accepted = waiting ? *waiting
                           : insert_instance(*instance, input, hash, claim, deadline_of(*instance));
        if (waiting)
            give_input(*waiting, *instance, input, hash);
        else
            put_off(*instance, accepted.instance);
        if (!behind.empty()) wait_behind(accepted, behind);
        if (!waiting && instance->id != wanted->id) accepted.id = instance->id;
        if (accepted.claimed) accepted.claimed->input = own_input ? *instance->input : event->body;
    }
    if (instance && !exists && !instance->actor.empty())
        audit(instance->actor, "start", instance->id,
              {{"workflow", instance->workflow}, {"reason", instance->reason}});
    if (event) {
        std::optional<std::int64_t> routed_to;
        if (instance) routed_to = accepted.instance;
        Query(statements_,
              "INSERT INTO "
              "events(source,id,type,subject,disposition,reason,instance,payload,body_hash,"
              "received_at_ms,listed) VALUES (?,?,?,?,?,?,?,?,?,?,?)",
              event->source, event->id, event->type, or_null(event->subject),
              to_string(event->disposition), or_null(event->reason), routed_to, event_payload,
              hashes.event, now(), event->listed)
            .run();
    }
    return accepted;
}

std::optional<std::int64_t> Transitions::deadline_of(const NewInstance& instance) const {
    if (!instance.deadline) return std::nullopt;
    if (*instance.deadline <= Ms(0))
        throw StoreError(StoreError::Kind::constraint, "a deadline must lie ahead");
    return now() + std::min<std::int64_t>(instance.deadline->count(), INT64_MAX - now());
}

// Written whether it is known or not: the transaction that made it known may yet fail.
void Transitions::note_priority(int priority) {
    if (priority < -priority_max || priority > priority_max)
        throw StoreError(
            StoreError::Kind::constraint,
            fmt::format("a priority is a number from -{} to {}", priority_max, priority_max));
    if (priority == 0) return;
    Query(statements_,
          "INSERT INTO meta(name,value) VALUES ('priorities',1) ON CONFLICT DO NOTHING")
        .run();
    any_priority_ = true;
}

Accepted Transitions::insert_instance(const NewInstance& instance, std::int64_t input_payload,
                                      const Hash& input_hash, bool claim,
                                      std::optional<std::int64_t> deadline_ms,
                                      std::optional<std::int64_t> key_place) {
    note_priority(instance.priority);
    const std::int64_t at = now();
    const int holders_max = std::max(instance.key_holders_max, 1);
    const std::int64_t place = key_place ? *key_place : place_for(instance.key, holders_max);
    const bool queued = !instance.key.empty() && place == 0;
    const std::int64_t earliest =
        std::max(at + delay_of(instance).count(), instance.start_at_ms.value_or(at));
    const bool running =
        claim && !queued && earliest <= at && !is_workflow_paused(instance.workflow);
    std::optional<std::int64_t> due;
    if (!queued)
        due = running ? at + lease_ms_ : std::min(earliest, deadline_ms.value_or(earliest));
    std::optional<std::int64_t> owner, ticket;
    if (running) owner = owner_;
    if (queued) ticket = draw_ticket();
    std::optional<std::string> waits_for, not_before;
    if (queued) waits_for = "key";
    if (queued && earliest > at) not_before = std::to_string(earliest);
    const Hash genesis =
        genesis_hash(payload_hash_key_, instance.id, instance.workflow, input_hash);
    const std::string state = queued ? "queued" : running ? "running" : "pending";
    Query insert(
        statements_,
        "INSERT INTO "
        "instances(id,workflow,version,state,due_at_ms,waits_for,waits_detail,owner,epoch,key,"
        "key_ticket,holds_key,key_place,key_holders_max,on_stuck,priority,deadline_ms,log_hash,"
        "input_payload,input_hash,created_at_ms,updated_at_ms) "
        "VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?) RETURNING seq",
        instance.id, instance.workflow, std::max(instance.version, 1), state, due, waits_for,
        not_before, owner, running ? 1 : 0, or_null(instance.key), ticket, place > 0,
        std::max<std::int64_t>(place, 1), holders_max, steplog::to_string(instance.on_stuck),
        instance.priority, deadline_ms, genesis, input_payload, input_hash, at, at);
    Accepted accepted;
    while (insert.next()) accepted.instance = insert.integer(0);
    std::optional<Entry> restored;
    if (const auto since = lost_since(restores_, instance.caused_at_ms, at)) {
        Row row;
        row.seq = accepted.instance;
        row.log_hash = genesis;
        restored = record_restore(row, *since);
    }
    if (running) {
        Claimed& claimed = accepted.claimed.emplace();
        claimed.seq = accepted.instance;
        claimed.id = instance.id;
        claimed.workflow = instance.workflow;
        claimed.version = std::max(instance.version, 1);
        claimed.epoch = 1;
        claimed.key = instance.key;
        claimed.on_stuck = instance.on_stuck;
        claimed.created_at_ms = at;
        claimed.deadline_ms = deadline_ms;
        claimed.priority = instance.priority;
        if (restored) claimed.log.push_back(std::move(*restored));
    }
    return accepted;
}

// A message that was received before, counted when its body is another one.
std::optional<Accepted> Transitions::find_event(const NewEvent& event, const Hash& body_hash) {
    Query known(
        statements_,
        "SELECT seq, instance, body_hash, listed FROM events WHERE source=? AND id IN (?,?)",
        event.source, event.id, name_it_may_have(event.id));
    if (!known.next()) return std::nullopt;
    Accepted accepted;
    accepted.duplicate = true;
    accepted.instance = known.integer(1);
    accepted.conflict = !event.listed && known.integer(3) == 0 && known.hash(2) != body_hash;
    if (accepted.conflict)
        Query(statements_, "UPDATE events SET conflicts=conflicts+1 WHERE seq=?", known.integer(0))
            .run();
    return accepted;
}

std::optional<std::int64_t> Transitions::find_instance(const std::string& id) {
    const std::string newest = newest_run(id);
    Query existing(statements_, "SELECT seq FROM instances WHERE id IN (?,?)", newest,
                   name_it_may_have(newest));
    if (!existing.next()) return std::nullopt;
    return existing.integer(0);
}

std::string Transitions::name_it_may_have(const std::string& id) const {
    return anything_forgotten_ ? forgotten_name(payload_hash_key_, id) : id;
}

// --- advance
// --------------------------------------------------------------------------------------

// What the last advance left open is this one's row, or is written first.
Transitions::Open Transitions::open_row(const Advance& advance) {
    if (open_ && open_->row.seq == advance.instance && open_->epoch == advance.epoch)
        return *std::exchange(open_, std::nullopt);
    settle();
    Query read(statements_,
               "SELECT id, key, holds_key, step, log_length, log_hash, cancel_requested_at_ms, "
               "deadline_ms, waits_for='pause' FROM instances WHERE seq=? AND epoch=? AND "
               "owner=? AND state='running'",
               advance.instance, advance.epoch, owner_);
    if (!read.next())
        throw StoreError(StoreError::Kind::fenced,
                         "the instance was claimed by someone else since");
    Open at;
    at.row = {advance.instance, read.text(0),    read.text(1), read.integer(2) != 0,
              read.text(3),     read.integer(4), read.hash(5)};
    at.epoch = advance.epoch;
    at.asked_to_end = !read.is_null(6);
    at.deadline_ms = read.maybe_integer(7);
    at.asked_to_pause = read.integer(8) != 0;
    return at;
}

void Transitions::write_row(Open& at) {
    if (!at.is_changed) return;
    Query(statements_,
          "UPDATE instances SET step=?, attempt=coalesce(?, attempt), log_length=?, log_hash=?, "
          "deaths=CASE WHEN ?=1 THEN 0 ELSE deaths END, updated_at_ms=? WHERE seq=?",
          or_null(at.row.step), at.attempt, at.row.log_length, at.row.log_hash, at.progress, now(),
          at.row.seq)
        .run();
    at.is_changed = false;
}

void Transitions::settle() {
    if (!open_) return;
    write_row(*open_);
    open_.reset();
}

Advanced Transitions::advance(const Advance& advance, const std::vector<EntryBytes>& ready) {
    Open at = open_row(advance);
    Row& row = at.row;
    const bool ends = advance.to && is_finished(advance.to->to) && !advance.continue_as;
    const bool past_deadline =
        !at.asked_to_end && !ends && at.deadline_ms && *at.deadline_ms <= now();
    const bool asked_to_end = (at.asked_to_end || past_deadline) && !advance.takes_back;
    if (asked_to_end || at.asked_to_pause || looks_at_row(advance)) write_row(at);
    Advanced advanced;
    if (past_deadline && asked_to_end) {
        ask_past_deadline(row, "running");
        at.asked_to_end = true;
    }
    if (asked_to_end && begins_something(advance)) {
        advanced.cancelled = true;
        leave_as_asked(row);
        return advanced;
    }
    if (at.asked_to_pause && begins_something(advance)) {
        advanced.paused = true;
        return advanced;
    }
    const bool begins_update = advance.update && !advance.update->refused;
    if (begins_update && !may_update(advance, advanced)) {
        open_ = std::move(at);
        return advanced;
    }
    if (!advance.calls.empty()) advanced.held_back = held_back(row, advance);
    if (advanced.held_back) {
        open_ = std::move(at);
        return advanced;
    }
    if (advance.once_claim) {
        advanced.once = claim_once(row, *advance.once_claim);
        if (advanced.once->kind == OnceVerdict::Kind::busy) {
            apply(row, {.to = State::waiting,
                        .waits_for = WaitsFor::once,
                        .waits_detail = advance.once_claim->key});
            return advanced;
        }
        if (advanced.once->kind != OnceVerdict::Kind::granted) return advanced;
    }
    if (begins_update) begin_update(row, advance);
    if (advance.update && advance.update->refused) take_back_update(*advance.update);
    if (!advance.calls.empty()) begin_call(row, advance);
    if (advance.answer) hear(row, advance, advanced.breakers);
    if (any_slot_) give_back_slots_of_ended_steps(row, advance);
    std::optional<std::string> changed;
    if (advance.change) changed = options_.make_change(advance.change);
    for (std::size_t i = 0; i < advance.entries.size(); ++i) {
        const NewEntry& wanted = advance.entries[i];
        const bool intent = advance.once_claim && wanted.kind == EntryKind::started;
        const bool result = changed && wanted.kind == EntryKind::completed;
        if (!intent && !result) {
            advanced.written.push_back(append(row, wanted, ready[i]));
            continue;
        }
        NewEntry entry = wanted;
        if (intent) entry.data["idempotency_key"] = advanced.once->idempotency_key;
        if (result) entry.payload = changed;
        advanced.written.push_back(append(row, entry));
    }
    if (advance.once_settle) settle_once(row, *advance.once_settle);
    if (advance.await_signal) advanced.awaited = await_signal(row, *advance.await_signal);
    if (advance.start_child) start_child(row, *advance.start_child);
    if (advance.await_child) advanced.child_end = await_child(row, *advance.await_child);
    if (!advance.step.empty()) {
        row.step = advance.step;
        at.attempt = advance.attempt;
    }
    at.progress = at.progress || advance.progress;
    at.is_changed = true;
    if (!advance.to && !advance.take_key && !looks_at_row(advance)) {
        open_ = std::move(at);
        return advanced;
    }
    write_row(at);
    if (advance.take_key) advanced.queued = !take_key(row, *advance.take_key);
    if (advanced.awaited && advanced.awaited->kind == Awaited::Kind::waiting)
        apply(row, {.to = State::waiting,
                    .waits_for = WaitsFor::signal,
                    .waits_detail = advance.await_signal->signal,
                    .due_at_ms = advance.await_signal->until_ms});
    if (advance.await_child && !advanced.child_end)
        apply(row, {.to = State::waiting,
                    .waits_for = WaitsFor::child,
                    .waits_detail = advance.await_child->child});
    if (advance.to) {
        advanced.cancelled = asked_to_end && !is_finished(advance.to->to);
        if (advanced.cancelled)
            leave_as_asked(row, advance.to->error_code);
        else if (advance.to->to == State::cancelled)
            end_as_asked(row);
        else if (advance.continue_as)
            continue_as_new(row, *advance.continue_as);
        else
            apply(row, *advance.to);
        const bool goes_on = !is_finished(advance.to->to) && advance.to->to != State::stuck;
        if (at.asked_to_pause && goes_on) hold(row.seq, false);
        if (advance.to->claim_next) {
            ClaimResult next = take_due({.limit = 1, .busy = 1, .flow = advance.flow});
            if (!next.claimed.empty()) advanced.next = std::move(next.claimed.front());
            advanced.schedules = std::move(next.schedules);
            for (BreakerNews& news : next.breakers) advanced.breakers.push_back(std::move(news));
        }
    }
    return advanced;
}

void Transitions::apply(Row& row, const Transition& to) {
    const std::int64_t at = now();
    bool goes_on = false, rests = false;
    // The breaker may have closed since it held this one back: nobody would release it any more.
    // Whether there is room, or a turn, is asked with each claim.
    if (to.waits_for == WaitsFor::circuit && !parse_limit(to.waits_detail)) {
        const auto breaker = read_breaker(to.waits_detail);
        goes_on = !breaker || !breaker->holds_back(row.seq);
        rests = !goes_on && breaker->is_held();  // as long as a person wants
    }
    std::optional<std::int64_t> due, finished_at;
    if (goes_on)
        due = at;
    else if (!rests)
        due = to.delay ? at + to.delay->count() : to.due_at_ms;
    if (is_finished(to.to)) finished_at = at;
    if (any_slot_) give_back_slots(row.seq);
    if (any_debounce_ && is_finished(to.to)) forget_debounce(row.seq);
    // Who is stuck with a once key keeps its key: the next one would take that, wait for the once
    // key, and keep this one from going on when a person resumes it.
    const bool lets_pass = to.to == State::stuck && to.release_key && !holds_once_key(row);
    const bool releases = row.holds_key && (is_finished(to.to) || lets_pass);
    std::optional<std::string> waits_for;
    if (to.waits_for && !goes_on) waits_for = steplog::to_string(*to.waits_for);
    Query(statements_,
          "UPDATE instances SET state=?1, due_at_ms=CASE WHEN ?1 IN ('sleeping','waiting') AND "
          "cancel_requested_at_ms IS NULL AND (?2 IS NULL OR deadline_ms<?2) THEN deadline_ms "
          "ELSE ?2 END, waits_for=?3, waits_detail=?4, owner=NULL, "
          "key_ticket=NULL, error_code=?5, error=?6, output_payload=?7, finished_at_ms=?8, "
          "holds_key=?9, updated_at_ms=?10 WHERE seq=?11",
          steplog::to_string(goes_on ? State::pending : to.to), due, waits_for,
          or_null(goes_on ? "" : to.waits_detail), or_null(to.error_code), or_null(to.error),
          write_payload(row, to.output), finished_at, row.holds_key && !releases, at, row.seq)
        .run();
    if (is_finished(to.to)) {
        let_go_of_once_keys(row);
        leave_family(row);
    }
    if (releases) row.holds_key = false;
    // One that ends in the line may have kept those behind it waiting.
    if (releases || (is_finished(to.to) && !row.key.empty())) promote_next(row.key);
}

Renewed Transitions::renew(const std::vector<std::int64_t>& instances) {
    Renewed renewed;
    for (const std::int64_t seq : instances) {
        Row row;
        bool ours = false, asked_to_end = false, past_deadline = false;
        Query update(statements_,
                     "UPDATE instances SET due_at_ms=? WHERE seq=? AND owner=? AND "
                     "state='running' RETURNING cancel_requested_at_ms, id, step, deadline_ms",
                     now() + lease_ms_, seq, owner_);
        while (update.next()) {
            ours = true;
            asked_to_end = !update.is_null(0);
            row.seq = seq;
            row.id = update.text(1);
            row.step = update.text(2);
            past_deadline = !asked_to_end && !update.is_null(3) && update.integer(3) <= now();
        }
        if (past_deadline) ask_past_deadline(row, "running");
        if (!ours) renewed.lost.push_back(seq);
        if (asked_to_end || past_deadline) renewed.asked_to_end.push_back(seq);
    }
    return renewed;
}

}  // namespace steplog
