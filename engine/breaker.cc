#include "engine/breaker.h"

#include <algorithm>

#include "engine/store.h"

namespace steplog {
namespace {

constexpr std::int64_t second_ms = 1000;

std::int64_t probe_delay_ms(const BreakerPolicy& policy, int openings) {
    std::int64_t delay_ms = std::max<std::int64_t>(policy.probe_delay.count(), 1);
    const std::int64_t longest_ms = std::max(policy.probe_delay_max.count(), delay_ms);
    for (int i = 1; i < openings && delay_ms < longest_ms; ++i) delay_ms *= 2;
    return std::min(delay_ms, longest_ms);
}

std::int64_t patience_ms(const BreakerPolicy& policy) {
    return std::max<std::int64_t>(policy.patience.count(), 1);
}

}  // namespace

std::string_view to_string(BreakerState state) {
    switch (state) {
        case BreakerState::closed:
            return "closed";
        case BreakerState::open:
            return "open";
        case BreakerState::half_open:
            return "half_open";
    }
    return "";
}

std::optional<BreakerState> parse_breaker_state(std::string_view word) {
    for (const auto state : {BreakerState::closed, BreakerState::open, BreakerState::half_open})
        if (word == to_string(state)) return state;
    return std::nullopt;
}

std::string_view to_string(ProviderChange::Kind kind) {
    return kind == ProviderChange::Kind::pause ? "pause" : "unpause";
}

bool Breaker::holds_back(std::int64_t instance) const {
    if (is_held() || state == BreakerState::open) return true;
    if (state == BreakerState::closed || stage == 3) return false;
    const bool is_probe = stage == 1 && probe == instance;
    return !is_probe && allowance == 0;
}

void Breaker::begin_call(std::int64_t instance, std::int64_t now_ms, const BreakerPolicy& policy) {
    const bool counts = state == BreakerState::half_open && stage < 3;
    if (!counts || (stage == 1 && probe == instance)) return;
    --allowance;
    if (stage != 1) return;
    probe = instance;
    next_at_ms = now_ms + patience_ms(policy);
}

BreakerChange Breaker::hear(std::int64_t instance, ProviderSign sign, const std::string& code,
                            std::int64_t now_ms, const BreakerPolicy& policy) {
    // What was under way when it opened says nothing about now.
    if (is_held() || state == BreakerState::open) return BreakerChange::none;
    if (sign == ProviderSign::key_rejected) return open(code, now_ms, policy);
    const bool tries = state == BreakerState::half_open && stage == 1;
    if (tries && probe != instance) return BreakerChange::none;
    if (sign == ProviderSign::down)
        return tries ? open(code, now_ms, policy) : count_failure(instance, code, now_ms, policy);
    failures = 0;
    failing_since_ms.reset();
    last_failed = 0;
    if (tries) {
        enter(2, now_ms);
    } else if (state == BreakerState::half_open && stage == 2) {
        ++answers;
        if (wanted > 0 && unreleased == 0 && answers >= wanted) enter(3, now_ms + second_ms);
    }
    return BreakerChange::none;
}

// One request that a provider cannot digest, tried again and again, is not an outage.
BreakerChange Breaker::count_failure(std::int64_t instance, const std::string& code,
                                     std::int64_t now_ms, const BreakerPolicy& policy) {
    if (policy.failures_max <= 0) return BreakerChange::none;
    if (!failing_since_ms || *failing_since_ms > now_ms) failing_since_ms = now_ms;
    if (last_failed != instance) ++failures;
    last_failed = instance;
    // One that has just got up is watched more closely.
    const bool for_long_enough = state == BreakerState::half_open ||
                                 now_ms - *failing_since_ms >= policy.failing_for.count();
    if (failures < policy.failures_max || !for_long_enough) return BreakerChange::none;
    return open(code, now_ms, policy);
}

BreakerChange Breaker::open(const std::string& code, std::int64_t now_ms,
                            const BreakerPolicy& policy) {
    const bool again = state == BreakerState::half_open;
    const int openings_before = again ? openings : 0;
    const auto first_at_ms = again ? opened_at_ms : std::optional(now_ms);
    *this = {};
    state = BreakerState::open;
    openings = openings_before + 1;
    opened_at_ms = first_at_ms;
    next_at_ms = now_ms + probe_delay_ms(policy, openings);
    reason = code;
    return again ? BreakerChange::opened_again : BreakerChange::opened;
}

void Breaker::enter(int new_stage, std::int64_t now_ms) {
    state = BreakerState::half_open;
    stage = new_stage;
    failures = 0;
    failing_since_ms.reset();
    allowance = wanted = unreleased = answers = probe = last_failed = 0;
    next_at_ms = now_ms;
}

bool Breaker::must_act(std::int64_t now_ms, const BreakerPolicy& policy) const {
    if (is_held() || !next_at_ms) return false;
    const std::int64_t longest_ms = std::max(probe_delay_ms(policy, openings), patience_ms(policy));
    return *next_at_ms <= now_ms || *next_at_ms - now_ms > std::max(longest_ms, second_ms);
}

Breaker::Acted Breaker::act(std::int64_t parked, std::int64_t now_ms, const BreakerPolicy& policy) {
    if (state == BreakerState::open || stage == 1) return try_one(parked, now_ms, policy);
    if (stage == 3) return release_all(parked, now_ms, policy);
    return release_a_tenth(parked, now_ms, policy);
}

// Also where the one before it never answered. With nobody parked, the next that comes tries.
Breaker::Acted Breaker::try_one(std::int64_t parked, std::int64_t now_ms,
                                const BreakerPolicy& policy) {
    enter(1, now_ms);
    allowance = 1;
    next_at_ms.reset();
    if (parked > 0) next_at_ms = now_ms + patience_ms(policy);
    return {.release = std::min<std::int64_t>(parked, 1)};
}

Breaker::Acted Breaker::release_a_tenth(std::int64_t parked, std::int64_t now_ms,
                                        const BreakerPolicy& policy) {
    if (wanted == 0) {
        if (parked == 0) return release_all(parked, now_ms, policy);
        wanted = unreleased = allowance = std::max<std::int64_t>(parked / 10, 1);
    } else if (unreleased == 0) {
        // Some of them have gone elsewhere, and will not answer.
        if (answers == 0) return try_one(parked, now_ms, policy);
        enter(3, now_ms);
        return release_all(parked, now_ms, policy);
    }
    const auto at_once = std::max<std::int64_t>(policy.released_per_second, 1);
    const std::int64_t release = std::min({unreleased, at_once, parked});
    unreleased = release == parked ? 0 : unreleased - release;
    next_at_ms = now_ms + (unreleased > 0 ? second_ms : patience_ms(policy));
    return {.release = release};
}

Breaker::Acted Breaker::release_all(std::int64_t parked, std::int64_t now_ms,
                                    const BreakerPolicy& policy) {
    if (parked == 0) {
        *this = {};
        return {.change = BreakerChange::recovered};
    }
    next_at_ms = now_ms + second_ms;
    const auto at_once = std::max<std::int64_t>(policy.released_per_second, 1);
    return {.release = std::min(parked, at_once)};
}

void Breaker::let_one_try(std::int64_t now_ms, const BreakerPolicy& policy) {
    if (is_held() || state != BreakerState::open) return;
    try_one(1, now_ms, policy);
}

void Breaker::hold(std::int64_t now_ms) {
    const auto first_at_ms = opened_at_ms;
    const int openings_before = openings;
    std::string why = std::move(reason);
    *this = {};
    state = BreakerState::open;
    openings = std::max(openings_before, 1);
    opened_at_ms = first_at_ms ? first_at_ms : now_ms;
    held_at_ms = now_ms;
    reason = std::move(why);
}

void Breaker::let_go(std::int64_t now_ms) {
    held_at_ms.reset();
    next_at_ms = now_ms;
}

}  // namespace steplog
