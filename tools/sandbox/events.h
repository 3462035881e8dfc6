// Stripe's events: their envelope in both forms, their signature, and the headers of a delivery.
// Used by the Stripe stand-in, the maker of purchases and the sender. Functions only, any thread.
#pragma once

#include <memory>

#include "tools/sandbox/request.h"

namespace steplog::sandbox {

inline constexpr std::string_view current_api_version = "2026-10-28.endive";
/// A version from before 2025-03-31.basil: `invoice.subscription` and a subscription's current
/// period still stand at the top level (stripe-node's CHANGELOG).
inline constexpr std::string_view old_api_version = "2024-06-20";

enum class EventForm {
    snapshot,  // carries the object as it was
    thin       // names the object only; docs.stripe.com/event-destinations
};

struct Event {
    std::string id;
    std::string type;
    EventForm form = EventForm::snapshot;
    std::string account;    // Connect; "" for the platform's own
    std::string object_id;  // of data.object, or of the related object
    std::string body;       // the exact bytes that are delivered and signed
    std::int64_t created_s = 0;
};

/// What an event says of the request that caused it.
struct EventCause {
    std::string request_id;       // "" when no API request did: checkout, renewals
    std::string idempotency_key;  // "" for none
};

struct EventDraft {
    std::string type;
    std::shared_ptr<const Json> object;  // as it was then
    Json previous_attributes;            // null but for *.updated
    EventCause cause;
    std::string account;
    std::string api_version{current_api_version};
    bool live = false;
    std::int64_t now_ms = 0;
};

/// An event as the account keeps it. Its bytes are made when somebody asks for them, because of
/// most events nobody ever does.
struct EventRecord {
    std::string id;
    std::string snapshot_id;  // the twin of a thin event; "" for a snapshot event
    std::shared_ptr<const EventDraft> draft;
    bool delivered = false;

    EventForm form() const { return snapshot_id.empty() ? EventForm::snapshot : EventForm::thin; }
};

/// The event's bytes; always the same for the same record. A thin event has type "v1.…" and names
/// its twin in snapshot_event.
Event render(const EventRecord& record);

/// The event as a JSON value again.
Json event_json(const Event& event);
/// Whether an event's type is asked for; "customer.*" and "*" are understood.
bool type_wanted(std::string_view wanted, std::string_view type);

/// The value of Stripe-Signature: t=<seconds>,v1=<hex>, one v1 for each secret, each the
/// HMAC-SHA256 of "<t>.<body>" under the WHOLE secret, "whsec_" included
/// (docs.stripe.com/webhooks).
std::string stripe_signature(std::string_view body, const std::vector<std::string>& secrets,
                             std::int64_t t_s);

/// What a real delivery carries: Content-Type, User-Agent, Accept, Cache-Control, Stripe-Signature.
steps::Headers delivery_headers(std::string_view body, const std::vector<std::string>& secrets,
                                std::int64_t t_s);

/// 2026-11-01T08:00:00.000Z
std::string iso_time(std::int64_t ms);

}  // namespace steplog::sandbox
