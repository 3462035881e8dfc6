// The hashes of the step log: SHA-256 chains over keyed hashes of what an entry says, and the names
// that stand where an id stood once its customer is forgotten. The chain covers only hashes of what
// may be forgotten (ids, small data, payloads), so that forgetting leaves it whole. Pure functions;
// any thread.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace steplog {

using Hash = std::array<unsigned char, 32>;

/// SHA-256 of the text.
Hash sha256(std::string_view text);

/// HMAC-SHA256 under the database's own secret (meta row "payload_hash_key").
Hash keyed_hash(const Hash& secret, std::string_view text);

/// What stands for an id (of an event, instance, customer, key) once it is forgotten: "forgotten:"
/// and 128 bits of its keyed hash. The same id has the same name for ever, so duplicates still
/// fold; the name of a name is itself.
std::string forgotten_name(const Hash& secret, std::string_view id);
bool is_forgotten_name(std::string_view text);

/// The keyed hash of an entry's step and small data. Data whose text was forgotten says it itself:
/// {"forgotten":"<64 hex digits>", …}.
Hash content_hash(const Hash& secret, std::string_view step, std::string_view data);

/// The chain's beginning: what an instance is, before its log says anything. The same before and
/// after its id was forgotten.
Hash genesis_hash(const Hash& secret, std::string_view instance_id, std::string_view workflow,
                  const Hash& input_hash);

/// The chain's next link: everything that an entry says, after `previous`; `content` is its
/// content_hash. Fields are length-prefixed, so that no two entries hash the same bytes.
Hash chain_hash(const Hash& previous, std::int64_t n, const Hash& content, std::string_view kind,
                int attempt, int generation, std::int64_t at_ms,
                const std::optional<Hash>& payload_hash);

/// 32 bytes from the system's generator.
Hash random_hash();

/// Lowercase hex.
std::string to_hex(const Hash& hash);
/// The inverse; nothing for anything but 64 hex digits.
std::optional<Hash> hash_from_hex(std::string_view hex);

}  // namespace steplog
