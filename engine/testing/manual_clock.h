// Time and randomness that a test decides: a clock that stands until it is set, and a generator
// whose seed makes a run repeatable. Any thread.
#pragma once

#include <atomic>
#include <cstdint>

#include "engine/clock.h"
#include "engine/types.h"

namespace steplog::testing {

/// Stands still until it is told what time it is.
class ManualClock : public Clock {
  public:
    /// Stands at 2026-01-01 00:00:00 UTC unless told otherwise.
    explicit ManualClock(std::int64_t start_ms = 1'767'225'600'000) : now_ms_(start_ms) {}

    std::int64_t now_ms() const override { return now_ms_.load(); }
    void set_ms(std::int64_t now_ms) { now_ms_.store(now_ms); }
    /// Negative values step back, as a corrected wall clock does.
    void advance(Ms by) { now_ms_.fetch_add(by.count()); }

  private:
    std::atomic<std::int64_t> now_ms_;
};

/// SplitMix64: the same seed gives the same sequence on every platform.
class SeededRandom : public Random {
  public:
    explicit SeededRandom(std::uint64_t seed) : state_(seed) {}

    std::uint64_t next() override {
        std::uint64_t z = state_.fetch_add(0x9e3779b97f4a7c15u) + 0x9e3779b97f4a7c15u;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        return z ^ (z >> 31);
    }
    /// Uniform in [0, bound), 0 for a bound of 0.
    std::uint64_t below(std::uint64_t bound) { return bound == 0 ? 0 : next() % bound; }

  private:
    std::atomic<std::uint64_t> state_;
};

}  // namespace steplog::testing
