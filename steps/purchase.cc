// What was bought, by whom. Pure functions; any thread.
#include "steps/purchase.h"

#include "steps/email.h"
#include "steps/json_reading.h"

namespace steplog::steps {
namespace {

constexpr std::size_t name_bytes_max = 200;

/// A name as it may be shown and sent: no control characters, no spaces at the ends, and no more
/// than Clerk takes, cut between characters.
std::string clean_name(const std::string& name) {
    std::string clean;
    for (const char c : name) {
        const auto byte = static_cast<unsigned char>(c);
        clean += byte < 0x20 || byte == 0x7f ? ' ' : c;
    }
    if (clean.size() > name_bytes_max) {
        std::size_t cut = name_bytes_max;
        while (cut > 0 && (static_cast<unsigned char>(clean[cut]) & 0xc0) == 0x80) --cut;
        clean.resize(cut);
    }
    const std::size_t first = clean.find_first_not_of(' ');
    if (first == std::string::npos) return "";
    return clean.substr(first, clean.find_last_not_of(' ') - first + 1);
}

std::string first_of(std::initializer_list<std::string> texts) {
    for (const std::string& text : texts) {
        if (!text.empty()) return text;
    }
    return "";
}

void take_email(Purchase& purchase, const std::string& email) {
    if (email.empty() || !purchase.email.empty()) return;
    purchase.email_problem = email_problem(email);
    if (purchase.email_problem.empty()) purchase.email = email;
}

void take_full_name(Purchase& purchase, const std::string& full_name) {
    if (!purchase.first_name.empty() || !purchase.last_name.empty()) return;
    std::tie(purchase.first_name, purchase.last_name) = split_name(clean_name(full_name));
}

void take_metadata_names(Purchase& purchase, const Json& object) {
    if (!purchase.first_name.empty() || !purchase.last_name.empty()) return;
    purchase.first_name = clean_name(first_of(
        {text_at(object, {"metadata", "firstName"}), text_at(object, {"metadata", "first_name"})}));
    purchase.last_name = clean_name(first_of(
        {text_at(object, {"metadata", "lastName"}), text_at(object, {"metadata", "last_name"})}));
}

void read_session(Purchase& purchase, const Json& session) {
    purchase.source = "checkout";
    purchase.session = text_at(session, {"id"});
    purchase.customer = reference_at(session, {"customer"});
    purchase.subscription = reference_at(session, {"subscription"});
    purchase.invoice = reference_at(session, {"invoice"});
    purchase.language = language_tag(text_at(session, {"locale"}));  // "auto" is none
    take_email(purchase, text_at(session, {"customer_details", "email"}));
    take_email(purchase, text_at(session, {"customer_email"}));
    take_metadata_names(purchase, session);
    take_full_name(purchase,
                   first_of({text_at(session, {"customer_details", "individual_name"}),
                             text_at(session, {"collected_information", "individual_name"}),
                             text_at(session, {"customer_details", "name"})}));
}

void read_subscription(Purchase& purchase, const Json& subscription) {
    purchase.source = "subscription";
    purchase.subscription = text_at(subscription, {"id"});
    purchase.customer = reference_at(subscription, {"customer"});
    purchase.invoice = reference_at(subscription, {"latest_invoice"});
    take_metadata_names(purchase, subscription);
}

void read_invoice(Purchase& purchase, const Json& invoice) {
    purchase.source = "invoice";
    purchase.invoice = text_at(invoice, {"id"});
    purchase.customer = reference_at(invoice, {"customer"});
    purchase.subscription =
        first_of({reference_at(invoice, {"parent", "subscription_details", "subscription"}),
                  reference_at(invoice, {"subscription"})});
    purchase.billing_reason = text_at(invoice, {"billing_reason"});
    purchase.renewal = purchase.billing_reason != "subscription_create";
    take_email(purchase, text_at(invoice, {"customer_email"}));
    take_metadata_names(purchase, value_at(invoice, {"parent", "subscription_details"}));
    take_metadata_names(purchase, value_at(invoice, {"subscription_details"}));
    take_full_name(purchase, text_at(invoice, {"customer_name"}));
}

}  // namespace

void to_json(Json& json, const Purchase& purchase) {
    json = {{"source", purchase.source},
            {"livemode", purchase.livemode},
            {"account", purchase.account},
            {"customer", purchase.customer},
            {"session", purchase.session},
            {"subscription", purchase.subscription},
            {"invoice", purchase.invoice},
            {"email", purchase.email},
            {"email_problem", purchase.email_problem},
            {"first_name", purchase.first_name},
            {"last_name", purchase.last_name},
            {"billing_reason", purchase.billing_reason},
            {"renewal", purchase.renewal},
            {"not_due", purchase.not_due}};
    if (!purchase.language.empty()) json["language"] = purchase.language;
    if (purchase.quiet) json["quiet"] = true;
}

void from_json(const Json& json, Purchase& purchase) {
    json.at("source").get_to(purchase.source);
    json.at("livemode").get_to(purchase.livemode);
    json.at("account").get_to(purchase.account);
    json.at("customer").get_to(purchase.customer);
    json.at("session").get_to(purchase.session);
    json.at("subscription").get_to(purchase.subscription);
    json.at("invoice").get_to(purchase.invoice);
    json.at("email").get_to(purchase.email);
    json.at("email_problem").get_to(purchase.email_problem);
    json.at("first_name").get_to(purchase.first_name);
    json.at("last_name").get_to(purchase.last_name);
    json.at("billing_reason").get_to(purchase.billing_reason);
    json.at("renewal").get_to(purchase.renewal);
    json.at("not_due").get_to(purchase.not_due);
    purchase.language = text_at(json, {"language"});  // logs of older versions have neither
    purchase.quiet = flag_at(json, {"quiet"}).value_or(false);
}

Purchase purchase_of(EventKind kind, const Json& object, bool livemode,
                     const std::string& account) {
    Purchase purchase;
    purchase.livemode = livemode;
    purchase.account = account;
    switch (kind) {
        case EventKind::checkout_completed:
        case EventKind::checkout_async_succeeded:
            read_session(purchase, object);
            break;
        case EventKind::subscription_created:
            read_subscription(purchase, object);
            break;
        case EventKind::invoice_paid:
            read_invoice(purchase, object);
            break;
        case EventKind::none:
            break;
    }
    return purchase;
}

void add_customer(Purchase& purchase, const Json& customer) {
    take_email(purchase, text_at(customer, {"email"}));
    take_metadata_names(purchase, customer);
    take_full_name(purchase,
                   first_of({text_at(customer, {"individual_name"}), text_at(customer, {"name"})}));
    if (purchase.language.empty()) purchase.language = language_of(customer);
}

std::string language_of(const Json& customer) {
    const Json& preferred = value_at(customer, {"preferred_locales"});
    const bool is_said = preferred.is_array() && !preferred.empty() && preferred[0].is_string();
    return is_said ? language_tag(preferred[0].get<std::string>()) : "";
}

const std::string& buyer_of(const Purchase& purchase) {
    return purchase.customer.empty() ? purchase.session : purchase.customer;
}

std::string key_of(const Purchase& purchase) {
    return customer_key(purchase.livemode, purchase.account, buyer_of(purchase));
}

std::pair<std::string, std::string> split_name(const std::string& full_name) {
    const std::size_t space = full_name.find_last_of(' ');
    if (space == std::string::npos) return {full_name, ""};
    const std::size_t end = full_name.find_last_not_of(' ', space);
    if (end == std::string::npos) return {full_name.substr(space + 1), ""};
    return {full_name.substr(0, end + 1), full_name.substr(space + 1)};
}

}  // namespace steplog::steps
