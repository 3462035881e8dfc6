// One call to a provider, and what its answer means. Any thread.
#include "steps/provider.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <ctime>

#include "engine/json_guard.h"
#include "steps/json_reading.h"

namespace steplog::steps {
namespace {

constexpr Ms pause_max = std::chrono::hours(1);
constexpr std::size_t word_length_max = 80;

/// A provider's word that may stand in a log or an error text: no spaces, no markup, nobody's name.
std::string plain_word(const std::string& text) {
    const bool plain =
        !text.empty() && text.size() <= word_length_max &&
        std::all_of(text.begin(), text.end(), [](unsigned char c) {
            return std::isalnum(c) || c == '_' || c == '-' || c == '.' || c == '[' || c == ']';
        });
    return plain ? text : std::string();
}

std::optional<std::int64_t> parse_http_date(const std::string& value) {
    std::tm parts{};
    const char* end = strptime(value.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &parts);
    if (end == nullptr || *end != '\0') return std::nullopt;
    return static_cast<std::int64_t>(timegm(&parts)) * 1000;
}

}  // namespace

std::optional<Ms> parse_retry_after(const std::string& value, std::int64_t now_ms) {
    const char* const end = value.data() + value.size();
    std::int64_t seconds = 0;
    const auto [parsed_to, error] = std::from_chars(value.data(), end, seconds);
    if (parsed_to == end && !value.empty()) {
        if (error == std::errc::result_out_of_range) return pause_max;
        if (error != std::errc{}) return std::nullopt;
        const std::int64_t seconds_max =
            std::chrono::duration_cast<std::chrono::seconds>(pause_max).count();
        return Ms(std::clamp<std::int64_t>(seconds, 0, seconds_max) * 1000);
    }
    const auto date_ms = parse_http_date(value);
    if (!date_ms) return std::nullopt;
    return std::clamp(Ms(*date_ms - now_ms), Ms(0), pause_max);
}

ProviderApi::ProviderApi(HttpTransport& transport, const Clock& clock, Dialect dialect,
                         std::string base, Headers headers)
    : transport_(transport),
      clock_(clock),
      dialect_(dialect),
      base_(std::move(base)),
      headers_(std::move(headers)) {
    headers_.emplace_back("Accept", "application/json");
    headers_.emplace_back("User-Agent", "steplog/" STEPLOG_VERSION);
}

const char* ProviderApi::name() const {
    switch (dialect_) {
        case Dialect::stripe:
            return "Stripe";
        case Dialect::clerk:
            return "Clerk";
        case Dialect::resend:
            return "Resend";
    }
    return "the provider";
}

const char* ProviderApi::word() const {
    switch (dialect_) {
        case Dialect::stripe:
            return "stripe";
        case Dialect::clerk:
            return "clerk";
        case Dialect::resend:
            return "resend";
    }
    return "";
}

Json ProviderApi::call(const ProviderRequest& request, const Call& call) const {
    const bool reads_only = request.method == "GET";
    HttpRequest http{.method = request.method,
                     .base = base_,
                     .target = request.target,
                     .headers = headers_,
                     .body = request.body,
                     .timeout = call.timeout,
                     .stop = call.stop};
    http.headers.insert(http.headers.end(), request.headers.begin(), request.headers.end());
    const bool with_key =
        request.method == "POST" && !call.idempotency_key.empty() && dialect_ != Dialect::clerk;
    if (with_key) http.headers.emplace_back("Idempotency-Key", call.idempotency_key);
    try {
        const HttpReply reply = transport_.send(http);
        if (reply.status < 200 || reply.status > 299) throw_complaint(request, reply, with_key);
        std::string why_not;
        if (auto body = parse_guarded(reply.body, why_not)) return *std::move(body);
        throw_bad_reply(request);
    } catch (const RetryableError& error) {
        auto details = error.details();
        details.provider = word();  // a step of one provider may ask another
        if (reads_only) details.outcome = Outcome::refused;
        throw RetryableError(error.what(), details);
    }
}

void ProviderApi::throw_bad_reply(const ProviderRequest& request) const {
    throw RetryableError(
        fmt::format("{} answered the request to {} with success, but not with what it promises",
                    name(), request.doing),
        {.code = "bad_reply",
         .outcome = request.method == "GET" ? Outcome::refused : Outcome::unknown});
}

ProviderApi::Complaint ProviderApi::read_complaint(const HttpReply& reply) const {
    Complaint complaint;
    std::string why_not;
    const auto body = parse_guarded(reply.body, why_not);
    if (!body) return complaint;
    switch (dialect_) {
        case Dialect::stripe:
            complaint.in_envelope = value_at(*body, {"error"}).is_object();
            complaint.code = plain_word(text_at(*body, {"error", "code"}));
            if (complaint.code.empty())
                complaint.code = plain_word(text_at(*body, {"error", "type"}));
            complaint.param = plain_word(text_at(*body, {"error", "param"}));
            complaint.request_id = plain_word(reply.header("Request-Id"));
            break;
        case Dialect::clerk: {
            const Json& errors = value_at(*body, {"errors"});
            complaint.in_envelope = errors.is_array();
            if (complaint.in_envelope && !errors.empty()) {
                complaint.code = plain_word(text_at(errors.at(0), {"code"}));
                complaint.param = plain_word(text_at(errors.at(0), {"meta", "param_name"}));
            }
            complaint.request_id = plain_word(text_at(*body, {"clerk_trace_id"}));
            break;
        }
        case Dialect::resend:
            complaint.code = plain_word(text_at(*body, {"name"}));
            complaint.in_envelope = !complaint.code.empty();
            break;
    }
    return complaint;
}

bool ProviderApi::means_our_key(int status, const std::string& code) const {
    if (status == 401) return true;
    if (status != 403) return false;
    switch (dialect_) {
        // A platform's key without access to one connected account is that account's matter.
        case Dialect::stripe:
            return code != "account_invalid";
        case Dialect::clerk:
            return code == "authorization_invalid" || code == "authorization_missing_scopes";
        case Dialect::resend:
            return code == "invalid_api_key" || code == "restricted_api_key";
    }
    return false;
}

void ProviderApi::throw_complaint(const ProviderRequest& request, const HttpReply& reply,
                                  bool had_idempotency_key) const {
    const int status = reply.status;
    const Complaint complaint = read_complaint(reply);
    const std::string code =
        complaint.code.empty() ? fmt::format("http_{}", status) : complaint.code;
    const std::string text =
        fmt::format("{} refused to {}: {} {}{}{}", name(), request.doing, status, code,
                    complaint.param.empty() ? "" : " on " + complaint.param,
                    complaint.request_id.empty() ? "" : " (request " + complaint.request_id + ")");
    const auto retry_after = parse_retry_after(reply.header("Retry-After"), clock_.now_ms());
    const std::string should_retry =
        dialect_ == Dialect::stripe ? reply.header("Stripe-Should-Retry") : "";
    using Trouble = RetryableError::Trouble;
    const auto again = [&](const std::string& as, Outcome outcome,
                           Trouble trouble = Trouble::provider, bool remembered = false) {
        throw RetryableError(text, {.code = as,
                                    .outcome = outcome,
                                    .retry_after = retry_after,
                                    .remembered = remembered,
                                    .trouble = trouble});
    };

    if (means_our_key(status, complaint.code))
        again("provider_key_rejected", Outcome::refused, Trouble::our_key);
    if (status >= 500) {
        // Stripe stores a 5xx under the key once the endpoint has begun to execute, and says so by
        // advising against a retry (docs.stripe.com/error-low-level).
        const bool remembered =
            dialect_ == Dialect::stripe && had_idempotency_key && should_retry != "true";
        again(fmt::format("http_{}", status), Outcome::unknown, Trouble::provider, remembered);
    }
    if (status == 429) {
        // A spent quota comes back with a new day or month, not with the next try.
        if (code == "daily_quota_exceeded" || code == "monthly_quota_exceeded") {
            throw RetryableError(text, {.code = code,
                                        .outcome = Outcome::refused,
                                        .retry_after = pause_max,
                                        .trouble = Trouble::request});
        }
        again("rate_limited", Outcome::refused, Trouble::request);
    }
    if (status == 425) again("too_early", Outcome::refused, Trouble::request);
    if (status == 409 && dialect_ == Dialect::resend) {
        // An earlier request under this key is still being worked on: it may yet send the mail.
        if (code == "concurrent_idempotent_requests")
            again(code, Outcome::unknown, Trouble::request);
    } else if (status == 409) {
        again(code, Outcome::refused, Trouble::request);
    }
    if (status == 408 || status < 400) again(fmt::format("http_{}", status), Outcome::unknown);
    if (should_retry == "true") again(code, Outcome::refused, Trouble::request);
    if (!complaint.in_envelope) again(fmt::format("http_{}", status), Outcome::unknown);
    throw Refusal(status, code, text);
}

}  // namespace steplog::steps
