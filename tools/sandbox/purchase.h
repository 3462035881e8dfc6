// One customer buying: makes customer, subscription, invoice and checkout session in a Stripe
// account and the events Stripe would send for them. Used by the Sandbox under its mutex.
#pragma once

#include "tools/sandbox/stripe.h"

namespace steplog::sandbox {

/// A delayed payment method: the session completes unpaid, the money arrives (or not) later.
enum class AsyncPayment {
    none,      // paid at once
    pending,   // only the first half has happened; settle_payment() makes the second
    succeeds,  // both halves
    fails
};

enum class EventForms { snapshot, thin, both };

struct PurchaseOptions {
    std::optional<std::string> email = "ada@example.com";  // absent: there is none anywhere
    std::optional<std::string> name = "Ada Lovelace";
    std::string customer;  // an existing customer buys; "" makes one
    std::string account;   // Connect
    bool live = false;
    bool guest = false;     // mode payment: no customer, no subscription, no invoice
    bool trialing = false;  // status trialing, payment_status no_payment_required
    bool renewal = false;   // and a month later the first renewal is paid, too
    AsyncPayment async = AsyncPayment::none;
    EventForms forms = EventForms::snapshot;
    bool old_api_version = false;  // events are rendered as 2024-06-20 had them
    std::map<std::string, std::string> session_metadata;
};

struct Purchase {
    std::string customer;  // "" for a guest
    std::string subscription;
    std::string invoice;
    std::string session;
    std::vector<Event> events;  // in the order in which they happened
};

/// A plain purchase has six events: customer.created, customer.subscription.created (incomplete),
/// invoice.payment_succeeded, invoice.paid, customer.subscription.updated (active) and
/// checkout.session.completed. Throws std::invalid_argument for an unknown customer.
Purchase make_purchase(const PurchaseOptions& options, Stripe& stripe, std::int64_t now_ms,
                       IdSource& ids);

/// The second half of an async purchase: checkout.session.async_payment_succeeded, the invoice's
/// two events and customer.subscription.updated; or async_payment_failed and
/// invoice.payment_failed. Throws std::invalid_argument for an unknown session, or one that is not
/// waiting for money.
Purchase settle_payment(const std::string& session, bool succeeds, const PurchaseOptions& options,
                        Stripe& stripe, std::int64_t now_ms, IdSource& ids);

/// A subscription is paid for another month: an invoice with billing_reason subscription_cycle.
/// Throws std::invalid_argument for an unknown subscription.
Purchase renew(const std::string& subscription, const PurchaseOptions& options, Stripe& stripe,
               std::int64_t now_ms, IdSource& ids);

/// One event of `type` about the newest object of its kind in the account, as it is now ("v1."
/// types give the thin form). Throws std::invalid_argument when there is no such object.
Event make_event(const std::string& type, const PurchaseOptions& options, Stripe& stripe,
                 std::int64_t now_ms, IdSource& ids);

PurchaseOptions purchase_options_from_json(const Json& json);

}  // namespace steplog::sandbox
