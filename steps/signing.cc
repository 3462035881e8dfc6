// HMAC-SHA256 and what is made of it; see signing.h.
#include "steps/signing.h"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <array>
#include <stdexcept>

namespace steplog::steps {
namespace {

std::string base64(std::string_view bytes) {
    std::string text(4 * ((bytes.size() + 2) / 3) + 1, '\0');
    const int length = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                                       reinterpret_cast<const unsigned char*>(bytes.data()),
                                       static_cast<int>(bytes.size()));
    text.resize(static_cast<std::size_t>(length));
    return text;
}

std::string decoded(const std::string& coded) {
    std::string bytes(coded.size(), '\0');
    const int length = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()),
                                       reinterpret_cast<const unsigned char*>(coded.data()),
                                       static_cast<int>(coded.size()));
    const auto padding =
        std::count(coded.end() - std::min<std::ptrdiff_t>(2, std::ssize(coded)), coded.end(), '=');
    if (length <= padding)
        throw std::invalid_argument(
            "is no secret of Standard Webhooks; make one with: echo whsec_$(openssl rand -base64 "
            "24)");
    bytes.resize(static_cast<std::size_t>(length - padding));
    return bytes;
}

}  // namespace

std::string hmac_sha256(std::string_view key, std::string_view text) {
    std::array<unsigned char, EVP_MAX_MD_SIZE> mac{};
    unsigned length = 0;
    if (HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
             reinterpret_cast<const unsigned char*>(text.data()), text.size(), mac.data(),
             &length) == nullptr)
        throw std::runtime_error("OpenSSL could not compute an HMAC-SHA256");
    return {reinterpret_cast<const char*>(mac.data()), length};
}

std::string signing_key(const std::string& secret) {
    constexpr std::string_view prefix = "whsec_";
    return decoded(secret.starts_with(prefix) ? secret.substr(prefix.size()) : secret);
}

std::string standard_webhook_signature(const std::string& secret, const std::string& id,
                                       std::int64_t time_s, std::string_view body) {
    return "v1," +
           base64(hmac_sha256(signing_key(secret), fmt::format("{}.{}.{}", id, time_s, body)));
}

}  // namespace steplog::steps
