// Stripe's API, as far as provisioning needs it. Any thread.
#include "steps/stripe_client.h"

#include <fmt/format.h>

#include <algorithm>

#include "steps/encoding.h"
#include "steps/json_reading.h"

namespace steplog::steps {
namespace {

Headers account_headers(const std::string& account) {
    if (account.empty()) return {};
    if (is_provider_id(account) && account.starts_with("acct_"))
        return {{"Stripe-Account", account}};
    return {{"Stripe-Context", account}};
}

void require_id(const std::string& id) {
    if (is_provider_id(id)) return;
    throw PermanentError("malformed_id", "an id is not one of Stripe's: nothing was asked");
}

}  // namespace

bool is_safe_stripe_path(std::string_view path) {
    if (path.size() > 512 || path.ends_with('/')) return false;
    if (!path.starts_with("/v1/") && !path.starts_with("/v2/")) return false;
    if (path.find("//") != std::string_view::npos) return false;
    return std::all_of(path.begin(), path.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '_' || c == '-' || c == '/';
    });
}

StripeClient::StripeClient(HttpTransport& transport, const Clock& clock,
                           const StripeOptions& options)
    : api_(transport, clock, Dialect::stripe, options.base,
           {{"Authorization", "Bearer " + options.secret_key},
            {"Stripe-Version", std::string(stripe_version)}}) {}

Json StripeClient::get(const std::string& what, const std::string& path, const std::string& id,
                       const std::string& account, const Call& call) const {
    require_id(id);
    const ProviderRequest request{.method = "GET",
                                  .target = path,
                                  .headers = account_headers(account),
                                  .doing = fmt::format("read {} {}", what, id)};
    Json object = api_.call(request, call);
    if (text_at(object, {"id"}) != id) api_.throw_bad_reply(request);
    return object;
}

Json StripeClient::get_customer(const std::string& id, const std::string& account,
                                const Call& call) const {
    return get("customer", "/v1/customers/" + id, id, account, call);
}

Json StripeClient::get_subscription(const std::string& id, const std::string& account,
                                    const Call& call) const {
    return get("subscription", "/v1/subscriptions/" + id, id, account, call);
}

Json StripeClient::get_checkout_session(const std::string& id, const std::string& account,
                                        const Call& call) const {
    return get("checkout session", "/v1/checkout/sessions/" + id, id, account, call);
}

Json StripeClient::get_invoice(const std::string& id, const std::string& account,
                               const Call& call) const {
    return get("invoice", "/v1/invoices/" + id, id, account, call);
}

Json StripeClient::get_related_object(const std::string& path, const std::string& id,
                                      const std::string& account, const Call& call) const {
    if (!is_safe_stripe_path(path)) {
        throw PermanentError("unsafe_path",
                             "the event's related object has a path that is not one of Stripe's");
    }
    return get("the related object", path, id, account, call);
}

Json StripeClient::get_event(const std::string& id, const std::string& account,
                             const Call& call) const {
    return get("event", "/v2/core/events/" + id, id, account, call);
}

SubscriptionPage StripeClient::list_subscriptions(const std::string& after, int limit,
                                                  const Call& call) const {
    ProviderRequest request{
        .method = "GET",
        .target = fmt::format("/v1/subscriptions?limit={}&expand%5B%5D=data.customer", limit),
        .doing = "list subscriptions"};
    if (!after.empty()) {
        require_id(after);
        request.target += "&starting_after=" + after;
    }
    SubscriptionPage page;
    page.subscriptions = list(request, call, page.has_more);
    return page;
}

EventPage StripeClient::list_events(const EventQuery& query, const Call& call) const {
    ProviderRequest request{.method = "GET", .doing = "list events"};
    request.target = fmt::format("/v1/events?limit={}&created%5Bgte%5D={}&created%5Blte%5D={}",
                                 query.limit, query.from_s, query.to_s);
    for (const std::string& type : query.types) request.target += "&types%5B%5D=" + type;
    if (!query.after.empty()) {
        require_id(query.after);
        request.target += "&starting_after=" + query.after;
    }
    EventPage page;
    page.events = list(request, call, page.has_more);
    return page;
}

std::vector<Json> StripeClient::list_webhook_endpoints(const Call& call) const {
    bool has_more = false;
    return list({.method = "GET",
                 .target = "/v1/webhook_endpoints?limit=100",
                 .doing = "list webhook endpoints"},
                call, has_more);
}

std::vector<Json> StripeClient::list(const ProviderRequest& request, const Call& call,
                                     bool& has_more) const {
    const Json list = api_.call(request, call);
    const Json& data = value_at(list, {"data"});
    if (!data.is_array()) api_.throw_bad_reply(request);
    has_more = flag_at(list, {"has_more"}).value_or(false);
    for (const Json& element : data)
        if (!is_provider_id(text_at(element, {"id"}))) api_.throw_bad_reply(request);
    return data;
}

void StripeClient::update_metadata(const std::string& what, const std::string& path,
                                   const std::string& id, const std::string& key,
                                   const std::string& value, const std::string& account,
                                   const Call& call) const {
    require_id(id);
    ProviderRequest request{.method = "POST",
                            .target = path,
                            .headers = account_headers(account),
                            .body = form_encode({{fmt::format("metadata[{}]", key), value}}),
                            .doing = fmt::format("update {} {}", what, id)};
    request.headers.emplace_back("Content-Type", "application/x-www-form-urlencoded");
    const Json object = api_.call(request, call);
    if (text_at(object, {"id"}) != id) api_.throw_bad_reply(request);
}

void StripeClient::update_customer_metadata(const std::string& id, const std::string& key,
                                            const std::string& value, const std::string& account,
                                            const Call& call) const {
    update_metadata("customer", "/v1/customers/" + id, id, key, value, account, call);
}

void StripeClient::update_subscription_metadata(const std::string& id, const std::string& key,
                                                const std::string& value,
                                                const std::string& account,
                                                const Call& call) const {
    update_metadata("subscription", "/v1/subscriptions/" + id, id, key, value, account, call);
}

}  // namespace steplog::steps
