// Purchases, renewals and late payments, told the way Stripe tells them. Under the sandbox's mutex.
#include "tools/sandbox/purchase.h"

#include <fmt/format.h>

#include <stdexcept>

#include "tools/sandbox/stripe_shapes.h"

namespace steplog::sandbox {
namespace {

constexpr std::int64_t month_s = 30 * 86400;
constexpr std::int64_t trial_s = 14 * 86400;

Json text_or_null(const std::optional<std::string>& text) { return text ? Json(*text) : Json(); }

/// Tells one story: makes objects, changes them, and collects the events of every change.
class Teller {
  public:
    Teller(const PurchaseOptions& options, Stripe& stripe, std::int64_t now_ms, IdSource& ids)
        : options_(options),
          stripe_(stripe),
          account_(stripe.account(options.live, options.account)),
          now_ms_(now_ms),
          now_s_(now_ms / 1000),
          ids_(ids) {}

    Purchase purchase;

    void guest() {
        Json session = new_session();
        session["mode"] = "payment";
        session["customer_creation"] = "if_required";
        session["payment_intent"] = ids_.make("pi_3", 23);
        purchase.session = string_at(session, "id");
        complete(std::move(session));
    }

    void subscribe() {
        if (options_.customer.empty()) {
            create_customer();
        } else {
            purchase.customer = options_.customer;
            const auto known = account_.customers.find(options_.customer);
            if (!known || member(*known, "deleted") != nullptr) {
                throw std::invalid_argument(
                    "no such customer in the sandbox; make one by a purchase "
                    "without \"customer\" or by POST /v1/customers");
            }
        }
        const bool async = options_.async != AsyncPayment::none;
        Json subscription = new_subscription();
        purchase.subscription = string_at(subscription, "id");
        purchase.invoice = ids_.make("in_1", 23);
        subscription["latest_invoice"] = purchase.invoice;
        subscription["status"] = options_.trialing ? "trialing" : "incomplete";
        tell("customer.subscription.created", account_.subscriptions.put(std::move(subscription)));

        Json invoice = new_invoice("subscription_create");
        if (async) {
            invoice["status"] = "open";
            invoice["amount_paid"] = 0;
            invoice["amount_remaining"] = invoice["amount_due"];
            invoice["status_transitions"]["paid_at"] = nullptr;
        }
        const auto stored = account_.invoices.put(std::move(invoice));
        if (!async) {
            tell("invoice.payment_succeeded", stored);
            tell("invoice.paid", stored);
            if (!options_.trialing) activate();
        }

        Json session = new_session();
        session["customer"] = purchase.customer;
        session["subscription"] = purchase.subscription;
        session["invoice"] = purchase.invoice;
        purchase.session = string_at(session, "id");
        if (options_.trialing) session["payment_status"] = "no_payment_required";
        if (async) session["payment_status"] = "unpaid";
        complete(std::move(session));
        if (options_.async == AsyncPayment::succeeds) settle(true);
        if (options_.async == AsyncPayment::fails) settle(false);
        if (options_.renewal) renew();
    }

    void settle(bool succeeds) {
        Json session = *account_.sessions.find(purchase.session);
        purchase.customer = string_at(session, "customer");
        purchase.subscription = string_at(session, "subscription");
        purchase.invoice = string_at(session, "invoice");
        Json invoice = *account_.invoices.find(purchase.invoice);
        if (!succeeds) {
            tell("checkout.session.async_payment_failed", account_.sessions.find(purchase.session));
            tell("invoice.payment_failed", account_.invoices.find(purchase.invoice));
            return;
        }
        session["payment_status"] = "paid";
        tell("checkout.session.async_payment_succeeded", account_.sessions.put(std::move(session)));
        invoice["status"] = "paid";
        invoice["amount_paid"] = invoice["amount_due"];
        invoice["amount_remaining"] = 0;
        invoice["status_transitions"]["paid_at"] = now_s_;
        const auto paid = account_.invoices.put(std::move(invoice));
        tell("invoice.payment_succeeded", paid);
        tell("invoice.paid", paid);
        activate();
    }

    void renew() {
        Json subscription = *account_.subscriptions.find(purchase.subscription);
        const Json before = subscription;
        purchase.customer = string_at(subscription, "customer");
        purchase.invoice = ids_.make("in_1", 23);
        subscription["latest_invoice"] = purchase.invoice;
        Json& item = subscription["items"]["data"][0];
        const auto end_s = item["current_period_end"].get<std::int64_t>();
        item["current_period_start"] = end_s;
        item["current_period_end"] = end_s + month_s;
        const auto renewed = account_.subscriptions.put(std::move(subscription));
        const auto paid = account_.invoices.put(new_invoice("subscription_cycle"));
        tell("customer.subscription.updated", renewed,
             {{"latest_invoice", before.at("latest_invoice")}, {"items", before.at("items")}});
        tell("invoice.payment_succeeded", paid);
        tell("invoice.paid", paid);
    }

    void tell(const std::string& type, const Collection::Object& object, Json previous = nullptr) {
        EventDraft draft{.type = type,
                         .object = object,
                         .previous_attributes = std::move(previous),
                         .cause = {},
                         .account = options_.account,
                         .api_version = std::string(options_.old_api_version ? old_api_version
                                                                             : current_api_version),
                         .live = options_.live,
                         .now_ms = now_ms_};
        const Stripe::Twins twins = stripe_.emit(account_, std::move(draft), ids_);
        if (options_.forms != EventForms::thin) purchase.events.push_back(render(twins.snapshot));
        if (options_.forms != EventForms::snapshot) purchase.events.push_back(render(twins.thin));
    }

    StripeAccount& account() { return account_; }

  private:
    void create_customer() {
        Json customer = customer_shape();
        purchase.customer = ids_.make("cus_");
        customer["id"] = purchase.customer;
        customer["created"] = now_s_;
        customer["currency"] = "usd";
        customer["email"] = text_or_null(options_.email);
        customer["name"] = text_or_null(options_.name);
        customer["invoice_prefix"] = purchase.customer.substr(10);
        customer["livemode"] = options_.live;
        tell("customer.created", account_.customers.put(std::move(customer)));
    }

    Json new_subscription() {
        Json subscription = subscription_shape();
        const std::string id = ids_.make("sub_1", 23);
        subscription["id"] = id;
        subscription["customer"] = purchase.customer;
        subscription["livemode"] = options_.live;
        for (const char* field : {"created", "start_date", "billing_cycle_anchor"}) {
            subscription[field] = now_s_;
        }
        Json& item = subscription["items"]["data"][0];
        item["id"] = ids_.make("si_");
        item["subscription"] = id;
        item["created"] = item["current_period_start"] = now_s_;
        item["current_period_end"] = now_s_ + (options_.trialing ? trial_s : month_s);
        if (options_.trialing) {
            subscription["trial_start"] = now_s_;
            subscription["trial_end"] = now_s_ + trial_s;
        }
        return subscription;
    }

    Json new_invoice(const char* billing_reason) {
        Json invoice = invoice_shape();
        const Json customer = *account_.customers.find(purchase.customer);
        invoice["id"] = purchase.invoice;
        invoice["number"] = fmt::format("SANDBOX-{}", purchase.invoice.substr(20));
        invoice["customer"] = purchase.customer;
        invoice["customer_email"] = customer.value("email", Json());
        invoice["customer_name"] = customer.value("name", Json());
        invoice["livemode"] = options_.live;
        invoice["billing_reason"] = billing_reason;
        for (const char* field : {"created", "effective_at", "period_start", "period_end"}) {
            invoice[field] = now_s_;
        }
        invoice["status_transitions"]["finalized_at"] = now_s_;
        invoice["status_transitions"]["paid_at"] = now_s_;
        invoice["parent"]["subscription_details"]["subscription"] = purchase.subscription;
        const auto subscription = account_.subscriptions.find(purchase.subscription);
        if (subscription) {
            invoice["parent"]["subscription_details"]["metadata"] = subscription->at("metadata");
        }
        Json& line = invoice["lines"]["data"][0];
        line["id"] = ids_.make("il_1", 23);
        line["invoice"] = purchase.invoice;
        line["subscription"] = purchase.subscription;
        line["period"] = {{"start", now_s_}, {"end", now_s_ + month_s}};
        line["parent"]["subscription_item_details"]["subscription"] = purchase.subscription;
        if (options_.trialing && billing_reason == std::string_view("subscription_create")) {
            for (const char* field : {"amount_due", "amount_paid", "subtotal", "total"}) {
                invoice[field] = 0;
            }
            line["amount"] = line["subtotal"] = 0;
        }
        return invoice;
    }

    Json new_session() {
        Json session = session_shape();
        session["id"] = ids_.make(options_.live ? "cs_live_a1" : "cs_test_a1", 58);
        session["created"] = now_s_ - 180;
        session["expires_at"] = now_s_ - 180 + 86400;
        session["livemode"] = options_.live;
        session["customer_details"]["email"] = text_or_null(options_.email);
        session["customer_details"]["name"] = text_or_null(options_.name);
        for (const auto& [key, value] : options_.session_metadata) session["metadata"][key] = value;
        return session;
    }

    void activate() {
        Json subscription = *account_.subscriptions.find(purchase.subscription);
        const Json status = subscription.at("status");
        subscription["status"] = "active";
        tell("customer.subscription.updated", account_.subscriptions.put(std::move(subscription)),
             {{"status", status}});
    }

    void complete(Json session) {
        tell("checkout.session.completed", account_.sessions.put(std::move(session)));
    }

    const PurchaseOptions& options_;
    Stripe& stripe_;
    StripeAccount& account_;
    std::int64_t now_ms_;
    std::int64_t now_s_;
    IdSource& ids_;
};

bool bool_at(const Json& value, const std::string& key) {
    if (!value.is_boolean()) {
        throw std::invalid_argument(fmt::format("\"{}\" must be true or false", key));
    }
    return value.get<bool>();
}

std::string text_at(const Json& value, const std::string& key) {
    if (!value.is_string()) throw std::invalid_argument(fmt::format("\"{}\" must be text", key));
    return value.get<std::string>();
}

AsyncPayment async_from(const Json& value) {
    if (value == true || value == "succeeds") return AsyncPayment::succeeds;
    if (value == false) return AsyncPayment::none;
    if (value == "fails") return AsyncPayment::fails;
    if (value == "pending") return AsyncPayment::pending;
    throw std::invalid_argument("\"async\" must be true, \"succeeds\", \"fails\" or \"pending\"");
}

EventForms forms_from(const Json& value) {
    if (value == true) return EventForms::thin;
    if (value == false) return EventForms::snapshot;
    if (value == "both") return EventForms::both;
    throw std::invalid_argument("\"thin\" must be true, false or \"both\"");
}

}  // namespace

Purchase make_purchase(const PurchaseOptions& options, Stripe& stripe, std::int64_t now_ms,
                       IdSource& ids) {
    Teller teller(options, stripe, now_ms, ids);
    if (options.guest) {
        teller.guest();
    } else {
        teller.subscribe();
    }
    return std::move(teller.purchase);
}

Purchase settle_payment(const std::string& session, bool succeeds, const PurchaseOptions& options,
                        Stripe& stripe, std::int64_t now_ms, IdSource& ids) {
    Teller teller(options, stripe, now_ms, ids);
    const auto found = teller.account().sessions.find(session);
    if (!found || string_at(*found, "payment_status") != "unpaid" ||
        string_at(*found, "invoice").empty()) {
        throw std::invalid_argument(
            "no such session that waits for its money; make one by a purchase with async=pending");
    }
    teller.purchase.session = session;
    teller.settle(succeeds);
    return std::move(teller.purchase);
}

Purchase renew(const std::string& subscription, const PurchaseOptions& options, Stripe& stripe,
               std::int64_t now_ms, IdSource& ids) {
    Teller teller(options, stripe, now_ms, ids);
    if (!teller.account().subscriptions.find(subscription)) {
        throw std::invalid_argument("no such subscription in the sandbox; see GET /_sandbox/state");
    }
    teller.purchase.subscription = subscription;
    teller.renew();
    return std::move(teller.purchase);
}

Event make_event(const std::string& type, const PurchaseOptions& options, Stripe& stripe,
                 std::int64_t now_ms, IdSource& ids) {
    PurchaseOptions own = options;
    std::string_view kind = type;
    own.forms = kind.starts_with("v1.") ? EventForms::thin : EventForms::snapshot;
    if (kind.starts_with("v1.")) kind.remove_prefix(3);
    Teller teller(own, stripe, now_ms, ids);
    const StripeAccount& account = teller.account();
    const Collection* objects = nullptr;
    if (kind.starts_with("checkout.session.")) {
        objects = &account.sessions;
    } else if (kind.starts_with("customer.subscription.")) {
        objects = &account.subscriptions;
    } else if (kind.starts_with("customer.")) {
        objects = &account.customers;
    } else if (kind.starts_with("invoice.")) {
        objects = &account.invoices;
    }
    if (objects == nullptr || objects->in_order().empty()) {
        throw std::invalid_argument(fmt::format(
            "the sandbox has no object for an event of type {}; make a purchase first", type));
    }
    teller.tell(std::string(kind), objects->in_order().back());
    return teller.purchase.events.front();
}

PurchaseOptions purchase_options_from_json(const Json& json) {
    if (!json.is_object()) throw std::invalid_argument("a purchase is a JSON object");
    PurchaseOptions options;
    for (const auto& [key, value] : json.items()) {
        const auto optional_text = [&, &name = key, &text = value] {
            return text.is_null() ? std::nullopt : std::optional(text_at(text, name));
        };
        if (key == "email") {
            options.email = optional_text();
        } else if (key == "name") {
            options.name = optional_text();
        } else if (key == "customer") {
            options.customer = text_at(value, key);
        } else if (key == "account") {
            options.account = text_at(value, key);
        } else if (key == "live") {
            options.live = bool_at(value, key);
        } else if (key == "guest") {
            options.guest = bool_at(value, key);
        } else if (key == "trialing") {
            options.trialing = bool_at(value, key);
        } else if (key == "renewal") {
            options.renewal = bool_at(value, key);
        } else if (key == "async") {
            options.async = async_from(value);
        } else if (key == "thin") {
            options.forms = forms_from(value);
        } else if (key == "old_api_version") {
            options.old_api_version = bool_at(value, key);
        } else if (key == "metadata") {
            if (!value.is_object()) throw std::invalid_argument("\"metadata\" must be an object");
            for (const auto& [name, text] : value.items()) {
                options.session_metadata[name] = text_at(text, name);
            }
        } else {
            throw std::invalid_argument(fmt::format(
                "unknown field \"{}\": a purchase has email, name, customer, account, live, guest, "
                "trialing, renewal, async, thin, old_api_version, metadata",
                key));
        }
    }
    return options;
}

}  // namespace steplog::sandbox
