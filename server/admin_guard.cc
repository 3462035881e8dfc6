// The admin API's door; see admin_guard.h.
#include "server/admin_guard.h"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <strings.h>

#include <cmath>

namespace steplog::server {
namespace {

constexpr std::string_view bearer = "bearer ";

/// What stands behind "Bearer "; "" for any other scheme, which is nobody's key.
std::string_view token_of(std::string_view authorization) {
    const bool is_bearer = authorization.size() > bearer.size() &&
                           strncasecmp(authorization.data(), bearer.data(), bearer.size()) == 0;
    return is_bearer ? authorization.substr(bearer.size()) : std::string_view();
}

Answer too_many(std::string_view what, double per_second) {
    auto answer = error_answer(429, what);
    answer.headers.emplace_back("Retry-After", fmt::format("{:.0f}", std::ceil(1.0 / per_second)));
    return answer;
}

Answer unauthorized() {
    auto answer =
        error_answer(401, "the admin API needs its key, as Authorization: Bearer <ADMIN_API_KEY>");
    answer.headers.emplace_back("WWW-Authenticate", "Bearer");
    return answer;
}

/// What tells a browser to take an answer for nothing but data.
constexpr std::pair<const char*, const char*> security_headers[] = {
    {"Content-Security-Policy",
     "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src "
     "'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"},
    {"X-Content-Type-Options", "nosniff"},
    {"Referrer-Policy", "no-referrer"},
    {"Cross-Origin-Opener-Policy", "same-origin"},
    {"Cross-Origin-Resource-Policy", "same-origin"},
    {"Cache-Control", "no-store"}};

}  // namespace

AdminGuard::AdminGuard(AdminGuardOptions options, const Clock& clock, Log& log)
    : clock_(clock),
      log_(log),
      https_(options.https),
      failures_per_second_(options.failures_per_second),
      changes_per_second_(options.changes_per_second),
      failures_(options.failures_per_second, options.failures_burst) {
    for (const std::string& key : options.keys) {
        digests_.push_back(sha256(key));
        changes_.push_back(
            std::make_unique<RateLimiter>(options.changes_per_second, options.changes_burst));
    }
}

AdminGuard::Verdict AdminGuard::judge(std::string_view authorization, std::string_view body_key,
                                      const std::string& address) {
    const std::string_view candidate = authorization.empty() ? body_key : token_of(authorization);
    const Hash digest = sha256(candidate);
    // Compared with all of them, whichever fits: how long it takes tells nothing.
    Verdict verdict;
    bool known = false;
    for (std::size_t i = 0; i < digests_.size(); ++i) {
        const bool same = CRYPTO_memcmp(digest.data(), digests_[i].data(), digest.size()) == 0;
        known = known || same;
        if (same) verdict.key = i;
    }
    if (known) return verdict;
    if (!failures_.allow(address, clock_.now_ms())) {
        log_.debug("too many requests without the admin key", {{"address", address}});
        verdict.refusal =
            too_many("too many requests without the admin key from this address: wait, then use it",
                     failures_per_second_);
        return verdict;
    }
    log_.warn("admin key missing or wrong", {{"address", address}});
    verdict.refusal = unauthorized();
    return verdict;
}

std::optional<Answer> AdminGuard::refuse_change(std::size_t key) {
    if (changes_.at(key)->allow("", clock_.now_ms())) return std::nullopt;
    log_.warn("too many changes with one admin key");
    return too_many(
        "too many changes with this key: 10 at once, then one every 6 s; for many "
        "instances use workflow-resume",
        changes_per_second_);
}

Answer AdminGuard::dress(Answer answer) const {
    for (const auto& [name, value] : security_headers) answer.headers.emplace_back(name, value);
    if (https_) answer.headers.emplace_back("Strict-Transport-Security", "max-age=31536000");
    return answer;
}

}  // namespace steplog::server
