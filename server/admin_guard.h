// Who may use the admin API: the keys, the limits, and the headers that every admin answer carries.
// Used by the admin routes, whose every request passes through here first; any thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/clock.h"
#include "engine/digest.h"
#include "server/http_answer.h"
#include "server/log.h"
#include "server/rate_limiter.h"

namespace steplog::server {

struct AdminGuardOptions {
    std::vector<std::string> keys;  // all that are valid now: one that is replaced has its
                                    // successor beside it
    bool https = false;             // we serve TLS ourselves: browsers are told to stay with it
    // Requests without a key or with a wrong one, from one address (nobody is exempt).
    double failures_burst = 20;
    double failures_per_second = 1.0 / 6;
    // Requests under one key that change something.
    double changes_burst = 10;
    double changes_per_second = 1.0 / 6;
};

class AdminGuard {
  public:
    /// What it refers to must outlive it.
    AdminGuard(AdminGuardOptions options, const Clock& clock, Log& log);

    struct Verdict {
        std::optional<Answer> refusal;  // absent: let in
        std::size_t key = 0;            // which one it came with
    };
    /// Judges what came as a key: the value of the Authorization header, or, where a route takes
    /// it, `body_key` when there is no such header. Every refusal is the same 401; beyond the limit
    /// of its address a 429 with Retry-After. A right key is never held up by wrong ones.
    Verdict judge(std::string_view authorization, std::string_view body_key,
                  const std::string& address);

    /// Counts a change under this key. A 429 with Retry-After when there were too many.
    std::optional<Answer> refuse_change(std::size_t key);

    /// The answer with the headers that keep browsers and caches from doing anything with it.
    Answer dress(Answer answer) const;

  private:
    const Clock& clock_;
    Log& log_;
    const bool https_;
    const double failures_per_second_, changes_per_second_;
    std::vector<Hash> digests_;
    RateLimiter failures_;
    std::vector<std::unique_ptr<RateLimiter>> changes_;  // by key
};

}  // namespace steplog::server
