// Reading a purchase from Stripe: what an event did not say, and whether the purchase still stands.
// Used by provision_customer's steps; changes nothing. Any thread.
#pragma once

#include "steps/purchase.h"
#include "steps/stripe_client.h"

namespace steplog::steps {

/// Completes what the event gave: a thin event's object is read, and a missing e-mail address is
/// looked for at the customer (or, for a guest, at the checkout session). `not_due` is set when a
/// thin event's object starts nothing. Throws PermanentError "no_email" or "email_invalid" when
/// there is no usable address anywhere and no account yet, "customer_deleted", "livemode_mismatch".
Purchase fetch_purchase(const StripeEvent& event, const Purchase& known, const StripeClient& stripe,
                        const Call& call);

/// Throws PermanentError "no_longer_paid" when the customer was deleted, the subscription cancelled
/// or deleted, or the checkout session of a single payment is no longer paid.
void require_still_paid(const Purchase& purchase, const StripeClient& stripe, const Call& call);

/// Throws PermanentError "customer_deleted" for what Stripe answers about a deleted customer.
void refuse_deleted(const Json& customer, const std::string& id);

/// Throws PermanentError "no_email" or "email_invalid", with what a support person can do.
[[noreturn]] void throw_no_email(const Purchase& purchase);

}  // namespace steplog::steps
