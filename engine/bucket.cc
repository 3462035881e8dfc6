#include "engine/bucket.h"

#include <algorithm>

namespace steplog {
namespace {

constexpr std::int64_t us_per_ms = 1000;
// Microseconds that no sum of two of them overflows: some centuries.
constexpr std::int64_t longest_us = INT64_MAX / 1000;

// From one to the next.
std::int64_t interval_us(const Rate& rate) {
    const std::int64_t period_ms =
        std::clamp<std::int64_t>(rate.period.count(), 1, longest_us / us_per_ms);
    return std::max<std::int64_t>(period_ms * us_per_ms / rate.limit, 1);
}

// Until an empty one is full.
std::int64_t fill_us(const Rate& rate) {
    const std::int64_t each = interval_us(rate);
    return each * std::clamp<std::int64_t>(rate.burst, 1, longest_us / each);
}

// Whoever waits is let through at a whole millisecond: what that one is late must not be lost.
constexpr std::int64_t tolerance_us = us_per_ms - 1;

std::int64_t full_at(const Bucket& bucket, std::int64_t now_us, const Rate& rate) {
    return std::clamp(bucket.full_at_us, now_us, now_us + fill_us(rate) + tolerance_us);
}

}  // namespace

std::int64_t Bucket::available(std::int64_t now_ms, const Rate& rate) const {
    const std::int64_t now_us = now_ms * us_per_ms;
    return (now_us + fill_us(rate) + tolerance_us - full_at(*this, now_us, rate)) /
           interval_us(rate);
}

bool Bucket::refit(std::int64_t now_ms, const Rate& rate) {
    const std::int64_t latest_us = now_ms * us_per_ms + fill_us(rate) + tolerance_us;
    if (full_at_us <= latest_us) return false;
    full_at_us = latest_us;
    return true;
}

void Bucket::take(std::int64_t count, std::int64_t now_ms, const Rate& rate) {
    full_at_us = full_at(*this, now_ms * us_per_ms, rate) + count * interval_us(rate);
}

std::int64_t Bucket::next_at_ms(std::int64_t now_ms, const Rate& rate) const {
    const std::int64_t now_us = now_ms * us_per_ms;
    const std::int64_t at_us =
        full_at(*this, now_us, rate) - fill_us(rate) - tolerance_us + interval_us(rate);
    return (at_us + us_per_ms - 1) / us_per_ms;
}

}  // namespace steplog
