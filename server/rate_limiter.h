// A limit per client address, for what only a guesser or a broken client does often: failing
// signatures, wrong admin keys. Used by routes; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

namespace steplog::server {

/// A token bucket per address (IPv6: per /64). Remembers at most 20,000 addresses, those last seen;
/// one that is forgotten begins with a full bucket.
class RateLimiter {
  public:
    /// `burst` at once, then `per_second`. burst is at least 1.
    RateLimiter(double per_second, double burst);

    /// Takes a token. `address` as in httplib's remote_addr; all that are no addresses share one
    /// bucket. `now_ms` is any clock's milliseconds; one that steps back refills nothing.
    bool allow(std::string_view address, std::int64_t now_ms);

  private:
    struct Bucket {
        double tokens;
        std::int64_t filled_at_ms;
    };
    Bucket& bucket_of(const std::string& key, std::int64_t now_ms);

    const double per_second_;
    const double burst_;
    std::mutex mutex_;
    // Guarded by mutex_. Two generations: when the younger is full, the older is forgotten as a
    // whole.
    std::unordered_map<std::string, Bucket> younger_, older_;
};

}  // namespace steplog::server
