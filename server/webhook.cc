// Stripe's events, from the request to the inbox; see webhook.h.
#include "server/webhook.h"

#include <fmt/format.h>
#include <httplib.h>

#include "engine/errors.h"
#include "server/signature.h"

namespace steplog::server {
namespace {

constexpr char retry_after_s[] = "5";
constexpr char signature_header_name[] = "Stripe-Signature";

/// `note` is one of our own words. The bytes are the documented ones: people compare them.
Answer received(std::string_view note = {}) {
    if (note.empty()) return {200, R"({"received":true})"};
    return {200, fmt::format(R"({{"received":true,"note":"{}"}})", note)};
}

WebhookOutcome outcome_of(NewEvent::Disposition disposition) {
    switch (disposition) {
        case NewEvent::Disposition::routed:
            return WebhookOutcome::routed;
        case NewEvent::Disposition::ignored:
            return WebhookOutcome::ignored;
        case NewEvent::Disposition::quarantined:
            return WebhookOutcome::quarantined;
    }
    return WebhookOutcome::routed;
}

std::string_view note_of(WebhookOutcome outcome) {
    switch (outcome) {
        case WebhookOutcome::ignored:
            return "ignored";
        case WebhookOutcome::quarantined:
            return "quarantined";
        case WebhookOutcome::already_processed:
            return "already_processed";
        default:
            return "";
    }
}

/// The one Stripe-Signature header; "" for none and for more than one, which nobody sends honestly.
std::string signature_of(const httplib::Request& request) {
    if (request.get_header_value_count(signature_header_name) != 1) return "";
    return request.get_header_value(signature_header_name);
}

}  // namespace

StripeWebhook::StripeWebhook(Engine& engine, const Clock& clock, Log& log,
                             StripeWebhookOptions options)
    : engine_(engine),
      clock_(clock),
      log_(log),
      options_(std::move(options)),
      failures_(options_.failures_per_second, options_.failures_per_second),
      secrets_(std::make_shared<const std::vector<std::string>>(options_.secrets)) {}

void StripeWebhook::replace_secrets(std::vector<std::string> secrets) {
    auto fresh = std::make_shared<const std::vector<std::string>>(std::move(secrets));
    const std::lock_guard lock(mutex_);
    secrets_ = std::move(fresh);
}

void StripeWebhook::add_to(httplib::Server& routes) {
    routes.Post(
        stripe_webhook_path, [this](const httplib::Request& request, httplib::Response& response) {
            send(answer(signature_of(request), request.body, request.remote_addr), response);
        });
    refuse_other_methods(routes, stripe_webhook_path, "POST");
}

Answer StripeWebhook::answer(std::string_view signature_header, const std::string& body,
                             const std::string& address) {
    const auto begun = std::chrono::steady_clock::now();
    Reply reply = judge(signature_header, body, address);
    if (options_.on_answer)
        options_.on_answer(reply.outcome, std::chrono::steady_clock::now() - begun);
    return std::move(reply.answer);
}

StripeWebhook::Reply StripeWebhook::judge(std::string_view signature_header,
                                          const std::string& body, const std::string& address) {
    const std::int64_t now_s = clock_.now_ms() / 1000;
    const Secrets secrets = [this] {
        const std::lock_guard lock(mutex_);
        return secrets_;
    }();
    const auto verdict =
        verify_stripe_signature(signature_header, body, *secrets, options_.tolerance_s, now_s);
    if (verdict != Signature::valid) return refuse_signature(to_string(verdict), address);
    if (options_.on_skew)
        if (const auto time_s = stripe_signature_time(signature_header))
            options_.on_skew(*time_s - now_s);
    return accept(body);
}

StripeWebhook::Reply StripeWebhook::refuse_signature(std::string_view why,
                                                     const std::string& address) {
    const bool exempt = options_.is_exempt && options_.is_exempt(address);
    if (!exempt && !failures_.allow(address, clock_.now_ms())) {
        log_.debug("too many failing signatures", {{"address", address}});
        auto answer = error_answer(429, "too many requests with a bad signature from this address");
        answer.headers.emplace_back("Retry-After", "1");
        return {WebhookOutcome::rate_limited, std::move(answer)};
    }
    log_.warn("signature refused", {{"why", std::string(why)}, {"address", address}});
    return {WebhookOutcome::signature_refused, error_answer(400, bad_signature)};
}

StripeWebhook::Reply StripeWebhook::accept(const std::string& body) {
    auto intake = steps::intake(body, options_.routing);
    const auto outcome = outcome_of(intake.event.disposition);
    const std::vector<Field> fields = {{"event", intake.event.id},
                                       {"type", intake.event.type},
                                       {"instance", intake.instance ? intake.instance->id : ""},
                                       {"reason", intake.event.reason}};
    try {
        const auto accepted = engine_.accept(std::move(intake.event), std::move(intake.instance));
        if (accepted.conflict) {
            log_.error(
                "dedupe_conflict: an event came again with another body; the first one is kept",
                fields);
            if (options_.on_conflict) options_.on_conflict();
        }
        if (accepted.duplicate) {
            log_.info("event was there already", fields);
            return {WebhookOutcome::already_processed,
                    received(note_of(WebhookOutcome::already_processed))};
        }
    } catch (const StoreError& error) {
        log_.error("event could not be stored; the sender is asked to come again",
                   {{"event", fields.front().value}, {"error", error.what()}});
        auto answer = error_answer(503, "the event cannot be stored now; send it again later");
        answer.headers.emplace_back("Retry-After", retry_after_s);
        return {WebhookOutcome::unavailable, std::move(answer)};
    }
    if (outcome == WebhookOutcome::quarantined) {
        log_.error(
            "event quarantined: it is signed and kept, but cannot be understood; see "
            "workflow-inspect events",
            fields);
    } else {
        log_.info("event accepted", fields);
    }
    return {outcome, received(note_of(outcome))};
}

}  // namespace steplog::server
