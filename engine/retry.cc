#include "engine/retry.h"

#include <algorithm>

namespace steplog {

Ms backoff(const RetryPolicy& policy, int attempt, Random& random) {
    const std::int64_t cap = std::max<std::int64_t>(policy.cap.count(), 1);
    std::int64_t ceiling = std::clamp<std::int64_t>(policy.base.count(), 1, cap);
    for (int doubled = 1; doubled < attempt && ceiling < cap; ++doubled)
        ceiling = ceiling > cap / 2 ? cap : ceiling * 2;
    const auto range = static_cast<std::uint64_t>(ceiling);
    return Ms(static_cast<std::int64_t>(random.next() % range) + 1);
}

}  // namespace steplog
