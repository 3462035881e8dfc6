// See rate_limiter.h.
#include "server/rate_limiter.h"

#include <algorithm>
#include <utility>

#include "server/front_address.h"

namespace steplog::server {

namespace {

constexpr std::size_t generation_max = 10'000;

}  // namespace

RateLimiter::RateLimiter(double per_second, double burst)
    : per_second_(per_second), burst_(std::max(burst, 1.0)) {}

bool RateLimiter::allow(std::string_view address, std::int64_t now_ms) {
    const auto parsed = parse_address(address);
    const std::string key = parsed ? limit_key(*parsed) : std::string();
    const std::lock_guard lock(mutex_);
    Bucket& bucket = bucket_of(key, now_ms);
    const auto elapsed_ms = std::max<std::int64_t>(0, now_ms - bucket.filled_at_ms);
    bucket.tokens =
        std::min(burst_, bucket.tokens + per_second_ * static_cast<double>(elapsed_ms) / 1000.0);
    bucket.filled_at_ms = now_ms;
    if (bucket.tokens < 1.0) return false;
    bucket.tokens -= 1.0;
    return true;
}

RateLimiter::Bucket& RateLimiter::bucket_of(const std::string& key, std::int64_t now_ms) {
    if (const auto found = younger_.find(key); found != younger_.end()) return found->second;
    Bucket bucket{burst_, now_ms};
    if (const auto found = older_.find(key); found != older_.end()) bucket = found->second;
    if (younger_.size() >= generation_max) {
        older_ = std::exchange(younger_, {});
    }
    return younger_.emplace(key, bucket).first->second;
}

}  // namespace steplog::server
