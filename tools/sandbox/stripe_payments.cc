// Payments as the Stripe CLI's fixtures make them (`stripe trigger`): payment methods, the page on
// which a checkout session is paid, invoice items, and invoices made and paid by hand. Cards always
// work. Under the sandbox's mutex.
#include <fmt/format.h>

#include <charconv>

#include "tools/sandbox/stripe.h"
#include "tools/sandbox/stripe_shapes.h"

namespace steplog::sandbox {
namespace {

StripeRefusal refused(const std::string& message, const std::string& param = "") {
    return {.message = message, .param = param};
}

Json payment_method(const std::string& id, const Call& call, bool live) {
    return {{"id", id},
            {"object", "payment_method"},
            {"billing_details",
             {{"address", nullptr}, {"email", nullptr}, {"name", nullptr}, {"phone", nullptr}}},
            {"card", {{"brand", "visa"}, {"exp_month", 12}, {"exp_year", 2034}, {"last4", "4242"}}},
            {"created", call.now_ms / 1000},
            {"customer", nullptr},
            {"livemode", live},
            {"metadata", Json::object()},
            {"type", "card"}};
}

StripeChange create_payment_method(const Call& call, const Params& form, StripeAccount& account,
                                   IdSource& ids) {
    if (find_param(form, "type").value_or("") != "card")
        throw refused("The sandbox has payment methods of type card.", "type");
    Json made = payment_method(ids.make("pm_1", 23), call, account.live);
    for (const auto& [key, value] : find_bracketed(form, "billing_details"))
        if (key == "email" || key == "name" || key == "phone") made["billing_details"][key] = value;
    return {.object = account.payment_methods.put(std::move(made))};
}

/// "pm_card_visa" and the like name a test card, of which each use makes another method.
StripeChange attach_payment_method(const Call& call, const Params& form, StripeAccount& account,
                                   IdSource& ids) {
    const std::string& id = call.segments[2];
    const std::string customer = find_param(form, "customer").value_or("");
    if (!account.customers.find(customer)) throw missing_resource("customer", customer, "customer");
    const auto known = account.payment_methods.find(id);
    if (!known && !id.starts_with("pm_card_")) throw missing_resource("payment_method", id, "id");
    Json attached = known ? *known : payment_method(ids.make("pm_1", 23), call, account.live);
    attached["customer"] = customer;
    return {.object = account.payment_methods.put(std::move(attached)),
            .event_type = "payment_method.attached"};
}

/// Somebody pays on the session's page.
StripeChange confirm(const Params& form, StripeAccount& account, IdSource& ids,
                     const std::string& session_id) {
    const auto found = account.sessions.find(session_id);
    if (!found) throw missing_resource("payment_page", session_id, "id");
    if (string_at(*found, "mode") != "payment")
        throw refused(
            "The sandbox confirms sessions of mode payment; workflow-sandbox purchase makes "
            "subscriptions.");
    if (string_at(*found, "status") != "open") throw refused("This session is not open any more.");
    const std::string method = find_param(form, "payment_method").value_or("");
    const auto paid_with = account.payment_methods.find(method);
    if (!paid_with) throw missing_resource("payment_method", method, "payment_method");
    Json session = *found;
    session["status"] = "complete";
    session["payment_status"] = "paid";
    session["payment_intent"] = ids.make("pi_3", 23);
    session["url"] = nullptr;
    const Json& payer = paid_with->at("billing_details");
    session["customer_details"] = {{"address", nullptr},         {"business_name", nullptr},
                                   {"email", payer.at("email")}, {"individual_name", nullptr},
                                   {"name", payer.at("name")},   {"phone", payer.at("phone")},
                                   {"tax_exempt", "none"},       {"tax_ids", Json::array()}};
    if (session["customer_details"]["email"].is_null())
        session["customer_details"]["email"] = session.value("customer_email", Json());
    return {.object = account.sessions.put(std::move(session)),
            .event_type = "checkout.session.completed"};
}

std::int64_t amount_of(const Params& form) {
    const std::string text = find_param(form, "amount").value_or("0");
    std::int64_t amount = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), amount);
    if (error != std::errc() || end != text.data() + text.size())
        throw StripeRefusal{.code = "parameter_invalid_integer",
                            .message = fmt::format("Invalid integer: {}", text),
                            .param = "amount"};
    return amount;
}

StripeChange create_invoice_item(const Call& call, const Params& form, StripeAccount& account,
                                 IdSource& ids) {
    const std::string customer = find_param(form, "customer").value_or("");
    if (!account.customers.find(customer)) throw missing_resource("customer", customer, "customer");
    return {.object = account.invoice_items.put(
                {{"id", ids.make("ii_1", 23)},
                 {"object", "invoiceitem"},
                 {"amount", amount_of(form)},
                 {"currency", find_param(form, "currency").value_or("usd")},
                 {"customer", customer},
                 {"date", call.now_ms / 1000},
                 {"invoice", nullptr},
                 {"livemode", account.live}}),
            .event_type = "invoiceitem.created"};
}

/// What is on nobody's invoice yet of this customer's is on this one.
std::int64_t take_items(StripeAccount& account, const std::string& customer,
                        const std::string& invoice) {
    std::int64_t amount = 0;
    const auto items = account.invoice_items.in_order();
    for (const auto& item : items) {
        if (string_at(*item, "customer") != customer || !item->at("invoice").is_null()) continue;
        amount += item->at("amount").get<std::int64_t>();
        Json taken = *item;
        taken["invoice"] = invoice;
        account.invoice_items.put(std::move(taken));
    }
    return amount;
}

StripeChange create_invoice(const Call& call, const Params& form, StripeAccount& account,
                            IdSource& ids) {
    const std::string customer = find_param(form, "customer").value_or("");
    const auto owner = account.customers.find(customer);
    if (!owner) throw missing_resource("customer", customer, "customer");
    Json invoice = invoice_shape();
    const std::string id = ids.make("in_1", 23);
    invoice["id"] = id;
    invoice["number"] = nullptr;
    invoice["billing_reason"] = "manual";
    invoice["created"] = invoice["period_start"] = invoice["period_end"] = call.now_ms / 1000;
    invoice["customer"] = customer;
    invoice["customer_email"] = owner->value("email", Json());
    invoice["customer_name"] = owner->value("name", Json());
    invoice["lines"]["data"] = Json::array();
    invoice["livemode"] = account.live;
    invoice["parent"] = nullptr;
    invoice["status"] = "draft";
    const std::int64_t amount = take_items(account, customer, id);
    for (const char* field : {"amount_due", "amount_remaining", "subtotal", "total"})
        invoice[field] = amount;
    invoice["amount_paid"] = 0;
    invoice["status_transitions"]["finalized_at"] = nullptr;
    invoice["status_transitions"]["paid_at"] = nullptr;
    return {.object = account.invoices.put(std::move(invoice)), .event_type = "invoice.created"};
}

StripeChange pay_invoice(const Call& call, StripeAccount& account) {
    const std::string& id = call.segments[2];
    const auto found = account.invoices.find(id);
    if (!found) throw missing_resource("invoice", id, "id");
    if (string_at(*found, "status") == "paid") throw refused("Invoice is already paid");
    Json invoice = *found;
    invoice["status"] = "paid";
    invoice["amount_paid"] = invoice["amount_due"];
    invoice["amount_remaining"] = 0;
    invoice["status_transitions"]["finalized_at"] = invoice["status_transitions"]["paid_at"] =
        call.now_ms / 1000;
    return {.object = account.invoices.put(std::move(invoice)),
            .event_type = "invoice.payment_succeeded",
            .also = "invoice.paid"};
}

}  // namespace

std::optional<StripeChange> apply_payment(const Call& call, const Params& form,
                                          StripeAccount& account, IdSource& ids) {
    const auto& at = call.segments;
    if (call.method != "POST" || at.size() < 2 || at[0] != "v1") return std::nullopt;
    const std::string verb = at.size() == 4 ? at[3] : "";
    if (at[1] == "payment_methods" && at.size() == 2)
        return create_payment_method(call, form, account, ids);
    if (at[1] == "payment_methods" && verb == "attach")
        return attach_payment_method(call, form, account, ids);
    if (at[1] == "payment_pages" && verb == "confirm") return confirm(form, account, ids, at[2]);
    if (at[1] == "invoiceitems" && at.size() == 2)
        return create_invoice_item(call, form, account, ids);
    if (at[1] == "invoices" && at.size() == 2) return create_invoice(call, form, account, ids);
    if (at[1] == "invoices" && verb == "pay") return pay_invoice(call, account);
    return std::nullopt;
}

}  // namespace steplog::sandbox
