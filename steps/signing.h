// Signatures on what we send, by OpenSSL. Pure functions; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace steplog::steps {

/// 32 bytes. Throws std::runtime_error where OpenSSL cannot.
std::string hmac_sha256(std::string_view key, std::string_view text);

/// The key in a secret of Standard Webhooks: base64, with "whsec_" before it or not. Throws
/// std::invalid_argument, without repeating it.
std::string signing_key(const std::string& secret);

/// The value of `webhook-signature`: "v1,<base64 of HMAC-SHA256 over id.time.body>"
/// (standardwebhooks.com). Throws as signing_key does.
std::string standard_webhook_signature(const std::string& secret, const std::string& id,
                                       std::int64_t time_s, std::string_view body);

}  // namespace steplog::steps
