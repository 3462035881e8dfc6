// Encryption of payloads at rest: AES-256-GCM by OpenSSL, and the master keys that people set. Pure
// functions but for the generator of nonces; any thread. Used by engine/payloads only.
#pragma once

#include <array>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace steplog {

/// 256 bits that are wiped when they are no longer needed.
class SecretKey {
  public:
    static constexpr std::size_t size = 32;

    SecretKey() = default;
    SecretKey(const SecretKey&) = default;
    SecretKey& operator=(const SecretKey&) = default;
    ~SecretKey();

    /// From the system's generator.
    static SecretKey random();
    /// Nothing when `bytes` are not exactly 32.
    static std::optional<SecretKey> from(std::string_view bytes);
    std::string_view bytes() const;

  private:
    std::array<unsigned char, size> bytes_{};
};

/// A key that wraps data keys. The id is made of the key by a one-way function, so it may be stored
/// and shown.
struct MasterKey {
    std::string id;  // 16 hex digits
    SecretKey key;
};

/// Reads the setting STEPLOG_ENCRYPTION_KEY: keys of 32 bytes as 64 hex digits or as base64,
/// several separated by commas; the first one wraps what is new. "" is none. Throws
/// std::invalid_argument with a sentence that holds no part of a key.
std::vector<MasterKey> parse_master_keys(std::string_view setting);

/// Nonce, ciphertext and tag. `context` is bound to it: what was sealed in one place cannot be
/// opened in another.
std::string seal(const SecretKey& key, std::string_view context, std::string_view plain);

/// The inverse; nothing when key or context are others, or a bit has changed.
std::optional<std::string> unseal(const SecretKey& key, std::string_view context,
                                  std::string_view sealed);

/// The same of a sealed key; wipes what lay in between.
std::optional<SecretKey> unseal_key(const SecretKey& key, std::string_view context,
                                    std::string_view sealed);

}  // namespace steplog
