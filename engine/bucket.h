// A token bucket as a value: how many may begin now, and when the next one may. Knows no store; the
// store keeps one as a row and changes it in its transactions, on the writer.
#pragma once

#include "engine/flow.h"

namespace steplog {

/// For rates with a limit only.
struct Bucket {
    std::int64_t full_at_us = 0;  // when it will be full again, in Unix microseconds

    /// Empty at most, whatever was taken under another rate or by a clock that stood ahead. True
    /// when it was emptier. To be called, and kept, now and then: all else takes it for just empty.
    bool refit(std::int64_t now_ms, const Rate& rate);
    /// How many may begin now.
    std::int64_t available(std::int64_t now_ms, const Rate& rate) const;
    /// So many begin.
    void take(std::int64_t count, std::int64_t now_ms, const Rate& rate);
    /// When there will be one, in Unix milliseconds; not later than now where there is one.
    std::int64_t next_at_ms(std::int64_t now_ms, const Rate& rate) const;
};

}  // namespace steplog
