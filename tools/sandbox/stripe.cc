// Stripe's front: who asks, under which idempotency key, on which route. Under the sandbox's mutex.
#include "tools/sandbox/stripe.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>

namespace steplog::sandbox {
namespace {

std::string decode_base64(std::string_view text) {
    std::string out(text.size() / 4 * 3 + 3, '\0');
    const int length = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                                       reinterpret_cast<const unsigned char*>(text.data()),
                                       static_cast<int>(text.size()));
    out.resize(length < 0 ? 0 : static_cast<std::size_t>(length));
    while (!out.empty() && out.back() == '\0') out.pop_back();
    return out;
}

/// The API key of a request, as Bearer or as the user name of Basic.
std::string api_key_of(const Call& call) {
    const std::string value = header_of(call.headers, "Authorization");
    if (value.starts_with("Bearer ")) return value.substr(7);
    if (value.starts_with("Basic ")) {
        const std::string pair = decode_base64(std::string_view(value).substr(6));
        return pair.substr(0, pair.find(':'));
    }
    return "";
}

std::string account_key(bool live, const std::string& id) {
    return (live ? "live/" : "test/") + id;
}

StripeRefusal unknown_route(const Call& call) {
    return {
        .status = 404,
        .message = fmt::format("Unrecognized request URL ({}: {}). The sandbox stands in for "
                               "customers, subscriptions, invoices, checkout sessions, products, "
                               "prices and events.",
                               call.method, call.path),
        .stored = false};
}

bool is_collection(std::string_view word) {
    return word == "customers" || word == "subscriptions" || word == "invoices" ||
           word == "products" || word == "prices" || word == "checkout";
}

std::string_view kind_of(std::string_view collection) {
    if (collection == "checkout") return "checkout.session";
    return collection.substr(0, collection.size() - 1);
}

/// Which objects a list is asked for, from the parameters of its own kind.
std::function<bool(const Json&)> filter_of(std::string_view collection, const Call& call) {
    std::vector<std::pair<std::string, std::string>> equal;
    for (const char* field : {"customer", "email", "subscription", "status", "payment_status",
                              "payment_intent", "product"}) {
        if (const auto value = find_param(call.query, field)) equal.emplace_back(field, *value);
    }
    const auto details_email = find_param(call.query, "customer_details[email]");
    const auto parent_subscription = [](const Json& object) {
        const Json* parent = member(object, "parent");
        const Json* details = parent ? member(*parent, "subscription_details") : nullptr;
        return details ? string_at(*details, "subscription") : std::string();
    };
    return [=, subscriptions = collection == "subscriptions",
            invoices = collection == "invoices"](const Json& object) {
        if (member(object, "deleted") != nullptr) return false;
        bool status_asked = false;
        for (const auto& [field, value] : equal) {
            if (field == "status" && subscriptions) {
                status_asked = true;
                const std::string status = string_at(object, "status");
                const bool ended = status == "canceled" || status == "incomplete_expired";
                if (value == "all" || (value == "ended" && ended) || status == value) continue;
                return false;
            }
            if (field == "subscription" && invoices) {
                if (parent_subscription(object) != value) return false;
                continue;
            }
            if (string_at(object, field) != value) return false;
        }
        // Left out unless asked for: docs.stripe.com/api/subscriptions/list.
        if (subscriptions && !status_asked && string_at(object, "status") == "canceled") {
            return false;
        }
        if (details_email) {
            const Json* details = member(object, "customer_details");
            if (details == nullptr || string_at(*details, "email") != *details_email) return false;
        }
        return true;
    };
}

/// The object itself, or a copy with what the parameters ask to see in place of ids.
Collection::Object expanded(const Collection::Object& object, const Params& params,
                            const StripeAccount& account) {
    if (find_all(params, "expand").empty()) return object;
    Json copy = *object;
    expand(copy, params, account);
    return std::make_shared<const Json>(std::move(copy));
}

}  // namespace

std::optional<Stripe::Caller> Stripe::authorise(const Call& call) const {
    const std::string key = api_key_of(call);
    const bool known =
        secret_key_.empty() ? key.starts_with("sk_") || key.starts_with("rk_") : key == secret_key_;
    if (!known) return std::nullopt;
    return Caller{.live = key.find("_live_") != std::string::npos,
                  .account = header_of(call.headers, "Stripe-Account")};
}

std::string Stripe::stored_key(const Call& call) const {
    const std::string key = header_of(call.headers, "Idempotency-Key");
    const auto caller = authorise(call);
    if (key.empty() || !caller || call.method != "POST") return "";
    return account_key(caller->live, caller->account) + " " + key;
}

std::string Stripe::fingerprint(const Call& call) {
    Params form = parse_form(call.body);
    std::sort(form.begin(), form.end());
    std::string text = call.method + " " + call.path;
    for (const auto& [key, value] : form) {
        text += fmt::format("\n{}:{}={}:{}", key.size(), key, value.size(), value);
    }
    return text;
}

StripeAccount& Stripe::account(bool live, const std::string& id) {
    auto [found, added] = accounts_.try_emplace(account_key(live, id));
    if (added) {
        found->second.live = live;
        found->second.id = id;
    }
    return found->second;
}

Handled Stripe::handle(const Call& call, IdSource& ids) {
    request_id_ = ids.make("req_");
    Handled handled;
    const auto caller = authorise(call);
    if (!caller) {
        const bool given = !header_of(call.headers, "Authorization").empty();
        handled.reply = stripe_error(
            {.status = 401,
             .message = given ? "Invalid API Key provided: the sandbox expects sk_… or rk_…"
                              : "You did not provide an API key. You need to provide your API key "
                                "in the Authorization header, using Bearer auth."});
    } else {
        handled = with_key(call, *caller, ids);
    }
    handled.reply.headers.emplace_back("Request-Id", request_id_);
    const std::string version = header_of(call.headers, "Stripe-Version");
    handled.reply.headers.emplace_back(
        "Stripe-Version", version.empty() ? std::string(current_api_version) : version);
    return handled;
}

Handled Stripe::with_key(const Call& call, const Caller& caller, IdSource& ids) {
    Handled handled;
    bool stored = false;
    const std::string key = stored_key(call);
    if (key.empty()) {
        handled.reply = execute(call, caller, ids, stored);
        handled.effect = call.method != "GET" && handled.reply.status < 300;
        return handled;
    }
    if (header_of(call.headers, "Idempotency-Key").size() > 255) {
        handled.reply =
            stripe_error({.type = "invalid_request_error",
                          .message = "Idempotency keys must be at most 255 characters."});
        return handled;
    }
    IdempotencyKeys::Lookup lookup = keys_.begin(key, fingerprint(call), call.now_ms);
    switch (lookup.verdict) {
        case IdempotencyKeys::Verdict::replay:
            handled.reply = std::move(lookup.stored);
            handled.reply.headers.emplace_back("Idempotent-Replayed", "true");
            return handled;
        case IdempotencyKeys::Verdict::mismatch:
            handled.reply = stripe_error(
                {.status = 400,
                 .type = "idempotency_error",
                 .message =
                     "Keys for idempotent requests can only be used with the same parameters "
                     "they were first used with. Try using a key other than the one given "
                     "if you meant to execute a different request."});
            return handled;
        case IdempotencyKeys::Verdict::in_use:
            handled.reply = stripe_error(
                {.status = 409,
                 .type = "idempotency_error",
                 .code = "idempotency_key_in_use",
                 .message = "There is currently another in-progress request using this Idempotent "
                            "Key. Please try again later."});
            return handled;
        case IdempotencyKeys::Verdict::fresh:
            break;
    }
    handled.key = key;
    handled.reply = execute(call, caller, ids, stored);
    handled.effect = handled.reply.status < 300;
    if (stored) {
        steps::HttpReply kept = handled.reply;
        kept.headers.emplace_back("Original-Request", request_id_);
        keys_.keep(key, kept);
    }
    return handled;
}

steps::HttpReply Stripe::execute(const Call& call, const Caller& caller, IdSource& ids,
                                 bool& stored) {
    StripeAccount& own = account(caller.live, caller.account);
    try {
        const Collection::Object answer =
            call.method == "GET" ? read(call, own) : write(call, own, ids);
        stored = true;
        return json_reply(200, *answer);
    } catch (const StripeRefusal& refusal) {
        stored = refusal.stored;
        return stripe_error(refusal);
    }
}

void Stripe::set_webhook_endpoint(const std::string& url, bool enabled) {
    endpoints_ = {{{"id", "we_sandbox"},
                   {"object", "webhook_endpoint"},
                   {"url", url},
                   {"status", enabled ? "enabled" : "disabled"},
                   {"enabled_events", {"*"}}}};
}

Collection::Object Stripe::read(const Call& call, StripeAccount& account) {
    const auto& at = call.segments;
    const auto share = [](Json json) { return std::make_shared<const Json>(std::move(json)); };
    const auto event_of = [&](EventForm form) {
        const EventRecord* event = account.find_event(at.back());
        if (event == nullptr || event->form() != form) {
            throw missing_resource("event", at.back(), "id");
        }
        return share(event_json(render(*event)));
    };
    if (at.size() == 4 && at[0] == "v2" && at[1] == "core" && at[2] == "events") {
        return event_of(EventForm::thin);
    }
    if (at.size() < 2 || at[0] != "v1") throw unknown_route(call);
    if (at[1] == "events" && at.size() == 2) return share(list_events(account, call));
    if (at[1] == "events" && at.size() == 3) return event_of(EventForm::snapshot);
    if (at[1] == "webhook_endpoints" && at.size() == 2)
        return share({{"object", "list"},
                      {"url", "/v1/webhook_endpoints"},
                      {"has_more", false},
                      {"data", endpoints_}});
    if (at[1] == "payment_pages" && at.size() == 3) {
        if (const auto session = account.sessions.find(at[2])) return session;
        throw missing_resource("payment_page", at[2], "id");
    }
    // checkout/sessions[/id] is one segment longer than all the others.
    const std::size_t id_at = at[1] == "checkout" ? 3 : 2;
    if (!is_collection(at[1]) || at.size() > id_at + 1 ||
        (id_at == 3 && (at.size() < 3 || at[2] != "sessions"))) {
        throw unknown_route(call);
    }
    const std::string_view kind = kind_of(at[1]);
    const Collection& collection = account.collection(kind);
    if (at.size() == id_at) {
        return share(list_page(account, collection, call, filter_of(at[1], call)));
    }
    if (at[1] == "customers" && at[2] == "search") return share(search_customers(account, call));
    const Collection::Object found = collection.find(at[id_at]);
    if (!found) {
        StripeRefusal refusal = missing_resource(kind, at[id_at], "id");
        const auto other = accounts_.find(account_key(!account.live, account.id));
        if (other != accounts_.end() && other->second.find(at[id_at])) {
            refusal.message += fmt::format(
                "; a similar object exists in {} mode, but a {} mode key was used to make this "
                "request.",
                account.live ? "test" : "live", account.live ? "live" : "test");
        }
        throw refusal;
    }
    return expanded(found, call.query, account);
}

Collection::Object Stripe::write(const Call& call, StripeAccount& account, IdSource& ids) {
    const auto& at = call.segments;
    if (call.method == "POST" && at.size() == 4 && at[1] == "events" && at[3] == "retry") {
        return resend_event(at[2], account);
    }
    const Params form = parse_form(call.body);
    auto paid = apply_payment(call, form, account, ids);
    StripeChange change = paid ? std::move(*paid) : apply_write(call, form, account, ids);
    for (const std::string& type : {change.event_type, change.also}) {
        if (type.empty()) continue;
        const bool post = call.method == "POST";
        EventDraft draft{
            .type = type,
            .object = change.object,
            .previous_attributes = change.previous_attributes,
            .cause = {.request_id = request_id_,
                      .idempotency_key = post ? header_of(call.headers, "Idempotency-Key") : ""},
            .account = account.id,
            .live = account.live,
            .now_ms = call.now_ms};
        outbox_.push_back(emit(account, std::move(draft), ids).snapshot);
    }
    if (call.method == "DELETE" && string_at(*change.object, "object") == "customer") {
        return account.customers.find(at[2]);
    }
    return expanded(change.object, form, account);
}

Stripe::Twins Stripe::emit(StripeAccount& account, EventDraft draft, IdSource& ids) {
    const bool live = draft.live;
    Twins twins;
    twins.snapshot.id = ids.make("evt_1", 23);
    twins.snapshot.draft = std::make_shared<const EventDraft>(std::move(draft));
    twins.thin.id = ids.make(live ? "evt_65" : "evt_test_65", 30);
    twins.thin.snapshot_id = twins.snapshot.id;
    twins.thin.draft = twins.snapshot.draft;
    account.events.push_back(twins.snapshot);
    account.events.push_back(twins.thin);
    return twins;
}

Collection::Object Stripe::resend_event(const std::string& id, StripeAccount& account) {
    const EventRecord* event = account.find_event(id);
    if (event == nullptr) throw missing_resource("event", id, "id");
    outbox_.push_back(*event);
    return std::make_shared<const Json>(event_json(render(*event)));
}

std::vector<Event> Stripe::take_outbox() {
    std::vector<Event> events;
    for (const EventRecord& record : std::exchange(outbox_, {})) events.push_back(render(record));
    return events;
}

void Stripe::mark_delivered(const std::string& event_id) {
    for (auto& [key, account] : accounts_) {
        if (EventRecord* event = account.find_event(event_id)) event->delivered = true;
    }
}

}  // namespace steplog::sandbox
