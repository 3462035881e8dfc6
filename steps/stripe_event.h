// What a signed message from Stripe is, and what becomes of it: kept and routed to a workflow, kept
// and ignored, or kept and quarantined because it cannot be understood. Decides from the body
// alone; asks nobody. Used by the webhook (intake) and by provision_customer (read_event). Pure
// functions; any thread. Shapes: docs.stripe.com/api/events/object,
// docs.stripe.com/event-destinations/overview.
#pragma once

#include <string>
#include <string_view>

#include "engine/store.h"

namespace steplog::steps {

/// The kinds of event that start provision_customer; `none` is everything else.
enum class EventKind {
    none,
    checkout_completed,
    checkout_async_succeeded,
    subscription_created,
    invoice_paid
};

/// An event as far as it was understood. Everything that goes into a key, a path or a header has
/// been checked.
struct StripeEvent {
    std::string id;
    std::string type;  // as sent: "invoice.paid", "v1.invoice.paid"
    EventKind kind = EventKind::none;
    bool thin = false;                          // has no object: it must be read from Stripe
    std::optional<bool> livemode;               // present whenever kind is not none
    std::string account;                        // Connect: "acct_…" or a context; "" for our own
    std::optional<std::int64_t> created_at_ms;  // at Stripe, to the second
    std::string request_key;                    // Idempotency-Key of the API call that caused it
    Json object;                                // snapshot events of a wanted kind
    std::string related_id, related_path;       // thin events of a wanted kind; the path may be ""
};

/// The types that a workflow wants, in their snapshot forms.
std::vector<std::string> wanted_event_types();

/// Reads a parsed body. Nothing, and `why_not` a short fixed phrase, when it is no event or lacks
/// what its type needs; such a body is quarantined. Types that no workflow wants need only id and
/// type.
std::optional<StripeEvent> read_event(const Json& body, std::string& why_not);

/// Why an object of a wanted kind, as it stands, starts nothing; "" when it does. Not paid yet, an
/// incomplete subscription, a checkout that only saved a card.
std::string not_due(EventKind kind, const Json& object);

struct RoutingPolicy {
    /// The livemode of our own key (sk_live_ / sk_test_); events of the other one are ignored.
    /// Absent: not known, both are routed and kept apart by their keys.
    std::optional<bool> livemode = {};
    /// Events caused by API calls under keys that begin so are our own writes' echo.
    std::string own_key_prefix = "steplog:provision_customer/";
};

/// What the webhook hands to the engine. `instance` is there exactly for routed events; `note` is
/// what the answer says: "" (routed), "ignored" or "quarantined".
struct Intake {
    NewEvent event;
    std::optional<NewInstance> instance;
    std::string note;
};

/// Decides for an understood event; `raw_body` is kept with it.
Intake route(const StripeEvent& event, std::string_view raw_body, const RoutingPolicy& policy);

/// The whole way from a signed body. Never throws because of the body. A body without a usable id
/// is kept under "sha256:" and the hex digest of its bytes.
Intake intake(std::string_view raw_body, const RoutingPolicy& policy);

/// The key under which instances of one customer run one after another:
/// "stripe:<true|false>:<account>:<who>". `who` is the customer's id; for a guest the checkout
/// session's; for a thin event, until the customer is known, its related object's.
std::string customer_key(bool livemode, const std::string& account, const std::string& who);

/// Starts provision_customer for a customer without an event, as a reconciliation does. Its id is
/// "provision_customer/reconcile/<customer>/<subscription>"; unless quiet it mails if it creates
/// the account.
NewInstance reconcile_instance(bool livemode, const std::string& account,
                               const std::string& customer, const std::string& subscription,
                               bool quiet = false);

}  // namespace steplog::steps
