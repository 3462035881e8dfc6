// An id that stands for one instance after another: a start that finds its id or its key in use,
// and an instance that goes on as a new run, with a log of its own.
#include <fmt/format.h>

#include "engine/entries.h"
#include "engine/run_id.h"
#include "engine/transitions.h"

namespace steplog {

// --- which run
// ------------------------------------------------------------------------------------

// Written whether it is known or not: the transaction that made it known may yet fail.
void Transitions::note_run() {
    Query(statements_, "INSERT INTO meta(name,value) VALUES ('runs',1) ON CONFLICT DO NOTHING")
        .run();
    any_run_ = true;
}

void Transitions::require_may_be_given(const std::string& id) {
    if (may_be_given(id)) return;
    throw StoreError(StoreError::Kind::constraint,
                     "an id may not hold /run: that names the runs of an id");
}

std::string Transitions::newest_run(const std::string& id) {
    if (!any_run_ || run_of(id) > 1) return id;
    // What comes last by name is the newest run, or lies within it.
    Query last(statements_,
               "SELECT id FROM instances WHERE id>=?1||'/run:' AND id<?1||'/run;' ORDER BY id DESC "
               "LIMIT 1",
               id);
    return last.next() ? run_holding(id, last.text(0)) : id;
}

std::int64_t Transitions::seq_of(const std::string& exact_id) {
    Query read(statements_, "SELECT seq FROM instances WHERE id=?", exact_id);
    read.next();
    return read.integer(0);
}

Transitions::Row Transitions::read_row(std::int64_t seq) {
    Query read(statements_,
               "SELECT seq, id, key, holds_key, step, log_length, log_hash FROM instances WHERE "
               "seq=?",
               seq);
    read.next();
    return {read.integer(0), read.text(1),    read.text(2), read.integer(3) != 0,
            read.text(4),    read.integer(5), read.hash(6)};
}

// --- a start that finds its id or its key in use
// --------------------------------------------------

// An answer, or nothing: then it is started, under the id that `wanted` has by then.
std::optional<Accepted> Transitions::resolve_conflicts(NewInstance& wanted, std::string& behind) {
    const auto existing = find_instance(wanted.id);
    if (!existing) return resolve_key_conflict(wanted, "");
    std::string old_id, state;
    {
        Query read(statements_, "SELECT id, state FROM instances WHERE seq=?", *existing);
        read.next();
        old_id = read.text(0);
        state = read.text(1);
    }
    Accepted there{.instance = *existing};
    if (old_id != wanted.id && !is_forgotten_name(old_id)) there.id = old_id;
    if (wanted.id_conflict == IdConflict::join) {
        there.duplicate = true;
        return there;
    }
    if (wanted.id_conflict == IdConflict::reject) {
        there.refused = fmt::format("an instance {} is there already: it is {}", wanted.id, state);
        return there;
    }
    if (is_forgotten_name(old_id)) {
        there.refused = fmt::format("the instance {} was forgotten: use another id", wanted.id);
        return there;
    }
    if (auto settled = resolve_key_conflict(wanted, old_id)) return settled;
    return replace_run(wanted, old_id, behind);
}

// A key is in use when it has no place for one more. The holder that is about to be replaced is
// nobody's conflict.
std::optional<Accepted> Transitions::resolve_key_conflict(const NewInstance& wanted,
                                                          const std::string& replaced) {
    if (wanted.key.empty() || wanted.key_conflict == KeyConflict::queue) return std::nullopt;
    if (place_for(wanted.key, std::max(wanted.key_holders_max, 1)) > 0 ||
        Query(statements_, "SELECT 1 FROM instances WHERE id=? AND key=? AND holds_key=1", replaced,
              wanted.key)
            .next())
        return std::nullopt;
    const std::string holder = holder_of(wanted.key);
    if (wanted.key_conflict == KeyConflict::replace) {
        cancel_all_of_key(wanted.key, request_to_replace(wanted));
        return std::nullopt;
    }
    Accepted there{.instance = seq_of(holder)};
    if (wanted.key_conflict == KeyConflict::join) {
        there.duplicate = true;
        there.id = holder;
    } else {
        there.refused = fmt::format("the key {} is in use by {}", wanted.key, holder);
    }
    return there;
}

CancelRequest Transitions::request_to_replace(const NewInstance& wanted) const {
    return {.actor = wanted.actor.empty() ? "engine" : wanted.actor,
            .reason = "another start replaces it"};
}

// Those in the line first, so that none of them is begun because the one before it ends.
void Transitions::cancel_all_of_key(const std::string& key, CancelRequest request) {
    {
        Query unfinished(statements_,
                         "SELECT id FROM instances WHERE key=? AND (state='queued' OR "
                         "holds_key=1) ORDER BY holds_key, coalesce(key_ticket, key_place)",
                         key);
        while (unfinished.next()) request.ids.push_back(unfinished.text(0));
    }
    Cancelled cancelled;
    for (const std::string& id : request.ids) cancel_one(id, request, cancelled);
}

std::optional<Accepted> Transitions::replace_run(NewInstance& wanted, const std::string& old_id,
                                                 std::string& behind) {
    if (wanted.delay > Ms(0) || wanted.start_at_ms)
        throw StoreError(StoreError::Kind::constraint,
                         "what replaces another run begins when that has ended: give it no delay");
    // A run that waits for a former one ends at once, and the former one is still to be waited for.
    std::string former = old_id;
    {
        Query read(statements_,
                   "SELECT waits_detail FROM instances WHERE id=? AND waits_for='child'", old_id);
        if (read.next() && first_run(read.text(0)) == first_run(old_id)) former = read.text(0);
    }
    Cancelled cancelled;
    cancel_one(old_id, request_to_replace(wanted), cancelled);
    std::string key;
    bool has_ended = true;
    {
        Query read(statements_, "SELECT finished_at_ms IS NOT NULL, key FROM instances WHERE id=?",
                   former);
        if (read.next()) {
            has_ended = read.integer(0) != 0;
            key = read.text(1);
        }
    }
    // Behind it in any case.
    const bool same_line = !key.empty() && key == wanted.key && wanted.key_holders_max <= 1;
    if (!has_ended && !same_line && !wanted.key.empty() &&
        place_for(wanted.key, std::max(wanted.key_holders_max, 1)) == 0)
        return Accepted{.refused = fmt::format(
                            "{} was asked to end, and the key {} is in use: start it when that one "
                            "has ended",
                            former, wanted.key)};
    if (!has_ended && !same_line) behind = former;
    wanted.id = run_id(first_run(old_id), run_of(old_id) + 1);
    note_run();
    return std::nullopt;
}

// Whoever ends wakes those that wait for its end (leave_family).
void Transitions::wait_behind(Accepted& accepted, const std::string& run) {
    Query(statements_,
          "UPDATE instances SET state='waiting', due_at_ms=deadline_ms, waits_for='child', "
          "waits_detail=? WHERE seq=?",
          run, accepted.instance)
        .run();
}

// --- continue as new
// ------------------------------------------------------------------------------

// Its run ends and the next one is there, in the same place among keys and relatives: nobody who
// waits for the key or for its end is told.
void Transitions::continue_as_new(Row& row, const NewInstance& next) {
    NewInstance run{.id = run_id(first_run(row.id), run_of(row.id) + 1),
                    .version = next.version,
                    .key = row.key,
                    .input = next.input.value_or("null")};
    std::optional<std::int64_t> deadline_ms, parent, key_place;
    std::optional<std::string> on_parent_close;
    {
        Query read(statements_,
                   "SELECT workflow, on_stuck, priority, deadline_ms, parent, on_parent_close, "
                   "key_holders_max, key_place FROM instances WHERE seq=?",
                   row.seq);
        read.next();
        run.workflow = read.text(0);
        run.on_stuck = parse_on_stuck(read.text(1)).value_or(OnStuck::keep_key);
        run.priority = static_cast<int>(read.integer(2));
        deadline_ms = read.maybe_integer(3);
        parent = read.maybe_integer(4);
        on_parent_close = read.maybe_text(5);
        run.key_holders_max = static_cast<int>(read.integer(6));
        if (row.holds_key) key_place = read.integer(7);
    }
    append(row, {.kind = EntryKind::recorded, .data = {{"continued_as", run.id}}});
    if (any_slot_) give_back_slots(row.seq);
    Query(statements_,
          "UPDATE instances SET state='completed', due_at_ms=NULL, owner=NULL, holds_key=0, "
          "parent=NULL, on_parent_close=NULL, error_code=NULL, error=NULL, log_length=?1, "
          "log_hash=?2, finished_at_ms=?3, updated_at_ms=?3 WHERE seq=?4",
          row.log_length, row.log_hash, now(), row.seq)
        .run();
    let_go_of_once_keys(row);
    const auto payload =
        *payloads_.write(run.input, payloads_.data_key_of_instance(row.seq, now()));
    const Accepted accepted = insert_instance(
        run, payload, keyed_hash(payload_hash_key_, *run.input), false, deadline_ms, key_place);
    Row fresh = read_row(accepted.instance);
    append(fresh, {.kind = EntryKind::recorded, .data = {{"continued_from", row.id}}});
    carry_signals(row, fresh);
    Query(statements_,
          "UPDATE instances SET parent=?, on_parent_close=?, log_length=?, log_hash=? WHERE seq=?",
          parent, on_parent_close, fresh.log_length, fresh.log_hash, fresh.seq)
        .run();
    Query(statements_, "UPDATE instances SET parent=? WHERE parent=? AND finished_at_ms IS NULL",
          fresh.seq, row.seq)
        .run();
    row.holds_key = false;
    note_run();
}

// Those that nobody has taken, in their order, with their senders' ids.
void Transitions::carry_signals(const Row& from, Row& to) {
    struct Signal {
        std::string name;
        std::optional<std::string> dedupe_id;
        std::optional<std::int64_t> payload;
    };
    std::vector<Signal> signals;
    {
        Query read(
            statements_,
            "SELECT name, dedupe_id, payload FROM signals WHERE instance=? AND taken_by_n IS "
            "NULL ORDER BY seq",
            from.seq);
        while (read.next())
            signals.push_back({read.text(0), read.maybe_text(1), read.maybe_integer(2)});
    }
    for (const Signal& signal : signals) {
        const Entry arrived = append(to, {.kind = EntryKind::signal,
                                          .data = {{"signal", signal.name}},
                                          .payload = read_payload(signal.payload)});
        Query(statements_,
              "INSERT INTO signals(instance,name,dedupe_id,payload,sent_at_ms) SELECT instance, ?, "
              "?, payload, at_ms FROM entries WHERE instance=? AND n=?",
              signal.name, signal.dedupe_id, to.seq, arrived.n)
            .run();
    }
    delete_signals(statements_, from.seq);
}

}  // namespace steplog
