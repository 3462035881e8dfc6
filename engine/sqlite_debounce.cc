// Starts that are put off until a quiet time: whom a newcomer joins, and what that one gets from
// it. Nothing is written here where nothing is debounced.
#include <fmt/format.h>

#include <algorithm>

#include "engine/sqlite_transitions.h"

namespace steplog {
namespace {

void require_valid(const NewInstance& instance) {
    const std::string& key = instance.debounce->key;
    if (key.empty() || key.size() > entity_length_max)
        throw StoreError(
            StoreError::Kind::constraint,
            fmt::format("what is debounced has a key of 1 to {} characters", entity_length_max));
    if (instance.delay > Ms(0) || instance.start_at_ms)
        throw StoreError(StoreError::Kind::constraint,
                         "a debounced start has a period of quiet in place of a delay or a time");
    if (instance.id_conflict != IdConflict::join || instance.key_conflict != KeyConflict::queue)
        throw StoreError(StoreError::Kind::constraint,
                         "a debounced start joins the one that waits, and queues for its key");
}

}  // namespace

// One that still waits for its time, in the line for its key or out of it.
std::optional<Accepted> SqliteTransitions::find_debounced(const NewInstance& instance) {
    if (!instance.debounce) return std::nullopt;
    require_valid(instance);
    // What may have run before a restore says so in its own log.
    if (lost_since(restores_, instance.caused_at_ms, now())) return std::nullopt;
    Query find(statements_,
               "SELECT instance FROM debounces JOIN instances ON seq=instance "
               "WHERE debounces.workflow=? AND name=? AND epoch=0 AND log_length=0 AND "
               "state IN ('pending','queued') AND coalesce(due_at_ms, waits_detail+0)>?",
               instance.workflow, forgotten_name(payload_hash_key_, instance.debounce->key), now());
    if (!find.next()) return std::nullopt;
    Accepted waiting;
    waiting.instance = find.integer(0);
    waiting.debounced = true;
    return waiting;
}

void SqliteTransitions::put_off(const NewInstance& instance, std::int64_t seq) {
    if (!instance.debounce) return;
    any_debounce_ = true;  // never false again in this life: this transaction may yet fail
    Query(statements_, "INSERT OR REPLACE INTO debounces(workflow,name,instance) VALUES (?,?,?)",
          instance.workflow, forgotten_name(payload_hash_key_, instance.debounce->key), seq)
        .run();
}

void SqliteTransitions::forget_debounce(std::int64_t seq) {
    Query(statements_, "DELETE FROM debounces WHERE instance=?", seq).run();
}

void SqliteTransitions::give_input(const Accepted& waiting, const NewInstance& instance,
                                   std::int64_t payload, const Hash& hash) {
    std::string id;
    std::int64_t came_at_ms = 0;
    std::optional<std::int64_t> old_payload;
    {
        Query read(statements_,
                   "SELECT id, created_at_ms, input_payload FROM instances WHERE seq=?",
                   waiting.instance);
        read.next();
        id = read.text(0);
        came_at_ms = read.integer(1);
        old_payload = read.maybe_integer(2);
    }
    const std::int64_t latest = std::max(came_at_ms + instance.debounce->timeout.count(), now());
    const std::int64_t starts = std::min(now() + instance.debounce->period.count(), latest);
    Query(statements_,
          "UPDATE instances SET input_payload=?1, input_hash=?2, log_hash=?3, version=?4, "
          "due_at_ms=iif(state='queued', NULL, min(?5, coalesce(deadline_ms, ?5))), "
          "waits_detail=iif(state='queued', CAST(?5 AS TEXT), waits_detail), updated_at_ms=?6 "
          "WHERE seq=?7",
          payload, hash, genesis_hash(payload_hash_key_, id, instance.workflow, hash),
          std::max(instance.version, 1), starts, now(), waiting.instance)
        .run();
    // The body of an event stays with it.
    Query(statements_,
          "DELETE FROM payloads WHERE id=?1 AND NOT EXISTS (SELECT 1 FROM events WHERE "
          "instance=?2 AND payload=?1)",
          old_payload, waiting.instance)
        .run();
}

}  // namespace steplog
