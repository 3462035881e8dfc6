#include "engine/cipher.h"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include <algorithm>
#include <memory>

#include "engine/digest.h"

namespace steplog {
namespace {

constexpr std::size_t nonce_bytes = 12;  // 96 bits, random: a data key seals far fewer than 2^32
constexpr std::size_t tag_bytes = 16;
constexpr std::string_view blanks = " \t\r\n";

using CipherState = std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)>;

unsigned char* bytes_of(std::string& text) { return reinterpret_cast<unsigned char*>(text.data()); }
const unsigned char* bytes_of(std::string_view text) {
    return reinterpret_cast<const unsigned char*>(text.data());
}

// Looked up once: a look-up costs more than sealing a small payload.
const EVP_CIPHER* cipher() {
    static const std::unique_ptr<EVP_CIPHER, decltype(&EVP_CIPHER_free)> fetched(
        EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr), &EVP_CIPHER_free);
    if (!fetched) throw std::runtime_error("AES-256-GCM is not available in this OpenSSL");
    return fetched.get();
}

[[noreturn]] void fail() { throw std::runtime_error("OpenSSL could not encrypt a payload"); }

std::string_view trimmed(std::string_view text) {
    const auto begin = std::min(text.find_first_not_of(blanks), text.size());
    text.remove_prefix(begin);
    return text.substr(0, text.find_last_not_of(blanks) + 1);
}

// 32 bytes are 43 digits of base64 and one '='; the digits of URLs are taken too.
std::optional<SecretKey> from_base64(std::string_view text) {
    std::string digits(text);
    std::replace(digits.begin(), digits.end(), '-', '+');
    std::replace(digits.begin(), digits.end(), '_', '/');
    if (digits.size() == 43) digits += '=';
    std::optional<SecretKey> key;
    if (digits.size() == 44 && digits.back() == '=') {
        std::string decoded(33, '\0');
        const int length = EVP_DecodeBlock(bytes_of(decoded), bytes_of(std::string_view(digits)),
                                           static_cast<int>(digits.size()));
        if (length == 33) key = SecretKey::from(std::string_view(decoded).substr(0, 32));
        OPENSSL_cleanse(decoded.data(), decoded.size());
    }
    OPENSSL_cleanse(digits.data(), digits.size());
    return key;
}

std::optional<SecretKey> from_text(std::string_view text) {
    if (text.size() != 2 * SecretKey::size) return from_base64(text);
    std::string lower(text);
    for (char& digit : lower)
        if (digit >= 'A' && digit <= 'F') digit = static_cast<char>(digit + 32);
    auto bytes = hash_from_hex(lower);
    OPENSSL_cleanse(lower.data(), lower.size());
    if (!bytes) return std::nullopt;
    auto key = SecretKey::from({reinterpret_cast<const char*>(bytes->data()), bytes->size()});
    OPENSSL_cleanse(bytes->data(), bytes->size());
    return key;
}

// One-way, so that it tells two keys apart and says nothing of either.
std::string id_of(const SecretKey& key) {
    Hash secret;
    std::copy(key.bytes().begin(), key.bytes().end(), secret.begin());
    const std::string hex = to_hex(keyed_hash(secret, "steplog master key")).substr(0, 16);
    OPENSSL_cleanse(secret.data(), secret.size());
    return hex;
}

}  // namespace

SecretKey::~SecretKey() { OPENSSL_cleanse(bytes_.data(), bytes_.size()); }

SecretKey SecretKey::random() {
    SecretKey key;
    if (RAND_priv_bytes(key.bytes_.data(), static_cast<int>(size)) != 1)
        throw std::runtime_error("the system's random generator failed");
    return key;
}

std::optional<SecretKey> SecretKey::from(std::string_view bytes) {
    if (bytes.size() != size) return std::nullopt;
    SecretKey key;
    std::copy(bytes.begin(), bytes.end(), key.bytes_.begin());
    return key;
}

std::string_view SecretKey::bytes() const {
    return {reinterpret_cast<const char*>(bytes_.data()), bytes_.size()};
}

std::vector<MasterKey> parse_master_keys(std::string_view setting) {
    std::vector<MasterKey> keys;
    if (trimmed(setting).empty()) return keys;
    while (true) {
        const auto comma = setting.find(',');
        const auto key = from_text(trimmed(setting.substr(0, comma)));
        if (!key)
            throw std::invalid_argument(fmt::format(
                "key {} of it is not 32 bytes as 64 hex digits or as base64; make one with: "
                "openssl rand -hex 32",
                keys.size() + 1));
        const std::string id = id_of(*key);
        const bool again =
            std::any_of(keys.begin(), keys.end(), [&](const auto& k) { return k.id == id; });
        if (again) throw std::invalid_argument("it holds one key twice; leave one of the two out");
        keys.push_back({id, *key});
        if (comma == setting.npos) return keys;
        setting.remove_prefix(comma + 1);
    }
}

std::string seal(const SecretKey& key, std::string_view context, std::string_view plain) {
    std::string sealed(nonce_bytes + plain.size() + tag_bytes, '\0');
    unsigned char* nonce = bytes_of(sealed);
    if (RAND_bytes(nonce, nonce_bytes) != 1) fail();
    const CipherState state(EVP_CIPHER_CTX_new(), &EVP_CIPHER_CTX_free);
    int length = 0, last = 0;
    unsigned char* out = nonce + nonce_bytes;
    if (!state ||
        !EVP_EncryptInit_ex2(state.get(), cipher(), bytes_of(key.bytes()), nonce, nullptr) ||
        !EVP_EncryptUpdate(state.get(), nullptr, &length, bytes_of(context),
                           static_cast<int>(context.size())) ||
        !EVP_EncryptUpdate(state.get(), out, &length, bytes_of(plain),
                           static_cast<int>(plain.size())) ||
        !EVP_EncryptFinal_ex(state.get(), out + length, &last) ||
        !EVP_CIPHER_CTX_ctrl(state.get(), EVP_CTRL_AEAD_GET_TAG, tag_bytes, out + plain.size()))
        fail();
    return sealed;
}

std::optional<std::string> unseal(const SecretKey& key, std::string_view context,
                                  std::string_view sealed) {
    if (sealed.size() < nonce_bytes + tag_bytes) return std::nullopt;
    const unsigned char* nonce = bytes_of(sealed);
    const std::string_view inside =
        sealed.substr(nonce_bytes, sealed.size() - nonce_bytes - tag_bytes);
    std::string tag(sealed.substr(sealed.size() - tag_bytes));
    std::string plain(inside.size(), '\0');
    const CipherState state(EVP_CIPHER_CTX_new(), &EVP_CIPHER_CTX_free);
    int length = 0, last = 0;
    if (!state ||
        !EVP_DecryptInit_ex2(state.get(), cipher(), bytes_of(key.bytes()), nonce, nullptr) ||
        !EVP_DecryptUpdate(state.get(), nullptr, &length, bytes_of(context),
                           static_cast<int>(context.size())) ||
        !EVP_DecryptUpdate(state.get(), bytes_of(plain), &length, bytes_of(inside),
                           static_cast<int>(inside.size())) ||
        !EVP_CIPHER_CTX_ctrl(state.get(), EVP_CTRL_AEAD_SET_TAG, tag_bytes, tag.data()))
        fail();
    if (EVP_DecryptFinal_ex(state.get(), bytes_of(plain) + length, &last) != 1) return std::nullopt;
    return plain;
}

std::optional<SecretKey> unseal_key(const SecretKey& key, std::string_view context,
                                    std::string_view sealed) {
    auto plain = unseal(key, context, sealed);
    if (!plain) return std::nullopt;
    auto opened = SecretKey::from(*plain);
    OPENSSL_cleanse(plain->data(), plain->size());
    return opened;
}

}  // namespace steplog
