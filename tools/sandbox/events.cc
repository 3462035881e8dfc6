// Making and signing Stripe's events. Pure functions.
#include "tools/sandbox/events.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <array>
#include <stdexcept>

namespace steplog::sandbox {
namespace {

std::string hmac_sha256_hex(std::string_view key, std::string_view message) {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned int length = 0;
    if (HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
             reinterpret_cast<const unsigned char*>(message.data()), message.size(), digest.data(),
             &length) == nullptr) {
        throw std::runtime_error("OpenSSL cannot compute an HMAC-SHA256; check its configuration");
    }
    std::string hex;
    hex.reserve(length * 2);
    for (unsigned int i = 0; i < length; ++i) hex += fmt::format("{:02x}", digest[i]);
    return hex;
}

std::string pretty(const Json& json) {
    return json.dump(2, ' ', false, Json::error_handler_t::replace);
}

/// Moves what stood elsewhere before 2025-03-31.basil back to where it was.
Json as_of(const Json& object, std::string_view api_version) {
    Json out = object;
    if (api_version >= "2025-03-31" || !object.is_object()) return out;
    const std::string kind = string_at(object, "object");
    if (kind == "invoice") {
        const Json* parent = member(object, "parent");
        const Json* details = parent != nullptr ? member(*parent, "subscription_details") : nullptr;
        out.erase("parent");
        out["subscription"] = details != nullptr ? *member(*details, "subscription") : Json();
        out["subscription_details"] = {{"metadata", Json::object()}};
        out["paid"] = string_at(object, "status") == "paid";
        out["charge"] = nullptr;
        out["payment_intent"] = nullptr;
    } else if (kind == "subscription" && !out["items"]["data"].empty()) {
        Json& item = out["items"]["data"][0];
        for (const char* field : {"current_period_start", "current_period_end"}) {
            out[field] = item.value(field, 0);
            item.erase(field);
        }
    } else if (kind == "checkout.session") {
        out["ui_mode"] = "hosted";
    }
    return out;
}

std::string url_of(const Json& object) {
    const std::string kind = string_at(object, "object");
    const std::string id = string_at(object, "id");
    if (kind == "checkout.session") return "/v1/checkout/sessions/" + id;
    return fmt::format("/v1/{}s/{}", kind, id);
}

Json text_or_null(const std::string& text) { return text.empty() ? Json() : Json(text); }

Json snapshot_body(const EventRecord& record, const Event& event) {
    const EventDraft& draft = *record.draft;
    Json data = {{"object", as_of(*draft.object, draft.api_version)}};
    if (!draft.previous_attributes.is_null()) {
        data["previous_attributes"] = draft.previous_attributes;
    }
    Json body = {{"id", event.id},
                 {"object", "event"},
                 {"api_version", draft.api_version},
                 {"created", event.created_s},
                 {"data", std::move(data)},
                 {"livemode", draft.live},
                 {"pending_webhooks", 1},
                 {"request",
                  {{"id", text_or_null(draft.cause.request_id)},
                   {"idempotency_key", text_or_null(draft.cause.idempotency_key)}}},
                 {"type", draft.type}};
    if (!draft.account.empty()) body["account"] = draft.account;
    return body;
}

Json thin_body(const EventRecord& record, const Event& event) {
    const EventDraft& draft = *record.draft;
    Json body = {{"id", event.id},
                 {"object", "v2.core.event"},
                 {"type", event.type},
                 {"livemode", draft.live},
                 {"created", iso_time(draft.now_ms)},
                 {"related_object",
                  {{"id", event.object_id},
                   {"type", string_at(*draft.object, "object")},
                   {"url", url_of(*draft.object)}}},
                 {"snapshot_event", record.snapshot_id}};
    if (!draft.account.empty()) body["context"] = draft.account;
    if (!draft.cause.request_id.empty()) {
        body["reason"] = {{"type", "request"},
                          {"request",
                           {{"id", draft.cause.request_id},
                            {"idempotency_key", text_or_null(draft.cause.idempotency_key)}}}};
    }
    return body;
}

}  // namespace

Event render(const EventRecord& record) {
    const EventDraft& draft = *record.draft;
    const bool thin = record.form() == EventForm::thin;
    Event event{.id = record.id,
                .type = thin ? "v1." + draft.type : draft.type,
                .form = record.form(),
                .account = draft.account,
                .object_id = string_at(*draft.object, "id"),
                .body = "",
                .created_s = draft.now_ms / 1000};
    event.body = pretty(thin ? thin_body(record, event) : snapshot_body(record, event));
    return event;
}

Json event_json(const Event& event) { return Json::parse(event.body); }

bool type_wanted(std::string_view wanted, std::string_view type) {
    if (wanted == "*" || wanted == type) return true;
    return wanted.ends_with(".*") && type.starts_with(wanted.substr(0, wanted.size() - 1));
}

std::string stripe_signature(std::string_view body, const std::vector<std::string>& secrets,
                             std::int64_t t_s) {
    std::string header = fmt::format("t={}", t_s);
    const std::string message = fmt::format("{}.{}", t_s, body);
    for (const std::string& secret : secrets) header += ",v1=" + hmac_sha256_hex(secret, message);
    return header;
}

steps::Headers delivery_headers(std::string_view body, const std::vector<std::string>& secrets,
                                std::int64_t t_s) {
    return {{"Content-Type", "application/json; charset=utf-8"},
            {"User-Agent", "Stripe/1.0 (+https://stripe.com/docs/webhooks)"},
            {"Accept", "*/*; q=0.5, application/xml"},
            {"Cache-Control", "no-cache"},
            {"Stripe-Signature", stripe_signature(body, secrets, t_s)}};
}

std::string iso_time(std::int64_t ms) {
    return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z", fmt::gmtime(ms / 1000), ms % 1000);
}

}  // namespace steplog::sandbox
