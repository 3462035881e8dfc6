// A provider's circuit breaker as a value: what it holds back, what it learns from answers, and
// what it does when a time has come. Knows no store; the store keeps one as a row and changes it in
// its transactions, on the writer.
//
//     closed --failures in a row, or our key rejected--> open --a delay that grows--> half open
//     half open: stage 1, one instance tries; stage 2, a tenth of those parked; stage 3, all, so
//     many a second; then closed. What fails on the way opens it again.
#pragma once

#include "engine/flow.h"

namespace steplog {

struct Breaker {
    BreakerState state = BreakerState::closed;
    int failures = 0;                              // in a row, …
    std::optional<std::int64_t> failing_since_ms;  // … the first of them at
    std::int64_t last_failed = 0;                  // instance of the last of them
    int openings = 0;                              // in a row, without a recovery in between
    int stage = 0;                                 // while half open: 1, 2, 3
    std::int64_t allowance = 0;                    // calls that may still begin in this stage
    std::int64_t wanted = 0;                   // stage 2: answers that end it; 0 until it is known
    std::int64_t unreleased = 0;               // … and how many of those are still to be released
    std::int64_t answers = 0;                  // … and good answers so far
    std::int64_t probe = 0;                    // stage 1: instance whose answer counts
    std::optional<std::int64_t> opened_at_ms;  // when it opened first
    std::optional<std::int64_t> next_at_ms;    // when act() is to be called; absent: not by time
    std::optional<std::int64_t> held_at_ms;    // a person holds it open since
    std::string reason;                        // code of the failure that opened it last

    /// Nothing to remember: a provider without a row.
    bool is_blank() const { return state == BreakerState::closed && failures == 0; }
    bool is_held() const { return held_at_ms.has_value(); }
    /// Whether this instance must not call the provider now.
    bool holds_back(std::int64_t instance) const;
    /// It calls the provider now; not to be called where it is held back.
    void begin_call(std::int64_t instance, std::int64_t now_ms, const BreakerPolicy& policy);
    /// It has called the provider.
    BreakerChange hear(std::int64_t instance, ProviderSign sign, const std::string& code,
                       std::int64_t now_ms, const BreakerPolicy& policy);
    /// Whether its time has come; a time further ahead than any delay was set by a clock that stood
    /// ahead.
    bool must_act(std::int64_t now_ms, const BreakerPolicy& policy) const;
    struct Acted {
        std::int64_t release = 0;  // so many of those parked may go on
        BreakerChange change = BreakerChange::none;
    };
    /// The time has come, and so many are parked. Afterwards next_at_ms lies ahead, or is absent.
    Acted act(std::int64_t parked, std::int64_t now_ms, const BreakerPolicy& policy);
    /// A person wants to know now: whoever comes next tries.
    void let_one_try(std::int64_t now_ms, const BreakerPolicy& policy);
    void hold(std::int64_t now_ms);
    void let_go(std::int64_t now_ms);

  private:
    BreakerChange open(const std::string& code, std::int64_t now_ms, const BreakerPolicy& policy);
    BreakerChange count_failure(std::int64_t instance, const std::string& code, std::int64_t now_ms,
                                const BreakerPolicy& policy);
    void enter(int new_stage, std::int64_t now_ms);
    Acted try_one(std::int64_t parked, std::int64_t now_ms, const BreakerPolicy& policy);
    Acted release_a_tenth(std::int64_t parked, std::int64_t now_ms, const BreakerPolicy& policy);
    Acted release_all(std::int64_t parked, std::int64_t now_ms, const BreakerPolicy& policy);
};

}  // namespace steplog
