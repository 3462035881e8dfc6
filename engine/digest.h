// The hashes of the step log: SHA-256 chains over what an entry says, and keyed hashes of payloads,
// so that forgetting a payload leaves the chain whole. Pure functions; any thread.
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

/// The chain's beginning: what an instance is, before its log says anything.
Hash genesis_hash(std::string_view instance_id, std::string_view workflow, const Hash& input_hash);

/// The chain's next link: everything that an entry says, after `previous`. Fields are
/// length-prefixed, so that no two entries hash the same bytes.
Hash chain_hash(const Hash& previous, std::int64_t n, std::string_view step, std::string_view kind,
                int attempt, int generation, std::int64_t at_ms, std::string_view data,
                const std::optional<Hash>& payload_hash);

/// 32 bytes from the system's generator.
Hash random_hash();

/// Lowercase hex.
std::string to_hex(const Hash& hash);

}  // namespace steplog
