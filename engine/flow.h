// How much at a time: what a program allows each provider. Values, and nothing that changes; the
// store keeps what has happened (breaker.h), the engine hands these along with what it asks of it.
#pragma once

#include <map>
#include <string>
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

/// What a program allows one provider.
struct ProviderPolicy {
    BreakerPolicy breaker = {};
    int running_max = 0;  // steps of it at the same time, whoever runs them; 0: any number
};

/// What a program allows one workflow.
struct WorkflowPolicy {
    int running_max = 0;  // instances that run at the same time; 0: any number
};

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
    /// How many instances of it may run at the same time; 0: any number.
    int running_max_of(const std::string& workflow) const {
        const auto named = workflows.find(workflow);
        return named == workflows.end() ? 0 : named->second.running_max;
    }
};

/// What may be limited in number.
enum class SlotOf { workflow, provider };
/// "workflow" or "provider".
std::string_view to_string(SlotOf);
/// Instances::waits_detail of one that is parked until there is room: "slot provider clerk". Its
/// waits_for is `circuit`, as for all that flow control parks.
std::string slot_detail(SlotOf scope, const std::string& name);
/// Whether it is one of those, and not a provider whose breaker is open.
bool is_slot_detail(std::string_view waits_detail);
/// What it is parked for; only where is_slot_detail.
std::pair<SlotOf, std::string> slot_of(std::string_view waits_detail);

}  // namespace steplog
