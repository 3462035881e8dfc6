// What a signed message from Stripe is, and what becomes of it. Pure functions; any thread.
#include "steps/stripe_event.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "engine/digest.h"
#include "engine/json_guard.h"
#include "engine/rfc3339.h"
#include "steps/encoding.h"
#include "steps/json_reading.h"
#include "steps/stripe_client.h"

namespace steplog::steps {
namespace {

struct Wanted {
    EventKind kind;
    std::string_view object;  // the type of the object that it is about
};

const std::map<std::string, Wanted, std::less<>>& wanted_types() {
    static const std::map<std::string, Wanted, std::less<>> types = {
        {"checkout.session.completed", {EventKind::checkout_completed, "checkout.session"}},
        {"checkout.session.async_payment_succeeded",
         {EventKind::checkout_async_succeeded, "checkout.session"}},
        {"customer.subscription.created", {EventKind::subscription_created, "subscription"}},
        {"invoice.paid", {EventKind::invoice_paid, "invoice"}},
        {"invoice.payment_succeeded", {EventKind::invoice_paid, "invoice"}}};
    return types;
}

bool is_event_type(const std::string& type) {
    return !type.empty() && type.size() <= 255 &&
           std::all_of(type.begin(), type.end(),
                       [](unsigned char c) { return std::isalnum(c) || c == '_' || c == '.'; });
}

/// "acct_123", or a context of several parts: "org_1/acct_123".
bool is_account(const std::string& account) {
    return account.size() <= 255 && !account.starts_with('/') && !account.ends_with('/') &&
           std::all_of(account.begin(), account.end(),
                       [](unsigned char c) { return std::isalnum(c) || c == '_' || c == '/'; });
}

bool is_unix_time(const Json& value) {
    // Integers only: 1.9 and 1e400 are no times, and beyond year 9999 it is no time of ours.
    return value.is_number_unsigned() && value.get<std::uint64_t>() <= 253402300799U;
}

std::optional<std::int64_t> unix_ms(const Json& seconds) {
    if (!is_unix_time(seconds)) return std::nullopt;
    return seconds.get<std::int64_t>() * 1000;
}

bool is_iso_time(const std::string& text) {
    if (text.size() < 20 || text.size() > 40) return false;
    constexpr std::string_view shape = "dddd-dd-ddTdd:dd:dd";
    for (std::size_t i = 0; i < shape.size(); ++i) {
        const bool fits = shape[i] == 'd' ? text[i] >= '0' && text[i] <= '9' : text[i] == shape[i];
        if (!fits) return false;
    }
    return true;
}

/// What a snapshot of a wanted type must have; "" when it has it.
std::string snapshot_problem(const Json& body, const Wanted& wanted, const Json& object) {
    if (!is_unix_time(value_at(body, {"created"}))) return "created is not a time";
    if (!object.is_object()) return "it has no data.object";
    if (!is_provider_id(text_at(object, {"id"}))) return "data.object.id is not an id";
    const Json& named = value_at(object, {"object"});
    if (!named.is_null() && text_at(object, {"object"}) != wanted.object) {
        return "data.object is not what the type says";
    }
    if (!is_reference_or_absent(object, {"customer"})) return "data.object.customer is not an id";
    const bool guests = wanted.object == "checkout.session";
    if (!guests && reference_at(object, {"customer"}).empty()) return "it names no customer";
    if (!is_reference_or_absent(object, {"subscription"}) ||
        !is_reference_or_absent(object, {"parent", "subscription_details", "subscription"}) ||
        !is_reference_or_absent(object, {"invoice"})) {
        return "data.object refers to something that is not an id";
    }
    if (wanted.kind == EventKind::checkout_completed &&
        text_at(object, {"payment_status"}).empty()) {
        return "it has no payment_status";
    }
    if (wanted.kind == EventKind::subscription_created && text_at(object, {"status"}).empty()) {
        return "it has no status";
    }
    return "";
}

/// What a thin event of a wanted type must have; "" when it has it.
std::string thin_problem(const Json& body, const StripeEvent& event) {
    if (!is_iso_time(text_at(body, {"created"}))) return "created is not a time";
    if (!is_provider_id(event.related_id)) return "related_object.id is not an id";
    const Json& url = value_at(body, {"related_object", "url"});
    if (url.is_null()) return "";
    if (!is_safe_stripe_path(event.related_path) ||
        !event.related_path.ends_with("/" + event.related_id)) {
        return "related_object.url is not a path of Stripe's";
    }
    return "";
}

std::string subject_of(const StripeEvent& event) {
    if (event.thin) return event.related_id;
    const std::string customer = reference_at(event.object, {"customer"});
    return customer.empty() ? text_at(event.object, {"id"}) : customer;
}

/// Who an event of an unwanted type is about, for people who look for a customer's events.
std::string unwanted_subject(const Json& body) {
    const Json& object = value_at(body, {"data", "object"});
    std::string subject = reference_at(object, {"customer"});
    if (subject.empty()) subject = text_at(object, {"id"});
    if (subject.empty()) subject = text_at(body, {"related_object", "id"});
    return is_provider_id(subject) ? subject : "";
}

Intake kept(NewEvent::Disposition disposition, std::string note, std::string id, std::string type,
            std::string subject, std::string reason, std::string_view raw_body) {
    return {.event = {.source = "stripe",
                      .id = std::move(id),
                      .type = std::move(type),
                      .subject = std::move(subject),
                      .disposition = disposition,
                      .reason = std::move(reason),
                      .body = std::string(raw_body)},
            .instance = {},
            .note = std::move(note)};
}

}  // namespace

std::vector<std::string> wanted_event_types() {
    std::vector<std::string> types;
    for (const auto& [type, wanted] : wanted_types()) types.push_back(type);
    return types;
}

std::string customer_key(bool livemode, const std::string& account, const std::string& who) {
    return fmt::format("stripe:{}:{}:{}", livemode, account, who);
}

std::string not_due(EventKind kind, const Json& object) {
    if (kind == EventKind::checkout_completed) {
        if (text_at(object, {"mode"}) == "setup") return "nothing was bought: mode is setup";
        const std::string status = text_at(object, {"payment_status"});
        if (status == "unpaid") return "unpaid: checkout.session.async_payment_succeeded follows";
        if (status != "paid" && status != "no_payment_required") return "payment_status is unknown";
    }
    if (kind == EventKind::subscription_created) {
        const std::string status = text_at(object, {"status"});
        if (status == "incomplete") return "subscription is incomplete: invoice.paid follows";
        if (status != "active" && status != "trialing") {
            return "subscription is neither active nor trialing";
        }
    }
    return "";
}

std::optional<StripeEvent> read_event(const Json& body, std::string& why_not) {
    const auto refuse = [&](std::string reason) -> std::optional<StripeEvent> {
        why_not = std::move(reason);
        return std::nullopt;
    };
    if (!body.is_object()) return refuse("it is not a JSON object");
    StripeEvent event;
    event.id = text_at(body, {"id"});
    if (!is_provider_id(event.id)) return refuse("id is not an event id");
    event.type = text_at(body, {"type"});
    if (!is_event_type(event.type)) return refuse("type is not an event type");

    const Json& object_name = value_at(body, {"object"});
    const std::string named = text_at(body, {"object"});
    event.thin = object_name.is_null() ? body.contains("related_object") : named == "v2.core.event";
    if (!object_name.is_null() && !event.thin && named != "event")
        return refuse("it is not an event");

    event.livemode = flag_at(body, {"livemode"});
    if (!event.livemode && !value_at(body, {"livemode"}).is_null()) {
        return refuse("livemode is neither true nor false");
    }
    const Json& created = value_at(body, {"created"});
    if (!event.thin && !created.is_null() && !is_unix_time(created)) {
        return refuse("created is not a time");
    }
    event.created_at_ms = event.thin ? parse_rfc3339(text_at(body, {"created"})) : unix_ms(created);
    event.account = text_at(body, {"account"});
    if (event.account.empty()) event.account = text_at(body, {"context"});
    event.request_key = event.thin ? text_at(body, {"reason", "request", "idempotency_key"})
                                   : text_at(body, {"request", "idempotency_key"});

    std::string_view plain_type = event.type;
    if (event.thin) {
        if (!plain_type.starts_with("v1.")) return event;
        plain_type.remove_prefix(3);
    }
    const auto wanted = wanted_types().find(plain_type);
    if (wanted == wanted_types().end()) return event;
    if (!event.livemode) return refuse("livemode is missing");
    if (!is_account(event.account)) return refuse("account is not an account's id");
    std::string problem;
    if (event.thin) {
        event.related_id = text_at(body, {"related_object", "id"});
        event.related_path = text_at(body, {"related_object", "url"});
        problem = thin_problem(body, event);
    } else {
        event.object = value_at(body, {"data", "object"});
        problem = snapshot_problem(body, wanted->second, event.object);
    }
    if (!problem.empty()) return refuse(std::move(problem));
    event.kind = wanted->second.kind;
    return event;
}

Intake route(const StripeEvent& event, std::string_view raw_body, const RoutingPolicy& policy) {
    using Disposition = NewEvent::Disposition;
    const bool wanted = event.kind != EventKind::none;
    std::string why_ignored;
    if (policy.livemode && event.livemode && *policy.livemode != *event.livemode) {
        why_ignored = *event.livemode ? "a live event, and the key is a test key"
                                      : "a test event, and the key is a live key";
    } else if (!policy.own_key_prefix.empty() &&
               event.request_key.starts_with(policy.own_key_prefix)) {
        why_ignored = "caused by our own write";
    } else if (!wanted) {
        why_ignored = "no workflow wants this type";
    } else if (!event.thin) {  // of a thin event it is known only once the object is read
        why_ignored = not_due(event.kind, event.object);
    }
    const std::string subject = wanted ? subject_of(event) : "";
    if (!why_ignored.empty()) {
        return kept(Disposition::ignored, "ignored", event.id, event.type, subject, why_ignored,
                    raw_body);
    }
    Intake routed = kept(Disposition::routed, "", event.id, event.type, subject, "", raw_body);
    routed.instance = NewInstance{.id = "provision_customer/" + event.id,
                                  .workflow = "provision_customer",
                                  .key = customer_key(*event.livemode, event.account, subject),
                                  .on_stuck = OnStuck::release_key,
                                  .input = {},
                                  .caused_at_ms = event.created_at_ms};
    return routed;
}

Intake intake(std::string_view raw_body, const RoutingPolicy& policy) {
    std::string why_not;
    const std::optional<Json> body = parse_guarded(raw_body, why_not);
    const auto event = body ? read_event(*body, why_not) : std::nullopt;
    if (!event) {
        std::string id = body ? text_at(*body, {"id"}) : "";
        if (!is_provider_id(id)) id = "sha256:" + to_hex(sha256(raw_body));
        std::string type = body ? text_at(*body, {"type"}) : "";
        if (!is_event_type(type)) type.clear();
        return kept(NewEvent::Disposition::quarantined, "quarantined", std::move(id),
                    std::move(type), "", why_not, raw_body);
    }
    Intake decided = route(*event, raw_body, policy);
    if (decided.event.subject.empty()) decided.event.subject = unwanted_subject(*body);
    return decided;
}

NewInstance reconcile_instance(bool livemode, const std::string& account,
                               const std::string& customer, const std::string& subscription,
                               bool quiet) {
    Json input = {{"object", "steplog.reconcile"},
                  {"livemode", livemode},
                  {"account", account},
                  {"customer", customer},
                  {"subscription", subscription}};
    if (quiet) input["quiet"] = true;
    return {.id = fmt::format("provision_customer/reconcile/{}/{}", customer, subscription),
            .workflow = "provision_customer",
            .key = customer_key(livemode, account, customer),
            .on_stuck = OnStuck::release_key,
            .input = dump_json(input)};
}

}  // namespace steplog::steps
