// Requests under /_sandbox/ turned into calls of Sandbox and Sender.
#include "tools/sandbox/control.h"

#include <fmt/format.h>

#include <stdexcept>

namespace steplog::sandbox {
namespace {

struct UnknownRoute {};

std::string required_text(const Json& body, const std::string& key) {
    const std::string text = string_at(body, key);
    if (text.empty()) throw std::invalid_argument(fmt::format("\"{}\" is missing", key));
    return text;
}

bool flag(const Json& body, const std::string& key, bool otherwise) {
    const Json* value = member(body, key);
    if (value == nullptr) return otherwise;
    if (!value->is_boolean()) {
        throw std::invalid_argument(fmt::format("\"{}\" must be true or false", key));
    }
    return value->get<bool>();
}

int number(const Json& body, const std::string& key, int low, int high, int otherwise) {
    const Json* value = member(body, key);
    if (value == nullptr) return otherwise;
    if (!value->is_number_integer() || value->get<std::int64_t>() < low ||
        value->get<std::int64_t>() > high) {
        throw std::invalid_argument(
            fmt::format("\"{}\" must be a whole number in {}..{}", key, low, high));
    }
    return value->get<int>();
}

/// Takes what concerns the delivery out of a request for a purchase.
Json split_delivery(Json& body) {
    Json delivery = Json::object();
    for (const char* key : {"deliver", "shuffle", "copies"}) {
        if (!body.contains(key)) continue;
        delivery[key] = body[key];
        body.erase(key);
    }
    return delivery;
}

ExistingUser user_from_json(const Json& body) {
    ExistingUser user;
    user.email = required_text(body, "email");
    user.verified = flag(body, "verified", true);
    user.external_id = string_at(body, "external_id");
    user.first_name = string_at(body, "first_name");
    user.last_name = string_at(body, "last_name");
    if (const Json* metadata = member(body, "private_metadata")) {
        if (!metadata->is_object()) {
            throw std::invalid_argument("\"private_metadata\" must be an object");
        }
        user.private_metadata = *metadata;
    }
    return user;
}

/// An event as somebody wrote it: its bytes are sent as they are, whatever they are.
Event foreign_event(const Json& given) {
    Event event;
    event.body = given.is_string() ? given.get<std::string>() : to_text(given);
    const Json parsed = Json::parse(event.body, nullptr, false);
    if (!parsed.is_discarded()) {
        event.id = string_at(parsed, "id");
        event.type = string_at(parsed, "type");
    }
    return event;
}

}  // namespace

steps::HttpReply Control::handle(const SandboxRequest& request) {
    const Call call = take_apart(request, sandbox_.now_ms());
    Json body = Json::object();
    if (!call.body.empty()) body = Json::parse(call.body, nullptr, false);
    if (body.is_discarded() || !body.is_object()) {
        return json_reply(400, {{"error", "the body must be a JSON object"}});
    }
    try {
        return json_reply(200, route(call, std::move(body)));
    } catch (const std::invalid_argument& error) {
        return json_reply(400, {{"error", error.what()}});
    } catch (const UnknownRoute&) {
        return json_reply(
            404, {{"error",
                   "unknown; there are GET state, deliveries, faults, POST faults, purchase, "
                   "payment, renewal, users, users/verify, send, wait, reset, DELETE faults"}});
    }
}

Json Control::route(const Call& call, Json body) {
    std::string route = call.method;
    for (std::size_t i = 1; i < call.segments.size(); ++i) {
        route += (i == 1 ? " " : "/") + call.segments[i];
    }
    if (route == "GET state") return state(call);
    if (route == "GET faults" || route == "POST faults" || route == "DELETE faults") {
        if (call.method == "POST") sandbox_.add_fault(fault_from_json(body));
        if (call.method == "DELETE") {
            const auto name = find_param(call.query, "provider");
            const auto provider = name ? parse_provider(*name) : std::nullopt;
            if (name && !provider) {
                throw std::invalid_argument("provider must be stripe, clerk or resend");
            }
            sandbox_.clear_faults(provider);
        }
        Json faults = Json::array();
        for (const Fault& fault : sandbox_.faults()) faults.push_back(to_json(fault));
        return {{"faults", std::move(faults)}};
    }
    if (route == "POST reset") {
        sandbox_.reset();
        return {{"reset", true}};
    }
    if (route == "POST purchase") {
        const Json delivery = split_delivery(body);
        return told(sandbox_.purchase(purchase_options_from_json(body)), delivery);
    }
    if (route == "POST payment") {
        const Json delivery = split_delivery(body);
        const std::string session = required_text(body, "session");
        const bool succeeds = flag(body, "succeeds", true);
        body.erase("session");
        body.erase("succeeds");
        return told(sandbox_.settle_payment(session, succeeds, purchase_options_from_json(body)),
                    delivery);
    }
    if (route == "POST renewal") {
        const Json delivery = split_delivery(body);
        const std::string subscription = required_text(body, "subscription");
        body.erase("subscription");
        return told(sandbox_.renew(subscription, purchase_options_from_json(body)), delivery);
    }
    if (route == "POST users") return {{"id", sandbox_.add_user(user_from_json(body))}};
    if (route == "POST users/verify") {
        if (!sandbox_.verify_email(required_text(body, "email"))) {
            throw std::invalid_argument("no user has this address; see GET /_sandbox/state");
        }
        return {{"verified", true}};
    }
    if (route == "POST send") return send(body);
    if (route == "POST wait") {
        const int timeout_ms = number(body, "timeout_ms", 0, 600'000, 30'000);
        const bool idle = sender_ == nullptr || sender_->wait_until_idle(Ms(timeout_ms));
        return {{"idle", idle}, {"pending", sender_ == nullptr ? 0 : sender_->pending()}};
    }
    if (route == "GET deliveries") {
        Json deliveries = Json::array();
        if (sender_ != nullptr) {
            for (const auto& one : sender_->acknowledgements()) deliveries.push_back(to_json(one));
        }
        return {{"pending", sender_ == nullptr ? 0 : sender_->pending()},
                {"acknowledgements", std::move(deliveries)}};
    }
    throw UnknownRoute{};
}

Json Control::told(const Purchase& purchase, const Json& delivery) {
    const SendOptions options{.shuffle = flag(delivery, "shuffle", false),
                              .copies = number(delivery, "copies", 1, 1000, 1)};
    std::size_t queued = 0;
    if (sender_ != nullptr && flag(delivery, "deliver", true)) {
        queued = sender_->send(purchase.events, options);
    }
    Json events = Json::array();
    for (const Event& event : purchase.events) {
        events.push_back({{"id", event.id}, {"type", event.type}, {"body", event.body}});
    }
    return {{"customer", purchase.customer}, {"subscription", purchase.subscription},
            {"invoice", purchase.invoice},   {"session", purchase.session},
            {"events", std::move(events)},   {"deliveries", queued}};
}

Json Control::send(const Json& body) {
    std::vector<Event> events;
    if (const Json* given = member(body, "events")) {
        if (!given->is_array()) throw std::invalid_argument("\"events\" must be an array");
        for (const Json& one : *given) events.push_back(foreign_event(one));
    }
    if (const std::string type = string_at(body, "type"); !type.empty()) {
        PurchaseOptions options;
        options.account = string_at(body, "account");
        events.push_back(sandbox_.make_event(type, options));
    }
    if (events.empty()) throw std::invalid_argument("give \"events\" or a \"type\"");
    if (sender_ == nullptr) {
        throw std::invalid_argument("this sandbox has no webhook to send to; serve with --webhook");
    }
    const SendOptions options{.shuffle = flag(body, "shuffle", false),
                              .copies = number(body, "copies", 1, 1000, 1)};
    Json ids = Json::array();
    for (const Event& event : events) ids.push_back(event.id);
    return {{"deliveries", sender_->send(events, options)}, {"events", std::move(ids)}};
}

Json Control::state(const Call& call) const {
    const bool full = find_param(call.query, "full") != "false";
    Json state = sandbox_.state(full);
    Json& deliveries = state["deliveries"] = {{"pending", 0}, {"acknowledged", 0}, {"given_up", 0}};
    if (sender_ == nullptr) return state;
    deliveries["pending"] = sender_->pending();
    int acknowledged = 0;
    int given_up = 0;
    for (const Acknowledgement& one : sender_->acknowledgements()) {
        acknowledged += one.acknowledged ? 1 : 0;
        given_up += one.given_up ? 1 : 0;
    }
    deliveries["acknowledged"] = acknowledged;
    deliveries["given_up"] = given_up;
    return state;
}

}  // namespace steplog::sandbox
