// How much at a time: what a program allows each provider. Values, and nothing that changes; the
// store keeps what has happened (breaker.h), the engine hands these along with what it asks of it.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "engine/types.h"

namespace steplog {

/// What an attempt tells about its provider as a whole.
enum class ProviderSign {
    well,         // it answered, if only with a no
    down,         // it did not answer, or only that it cannot
    key_rejected  // it does not take our key: everyone's problem
};

/// Where a provider's breaker stands. Spelled as stored.
enum class BreakerState { closed, open, half_open };
/// The words as they are stored, and the inverse; nothing for a word that is not one.
std::string_view to_string(BreakerState);
std::optional<BreakerState> parse_breaker_state(std::string_view);

/// What has become of a breaker, for logs and alerts.
enum class BreakerChange { none, opened, opened_again, recovered };

/// When a provider's breaker opens, and how it closes again. While it is open, instances that come
/// to a step of this provider are parked: they use up no attempt.
struct BreakerPolicy {
    int failures_max = 10;  // in a row that open it, of one instance's in a row only the first; 0:
                            // failures never do
    Ms failing_for = std::chrono::seconds(10);     // … and no less time: a hiccup opens nothing
    Ms probe_delay = std::chrono::seconds(5);      // until one parked instance tries; doubled each
                                                   // time that the try fails …
    Ms probe_delay_max = std::chrono::minutes(5);  // … up to this
    Ms patience = std::chrono::seconds(60);  // for the answer to a try: then another one tries
    int released_per_second = 50;            // when it has recovered: at most so many parked ones
};

/// So many in each period, spread evenly over it: a token bucket, which holds `burst` after a quiet
/// time.
struct Rate {
    int limit = 0;  // 0: any number
    Ms period = std::chrono::seconds(1);
    int burst = 1;  // that may begin at once; 1 or more
};

/// What a program allows one provider.
struct ProviderPolicy {
    BreakerPolicy breaker = {};
    int running_max = 0;  // steps of it at the same time, whoever runs them; 0: any number
    Rate rate = {};       // attempts of its steps that begin, each with the look-up before it
};

/// What a program allows one workflow.
struct WorkflowPolicy {
    int running_max = 0;      // instances that run at the same time; 0: any number
    int key_holders_max = 1;  // instances of one key that go on beside each other, itself counted,
                              // of whichever workflows: the smallest of theirs holds; the others
                              // queue in the order of their arrival
    Rate rate = {};           // instances that begin: what goes on after a sleep has begun already
};

/// What may be limited.
enum class LimitOf {
    workflow,
    provider,
    entity  // of Context::update, one at a time; its name is a keyed hash
};
/// The words as they are stored.
std::string_view to_string(LimitOf);

/// What a program allows: by provider, as StepOptions::provider names it.
struct FlowPolicy {
    ProviderPolicy provider = {};  // of those that are not named
    std::map<std::string, ProviderPolicy> providers = {};
    std::map<std::string, WorkflowPolicy> workflows = {};  // those not named are not limited

    /// What holds for this provider.
    const ProviderPolicy& of_provider(const std::string& name) const {
        const auto named = providers.find(name);
        return named == providers.end() ? provider : named->second;
    }
    /// What holds for this workflow.
    const WorkflowPolicy& of_workflow(const std::string& name) const {
        static const WorkflowPolicy not_limited;
        const auto named = workflows.find(name);
        return named == workflows.end() ? not_limited : named->second;
    }
    /// Whether an instance of it may have to wait before it can begin.
    bool limits_workflow(const std::string& name) const {
        const WorkflowPolicy& policy = of_workflow(name);
        return policy.running_max > 0 || policy.rate.limit > 0;
    }
    /// How many at the same time; 0: any number.
    int running_max_of(LimitOf scope, const std::string& name) const {
        if (scope == LimitOf::entity) return 1;
        return scope == LimitOf::workflow ? of_workflow(name).running_max
                                          : of_provider(name).running_max;
    }
    /// How many in a time.
    Rate rate_of(LimitOf scope, const std::string& name) const {
        if (scope == LimitOf::entity) return {};
        return scope == LimitOf::workflow ? of_workflow(name).rate : of_provider(name).rate;
    }
};

/// Why an instance is parked until there is room, or its turn: waits_for is `circuit`, as for all
/// that flow control parks, and waits_detail "slot provider clerk", "rate workflow report". Without
/// a due time it waits; with one, at a rate, its turn has come.
struct Limit {
    enum class Kind { slot, rate } kind = Kind::slot;
    LimitOf scope = LimitOf::provider;
    std::string name = {};

    /// As it is stored.
    std::string detail() const;
};
/// The inverse of detail(); nothing where it is a provider whose breaker is open.
std::optional<Limit> parse_limit(std::string_view waits_detail);

}  // namespace steplog
