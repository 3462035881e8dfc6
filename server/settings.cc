// Reads and checks the settings; see settings.h.
#include "server/settings.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "engine/cron.h"
#include "engine/inspect_redact.h"
#include "engine/text.h"
#include "server/front_address.h"
#include "server/front_tls.h"
#include "server/settings_checks.h"
#include "server/settings_email.h"
#include "server/settings_front.h"
#include "server/settings_reader.h"
#include "server/settings_traces.h"
#include "steps/alert_channels.h"
#include "steps/signing.h"

namespace steplog::server {
namespace {

constexpr std::size_t webhook_secret_bytes_min = 16;
constexpr std::size_t admin_key_bytes_min = 16;

bool begins_with(std::string_view text, std::string_view prefix) {
    return text.substr(0, prefix.size()) == prefix;
}

using Reader = SettingsReader;

void read_reconciliation(Reader& reader, Settings& settings) {
    settings.reconcile = reader.choice<Reconcile>("STEPLOG_RECONCILE",
                                                  {{"look", Reconcile::look},
                                                   {"repair", Reconcile::repair},
                                                   {"quiet", Reconcile::quiet},
                                                   {"off", Reconcile::off}},
                                                  Reconcile::look);
    settings.reconcile_at = reader.text("STEPLOG_RECONCILE_AT");
    reader.expect("STEPLOG_RECONCILE_AT", [&] { parse_cron(settings.reconcile_at); });
    settings.missed_events =
        reader.choice<bool>("STEPLOG_MISSED_EVENTS", {{"take", true}, {"off", false}}, true);
    settings.missed_events_at = reader.text("STEPLOG_MISSED_EVENTS_AT");
    reader.expect("STEPLOG_MISSED_EVENTS_AT", [&] { parse_cron(settings.missed_events_at); });
    settings.time_zone = reader.text("STEPLOG_TIME_ZONE");
    reader.expect("STEPLOG_TIME_ZONE", [&] { Cron("@daily", settings.time_zone); });
}

void read_engine(Reader& reader, Settings& settings, bool on_terminal) {
    using std::chrono::hours;
    using std::chrono::minutes;
    using std::chrono::seconds;
    settings.database = reader.text("STEPLOG_DATABASE");
    if (settings.database.string().find("://") != std::string::npos) {
        reader.problem("STEPLOG_DATABASE", "must be a file; this version stores in SQLite only");
    }
    reader.expect("STEPLOG_ENCRYPTION_KEY", [&] {
        settings.encryption_keys =
            parse_master_keys(reader.secret("STEPLOG_ENCRYPTION_KEY").value_or(""));
    });
    settings.listen = reader.text("STEPLOG_LISTEN");
    reader.expect("STEPLOG_LISTEN", [&] { parse_listen(settings.listen); });
    settings.workers = reader.count("STEPLOG_WORKERS", 1024);
    settings.lease = reader.duration("STEPLOG_LEASE", Ms(100), hours(1));
    settings.retention = reader.duration("STEPLOG_RETENTION", minutes(1), hours(24 * 3650));
    read_reconciliation(reader, settings);
    settings.log_level = reader.choice<LogLevel>("STEPLOG_LOG_LEVEL",
                                                 {{"debug", LogLevel::debug},
                                                  {"info", LogLevel::info},
                                                  {"warn", LogLevel::warn},
                                                  {"error", LogLevel::error}},
                                                 LogLevel::info);
    settings.log_format = reader.choice<LogFormat>(
        "STEPLOG_LOG_FORMAT", {{"json", LogFormat::json}, {"text", LogFormat::text}},
        on_terminal ? LogFormat::text : LogFormat::json);
    settings.retry.retry_for = reader.duration("STEPLOG_RETRY_FOR", Ms(1), hours(24 * 365));
    if (reader.text("STEPLOG_RETRY_ATTEMPTS") != "unlimited") {
        settings.retry.attempts_max = reader.count("STEPLOG_RETRY_ATTEMPTS", 1'000'000);
    }
    settings.retry.base = reader.duration("STEPLOG_RETRY_BASE", Ms(1), hours(24));
    settings.retry.cap = reader.duration("STEPLOG_RETRY_CAP", Ms(1), hours(24 * 30));
    if (settings.retry.cap < settings.retry.base) {
        reader.problem("STEPLOG_RETRY_CAP",
                       "is shorter than STEPLOG_RETRY_BASE; make it at least as long");
    }
    settings.http_timeout = reader.duration("STEPLOG_HTTP_TIMEOUT", Ms(10), minutes(10));
    settings.front = read_front_limits(reader);
    settings.signature_failures = reader.count("STEPLOG_MAX_SIGNATURE_FAILURES", 100'000);
    settings.http_connect_timeout = reader.duration("STEPLOG_CONNECT_TIMEOUT", Ms(10), minutes(1));
    settings.http_reply_max = reader.size("STEPLOG_MAX_REPLY", 64 * 1024, 64 * 1024 * 1024);
    settings.trusted_proxies = split_list(reader.text("STEPLOG_TRUSTED_PROXIES"));
    reader.expect("STEPLOG_TRUSTED_PROXIES",
                  [&] { AddressRanges ranges(settings.trusted_proxies); });
}

std::vector<std::string> read_webhook_secrets(Reader& reader) {
    const std::string webhook_secrets = reader.required_secret(
        "STRIPE_WEBHOOK_SECRET",
        "whsec_… from the endpoint's page in Stripe's Dashboard, or from stripe listen");
    auto secrets = split_list(webhook_secrets);
    if (!webhook_secrets.empty() && secrets.empty()) {
        reader.problem("STRIPE_WEBHOOK_SECRET",
                       "holds nothing but blanks; copy the whole whsec_… text");
    }
    for (const auto& secret : secrets) {
        reader.expect_plain("STRIPE_WEBHOOK_SECRET", secret);
        if (secret.size() < webhook_secret_bytes_min) {
            reader.problem(
                "STRIPE_WEBHOOK_SECRET",
                fmt::format(
                    "one of its secrets is empty or shorter than {} characters; anyone could sign "
                    "with it. Copy the whole whsec_… text",
                    webhook_secret_bytes_min));
        }
    }
    return secrets;
}

void read_providers(Reader& reader, Settings& settings) {
    settings.stripe_secret_key = reader.required_secret(
        "STRIPE_SECRET_KEY",
        "a restricted key rk_… or secret key sk_… from Stripe's Dashboard, Developers, API keys");
    reader.expect_plain("STRIPE_SECRET_KEY", settings.stripe_secret_key);
    if (begins_with(settings.stripe_secret_key, "pk_") ||
        begins_with(settings.stripe_secret_key, "whsec_")) {
        reader.problem("STRIPE_SECRET_KEY",
                       "is a publishable key or a webhook secret; an API key begins rk_ or sk_");
    } else if (!settings.stripe_secret_key.empty() && !settings.livemode()) {
        reader.warning("STRIPE_SECRET_KEY",
                       "does not begin like a Stripe key (sk_live_, rk_live_, sk_test_, rk_test_), "
                       "so events of the other livemode cannot be told apart");
    }

    settings.stripe_webhook_secrets = read_webhook_secrets(reader);
    settings.webhook_secrets_in_file = reader.is_in_file("STRIPE_WEBHOOK_SECRET");
    settings.stripe_api_base = reader.base_url("STRIPE_API_BASE");

    settings.clerk_secret_key = reader.required_secret(
        "CLERK_SECRET_KEY", "sk_… from Clerk's Dashboard, Configure, API keys");
    reader.expect_plain("CLERK_SECRET_KEY", settings.clerk_secret_key);
    if (begins_with(settings.clerk_secret_key, "pk_")) {
        reader.problem("CLERK_SECRET_KEY", "is a publishable key; the secret key begins sk_");
    }
    settings.clerk_api_base = reader.base_url("CLERK_API_BASE");
}

/// That the files can be served with is a setting like any other: not first found out at the start.
void look_into_certificate(Reader& reader, const Settings& settings) try {
    const TlsCertificate certificate(settings.tls_cert, settings.tls_key);
} catch (const std::runtime_error& error) {
    const std::string_view text = error.what();  // "TLS_KEY /path: what is wrong"
    const std::size_t name_end = text.find(' ');
    reader.problem(text.substr(0, name_end), printable(text.substr(name_end + 1)));
}

void read_tls(Reader& reader, Settings& settings) {
    settings.tls_cert = reader.text("TLS_CERT");
    settings.tls_key = reader.text("TLS_KEY");
    if (settings.tls_cert.empty() != settings.tls_key.empty()) {
        reader.problem(settings.tls_cert.empty() ? "TLS_CERT" : "TLS_KEY",
                       "is missing; set TLS_CERT and TLS_KEY together, or neither");
        return;
    }
    bool readable = !settings.tls_cert.empty();
    for (const auto& [name, path] :
         {std::pair("TLS_CERT", settings.tls_cert), {"TLS_KEY", settings.tls_key}}) {
        if (!path.empty() && !std::ifstream(path)) {
            readable = false;
            reader.problem(name, fmt::format("cannot read {}: {}", Reader::printable(path),
                                             std::strerror(errno)));
        }
    }
    if (readable) look_into_certificate(reader, settings);
}

void read_admin(Reader& reader, Settings& settings) {
    const auto keys = reader.secret("ADMIN_API_KEY");
    if (!keys) return;
    settings.admin_keys = split_list(*keys);
    if (settings.admin_keys.empty())
        reader.problem("ADMIN_API_KEY",
                       "holds nothing but blanks; leave it out to have no admin API");
    for (const auto& key : settings.admin_keys) {
        reader.expect_plain("ADMIN_API_KEY", key);
        if (key.size() < admin_key_bytes_min) {
            reader.problem(
                "ADMIN_API_KEY",
                fmt::format("one of its keys is empty or shorter than {} characters; make "
                            "one with: openssl rand -hex 32",
                            admin_key_bytes_min));
        }
    }
}

/// A misspelt name is a setting that silently does not hold.
void look_for_unknown(Reader& reader, const Environment& environment) {
    std::vector<std::string_view> known = {
        "STEPLOG_SANDBOX"};  // read by the programs beside the server
    for (const auto& variable : variables()) known.push_back(variable.name);
    for (const auto& [name, value] : environment) {
        if (!begins_with(name, "STEPLOG_")) continue;
        if (std::find(known.begin(), known.end(), name) != known.end()) continue;
        const auto like = nearest(name, known);
        reader.warning(Reader::printable(name),
                       like ? fmt::format("is not a setting; did you mean {}?", *like)
                            : "is not a setting; workflow-server --help lists them");
    }
}

void read_alerts(Reader& reader, Settings& settings) {
    settings.alert_webhook_url = reader.secret("ALERT_WEBHOOK_URL").value_or("");
    if (!settings.alert_webhook_url.empty())
        reader.expect("ALERT_WEBHOOK_URL",
                      [&] { steps::parse_web_address(settings.alert_webhook_url); });
    settings.alert_webhook_secret = reader.secret("ALERT_WEBHOOK_SECRET").value_or("");
    if (!settings.alert_webhook_secret.empty())
        reader.expect("ALERT_WEBHOOK_SECRET",
                      [&] { steps::signing_key(settings.alert_webhook_secret); });
    if (settings.alert_webhook_url.empty() && !settings.alert_webhook_secret.empty())
        reader.problem("ALERT_WEBHOOK_SECRET", "signs nothing: set ALERT_WEBHOOK_URL as well");
    settings.sentry_dsn = reader.secret("SENTRY_DSN").value_or("");
    if (!settings.sentry_dsn.empty())
        reader.expect("SENTRY_DSN", [&] { steps::parse_sentry_dsn(settings.sentry_dsn); });
    settings.alert_email_to = reader.text("ALERT_EMAIL_TO");
    if (!settings.alert_email_to.empty() && !is_mailbox(settings.alert_email_to))
        reader.problem("ALERT_EMAIL_TO", "is no address; write ops@acme.com");
    if (!settings.alert_email_to.empty() && settings.email_by == EmailBy::off)
        reader.problem("ALERT_EMAIL_TO", "needs a way out for e-mail, and EMAIL=off is set");
    settings.alert_waiting = reader.duration("STEPLOG_ALERT_WAITING", std::chrono::seconds(1),
                                             std::chrono::hours(24 * 30));
}

// A key's id is made of it one-way: it tells which key it is, and nothing more.
std::string described(const std::vector<MasterKey>& keys) {
    if (keys.empty()) return "none";
    std::string ids = keys.front().id;
    for (std::size_t i = 1; i < keys.size(); ++i) ids += ", older " + keys[i].id;
    return ids;
}

}  // namespace

std::optional<bool> Settings::livemode() const {
    for (const auto* prefix : {"sk_live_", "rk_live_"}) {
        if (begins_with(stripe_secret_key, prefix)) return true;
    }
    for (const auto* prefix : {"sk_test_", "rk_test_"}) {
        if (begins_with(stripe_secret_key, prefix)) return false;
    }
    return std::nullopt;
}

SettingsRead read_settings(const Environment& environment, const Environment& flags,
                           bool on_terminal) {
    SettingsRead read;
    Reader reader(environment, flags, read);
    read_engine(reader, read.settings, on_terminal);
    read_providers(reader, read.settings);
    read_email(reader, read.settings);
    read_tls(reader, read.settings);
    read_admin(reader, read.settings);
    read_alerts(reader, read.settings);
    read.settings.traces = read_trace_settings(reader);
    look_for_unknown(reader, environment);
    return read;
}

WebhookSecretsRead reread_webhook_secrets(const Environment& environment) {
    SettingsRead read;
    const Environment no_flags;
    Reader reader(environment, no_flags, read);
    WebhookSecretsRead again;
    again.secrets = read_webhook_secrets(reader);
    again.problems = std::move(read.problems);
    return again;
}

std::vector<std::string> describe(const Settings& settings) {
    std::vector<std::string> lines;
    const auto add = [&](std::string_view name, const auto& value) {
        lines.push_back(fmt::format("{}={}", name, value));
    };
    add("STEPLOG_DATABASE", settings.database.string());
    add("STEPLOG_ENCRYPTION_KEY", described(settings.encryption_keys));
    add("STEPLOG_LISTEN", settings.listen);
    add("STEPLOG_WORKERS", settings.workers);
    add("STEPLOG_LEASE", format_duration(settings.lease));
    add("STEPLOG_RETENTION", format_duration(settings.retention));
    add("STEPLOG_RECONCILE", settings.reconcile == Reconcile::off      ? "off"
                             : settings.reconcile == Reconcile::repair ? "repair"
                             : settings.reconcile == Reconcile::quiet  ? "quiet"
                                                                       : "look");
    add("STEPLOG_RECONCILE_AT", settings.reconcile_at);
    add("STEPLOG_MISSED_EVENTS", settings.missed_events ? "take" : "off");
    add("STEPLOG_MISSED_EVENTS_AT", settings.missed_events_at);
    add("STEPLOG_TIME_ZONE", settings.time_zone);
    add("STEPLOG_RETRY_FOR", format_duration(settings.retry.retry_for));
    const bool unlimited = settings.retry.attempts_max == RetryPolicy{}.attempts_max;
    add("STEPLOG_RETRY_ATTEMPTS",
        unlimited ? "unlimited" : std::to_string(settings.retry.attempts_max));
    add("STEPLOG_RETRY_BASE", format_duration(settings.retry.base));
    add("STEPLOG_RETRY_CAP", format_duration(settings.retry.cap));
    add("STEPLOG_HTTP_TIMEOUT", format_duration(settings.http_timeout));
    add("STEPLOG_CONNECT_TIMEOUT", format_duration(settings.http_connect_timeout));
    add("STEPLOG_MAX_REPLY", format_size(settings.http_reply_max));
    for (auto& line : describe_front_limits(settings.front)) lines.push_back(std::move(line));
    add("STEPLOG_MAX_SIGNATURE_FAILURES", settings.signature_failures);
    add("STEPLOG_TRUSTED_PROXIES", fmt::format("{}", fmt::join(settings.trusted_proxies, ",")));
    add("STRIPE_SECRET_KEY", last_four(settings.stripe_secret_key));
    add("STRIPE_WEBHOOK_SECRET", fmt::format("{} set", settings.stripe_webhook_secrets.size()));
    add("STRIPE_API_BASE", settings.stripe_api_base);
    add("CLERK_SECRET_KEY", last_four(settings.clerk_secret_key));
    add("CLERK_API_BASE", settings.clerk_api_base);
    for (auto& line : describe_email(settings)) lines.push_back(std::move(line));
    add("SENTRY_DSN", settings.sentry_dsn.empty() ? "none" : "set");
    add("ALERT_WEBHOOK_URL", settings.alert_webhook_url.empty()      ? "none"
                             : settings.alert_webhook_secret.empty() ? "set"
                                                                     : "set, signed");
    add("ALERT_EMAIL_TO", settings.alert_email_to.empty() ? "none" : "set");
    add("STEPLOG_ALERT_WAITING", format_duration(settings.alert_waiting));
    for (auto& line : describe_traces(settings.traces)) lines.push_back(std::move(line));
    add("ADMIN_API_KEY", settings.admin_keys.empty()
                             ? std::string("none: admin API and dashboard are off")
                             : fmt::format("{} set", settings.admin_keys.size()));
    add("TLS", settings.tls_cert.empty() ? "off" : "on");
    return lines;
}

}  // namespace steplog::server
