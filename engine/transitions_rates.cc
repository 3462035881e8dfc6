// Rates: token buckets as rows. Who finds none is parked, in the order of arrival, and given one
// with a claim as soon as there are some; that it is due since it was parked says that it has been.
// Nothing is written where no rate is set.
#include <algorithm>

#include "engine/transitions.h"

namespace steplog {
namespace {

// Who is parked at the rate ?2 and has no turn at ?1. With a deadline it is due at that, later than
// it was parked; once that has passed, it ends instead.
constexpr const char* waits =
    "waits_for='circuit' AND waits_detail=?2 AND "
    "(due_at_ms IS NULL OR (due_at_ms>updated_at_ms AND due_at_ms>?1)) ";

}  // namespace

Bucket Transitions::read_bucket(LimitOf scope, const std::string& name) {
    Query read(statements_, "SELECT full_at_us FROM rates WHERE scope=? AND name=?",
               to_string(scope), name);
    return read.next() ? Bucket{read.integer(0)} : Bucket{};
}

void Transitions::take_turns(LimitOf scope, const std::string& name, const Rate& rate,
                             std::int64_t count) {
    if (rate.limit <= 0 || count <= 0) return;
    Bucket bucket = read_bucket(scope, name);
    bucket.take(count, now(), rate);
    write_bucket(scope, name, rate, bucket);
}

void Transitions::write_bucket(LimitOf scope, const std::string& name, const Rate& rate,
                               const Bucket& bucket) {
    any_rate_ = true;  // never false again in this life: this transaction may yet fail
    Query(statements_,
          "INSERT INTO rates(scope,name,full_at_us,calls,period_ms,burst) VALUES (?,?,?,?,?,?) "
          "ON CONFLICT(scope,name) DO UPDATE SET full_at_us=excluded.full_at_us, "
          "calls=excluded.calls, period_ms=excluded.period_ms, burst=excluded.burst",
          to_string(scope), name, bucket.full_at_us, rate.limit, rate.period.count(), rate.burst)
        .run();
}

bool Transitions::anybody_waits(const std::string& detail) {
    static const std::string sql =
        std::string("SELECT 1 FROM instances WHERE ") + waits + "LIMIT 1";
    return Query(statements_, sql.c_str(), now(), detail).next();
}

// Whoever came first goes first.
bool Transitions::waits_for_turn(LimitOf scope, const std::string& name, const Rate& rate) {
    if (rate.limit <= 0) return false;
    const std::string detail = Limit{Limit::Kind::rate, scope, name}.detail();
    return read_bucket(scope, name).available(now(), rate) <= 0 || anybody_waits(detail);
}

// How many of those parked could do something with a turn now.
std::int64_t Transitions::turns_of_use(const Limit& limit, const FlowPolicy& flow) {
    if (!anybody_waits(limit.detail())) return 0;
    if (limit.scope == LimitOf::provider) {
        const auto breaker = read_breaker(limit.name);
        if (breaker && breaker->holds_back(0)) return 0;
    }
    return room(limit.scope, limit.name, flow);
}

// They keep their state until they are claimed: the claim hands the turn over.
void Transitions::give_turns(const ClaimRequest& request) {
    const FlowPolicy& flow = policy_of(request.flow);
    for (const Limit& limit : parked_for(Limit::Kind::rate)) {
        const Rate rate = flow.rate_of(limit.scope, limit.name);
        std::int64_t count = std::min<std::int64_t>(request.limit, turns_of_use(limit, flow));
        if (rate.limit > 0) {
            Bucket bucket = read_bucket(limit.scope, limit.name);
            if (bucket.refit(now(), rate)) write_bucket(limit.scope, limit.name, rate, bucket);
            count = std::min(count, bucket.available(now(), rate));
        }
        if (count <= 0) continue;
        static const std::string give = std::string(
                                            "UPDATE instances SET due_at_ms=CASE WHEN "
                                            "updated_at_ms<?1 THEN updated_at_ms ELSE ?1 "
                                            "END WHERE seq IN "
                                            "(SELECT seq FROM instances WHERE ") +
                                        waits + "ORDER BY updated_at_ms, seq LIMIT ?3)";
        const int given =
            Query(statements_, give.c_str(), now(), limit.detail(), count).run_counted();
        take_turns(limit.scope, limit.name, rate, given);
    }
}

std::optional<std::int64_t> Transitions::next_turn_ms(const ClaimRequest& request) {
    if (!any_rate_) return std::nullopt;
    const FlowPolicy& flow = policy_of(request.flow);
    std::optional<std::int64_t> first;
    for (const Limit& limit : parked_for(Limit::Kind::rate)) {
        if (turns_of_use(limit, flow) <= 0) continue;
        const Rate rate = flow.rate_of(limit.scope, limit.name);
        const std::int64_t at =
            rate.limit > 0 ? read_bucket(limit.scope, limit.name).next_at_ms(now(), rate) : now();
        if (!first || at < *first) first = at;
    }
    return first;
}

}  // namespace steplog
