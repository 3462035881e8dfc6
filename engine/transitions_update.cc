// Versions of things outside that steps bring about: what is older is superseded, and one attempt
// at a time is made for each thing, so that their order is that of their intents.
#include <fmt/format.h>

#include "engine/transitions.h"

namespace steplog {
namespace {

// Named by a keyed hash: the row must not have to be found when its customer is forgotten.
std::string name_of(const Hash& secret, const std::string& entity) {
    if (entity.empty() || entity.size() > entity_length_max)
        throw StoreError(
            StoreError::Kind::constraint,
            fmt::format("what is updated has a name of 1 to {} characters", entity_length_max));
    return forgotten_name(secret, entity);
}

}  // namespace

// False when nothing may be written: `advanced` says why.
bool Transitions::may_update(const Advance& advance, Advanced& advanced) {
    const std::string name = name_of(payload_hash_key_, advance.update->entity);
    if (!has_room(LimitOf::entity, name, 1)) {
        advanced.held_back = Limit{Limit::Kind::slot, LimitOf::entity, name}.detail();
        return false;
    }
    Query newest(statements_, "SELECT version FROM applied_versions WHERE entity=?", name);
    if (newest.next() && newest.integer(0) > advance.update->version)
        advanced.superseded_by = newest.integer(0);
    return !advanced.superseded_by;
}

// Written before the attempt: whatever becomes of it, nothing older may follow. An attempt that
// ended in doubt before this one counts as made.
void Transitions::begin_update(const Row& row, const Advance& advance) {
    const std::string name = name_of(payload_hash_key_, advance.update->entity);
    take_slot(LimitOf::entity, name, row.seq, advance.step);
    Query(statements_,
          "INSERT INTO applied_versions(entity,version,updated_at_ms) VALUES (?,?,?) "
          "ON CONFLICT(entity) DO UPDATE SET version_before=applied_versions.version, "
          "version=excluded.version, "
          "updated_at_ms=excluded.updated_at_ms",
          name, advance.update->version, now())
        .run();
}

// Nobody else has begun since: the attempt held the thing's slot.
void Transitions::take_back_update(const UpdateClaim& update) {
    const std::string name = name_of(payload_hash_key_, update.entity);
    Query(statements_, "DELETE FROM applied_versions WHERE entity=? AND version_before IS NULL",
          name)
        .run();
    Query(statements_,
          "UPDATE applied_versions SET version=version_before, version_before=NULL, "
          "updated_at_ms=? WHERE entity=?",
          now(), name)
        .run();
}

}  // namespace steplog
