#include "engine/digest.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include <stdexcept>

namespace steplog {
namespace {

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

Hash genesis_hash(std::string_view instance_id, std::string_view workflow, const Hash& input_hash) {
    return Fields().add(instance_id).add(workflow).add(input_hash).hash();
}

Hash chain_hash(const Hash& previous, std::int64_t n, std::string_view step, std::string_view kind,
                int attempt, int generation, std::int64_t at_ms, std::string_view data,
                const std::optional<Hash>& payload_hash) {
    Fields fields;
    fields.add(previous).add(static_cast<std::uint64_t>(n)).add(step).add(kind);
    fields.add(static_cast<std::uint64_t>(attempt)).add(static_cast<std::uint64_t>(generation));
    fields.add(static_cast<std::uint64_t>(at_ms)).add(data);
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

}  // namespace steplog
