// What was bought, by whom: the few facts of an event or of Stripe's objects that provisioning
// needs, the same for every API version's shape. Used by provision_customer, whose first step
// stores it. Pure functions; any thread. Where the fields are: docs.stripe.com/api
// (checkout/sessions, subscriptions, invoices, customers); what moved in 2025-03-31.basil is read
// in both places.
#pragma once

#include <string>

#include "steps/stripe_event.h"

namespace steplog::steps {

struct Purchase {
    std::string source;  // "checkout", "subscription", "invoice", "reconcile"
    bool livemode = false;
    std::string account;   // Connect account or context; "" for our own
    std::string customer;  // "" for a guest
    std::string session;   // checkout session
    std::string subscription;
    std::string invoice;
    std::string email;          // "" or an address that passes email_problem
    std::string email_problem;  // what is wrong with the one that did not pass, without it
    std::string first_name, last_name;
    std::string language;        // a language tag ("de-AT"), "" where nothing says which
    std::string billing_reason;  // of an invoice
    bool renewal = false;        // provisions and links as a safety net; mails only a new account
    bool quiet = false;          // whoever had it provisioned asked for no e-mail
    std::string not_due;         // "" or why this object, as it is now, starts nothing
};
void to_json(Json& json, const Purchase& purchase);
void from_json(const Json& json, Purchase& purchase);

/// From an event's object or from the same object as read from Stripe.
Purchase purchase_of(EventKind kind, const Json& object, bool livemode, const std::string& account);

/// Fills in the e-mail, the names and the language from a customer object, where the purchase has
/// none.
void add_customer(Purchase& purchase, const Json& customer);

/// The language that a customer object prefers, as a tag; "" for none.
std::string language_of(const Json& customer);

/// The customer, or for a guest the checkout session: who is welcomed once.
const std::string& buyer_of(const Purchase& purchase);

/// "customer_key" of the purchase.
std::string key_of(const Purchase& purchase);

/// Splits a full name at its last space: first names and last name; one word is a first name. For
/// use only where nothing better is known: names do not follow rules.
std::pair<std::string, std::string> split_name(const std::string& full_name);

}  // namespace steplog::steps
