// The one account of a buyer. Any thread.
#include "steps/clerk_account.h"

#include <fmt/format.h>

#include <algorithm>

#include "steps/json_reading.h"
#include "steps/stripe_purchase.h"

namespace steplog::steps {
namespace {

enum class FoundBy { metadata, external_id, email };

struct Found {
    ClerkUser user;
    FoundBy by;
};

/// What one attempt knows of the buyer.
struct Buyer {
    const Purchase& purchase;
    Json customer;  // null for a guest
    std::string email;
    std::string email_problem;
};

/// Stripe's no while an account is looked for at Clerk comes with Stripe's remedy.
Json read_customer(const Purchase& purchase, const StripeClient& stripe, const Call& call) {
    try {
        return stripe.get_customer(purchase.customer, purchase.account, call);
    } catch (const Refusal& refusal) {
        throw PermanentError(refusal.code(), fmt::format("{}. Look at customer {} in Stripe",
                                                         refusal.what(), purchase.customer));
    }
}

Buyer read_buyer(const Purchase& purchase, bool prefer_current, const StripeClient& stripe,
                 const Call& call) {
    Buyer buyer{.purchase = purchase,
                .customer = nullptr,
                .email = purchase.email,
                .email_problem = purchase.email_problem};
    if (purchase.customer.empty()) return buyer;
    buyer.customer = read_customer(purchase, stripe, call);
    if (!prefer_current && !buyer.email.empty()) return buyer;
    Purchase current;
    add_customer(current, buyer.customer);
    if (!current.email.empty()) buyer.email = current.email;
    if (!current.email_problem.empty()) buyer.email_problem = current.email_problem;
    return buyer;
}

std::optional<Found> find_user(const Buyer& buyer, const ClerkClient& clerk, const Call& call) {
    const std::string known = text_at(buyer.customer, {"metadata", "clerk_user_id"});
    if (!known.empty()) {
        if (auto user = clerk.find_by_id(known, call)) return Found{*user, FoundBy::metadata};
    }
    if (!buyer.purchase.customer.empty()) {
        auto user = clerk.find_by_external_id(buyer.purchase.customer, call);
        if (user) return Found{*user, FoundBy::external_id};
    }
    if (!buyer.email.empty()) {
        if (auto user = clerk.find_by_email(buyer.email, call)) return Found{*user, FoundBy::email};
    }
    return std::nullopt;
}

bool is_linked(const ClerkUser& user, const std::string& customer) {
    const auto& others = user.stripe_customer_ids;
    return customer.empty() || user.external_id == customer ||
           std::find(others.begin(), others.end(), customer) != others.end();
}

Account account_of(const ClerkUser& user, const Buyer& buyer, const Attempt& attempt) {
    return {.clerk_user_id = user.id,
            .created = user.steplog_instance == attempt.instance_id,
            .email = buyer.email == buyer.purchase.email ? "" : buyer.email,
            .language = language_of(buyer.customer)};
}

/// Takes an account that exists. One that was found only by its address is the buyer's only if the
/// address was verified: anybody can sign up with somebody else's.
Account adopt(const Found& found, const Buyer& buyer, const ClerkClient& clerk,
              const Attempt& attempt) {
    const ClerkUser& user = found.user;
    const std::string& customer = buyer.purchase.customer;
    const Account account = account_of(user, buyer, attempt);
    if (found.by == FoundBy::email && !account.created && !user.has_verified(buyer.email)) {
        throw PermanentError(
            "email_unverified",
            fmt::format(
                "Clerk user {} has the buyer's e-mail address, but has not verified it, so it "
                "may be somebody else's. Ask the customer to verify the address by signing in, "
                "or delete that user in Clerk",
                user.id));
    }
    if (is_linked(user, customer)) return account;
    const Call call = Call::of(attempt);
    const bool written = user.external_id.empty() && clerk.set_external_id(user.id, customer, call);
    if (!written) clerk.add_stripe_customer_id(user.id, customer, call);
    return account;
}

NewClerkUser new_user(const Buyer& buyer, const Attempt& attempt) {
    const Purchase& purchase = buyer.purchase;
    NewClerkUser user{.email = buyer.email,
                      .first_name = purchase.first_name,
                      .last_name = purchase.last_name,
                      .external_id = purchase.customer};
    user.private_metadata = {{"steplog_instance", attempt.instance_id}};
    if (purchase.customer.empty()) {
        user.private_metadata["stripe_checkout_session"] = purchase.session;
    } else {
        user.private_metadata["stripe_customer_id"] = purchase.customer;
    }
    return user;
}

}  // namespace

void to_json(Json& json, const Account& account) {
    json = {{"clerk_user_id", account.clerk_user_id}, {"created", account.created}};
    if (!account.email.empty()) json["email"] = account.email;
    if (!account.language.empty()) json["language"] = account.language;
}

void from_json(const Json& json, Account& account) {
    json.at("clerk_user_id").get_to(account.clerk_user_id);
    json.at("created").get_to(account.created);
    account.email = text_at(json, {"email"});
    account.language = text_at(json, {"language"});
}

Account ensure_account(const Purchase& purchase, bool prefer_current, const StripeClient& stripe,
                       const ClerkClient& clerk, const Attempt& attempt) {
    const Call call = Call::of(attempt);
    const Buyer buyer = read_buyer(purchase, prefer_current, stripe, call);
    refuse_deleted(buyer.customer, purchase.customer);
    if (const auto found = find_user(buyer, clerk, call))
        return adopt(*found, buyer, clerk, attempt);
    if (buyer.email.empty()) {
        Purchase without = purchase;
        without.email_problem = buyer.email_problem;
        throw_no_email(without);
    }
    try {
        const ClerkUser user = clerk.create_user(new_user(buyer, attempt), call);
        return {.clerk_user_id = user.id,
                .created = true,
                .email = buyer.email == purchase.email ? "" : buyer.email,
                .language = language_of(buyer.customer)};
    } catch (const Refusal& refusal) {
        if (refusal.code() != "form_identifier_exists") throw;
    }
    // Somebody else was faster: another customer with this address, or an earlier attempt of ours.
    if (const auto found = find_user(buyer, clerk, call))
        return adopt(*found, buyer, clerk, attempt);
    throw RetryableError(
        "Clerk says that the address or the external id is taken, and finds nobody who has it",
        {.code = "taken_by_nobody",
         .outcome = Outcome::refused,
         .trouble = RetryableError::Trouble::request});
}

std::optional<Account> find_own_account(const Purchase& purchase, bool prefer_current,
                                        const StripeClient& stripe, const ClerkClient& clerk,
                                        const Attempt& attempt) {
    const Call call = Call::of(attempt);
    const Buyer buyer = read_buyer(purchase, prefer_current, stripe, call);
    const auto found = find_user(buyer, clerk, call);
    if (!found) return std::nullopt;
    const Account account = account_of(found->user, buyer, attempt);
    const bool done_in_full = account.created || (!purchase.customer.empty() &&
                                                  is_linked(found->user, purchase.customer));
    return done_in_full ? std::optional(account) : std::nullopt;
}

}  // namespace steplog::steps
