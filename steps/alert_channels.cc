// The ways by which people are told; see alert_channels.h.
#include "steps/alert_channels.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/rfc3339.h"
#include "engine/text.h"
#include "steps/address.h"
#include "steps/json_reading.h"
#include "steps/signing.h"

namespace steplog::steps {
namespace {

constexpr Ms rate_limit_usual = std::chrono::seconds(60);  // Sentry's own, where it names no time

std::string word(Urgency urgency) {
    switch (urgency) {
        case Urgency::info:
            return "info";
        case Urgency::warning:
            return "warning";
        case Urgency::critical:
            return "fatal";
    }
    return "";
}

std::string text_of(const Alert& alert) {
    const std::string what_to_do = advice(alert);
    return headline(alert) + (what_to_do.empty() ? "" : "\n" + what_to_do);
}

// 401, 403, 404 and 410 are what a wrong or withdrawn address answers: a person has to mend it.
void expect_taken(const HttpReply& reply, const std::string& who, const Clock& clock) {
    const int status = reply.status;
    if (status >= 200 && status <= 299) return;
    const std::string text = fmt::format("{} answered an alert with {}", who, status);
    const bool may_pass = status == 408 || status == 425 || status == 429 || status >= 500;
    if (!may_pass) throw PermanentError(fmt::format("http_{}", status), text);
    throw RetryableError(
        text, {.code = fmt::format("http_{}", status),
               .outcome = Outcome::unknown,
               .retry_after = parse_retry_after(reply.header("Retry-After"), clock.now_ms())});
}

class AlertWebhook : public AlertChannel {
  public:
    AlertWebhook(HttpTransport& transport, const Clock& clock, const AlertWebhookOptions& options)
        : transport_(transport),
          clock_(clock),
          address_(parse_web_address(options.url)),
          secret_(options.secret),
          host_(options.host) {}

    std::string name() const override { return "webhook"; }

    void tell(const Alert& alert, const std::string& key, const Call& call) override {
        HttpRequest request{.method = "POST",
                            .base = address_.base,
                            .target = address_.target,
                            .headers = {{"Content-Type", "application/json"},
                                        {"User-Agent", "steplog/" STEPLOG_VERSION}},
                            .body = dump_json(body(alert)),
                            .timeout = call.timeout,
                            .stop = call.stop};
        if (!secret_.empty()) sign(request, key);
        expect_taken(transport_.send(request), "the alert webhook", clock_);
    }

  private:
    Json body(const Alert& alert) const {
        const std::string host = parse_base_url(address_.base).host;
        if (host == "hooks.slack.com") return {{"text", text_of(alert)}};
        if (host == "discord.com") return {{"content", text_of(alert)}};
        return {{"type", "steplog.alert"},
                {"text", text_of(alert)},
                {"headline", headline(alert)},
                {"advice", advice(alert)},
                {"urgency",
                 urgency_of(alert) == Urgency::critical ? "critical" : word(urgency_of(alert))},
                {"stage", to_string(alert.stage)},
                {"kind", to_string(alert.cause.kind)},
                {"cause", alert.cause.id()},
                {"workflow", alert.cause.workflow},
                {"step", alert.cause.step},
                {"error_code", alert.cause.error_code},
                {"provider", alert.cause.provider},
                {"count", alert.count},
                {"since", format_rfc3339(alert.since_ms)},
                {"at", format_rfc3339(alert.at_ms)},
                {"host", host_}};
    }

    void sign(HttpRequest& request, const std::string& id) const {
        const std::int64_t time_s = clock_.now_ms() / 1000;
        request.headers.emplace_back("webhook-id", id);
        request.headers.emplace_back("webhook-timestamp", std::to_string(time_s));
        request.headers.emplace_back("webhook-signature",
                                     standard_webhook_signature(secret_, id, time_s, request.body));
    }

    HttpTransport& transport_;
    const Clock& clock_;
    const WebAddress address_;
    const std::string secret_, host_;
};

// 32 hex digits that are the same in every attempt: Sentry folds events of one id.
std::string event_id(const std::string& key) {
    std::string id;
    for (const char c : hmac_sha256("sentry", key).substr(0, 16))
        id += fmt::format("{:02x}", static_cast<unsigned char>(c));
    return id;
}

class Sentry : public AlertChannel {
  public:
    Sentry(HttpTransport& transport, const Clock& clock, SentryDsn dsn, std::string host)
        : transport_(transport), clock_(clock), dsn_(std::move(dsn)), host_(std::move(host)) {}

    std::string name() const override { return "sentry"; }

    void tell(const Alert& alert, const std::string& key, const Call& call) override {
        const std::int64_t wait_ms = closed_until_ms_ - clock_.now_ms();
        if (wait_ms > 0)
            throw RetryableError("Sentry asked for a pause",
                                 {.code = "rate_limited",
                                  .outcome = Outcome::refused,
                                  .retry_after = Ms(std::min<std::int64_t>(wait_ms, 3'600'000))});
        const HttpReply reply = transport_.send(request(alert, event_id(key), call));
        keep_to_limits(reply);
        expect_taken(reply, "Sentry", clock_);
    }

  private:
    HttpRequest request(const Alert& alert, const std::string& id, const Call& call) const {
        const std::string payload = dump_json(event(alert, id));
        const Json head = {{"event_id", id}, {"sent_at", format_rfc3339(clock_.now_ms())}};
        const Json item = {{"type", "event"}, {"length", payload.size()}};
        return {.method = "POST",
                .base = dsn_.base,
                .target = dsn_.path,
                .headers = {{"Content-Type", "application/x-sentry-envelope"},
                            {"User-Agent", "steplog/" STEPLOG_VERSION},
                            {"X-Sentry-Auth", fmt::format("Sentry sentry_version=7, sentry_key={}, "
                                                          "sentry_client=steplog/" STEPLOG_VERSION,
                                                          dsn_.key)}},
                .body = fmt::format("{}\n{}\n{}\n", dump_json(head), dump_json(item), payload),
                .timeout = call.timeout,
                .stop = call.stop};
    }

    Json event(const Alert& alert, const std::string& id) const {
        Json tags = {{"kind", to_string(alert.cause.kind)}, {"stage", to_string(alert.stage)}};
        const auto tag = [&](const char* name, const std::string& value) {
            if (!value.empty()) tags[name] = value;
        };
        tag("workflow", alert.cause.workflow);
        tag("step", alert.cause.step);
        tag("error_code", alert.cause.error_code);
        tag("provider", alert.cause.provider);
        return {{"event_id", id},
                {"timestamp", format_rfc3339(alert.at_ms)},
                {"platform", "native"},
                {"level", word(urgency_of(alert))},
                {"logger", "steplog"},
                {"release", "steplog@" STEPLOG_VERSION},
                {"server_name", host_},
                {"message", {{"formatted", text_of(alert)}}},
                {"fingerprint", {"steplog", alert.cause.id()}},
                {"tags", std::move(tags)},
                {"extra", {{"count", alert.count}, {"since", format_rfc3339(alert.since_ms)}}}};
    }

    // "60:error;default:organization, 2700::key": so many seconds, for these categories; none named
    // are all of them.
    void keep_to_limits(const HttpReply& reply) {
        std::optional<Ms> pause;
        std::string limits = reply.header("X-Sentry-Rate-Limits");
        for (std::size_t begin = 0; begin < limits.size();) {
            const std::size_t end = std::min(limits.find(',', begin), limits.size());
            pause = std::max(pause, pause_of(limits.substr(begin, end - begin)));
            begin = end + 1;
        }
        if (!pause && reply.status == 429)
            pause = parse_retry_after(reply.header("Retry-After"), clock_.now_ms())
                        .value_or(rate_limit_usual);
        if (pause) closed_until_ms_ = clock_.now_ms() + pause->count();
    }

    static std::optional<Ms> pause_of(const std::string& limit) {
        const std::size_t colon = std::min(limit.find(':'), limit.size());
        const std::size_t first = std::min(limit.find_first_not_of(' '), colon);
        const auto seconds = parse_count(limit.substr(first, colon - first), 24 * 3600);
        if (!seconds) return std::nullopt;
        const std::size_t rest = std::min(colon + 1, limit.size());
        const std::string categories = limit.substr(rest, limit.find(':', rest) - rest);
        const bool ours =
            categories.empty() || (";" + categories + ";").find(";error;") != std::string::npos;
        return ours ? std::optional(Ms(*seconds * 1000)) : std::nullopt;
    }

    HttpTransport& transport_;
    const Clock& clock_;
    const SentryDsn dsn_;
    const std::string host_;
    std::atomic<std::int64_t> closed_until_ms_ = 0;
};

class AlertEmail : public AlertChannel {
  public:
    AlertEmail(EmailSender& sender, std::string from, std::string to)
        : sender_(sender), from_(std::move(from)), to_(std::move(to)) {}

    std::string name() const override { return "email"; }

    void tell(const Alert& alert, const std::string& key, const Call& call) override {
        Call with_key = call;
        with_key.idempotency_key = key;
        sender_.send({{"from", from_},
                      {"to", {to_}},
                      {"subject", "[Steplog] " + headline(alert)},
                      {"text", text_of(alert) + "\n"}},
                     with_key);
    }

  private:
    EmailSender& sender_;
    const std::string from_, to_;
};

}  // namespace

WebAddress parse_web_address(const std::string& url) {
    const std::size_t scheme = url.find("://");
    const std::size_t path =
        scheme == std::string::npos ? url.size() : url.find_first_of("/?#", scheme + 3);
    WebAddress address{.base = url.substr(0, path), .target = "/"};
    parse_base_url(address.base);
    if (path >= url.size()) return address;
    const std::string rest = url.substr(path, url.find('#', path) - path);
    address.target = rest.starts_with('/') ? rest : "/" + rest;
    const bool plain = std::all_of(address.target.begin(), address.target.end(),
                                   [](unsigned char c) { return c > 0x20 && c < 0x7f; });
    if (!plain)
        throw std::invalid_argument("holds a character that no URL has; write it percent-encoded");
    return address;
}

SentryDsn parse_sentry_dsn(const std::string& dsn) {
    const auto refuse = [] {
        throw std::invalid_argument(
            "is no DSN; copy it from Sentry, Settings, Client Keys: https://KEY@HOST/PROJECT");
    };
    const std::size_t scheme = dsn.find("://");
    const std::size_t at = dsn.find('@');
    if (scheme == std::string::npos || at == std::string::npos || at < scheme) refuse();
    SentryDsn parsed;
    parsed.key = dsn.substr(scheme + 3, at - scheme - 3);
    parsed.key = parsed.key.substr(0, parsed.key.find(':'));  // once there was a secret behind it
    const bool plain_key =
        !parsed.key.empty() && std::all_of(parsed.key.begin(), parsed.key.end(), [](char c) {
            return std::isalnum(static_cast<unsigned char>(c)) != 0;
        });
    const std::size_t path = dsn.find('/', at);
    const std::size_t project = dsn.rfind('/') + 1;
    if (!plain_key || path == std::string::npos) refuse();
    const std::string number = dsn.substr(project);
    const bool plain_number =
        !number.empty() && std::all_of(number.begin(), number.end(), [](char c) {
            return std::isdigit(static_cast<unsigned char>(c)) != 0;
        });
    if (!plain_number) refuse();
    const WebAddress address = parse_web_address(dsn.substr(0, scheme + 3) + dsn.substr(at + 1));
    parsed.base = address.base;
    parsed.path = fmt::format("{}api/{}/envelope/", dsn.substr(path, project - path), number);
    return parsed;
}

std::unique_ptr<AlertChannel> alert_webhook(HttpTransport& transport, const Clock& clock,
                                            const AlertWebhookOptions& options) {
    return std::make_unique<AlertWebhook>(transport, clock, options);
}

std::unique_ptr<AlertChannel> sentry(HttpTransport& transport, const Clock& clock,
                                     const SentryDsn& dsn, const std::string& host) {
    return std::make_unique<Sentry>(transport, clock, dsn, host);
}

std::unique_ptr<AlertChannel> alert_email(EmailSender& sender, const std::string& from,
                                          const std::string& to) {
    return std::make_unique<AlertEmail>(sender, from, to);
}

}  // namespace steplog::steps
