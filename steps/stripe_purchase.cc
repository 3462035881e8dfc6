// Reading a purchase from Stripe. Any thread.
#include "steps/stripe_purchase.h"

#include <fmt/format.h>

#include "steps/json_reading.h"

namespace steplog::steps {
namespace {

Json read_related(const StripeEvent& event, const StripeClient& stripe, const Call& call) {
    if (!event.related_path.empty()) {
        return stripe.get_related_object(event.related_path, event.related_id, event.account, call);
    }
    switch (event.kind) {
        case EventKind::subscription_created:
            return stripe.get_subscription(event.related_id, event.account, call);
        case EventKind::invoice_paid:
            return stripe.get_invoice(event.related_id, event.account, call);
        default:
            return stripe.get_checkout_session(event.related_id, event.account, call);
    }
}

void refuse_other_livemode(const Json& object, bool livemode) {
    if (flag_at(object, {"livemode"}).value_or(livemode) == livemode) return;
    throw PermanentError(
        "livemode_mismatch",
        "Stripe's object is of the other livemode than its event. Use a key of the "
        "event's mode");
}

[[noreturn]] void throw_no_longer_paid(const std::string& what) {
    throw PermanentError("no_longer_paid",
                         fmt::format("{}: nothing further was done. If the customer is to have the "
                                     "account all the same, restore the purchase in Stripe",
                                     what));
}

/// Ended, or kept by Stripe without anybody paying for it: `unpaid` after the last failed try,
/// `paused` after a trial without a way to pay. `past_due` is still being collected. Source:
/// docs.stripe.com/billing/subscriptions/overview, "Subscription statuses".
bool is_unpaid(const std::string& status) {
    return status == "canceled" || status == "incomplete_expired" || status == "unpaid" ||
           status == "paused";
}

/// Reads an object for the second time; one that is gone is no longer paid for.
template <class Read>
Json read_again(const std::string& what, Read&& read) {
    try {
        return read();
    } catch (const Refusal& refusal) {
        if (refusal.status() == 404) throw_no_longer_paid(what + " is no longer known to Stripe");
        throw;
    }
}

}  // namespace

void refuse_deleted(const Json& customer, const std::string& id) {
    if (!flag_at(customer, {"deleted"}).value_or(false)) return;
    throw PermanentError(
        "customer_deleted",
        fmt::format("Customer {} was deleted in Stripe, so there is nobody to link. Cancel "
                    "this instance, or make the account by hand",
                    id));
}

void throw_no_email(const Purchase& purchase) {
    const std::string who = purchase.customer.empty()
                                ? fmt::format("Checkout session {}", purchase.session)
                                : fmt::format("Customer {}", purchase.customer);
    if (!purchase.email_problem.empty()) {
        throw PermanentError(
            "email_invalid",
            fmt::format("{} has an e-mail address that cannot be used: {}. Correct it in "
                        "Stripe",
                        who, purchase.email_problem));
    }
    throw PermanentError(
        "no_email", fmt::format("{} has no e-mail address in Stripe, so no account can be made. "
                                "Add one to the customer in Stripe",
                                who));
}

Purchase fetch_purchase(const StripeEvent& event, const Purchase& known, const StripeClient& stripe,
                        const Call& call) {
    Purchase purchase = known;
    if (event.thin) {
        const Json object = read_related(event, stripe, call);
        refuse_other_livemode(object, known.livemode);
        purchase = purchase_of(event.kind, object, known.livemode, known.account);
        purchase.not_due = not_due(event.kind, object);
        if (!purchase.not_due.empty()) return purchase;
        if (buyer_of(purchase).empty()) {
            throw PermanentError(
                "no_customer",
                fmt::format("{} names no customer. Look at it in Stripe", event.related_id));
        }
    }
    if (!purchase.email.empty()) return purchase;
    if (purchase.customer.empty()) {
        const Json session = stripe.get_checkout_session(purchase.session, purchase.account, call);
        Purchase fresh =
            purchase_of(EventKind::checkout_completed, session, known.livemode, known.account);
        if (fresh.email.empty()) throw_no_email(fresh);
        return fresh;
    }
    const Json customer = stripe.get_customer(purchase.customer, purchase.account, call);
    refuse_deleted(customer, purchase.customer);
    refuse_other_livemode(customer, known.livemode);
    if (purchase.source == "reconcile") require_still_paid(purchase, stripe, call);
    add_customer(purchase, customer);
    const bool may_have_account = !text_at(customer, {"metadata", "clerk_user_id"}).empty();
    if (purchase.email.empty() && !may_have_account) throw_no_email(purchase);
    return purchase;
}

void require_still_paid(const Purchase& purchase, const StripeClient& stripe, const Call& call) {
    if (!purchase.customer.empty()) {
        const std::string what = "Customer " + purchase.customer;
        const Json customer = read_again(
            what, [&] { return stripe.get_customer(purchase.customer, purchase.account, call); });
        if (flag_at(customer, {"deleted"}).value_or(false))
            throw_no_longer_paid(what + " was deleted");
    }
    if (!purchase.subscription.empty()) {
        const std::string what = "Subscription " + purchase.subscription;
        const Json subscription = read_again(what, [&] {
            return stripe.get_subscription(purchase.subscription, purchase.account, call);
        });
        const std::string status = text_at(subscription, {"status"});
        if (is_unpaid(status)) throw_no_longer_paid(fmt::format("{} is {}", what, status));
    } else if (!purchase.session.empty()) {
        const std::string what = "Checkout session " + purchase.session;
        const Json session = read_again(what, [&] {
            return stripe.get_checkout_session(purchase.session, purchase.account, call);
        });
        if (text_at(session, {"payment_status"}) == "unpaid")
            throw_no_longer_paid(what + " is unpaid");
    }
}

}  // namespace steplog::steps
