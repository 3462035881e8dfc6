// Starts that are put off until a quiet time: whom a newcomer joins, and what that one gets from
// it. Nothing is written here where nothing is debounced.
#include <fmt/format.h>

#include <algorithm>

#include "engine/transitions.h"

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
std::optional<Accepted> Transitions::find_debounced(const NewInstance& instance) {
    if (!instance.debounce) return std::nullopt;
    require_valid(instance);
    // What may have run before a restore says so in its own log.
    if (lost_since(restores_, instance.caused_at_ms, now())) return std::nullopt;
    Query find(statements_,
               "SELECT instance, due_at_ms, waits_detail FROM debounces JOIN instances ON "
               "seq=instance WHERE debounces.workflow=? AND name=? AND epoch=0 AND log_length=0 "
               "AND state IN ('pending','queued')",
               instance.workflow, forgotten_name(payload_hash_key_, instance.debounce->key));
    if (!find.next()) return std::nullopt;
    const std::int64_t begins = find.is_null(1) ? time_in_line(find.text(2)) : find.integer(1);
    if (begins <= now()) return std::nullopt;
    Accepted waiting;
    waiting.instance = find.integer(0);
    waiting.debounced = true;
    return waiting;
}

void Transitions::put_off(const NewInstance& instance, std::int64_t seq) {
    if (!instance.debounce) return;
    any_debounce_ = true;  // never false again in this life: this transaction may yet fail
    Query(statements_,
          "INSERT INTO debounces(workflow,name,instance) VALUES (?,?,?) ON CONFLICT(workflow,name) "
          "DO UPDATE SET instance=excluded.instance",
          instance.workflow, forgotten_name(payload_hash_key_, instance.debounce->key), seq)
        .run();
}

void Transitions::forget_debounce(std::int64_t seq) {
    Query(statements_, "DELETE FROM debounces WHERE instance=?", seq).run();
}

void Transitions::give_input(const Accepted& waiting, const NewInstance& instance,
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
    Query(
        statements_,
        "UPDATE instances SET input_payload=?1, input_hash=?2, log_hash=?3, version=?4, "
        "due_at_ms=CASE WHEN state='queued' THEN NULL WHEN deadline_ms<?5 THEN deadline_ms ELSE ?5 "
        "END, waits_detail=CASE WHEN state='queued' THEN CAST(?5 AS TEXT) ELSE waits_detail END, "
        "updated_at_ms=?6 "
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
