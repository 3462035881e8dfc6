// When to try again: exponential backoff with full jitter, under a cap, for so many tries and so
// long.
#pragma once

#include <limits>

#include "engine/clock.h"
#include "engine/types.h"

namespace steplog {

/// How often, at what distance, and for how long a step is tried. What ends first makes it stuck.
struct RetryPolicy {
    int attempts_max = std::numeric_limits<int>::max();
    Ms base = std::chrono::seconds(1);
    Ms cap = std::chrono::hours(1);
    Ms retry_for = std::chrono::hours(72);  // from the first attempt (or from the last resume)
};

/// The pause before the next try after `attempt` tries (1, 2, …): uniform in [0, min(cap,
/// base·2^(attempt-1))], at least 1 ms. Full jitter: many instances that failed together do not
/// come back together.
Ms backoff(const RetryPolicy& policy, int attempt, Random& random);

}  // namespace steplog
