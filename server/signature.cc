// Stripe's signature scheme v1; see signature.h.
#include "server/signature.h"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <array>
#include <charconv>
#include <optional>
#include <stdexcept>

namespace steplog::server {
namespace {

constexpr std::size_t signatures_max = 8;
constexpr std::size_t time_digits_max = 15;
constexpr std::size_t digest_bytes = 32;

struct Parsed {
    std::optional<std::int64_t> time_s;
    std::vector<std::string_view> signatures;
};

/// Leading digits count and what follows them does not, as in the SDK's parseInt. A sign makes it
/// nothing.
std::optional<std::int64_t> parse_time(std::string_view text) {
    const auto begin = text.find_first_not_of(" \t\r\n\v\f");
    if (begin == std::string_view::npos) return std::nullopt;
    text.remove_prefix(text[begin] == '+' ? begin + 1 : begin);
    text = text.substr(0, text.find_first_not_of("0123456789"));
    std::int64_t seconds = 0;
    if (text.size() > time_digits_max) return std::nullopt;
    const auto result = std::from_chars(text.data(), text.data() + text.size(), seconds);
    return result.ec == std::errc{} ? std::optional(seconds) : std::nullopt;
}

/// key=value,key=value: blanks belong to the names, a second '=' ends the value, the last t counts.
Parsed parse(std::string_view header) {
    Parsed parsed;
    while (true) {
        const auto comma = header.find(',');
        const auto item = header.substr(0, comma);
        const auto equals = item.find('=');
        const auto name = item.substr(0, equals);
        auto value =
            equals == std::string_view::npos ? std::string_view() : item.substr(equals + 1);
        value = value.substr(0, value.find('='));
        if (name == "t") parsed.time_s = parse_time(value);
        if (name == "v1") parsed.signatures.push_back(value);
        if (comma == std::string_view::npos) return parsed;
        header.remove_prefix(comma + 1);
    }
}

std::string signed_text(std::int64_t time_s, std::string_view body) {
    std::string text = std::to_string(time_s);
    text.reserve(text.size() + 1 + body.size());
    text += '.';
    text += body;
    return text;
}

std::string hmac_hex(std::string_view secret, std::string_view text) {
    std::array<unsigned char, digest_bytes> digest{};
    unsigned int length = digest.size();
    if (HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
             reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data(),
             &length) == nullptr) {
        throw std::runtime_error("OpenSSL could not compute an HMAC-SHA256");
    }
    return fmt::format("{:02x}", fmt::join(digest, ""));
}

bool equal(std::string_view expected, std::string_view given) {
    return expected.size() == given.size() &&
           CRYPTO_memcmp(expected.data(), given.data(), given.size()) == 0;
}

}  // namespace

std::string_view to_string(Signature verdict) {
    switch (verdict) {
        case Signature::valid:
            return "valid";
        case Signature::missing:
            return "missing";
        case Signature::malformed:
            return "malformed";
        case Signature::no_scheme:
            return "no_scheme";
        case Signature::mismatch:
            return "mismatch";
        case Signature::too_old:
            return "too_old";
    }
    return "unknown";
}

Signature verify_stripe_signature(std::string_view header, std::string_view body,
                                  const std::vector<std::string>& secrets, std::int64_t tolerance_s,
                                  std::int64_t now_s) {
    if (header.empty()) return Signature::missing;
    const auto parsed = parse(header);
    if (!parsed.time_s) return Signature::malformed;
    if (parsed.signatures.empty()) return Signature::no_scheme;
    if (parsed.signatures.size() > signatures_max) return Signature::malformed;
    for (const auto& given : parsed.signatures) {
        if (given.empty()) return Signature::malformed;
    }

    const auto text = signed_text(*parsed.time_s, body);
    bool found = false;
    for (const auto& secret : secrets) {
        if (secret.empty()) continue;  // anyone can sign with an empty key
        const auto expected = hmac_hex(secret, text);
        for (const auto& given : parsed.signatures) found |= equal(expected, given);
    }
    if (!found) return Signature::mismatch;
    if (tolerance_s > 0 && now_s - *parsed.time_s > tolerance_s) return Signature::too_old;
    return Signature::valid;
}

std::optional<std::int64_t> stripe_signature_time(std::string_view header) {
    return parse(header).time_s;
}

std::string stripe_signature_header(std::string_view body, std::string_view secret,
                                    std::int64_t time_s) {
    return fmt::format("t={},v1={}", time_s, hmac_hex(secret, signed_text(time_s, body)));
}

}  // namespace steplog::server
