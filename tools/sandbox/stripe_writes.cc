// What Stripe's POST and DELETE requests do: customers, subscriptions, checkout sessions, products
// and prices. Parameters are checked as Stripe does: unknown ones are refused. Under the sandbox's
// mutex.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "tools/sandbox/stripe.h"
#include "tools/sandbox/stripe_shapes.h"

namespace steplog::sandbox {
namespace {

StripeRefusal missing_param(const std::string& param) {
    return {.code = "parameter_missing",
            .message = fmt::format("Missing required param: {}.", param),
            .param = param};
}

/// "items[0][price]" -> "items".
std::string_view top_level(std::string_view key) { return key.substr(0, key.find('[')); }

void check_known(const Params& form, std::string_view allowed) {
    for (const auto& [key, value] : form) {
        const std::string word = fmt::format(" {} ", top_level(key));
        if (allowed.find(word) == std::string_view::npos) {
            throw StripeRefusal{
                .code = "parameter_unknown",
                .message = fmt::format("Received unknown parameter: {}", top_level(key)),
                .param = std::string(top_level(key))};
        }
    }
}

/// metadata[k]=v sets, metadata[k]= unsets, metadata= empties (docs.stripe.com/api/metadata).
void apply_metadata(Json& object, const Params& form) {
    Json& metadata = object["metadata"];
    if (!metadata.is_object()) metadata = Json::object();
    const auto whole = find_param(form, "metadata");
    if (whole && whole->empty()) metadata = Json::object();
    for (const auto& [key, value] : find_bracketed(form, "metadata")) {
        if (key.size() > 40 || value.size() > 500) {
            throw StripeRefusal{.message = "Metadata keys may have 40 characters, values 500.",
                                .param = fmt::format("metadata[{}]", key)};
        }
        if (value.empty()) {
            metadata.erase(key);
        } else {
            metadata[key] = value;
        }
    }
    if (metadata.size() > 50) {
        throw StripeRefusal{.message = "You may have at most 50 metadata keys.",
                            .param = "metadata"};
    }
}

void apply_texts(Json& object, const Params& form, std::initializer_list<const char*> fields) {
    for (const char* field : fields) {
        const auto value = find_param(form, field);
        if (value) object[field] = value->empty() ? Json() : Json(*value);
    }
}

void apply_bools(Json& object, const Params& form, std::initializer_list<const char*> fields) {
    for (const char* field : fields) {
        const auto value = find_param(form, field);
        if (!value) continue;
        if (*value != "true" && *value != "false") {
            throw StripeRefusal{.code = "parameter_invalid_boolean",
                                .message = fmt::format("Invalid boolean: {}", *value),
                                .param = field};
        }
        object[field] = *value == "true";
    }
}

std::optional<std::int64_t> int_param(const Params& form, const std::string& field) {
    const auto text = find_param(form, field);
    if (!text) return std::nullopt;
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
    if (error != std::errc() || end != text->data() + text->size()) {
        throw StripeRefusal{.code = "parameter_invalid_integer",
                            .message = fmt::format("Invalid integer: {}", *text),
                            .param = field};
    }
    return value;
}

/// What an update changed, with the values before it: for metadata the changed keys only.
Json difference(const Json& before, const Json& after) {
    Json previous = Json::object();
    for (const auto& [key, value] : after.items()) {
        const Json* old = member(before, key);
        if (old != nullptr && *old == value) continue;
        if (key != "metadata") {
            previous[key] = old != nullptr ? *old : Json();
            continue;
        }
        Json& metadata = previous["metadata"] = Json::object();
        const Json none = Json::object();
        const Json& was = old != nullptr && old->is_object() ? *old : none;
        for (const auto& [name, text] : value.items()) {
            const Json* had = member(was, name);
            if (had == nullptr || *had != text) metadata[name] = had != nullptr ? *had : Json();
        }
        for (const auto& [name, text] : was.items()) {
            if (member(value, name) == nullptr) metadata[name] = text;
        }
    }
    return previous;
}

constexpr std::string_view customer_params =
    " address balance business_name cash_balance coupon description email expand "
    "individual_name invoice_prefix invoice_settings metadata name next_invoice_sequence "
    "payment_method phone preferred_locales promotion_code shipping source tax tax_exempt "
    "tax_id_data test_clock validate ";

void fill_customer(Json& customer, const Params& form) {
    apply_texts(customer, form,
                {"email", "name", "description", "phone", "individual_name", "business_name"});
    const std::string email = string_at(customer, "email");
    if (!email.empty() && !looks_like_email(email)) {
        throw StripeRefusal{
            .code = "email_invalid", .message = "Invalid email address.", .param = "email"};
    }
    for (const auto& [key, value] : find_bracketed(form, "address")) {
        if (!customer["address"].is_object()) {
            customer["address"] = {{"city", nullptr},  {"country", nullptr},
                                   {"line1", nullptr}, {"line2", nullptr},
                                   {"state", nullptr}, {"postal_code", nullptr}};
        }
        customer["address"][key] = value;
    }
    for (const auto& [key, value] : find_bracketed(form, "invoice_settings")) {
        if (key == "default_payment_method") customer["invoice_settings"][key] = value;
    }
    apply_metadata(customer, form);
}

StripeChange updated(Collection& collection, const Collection::Object& before, Json after,
                     const std::string& kind) {
    Json previous = difference(*before, after);
    if (previous.empty()) return {.object = before, .event_type = "", .previous_attributes = {}};
    return {.object = collection.put(std::move(after)),
            .event_type = kind + ".updated",
            .previous_attributes = std::move(previous)};
}

StripeChange write_customer(const Call& call, const Params& form, StripeAccount& account,
                            IdSource& ids) {
    const auto& at = call.segments;
    if (at.size() == 2 && call.method == "POST") {
        check_known(form, customer_params);
        Json customer = customer_shape();
        customer["id"] = ids.make("cus_");
        customer["created"] = call.now_ms / 1000;
        customer["livemode"] = account.live;
        customer["invoice_prefix"] = string_at(customer, "id").substr(10);
        fill_customer(customer, form);
        return {.object = account.customers.put(std::move(customer)),
                .event_type = "customer.created",
                .previous_attributes = {}};
    }
    const Collection::Object found = account.customers.find(at[2]);
    if (!found || member(*found, "deleted") != nullptr) {
        throw missing_resource("customer", at[2], "id");
    }
    if (call.method == "DELETE") {
        account.customers.put({{"id", at[2]}, {"object", "customer"}, {"deleted", true}});
        // Deleting a customer cancels what he subscribed to (docs.stripe.com/api/customers/delete).
        for (const auto& subscription : account.subscriptions.in_order()) {
            if (string_at(*subscription, "customer") != at[2]) continue;
            Json canceled = *subscription;
            canceled["status"] = "canceled";
            canceled["canceled_at"] = canceled["ended_at"] = call.now_ms / 1000;
            account.subscriptions.put(std::move(canceled));
        }
        return {.object = found, .event_type = "customer.deleted", .previous_attributes = {}};
    }
    check_known(form, customer_params);
    Json customer = *found;
    fill_customer(customer, form);
    return updated(account.customers, found, std::move(customer), "customer");
}

StripeChange create_subscription(const Call& call, const Params& form, StripeAccount& account,
                                 IdSource& ids) {
    const auto customer = find_param(form, "customer");
    if (!customer) throw missing_param("customer");
    const Collection::Object owner = account.customers.find(*customer);
    if (!owner || member(*owner, "deleted") != nullptr) {
        StripeRefusal refusal = missing_resource("customer", *customer, "customer");
        refusal.status = 400;
        throw refusal;
    }
    const bool has_price = std::any_of(form.begin(), form.end(), [](const auto& pair) {
        return pair.first.starts_with("items[");
    });
    if (!has_price) throw missing_param("items");
    const std::int64_t now_s = call.now_ms / 1000;
    Json subscription = subscription_shape();
    const std::string id = ids.make("sub_1", 23);
    subscription["id"] = id;
    subscription["customer"] = *customer;
    subscription["livemode"] = account.live;
    for (const char* field : {"created", "start_date", "billing_cycle_anchor"}) {
        subscription[field] = now_s;
    }
    Json& item = subscription["items"]["data"][0];
    item["id"] = ids.make("si_");
    item["subscription"] = id;
    item["created"] = item["current_period_start"] = now_s;
    item["current_period_end"] = now_s + 30 * 86400;
    if (const auto price = find_param(form, "items[0][price]")) {
        if (const auto known = account.prices.find(*price)) item["price"] = *known;
        item["price"]["id"] = item["plan"]["id"] = *price;
    }
    if (const auto days = int_param(form, "trial_period_days"); days && *days > 0) {
        subscription["status"] = "trialing";
        subscription["trial_start"] = now_s;
        subscription["trial_end"] = now_s + *days * 86400;
    } else if (find_param(form, "payment_behavior") == "default_incomplete") {
        subscription["status"] = "incomplete";
    }
    apply_metadata(subscription, form);
    return {.object = account.subscriptions.put(std::move(subscription)),
            .event_type = "customer.subscription.created",
            .previous_attributes = {}};
}

StripeChange write_subscription(const Call& call, const Params& form, StripeAccount& account,
                                IdSource& ids) {
    static constexpr std::string_view params =
        " add_invoice_items automatic_tax billing_cycle_anchor cancel_at cancel_at_period_end "
        "cancellation_details collection_method currency customer days_until_due "
        "default_payment_method description discounts expand invoice_settings items metadata "
        "off_session on_behalf_of payment_behavior payment_settings proration_behavior "
        "trial_end trial_period_days trial_settings ";
    const auto& at = call.segments;
    if (call.method == "POST") check_known(form, params);
    if (at.size() == 2 && call.method == "POST") {
        return create_subscription(call, form, account, ids);
    }
    const Collection::Object found = account.subscriptions.find(at[2]);
    if (!found) throw missing_resource("subscription", at[2], "id");
    Json subscription = *found;
    const bool canceled = string_at(subscription, "status") == "canceled";
    if (call.method == "DELETE") {
        if (canceled) throw missing_resource("subscription", at[2], "id");
        subscription["status"] = "canceled";
        subscription["canceled_at"] = subscription["ended_at"] = call.now_ms / 1000;
        subscription["cancellation_details"]["reason"] = "cancellation_requested";
        return {.object = account.subscriptions.put(std::move(subscription)),
                .event_type = "customer.subscription.deleted",
                .previous_attributes = {}};
    }
    if (canceled) {
        check_known(form, " metadata cancellation_details expand ");
    }
    apply_texts(subscription, form, {"description", "default_payment_method"});
    apply_bools(subscription, form, {"cancel_at_period_end"});
    apply_metadata(subscription, form);
    return updated(account.subscriptions, found, std::move(subscription), "customer.subscription");
}

StripeChange create_session(const Call& call, const Params& form, StripeAccount& account,
                            IdSource& ids) {
    static constexpr std::string_view params =
        " allow_promotion_codes automatic_tax billing_address_collection cancel_url "
        "client_reference_id currency custom_fields customer customer_creation customer_email "
        "customer_update discounts expand expires_at invoice_creation line_items locale metadata "
        "mode payment_intent_data payment_method_types phone_number_collection return_url "
        "subscription_data success_url ui_mode ";
    check_known(form, params);
    const std::string mode = find_param(form, "mode").value_or("");
    if (mode != "payment" && mode != "subscription" && mode != "setup") {
        throw missing_param("mode");
    }
    Json session = session_shape();
    session["id"] = ids.make(account.live ? "cs_live_a1" : "cs_test_a1", 58);
    session["mode"] = mode;
    session["created"] = call.now_ms / 1000;
    session["expires_at"] = call.now_ms / 1000 + 86400;
    session["livemode"] = account.live;
    session["status"] = "open";
    session["payment_status"] = "unpaid";
    session["customer_details"] = nullptr;
    session["url"] = "https://checkout.stripe.com/c/pay/" + string_at(session, "id");
    apply_texts(session, form,
                {"customer", "customer_email", "client_reference_id", "success_url", "cancel_url"});
    apply_metadata(session, form);
    return {.object = account.sessions.put(std::move(session)),
            .event_type = "",
            .previous_attributes = {}};
}

StripeChange create_product(const Call& call, const Params& form, StripeAccount& account,
                            IdSource& ids) {
    const auto name = find_param(form, "name");
    if (!name) throw missing_param("name");
    Json product = product_shape();
    product["id"] = ids.make("prod_");
    product["name"] = *name;
    product["created"] = product["updated"] = call.now_ms / 1000;
    product["livemode"] = account.live;
    apply_texts(product, form, {"description"});
    apply_metadata(product, form);
    return {.object = account.products.put(std::move(product)),
            .event_type = "product.created",
            .previous_attributes = {}};
}

StripeChange create_price(const Call& call, const Params& form, StripeAccount& account,
                          IdSource& ids) {
    const auto currency = find_param(form, "currency");
    if (!currency) throw missing_param("currency");
    Json price = price_shape();
    price["id"] = ids.make("price_1", 23);
    price["created"] = call.now_ms / 1000;
    price["currency"] = *currency;
    price["livemode"] = account.live;
    price["product"] = find_param(form, "product").value_or("prod_sandbox");
    const std::int64_t amount = int_param(form, "unit_amount").value_or(0);
    price["unit_amount"] = amount;
    price["unit_amount_decimal"] = fmt::format("{}", amount);
    if (const auto interval = find_param(form, "recurring[interval]")) {
        price["recurring"]["interval"] = *interval;
    } else {
        price["type"] = "one_time";
        price["recurring"] = nullptr;
    }
    apply_texts(price, form, {"nickname", "lookup_key"});
    apply_metadata(price, form);
    return {.object = account.prices.put(std::move(price)),
            .event_type = "price.created",
            .previous_attributes = {}};
}

}  // namespace

StripeChange apply_write(const Call& call, const Params& form, StripeAccount& account,
                         IdSource& ids) {
    const auto& at = call.segments;
    const bool post = call.method == "POST";
    const bool removal = call.method == "DELETE";
    if (at.size() >= 2 && at.size() <= 3 && at[0] == "v1" &&
        (post || (removal && at.size() == 3))) {
        if (at[1] == "customers") return write_customer(call, form, account, ids);
        if (at[1] == "subscriptions") return write_subscription(call, form, account, ids);
        if (at[1] == "products" && post && at.size() == 2)
            return create_product(call, form, account, ids);
        if (at[1] == "prices" && post && at.size() == 2)
            return create_price(call, form, account, ids);
        if (at[1] == "checkout" && at.size() == 3 && at[2] == "sessions" && post) {
            return create_session(call, form, account, ids);
        }
    }
    throw StripeRefusal{
        .status = 404,
        .message = fmt::format("Unrecognized request URL ({}: {}).", call.method, call.path)};
}

}  // namespace steplog::sandbox
