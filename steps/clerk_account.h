// The one account of a buyer: finding it, making it, linking it, so that there are never two. What
// makes that certain is not a lock but Clerk's own uniqueness of external ids and addresses, and a
// mark in the account that tells which instance created it. Used by provision_customer. Any thread.
#pragma once

#include "steps/clerk_client.h"
#include "steps/purchase.h"
#include "steps/stripe_client.h"

namespace steplog::steps {

/// A step's result.
struct Account {
    std::string clerk_user_id;
    bool created = false;  // by this instance, known even when the answer to its creation was lost
    std::string email;     // the address, where it is not the purchase's
    std::string language;  // that the customer prefers at Stripe, as a tag; "" for none
};
void to_json(Json& json, const Account& account);
void from_json(const Json& json, Account& account);

/// Finds the buyer's user by the Stripe customer's metadata[clerk_user_id], by external_id, then by
/// e-mail, else creates one; links what it finds. `prefer_current` takes the customer's present
/// address in Stripe rather than the purchase's. Throws PermanentError "email_unverified",
/// "no_email", "email_invalid", "customer_deleted", or Clerk's own refusal. May be repeated at any
/// point.
Account ensure_account(const Purchase& purchase, bool prefer_current, const StripeClient& stripe,
                       const ClerkClient& clerk, const Attempt& attempt);

/// What an attempt of ensure_account that ended without an answer has already done in full, if it
/// has. Changes nothing.
std::optional<Account> find_own_account(const Purchase& purchase, bool prefer_current,
                                        const StripeClient& stripe, const ClerkClient& clerk,
                                        const Attempt& attempt);

}  // namespace steplog::steps
