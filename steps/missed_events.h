// The workflow that looks for what Stripe never delivered: it compares Stripe's own list of events
// with the inbox, page by page, and takes in what is missing as the webhook would have. Each page
// is a step, so that it goes on at the page where it was interrupted. Runs on the engine's worker
// threads; a schedule starts it.
//
// Stripe lists events of the last 30 days, snapshot forms only, of the key's own account
// (docs.stripe.com/api/events/list): those of connected accounts are not compared.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "engine/schedule.h"
#include "engine/workflow.h"
#include "steps/provision_customer.h"
#include "steps/stripe_event.h"

namespace steplog::steps {

inline constexpr const char* missed_events_workflow = "find_missed_events";

/// Where messages are kept, as a workflow reaches it. Any worker thread.
class Inbox {
  public:
    virtual ~Inbox() = default;

    /// From when on (Unix ms) the instance `asking` should compare: since the last comparison that
    /// came to its end began, else since the first message came; nothing while there is neither:
    /// what was paid before there was a server is nobody's miss.
    virtual std::optional<std::int64_t> compare_from_ms(const std::string& asking) = 0;

    /// Whether a message of this type about this customer or object is there.
    virtual bool has(const std::string& type, const std::string& subject) = 0;

    /// Takes it in, durable on return. False when its id was there already.
    virtual bool take(Intake intake) = 0;

    /// What a comparison found, told at its end; after a crash perhaps once more.
    struct Found {
        std::string instance;
        std::int64_t checked = 0, missing = 0;
        std::int64_t endpoints_disabled = 0;
    };
    virtual void tell(const Found& found) = 0;
};

/// Comparisons at the times of `cron`. A time at which one is under way is left out.
Schedule missed_events_schedule(const std::string& cron, const std::string& time_zone);

/// Adds "find_missed_events" version 1. Its output: {"from","to" (RFC 3339; null: nothing to
/// compare yet),"checked","missing":[{"id","type"} of the first
/// 1,000],"missingCount","endpointsDisabled"}. It fails, with the code "forbidden", where the key
/// may not list events. `stripe` and `inbox` outlive the engine.
void register_missed_events(Registry& registry, const StripeClient& stripe, Inbox& inbox,
                            const Clock& clock, const RoutingPolicy& policy);

}  // namespace steplog::steps
