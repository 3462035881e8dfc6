// Resend's POST /emails and GET /emails/{id}. Under the sandbox's mutex.
#include "tools/sandbox/resend.h"

#include <fmt/format.h>

#include <algorithm>

#include "tools/sandbox/events.h"

namespace steplog::sandbox {
namespace {

struct ResendRefusal {
    int status;
    std::string name;
    std::string message;
};

/// "a@b.c" or "Name <a@b.c>".
bool is_sender(const std::string& text) {
    const auto open = text.find('<');
    if (open == std::string::npos) return looks_like_email(text);
    return text.back() == '>' && looks_like_email(text.substr(open + 1, text.size() - open - 2));
}

/// One address or a list of them.
Json addresses(const Json& body, const std::string& key, bool required) {
    const Json* value = member(body, key);
    if (value == nullptr || value->is_null()) {
        if (!required) return Json::array();
        throw ResendRefusal{422, "missing_required_field", fmt::format("Missing `{}` field.", key)};
    }
    const Json list = value->is_array() ? *value : Json::array({*value});
    const bool valid = list.size() <= 50 && !(required && list.empty()) &&
                       std::all_of(list.begin(), list.end(), [](const Json& one) {
                           return one.is_string() && is_sender(one.get<std::string>());
                       });
    if (!valid) {
        throw ResendRefusal{422, "validation_error",
                            fmt::format("Invalid `{}` field. The email address needs to follow the "
                                        "`email@example.com` or `Name <email@example.com>` format; "
                                        "at most 50 of them.",
                                        key)};
    }
    return list;
}

std::string required_text(const Json& body, const std::string& key) {
    const std::string text = string_at(body, key);
    if (text.empty()) {
        throw ResendRefusal{422, "missing_required_field", fmt::format("Missing `{}` field.", key)};
    }
    return text;
}

}  // namespace

steps::HttpReply resend_error(int status, const std::string& name, const std::string& message) {
    return json_reply(status, {{"statusCode", status}, {"name", name}, {"message", message}});
}

std::string Resend::stored_key(const Call& call) {
    return call.method == "POST" ? header_of(call.headers, "Idempotency-Key") : "";
}

std::string Resend::fingerprint(const Call& call) { return call.path + "\n" + call.body; }

Handled Resend::handle(const Call& call, IdSource& ids) {
    Handled handled;
    const std::string authorization = header_of(call.headers, "Authorization");
    if (!authorization.starts_with("Bearer ")) {
        handled.reply =
            resend_error(401, "missing_api_key", "Missing API key in the authorization header");
        return handled;
    }
    const std::string api_key = authorization.substr(7);
    if (api_key_.empty() ? !api_key.starts_with("re_") : api_key != api_key_) {
        handled.reply = resend_error(403, "invalid_api_key", "API key is invalid");
        return handled;
    }
    if (call.method == "GET" && call.segments.size() == 2) {
        const auto found = std::find_if(emails_.begin(), emails_.end(), [&](const auto& email) {
            return string_at(*email, "id") == call.segments[1];
        });
        handled.reply = found == emails_.end() ? resend_error(404, "not_found", "Email not found")
                                               : json_reply(200, **found);
        return handled;
    }
    if (call.method != "POST" || call.segments.size() != 1) {
        handled.reply = resend_error(405, "method_not_allowed",
                                     "The sandbox knows POST /emails and GET /emails/{id}");
        return handled;
    }
    const std::string key = stored_key(call);
    if (key.size() > 256) {
        handled.reply =
            resend_error(400, "invalid_idempotency_key", "The key must be between 1-256 chars.");
        return handled;
    }
    if (!key.empty()) {
        IdempotencyKeys::Lookup lookup = keys_.begin(key, fingerprint(call), call.now_ms);
        if (lookup.verdict == IdempotencyKeys::Verdict::replay) {
            handled.reply = std::move(lookup.stored);
            return handled;
        }
        if (lookup.verdict == IdempotencyKeys::Verdict::mismatch) {
            handled.reply = resend_error(409, "invalid_idempotent_request",
                                         "Same idempotency key used with a different payload.");
            return handled;
        }
        if (lookup.verdict == IdempotencyKeys::Verdict::in_use) {
            handled.reply = resend_error(409, "concurrent_idempotent_requests",
                                         "Same idempotency key used while the original request is "
                                         "still in progress.");
            return handled;
        }
        handled.key = key;
    }
    try {
        handled.reply = send(call, ids);
        handled.effect = true;
        if (!key.empty()) keys_.keep(key, handled.reply);
    } catch (const ResendRefusal& refusal) {
        handled.reply = resend_error(refusal.status, refusal.name, refusal.message);
    }
    return handled;
}

steps::HttpReply Resend::send(const Call& call, IdSource& ids) {
    const Json body = Json::parse(call.body, nullptr, false);
    if (body.is_discarded() || !body.is_object()) {
        throw ResendRefusal{422, "validation_error", "The request body is not a JSON object."};
    }
    const std::string from = required_text(body, "from");
    if (!is_sender(from)) {
        throw ResendRefusal{422, "invalid_from_address",
                            "Invalid `from` field. The email address needs to follow the "
                            "`email@example.com` or `Name <email@example.com>` format."};
    }
    Json email = {{"object", "email"},
                  {"id", ids.make_uuid()},
                  {"to", addresses(body, "to", true)},
                  {"cc", addresses(body, "cc", false)},
                  {"bcc", addresses(body, "bcc", false)},
                  {"reply_to", addresses(body, "reply_to", false)},
                  {"from", from},
                  {"created_at", iso_time(call.now_ms)},
                  {"subject", required_text(body, "subject")},
                  {"last_event", "delivered"}};
    const bool has_template = member(body, "template") != nullptr;
    if (!has_template && string_at(body, "html").empty() && string_at(body, "text").empty()) {
        throw ResendRefusal{422, "missing_required_field", "Missing `html` or `text` field."};
    }
    for (const char* key : {"html", "text", "headers", "tags", "template", "scheduled_at"}) {
        if (const Json* value = member(body, key)) email[key] = *value;
    }
    email["message_id"] = fmt::format("<{}@sandbox.example>", string_at(email, "id"));
    // The addresses that Resend keeps for such tests.
    const std::string first = email["to"][0].get<std::string>();
    if (first.find("bounced@resend.dev") != std::string::npos) email["last_event"] = "bounced";
    if (first.find("complained@resend.dev") != std::string::npos)
        email["last_event"] = "complained";
    const std::string id = string_at(email, "id");
    emails_.push_back(std::make_shared<const Json>(std::move(email)));
    return json_reply(200, {{"id", id}});
}

}  // namespace steplog::sandbox
