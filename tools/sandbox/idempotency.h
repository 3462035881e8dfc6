// What a provider remembers under an Idempotency-Key: the first request's fingerprint and its
// answer. Stripe's rules: docs.stripe.com/api/idempotent_requests and /error-low-level; Resend's:
// resend.com/docs/dashboard/emails/idempotency-keys. Not locked: its owner's mutex guards it.
#pragma once

#include <string>
#include <unordered_map>

#include "tools/sandbox/request.h"

namespace steplog::sandbox {

class IdempotencyKeys {
  public:
    enum class Verdict {
        fresh,     // execute; the key is in use until settle()
        replay,    // answer with what is stored
        mismatch,  // the key was used with another request
        in_use     // the first request under it has not been answered yet
    };
    struct Lookup {
        Verdict verdict = Verdict::fresh;
        steps::HttpReply stored;  // with replay
    };

    /// Looks the key up; an answer older than 24 h is forgotten first.
    Lookup begin(const std::string& key, const std::string& fingerprint, std::int64_t now_ms);

    /// The answer that every later request under the key gets.
    void keep(const std::string& key, const steps::HttpReply& reply);

    /// The request has been answered: the key is no longer in use, and free again if nothing was
    /// kept.
    void settle(const std::string& key);

    std::size_t size() const { return entries_.size(); }

  private:
    struct Stored {
        std::string fingerprint;
        std::optional<steps::HttpReply> reply;
        std::int64_t created_ms = 0;
        bool in_use = true;
    };
    std::unordered_map<std::string, Stored> entries_;
};

}  // namespace steplog::sandbox
