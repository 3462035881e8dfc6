// Breakers as rows: asked before a call, told of its answer, and acted upon with every claim, each
// in the transaction that it belongs to. A provider that is well has no row.
#include <fmt/format.h>

#include "engine/entries.h"
#include "engine/transitions.h"

namespace steplog {
namespace {

constexpr std::size_t provider_length_max = 100;

const BreakerPolicy& policy_of(const std::shared_ptr<const FlowPolicy>& flow,
                               const std::string& provider) {
    return steplog::policy_of(flow).of_provider(provider).breaker;
}

}  // namespace

std::optional<Breaker> Transitions::read_breaker(const std::string& provider) {
    if (!any_breaker_) return std::nullopt;
    Query read(statements_,
               "SELECT state, failures, last_failed, openings, stage, allowance, wanted, "
               "unreleased, answers, probe, opened_at_ms, next_at_ms, held_at_ms, reason, "
               "failing_since_ms FROM breakers WHERE provider=?",
               provider);
    if (!read.next()) return std::nullopt;
    Breaker breaker;
    breaker.state = parse_breaker_state(read.text(0)).value_or(BreakerState::open);
    breaker.failures = static_cast<int>(read.integer(1));
    breaker.last_failed = read.integer(2);
    breaker.openings = static_cast<int>(read.integer(3));
    breaker.stage = static_cast<int>(read.integer(4));
    breaker.allowance = read.integer(5);
    breaker.wanted = read.integer(6);
    breaker.unreleased = read.integer(7);
    breaker.answers = read.integer(8);
    breaker.probe = read.integer(9);
    breaker.opened_at_ms = read.maybe_integer(10);
    breaker.next_at_ms = read.maybe_integer(11);
    breaker.held_at_ms = read.maybe_integer(12);
    breaker.reason = read.text(13);
    breaker.failing_since_ms = read.maybe_integer(14);
    return breaker;
}

void Transitions::write_breaker(const std::string& provider, const Breaker& breaker) {
    if (breaker.is_blank()) {
        Query(statements_, "DELETE FROM breakers WHERE provider=?", provider).run();
        return;
    }
    // Never false again in this life: the transaction that deletes the last row may yet fail.
    any_breaker_ = true;
    Query(statements_,
          "INSERT INTO breakers(provider,state,failures,last_failed,openings,stage,allowance,"
          "wanted,unreleased,answers,probe,opened_at_ms,next_at_ms,held_at_ms,reason,"
          "failing_since_ms) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT(provider) DO "
          "UPDATE SET state=excluded.state, failures=excluded.failures, "
          "last_failed=excluded.last_failed, openings=excluded.openings, stage=excluded.stage, "
          "allowance=excluded.allowance, wanted=excluded.wanted, unreleased=excluded.unreleased, "
          "answers=excluded.answers, probe=excluded.probe, opened_at_ms=excluded.opened_at_ms, "
          "next_at_ms=excluded.next_at_ms, held_at_ms=excluded.held_at_ms, "
          "reason=excluded.reason, failing_since_ms=excluded.failing_since_ms",
          provider, to_string(breaker.state), breaker.failures, breaker.last_failed,
          breaker.openings, breaker.stage, breaker.allowance, breaker.wanted, breaker.unreleased,
          breaker.answers, breaker.probe, breaker.opened_at_ms, breaker.next_at_ms,
          breaker.held_at_ms, or_null(breaker.reason), breaker.failing_since_ms)
        .run();
}

std::int64_t Transitions::count_parked(const std::string& provider) {
    Query count(statements_,
                "SELECT count(*) FROM instances WHERE waits_for='circuit' AND waits_detail=?",
                provider);
    count.next();
    return count.integer(0);
}

std::optional<std::string> Transitions::held_back(const Row& row, const Advance& advance) {
    const std::string& provider = advance.calls;
    const auto breaker = read_breaker(provider);
    if (breaker && breaker->holds_back(row.seq)) return provider;
    const ProviderPolicy& policy = steplog::policy_of(advance.flow).of_provider(provider);
    if (!has_room(LimitOf::provider, provider, policy.running_max))
        return Limit{Limit::Kind::slot, LimitOf::provider, provider}.detail();
    if (!advance.has_turn && waits_for_turn(LimitOf::provider, provider, policy.rate))
        return Limit{Limit::Kind::rate, LimitOf::provider, provider}.detail();
    return std::nullopt;
}

void Transitions::begin_call(const Row& row, const Advance& advance) {
    const ProviderPolicy& policy = steplog::policy_of(advance.flow).of_provider(advance.calls);
    if (policy.running_max > 0) take_slot(LimitOf::provider, advance.calls, row.seq, advance.step);
    if (!advance.has_turn) take_turns(LimitOf::provider, advance.calls, policy.rate, 1);
    auto breaker = read_breaker(advance.calls);
    if (!breaker || breaker->state != BreakerState::half_open) return;
    breaker->begin_call(row.seq, now(), policy_of(advance.flow, advance.calls));
    write_breaker(advance.calls, *breaker);
}

void Transitions::hear(const Row& row, const Advance& advance, std::vector<BreakerNews>& news) {
    const ProviderAnswer& answer = *advance.answer;
    const auto known = read_breaker(answer.provider);
    if (!known && answer.sign == ProviderSign::well) return;
    Breaker breaker = known.value_or(Breaker{});
    const BreakerChange change = breaker.hear(row.seq, answer.sign, answer.code, now(),
                                              policy_of(advance.flow, answer.provider));
    if (known || !breaker.is_blank()) write_breaker(answer.provider, breaker);
    if (change != BreakerChange::none)
        news.push_back({.provider = answer.provider,
                        .change = change,
                        .code = answer.code,
                        .our_key = answer.sign == ProviderSign::key_rejected});
}

void Transitions::act_breakers(const std::shared_ptr<const FlowPolicy>& flow,
                               std::vector<BreakerNews>& news) {
    std::vector<std::string> providers;
    {
        Query read(statements_,
                   "SELECT provider FROM breakers WHERE next_at_ms IS NOT NULL ORDER BY provider");
        while (read.next()) providers.push_back(read.text(0));
    }
    for (const std::string& provider : providers) {
        auto breaker = read_breaker(provider);
        const BreakerPolicy& policy = policy_of(flow, provider);
        if (!breaker || !breaker->must_act(now(), policy)) continue;
        const std::int64_t parked = count_parked(provider);
        const Breaker::Acted acted = breaker->act(parked, now(), policy);
        write_breaker(provider, *breaker);
        // Those that have waited longest since they came or tried.
        wake_parked(provider, now(), acted.release);
        if (acted.change != BreakerChange::none)
            news.push_back({.provider = provider, .change = acted.change});
    }
}

std::optional<std::int64_t> Transitions::next_breaker_due_ms() {
    if (!any_breaker_) return std::nullopt;
    Query next(statements_, "SELECT min(next_at_ms) FROM breakers");
    return next.next() ? next.maybe_integer(0) : std::nullopt;
}

// What a person resumes goes at once; of many, one: the others follow when it has succeeded.
void Transitions::let_one_try(const std::string& provider) {
    auto breaker = read_breaker(provider);
    if (!breaker) return;
    breaker->let_one_try(now(), BreakerPolicy{});
    write_breaker(provider, *breaker);
}

ProviderChanged Transitions::change_provider(const ProviderChange& change) {
    const std::string& provider = change.provider;
    if (provider.empty() || provider.size() > provider_length_max)
        return {.refused = "a provider's name has 1 to 100 characters"};
    Breaker breaker = read_breaker(provider).value_or(Breaker{});
    ProviderChanged changed{.parked = count_parked(provider)};
    const bool pauses = change.kind == ProviderChange::Kind::pause;
    if (breaker.is_held() == pauses)
        changed.refused = pauses ? "it is paused already" : "it is not paused";
    if (!changed.refused.empty()) return changed;
    if (pauses)
        breaker.hold(now());
    else
        breaker.let_go(now());
    write_breaker(provider, breaker);
    if (pauses)
        Query(statements_,
              "UPDATE instances SET due_at_ms=CASE WHEN cancel_requested_at_ms IS NULL THEN "
              "deadline_ms END WHERE waits_for='circuit' AND "
              "waits_detail=?",
              provider)
            .run();
    Json said = Json::object();
    if (!change.reason.empty()) said["reason"] = bounded(change.reason);
    audit(change.actor, fmt::format("provider-{}", steplog::to_string(change.kind)), provider,
          said);
    return changed;
}

}  // namespace steplog
