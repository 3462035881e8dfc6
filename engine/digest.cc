#include "engine/digest.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include <charconv>
#include <stdexcept>

namespace steplog {
namespace {

constexpr std::string_view name_prefix = "forgotten:";
constexpr std::size_t name_digits = 32;
constexpr std::string_view data_prefix = "{\"forgotten\":\"";

// Collects the bytes that a hash covers: integers as 8 bytes, texts behind their length.
class Fields {
  public:
    Fields& add(std::uint64_t value) {
        for (int shift = 56; shift >= 0; shift -= 8)
            bytes_.push_back(static_cast<char>(value >> shift));
        return *this;
    }
    Fields& add(std::string_view text) {
        add(text.size());
        bytes_.append(text);
        return *this;
    }
    Fields& add(const Hash& hash) {
        bytes_.append(reinterpret_cast<const char*>(hash.data()), hash.size());
        return *this;
    }
    Hash hash() const { return sha256(bytes_); }
    Hash hash(const Hash& secret) const { return keyed_hash(secret, bytes_); }

  private:
    std::string bytes_;
};

}  // namespace

Hash sha256(std::string_view text) {
    Hash hash;
    SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), hash.data());
    return hash;
}

Hash keyed_hash(const Hash& secret, std::string_view text) {
    Hash hash;
    unsigned int size = 0;
    if (!HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
              reinterpret_cast<const unsigned char*>(text.data()), text.size(), hash.data(),
              &size) ||
        size != hash.size())
        throw std::runtime_error("HMAC-SHA256 is not available in this OpenSSL");
    return hash;
}

std::string forgotten_name(const Hash& secret, std::string_view id) {
    if (is_forgotten_name(id)) return std::string(id);
    const Hash hash = Fields().add("name").add(id).hash(secret);
    return std::string(name_prefix) + to_hex(hash).substr(0, name_digits);
}

bool is_forgotten_name(std::string_view text) {
    return text.size() == name_prefix.size() + name_digits && text.starts_with(name_prefix) &&
           text.find_first_not_of("0123456789abcdef", name_prefix.size()) == text.npos;
}

Hash content_hash(const Hash& secret, std::string_view step, std::string_view data) {
    if (data.starts_with(data_prefix))
        if (const auto said = hash_from_hex(data.substr(data_prefix.size(), 2 * Hash{}.size())))
            return *said;
    return Fields().add("content").add(step).add(data).hash(secret);
}

Hash genesis_hash(const Hash& secret, std::string_view instance_id, std::string_view workflow,
                  const Hash& input_hash) {
    return Fields().add(forgotten_name(secret, instance_id)).add(workflow).add(input_hash).hash();
}

Hash chain_hash(const Hash& previous, std::int64_t n, const Hash& content, std::string_view kind,
                int attempt, int generation, std::int64_t at_ms,
                const std::optional<Hash>& payload_hash) {
    Fields fields;
    fields.add(previous).add(static_cast<std::uint64_t>(n)).add(content).add(kind);
    fields.add(static_cast<std::uint64_t>(attempt)).add(static_cast<std::uint64_t>(generation));
    fields.add(static_cast<std::uint64_t>(at_ms));
    fields.add(static_cast<std::uint64_t>(payload_hash.has_value()));
    if (payload_hash) fields.add(*payload_hash);
    return fields.hash();
}

Hash random_hash() {
    Hash hash;
    if (RAND_bytes(hash.data(), static_cast<int>(hash.size())) != 1)
        throw std::runtime_error("the system's random generator failed");
    return hash;
}

std::string to_hex(const Hash& hash) {
    static constexpr char digits[] = "0123456789abcdef";
    std::string hex;
    for (unsigned char byte : hash) {
        hex.push_back(digits[byte >> 4]);
        hex.push_back(digits[byte & 15]);
    }
    return hex;
}

std::optional<Hash> hash_from_hex(std::string_view hex) {
    Hash hash;
    if (hex.size() != 2 * hash.size()) return std::nullopt;
    for (std::size_t i = 0; i < hash.size(); ++i) {
        const char* begin = hex.data() + 2 * i;
        const auto read = std::from_chars(begin, begin + 2, hash[i], 16);
        if (read.ec != std::errc() || read.ptr != begin + 2) return std::nullopt;
    }
    return hash;
}

}  // namespace steplog
