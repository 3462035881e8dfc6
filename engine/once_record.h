// Whether what a once key remembers is what was written: a keyed hash over its row and over the
// hashes of its request and its result. Once keys outlive the instances whose logs say the same, so
// they need one of their own. Used by the store and by whoever checks a file.
#pragma once

#include <string>

#include "engine/digest.h"
#include "engine/payloads.h"
#include "engine/statements.h"

namespace steplog {

/// A once key's row as it is stored, and whether it is what was written.
struct OnceRecord {
    std::string key, state;
    std::optional<std::int64_t> instance;
    std::string instance_id;
    std::int64_t generation = 0;
    std::string idempotency_key;
    std::int64_t first_attempt_at_ms = 0;
    std::optional<std::int64_t> request, result;  // payloads
    std::optional<Hash> request_hash, result_hash;
    bool whole = false;
};

/// The columns that `read_once_record` reads, to be selected first.
inline constexpr const char* once_record_columns =
    "key, state, instance, instance_id, step, generation, idempotency_key, first_attempt_at_ms, "
    "request, result, request_hash, result_hash, hash ";

/// The row that `query` stands at.
OnceRecord read_once_record(const Query& query, const Hash& secret);

/// What a record remembers. Nothing when there is none or it was forgotten; `damaged` when it is
/// not what was written, or not there.
Payloads::Body read_once_payload(Payloads& payloads, const std::optional<std::int64_t>& payload,
                                 const std::optional<Hash>& hash, const Hash& secret);

/// Whether the row of `key` is what was written; true when there is none.
bool once_record_is_whole(Statements& statements, const Hash& secret, const std::string& key);

/// Makes the row of `key` count as written. After every change of one that was whole, inside the
/// transaction that changes it.
void seal_once_record(Statements& statements, const Hash& secret, const std::string& key);

/// Whether migration 2 brought rows without hashes, which nobody has sealed yet.
bool once_records_are_unsealed(Statements& statements);

/// Believes what such rows say and seals them, once in the life of a file: from then on a row
/// without a hash is a damaged one. Rows whose payload cannot be read stay without.
void seal_unsealed_once_records(Statements& statements, Payloads& payloads, const Hash& secret);

}  // namespace steplog
