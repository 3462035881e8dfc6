#include "engine/digest.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include <charconv>
#include <memory>
#include <stdexcept>

namespace steplog {
namespace {

constexpr std::string_view name_prefix = "forgotten:";
constexpr std::size_t name_digits = 32;
constexpr std::string_view data_prefix = "{\"forgotten\":\"";

[[noreturn]] void not_available(const char* what) {
    throw std::runtime_error(std::string(what) + " is not available in this OpenSSL");
}

const unsigned char* bytes_of(std::string_view text) {
    return reinterpret_cast<const unsigned char*>(text.data());
}

// OpenSSL looks an algorithm up by its name each time that it is not told otherwise, which takes
// longer than hashing what we hash: each thread keeps what it has found.
class Sha256 {
  public:
    Sha256()
        : algorithm_(EVP_MD_fetch(nullptr, "SHA256", nullptr), EVP_MD_free),
          context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
        if (!algorithm_ || !context_) not_available("SHA-256");
    }
    Hash hash(std::string_view text) {
        Hash hash;
        if (!EVP_DigestInit_ex2(context_.get(), algorithm_.get(), nullptr) ||
            !EVP_DigestUpdate(context_.get(), text.data(), text.size()) ||
            !EVP_DigestFinal_ex(context_.get(), hash.data(), nullptr))
            not_available("SHA-256");
        return hash;
    }

  private:
    std::unique_ptr<EVP_MD, decltype(&EVP_MD_free)> algorithm_;
    std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

class HmacSha256 {
  public:
    HmacSha256() {
        const std::unique_ptr<EVP_MAC, decltype(&EVP_MAC_free)> algorithm(
            EVP_MAC_fetch(nullptr, "HMAC", nullptr), EVP_MAC_free);
        if (algorithm) context_.reset(EVP_MAC_CTX_new(algorithm.get()));
        if (!context_) not_available("HMAC-SHA256");
    }
    Hash hash(const Hash& secret, std::string_view text) {
        Hash hash;
        std::size_t size = 0;
        if (!begin(secret) || !EVP_MAC_update(context_.get(), bytes_of(text), text.size()) ||
            !EVP_MAC_final(context_.get(), hash.data(), &size, hash.size()) || size != hash.size())
            not_available("HMAC-SHA256");
        return hash;
    }

  private:
    // It keeps its secret until another one is given.
    bool begin(const Hash& secret) {
        if (secret_ == secret) return EVP_MAC_init(context_.get(), nullptr, 0, nullptr) == 1;
        secret_.reset();
        std::string digest = "SHA256";
        const OSSL_PARAM how[] = {
            OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest.data(), 0),
            OSSL_PARAM_construct_end()};
        if (EVP_MAC_init(context_.get(), secret.data(), secret.size(), how) != 1) return false;
        secret_ = secret;
        return true;
    }

    std::unique_ptr<EVP_MAC_CTX, decltype(&EVP_MAC_CTX_free)> context_{nullptr, EVP_MAC_CTX_free};
    std::optional<Hash> secret_;
};

// Collects the bytes that a hash covers: integers as 8 bytes, texts behind their length.
class Fields {
  public:
    Fields() { bytes_.reserve(256); }
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
    thread_local Sha256 sha256;
    return sha256.hash(text);
}

Hash keyed_hash(const Hash& secret, std::string_view text) {
    thread_local HmacSha256 hmac;
    return hmac.hash(secret, text);
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
