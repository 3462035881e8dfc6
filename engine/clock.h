// Time and randomness come in through these two seams, so that a test decides both.
#pragma once

#include <cstdint>

namespace steplog {

/// Wall-clock time. now_ms may be called from any thread.
class Clock {
  public:
    virtual ~Clock() = default;
    virtual std::int64_t now_ms() const = 0;  // Unix milliseconds
};

/// The machine's wall clock.
class SystemClock : public Clock {
  public:
    std::int64_t now_ms() const override;
};

/// A source of uniformly distributed bits. May be called from any thread.
class Random {
  public:
    virtual ~Random() = default;
    virtual std::uint64_t next() = 0;
};

/// std::random_device behind a generator, one per thread.
class SystemRandom : public Random {
  public:
    std::uint64_t next() override;
};

}  // namespace steplog
