// The memory behind Idempotency-Key. Used by the Stripe and Resend stand-ins under the sandbox's
// mutex.
#include "tools/sandbox/idempotency.h"

namespace steplog::sandbox {
namespace {

constexpr std::int64_t kept_for_ms = 24LL * 60 * 60 * 1000;

}  // namespace

IdempotencyKeys::Lookup IdempotencyKeys::begin(const std::string& key,
                                               const std::string& fingerprint,
                                               std::int64_t now_ms) {
    auto found = entries_.find(key);
    if (found != entries_.end() && !found->second.in_use &&
        found->second.created_ms + kept_for_ms <= now_ms) {
        entries_.erase(found);
        found = entries_.end();
    }
    if (found == entries_.end()) {
        entries_.emplace(
            key, Stored{.fingerprint = fingerprint, .reply = std::nullopt, .created_ms = now_ms});
        return {};
    }
    const Stored& stored = found->second;
    if (stored.in_use) return {.verdict = Verdict::in_use, .stored = {}};
    if (stored.fingerprint != fingerprint) return {.verdict = Verdict::mismatch, .stored = {}};
    return {.verdict = Verdict::replay, .stored = stored.reply.value_or(steps::HttpReply{})};
}

void IdempotencyKeys::keep(const std::string& key, const steps::HttpReply& reply) {
    const auto found = entries_.find(key);
    if (found != entries_.end()) found->second.reply = reply;
}

void IdempotencyKeys::settle(const std::string& key) {
    const auto found = entries_.find(key);
    if (found == entries_.end()) return;
    if (found->second.reply) {
        found->second.in_use = false;
    } else {
        entries_.erase(found);
    }
}

}  // namespace steplog::sandbox
