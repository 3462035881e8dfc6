// The flagship workflow: a customer paid in Stripe, and gets one account in Clerk, linked both
// ways, and one welcome e-mail, whatever crashes in between. Steps: fetch_purchase (where the event
// lacks what is needed), recheck_purchase (when it goes on after a day or by hand),
// create_clerk_user, update_customer, update_subscription, send_email; steps/README.md tells what
// each one does and when it becomes stuck. Runs on the engine's worker threads, many instances at
// once.
#pragma once

#include <memory>
#include <string>

#include "engine/workflow.h"
#include "steps/clerk_client.h"
#include "steps/email.h"
#include "steps/stripe_client.h"

namespace steplog::steps {

/// The outside world of the workflow. Shared by all instances; must outlive the engine.
struct Providers {
    StripeClient stripe;
    ClerkClient clerk;
    EmailSender* email = nullptr;  // null: no e-mail is sent, and the step says so (EMAIL=off)
    std::string app_url;           // required with e-mail, as is email_from
    std::string email_from;
    std::string email_reply_to;         // "": none
    std::optional<bool> livemode = {};  // of our Stripe key; absent: not known
    WelcomeTemplates email_templates = {};
    /// An e-mail that may or may not have left, and cannot be repeated under its key: waits for a
    /// person, or is sent again.
    Repeat email_uncertain = Repeat::at_most_once;
    std::string email_test_redirect = {};  // gets the mails of test purchases; "": their customers
};

/// Adds "provision_customer" version 1. Its input is an event as Stripe sent it, or what
/// reconcile_instance makes. Its output: {"clerk_user_id","created","welcome_email"}, or
/// {"ignored"} with the reason when a thin event's object turned out to start nothing.
void register_provision_customer(Registry& registry, Providers& providers);

}  // namespace steplog::steps
