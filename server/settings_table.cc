// The table of settings, and what is made of it: flags, and the scrubbing of secrets.
#include <strings.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <cstring>

#include "server/settings.h"

namespace steplog::server {

const std::vector<Variable>& variables() {
    static const std::vector<Variable> all = {
        {"STEPLOG_DATABASE", "./steplog.db", "SQLite file"},
        {"STEPLOG_ENCRYPTION_KEY", "",
         "encrypts payloads in the database: 32 bytes as hex or base64; several, comma-separated: "
         "the first encrypts, the others still decrypt",
         true},
        {"STEPLOG_LISTEN", "127.0.0.1:8080",
         "address and port; :0 picks a free port and prints it"},
        {"STEPLOG_WORKERS", "64", "threads that run steps"},
        {"STEPLOG_LEASE", "30s", "how long a silent worker keeps an instance"},
        {"STEPLOG_RETENTION", "30d", "finished instances are deleted after this"},
        {"STEPLOG_RECONCILE", "look",
         "on a schedule: look for paying customers without an account, repair (provision them), "
         "quiet (the same without e-mails), or off"},
        {"STEPLOG_RECONCILE_AT", "0 9 * * *", "when: a cron expression, or @hourly, @daily, …"},
        {"STEPLOG_MISSED_EVENTS", "take",
         "on a schedule: compare Stripe's list of events with the inbox, and take in what was not "
         "delivered; or off"},
        {"STEPLOG_MISSED_EVENTS_AT", "7 * * * *", "when: a cron expression, or @hourly, @daily, …"},
        {"STEPLOG_TIME_ZONE", "UTC", "in this time zone: an IANA name like Europe/Berlin"},
        {"STEPLOG_LOG_LEVEL", "info", "debug, info, warn or error"},
        {"STEPLOG_LOG_FORMAT", "", "json or text; json, but text on a terminal"},
        {"STEPLOG_RETRY_FOR", "72h", "how long a provider's step is tried again"},
        {"STEPLOG_RETRY_ATTEMPTS", "unlimited", "how many tries a provider's step has"},
        {"STEPLOG_RETRY_BASE", "1s", "the first pause between tries"},
        {"STEPLOG_RETRY_CAP", "1h", "the longest pause between tries"},
        {"STEPLOG_HTTP_TIMEOUT", "20s", "one outbound attempt, connect to last byte"},
        {"STEPLOG_CONNECT_TIMEOUT", "3s", "of that attempt, for the connection"},
        {"STEPLOG_MAX_REPLY", "1MiB", "larger replies of providers are not taken"},
        {"STEPLOG_MAX_BODY", "1MiB", "larger request bodies get 413; at most 16MiB"},
        {"STEPLOG_MAX_HEADER", "16KiB", "larger request lines and headers together get 431"},
        {"STEPLOG_MAX_LINE", "8KiB", "a longer line of them gets 414 or 431"},
        {"STEPLOG_MAX_HEADER_COUNT", "64", "more headers get 431"},
        {"STEPLOG_MAX_TARGET", "2KiB", "a longer path with query gets 414"},
        {"STEPLOG_MAX_BUFFERED", "64MiB", "bytes of all requests and answers held at once"},
        {"STEPLOG_MAX_DISCARDED", "32MiB", "bytes read and thrown away after a refusal"},
        {"STEPLOG_HEADER_TIMEOUT", "5s", "connecting to the last header, TLS included, or 408"},
        {"STEPLOG_REQUEST_TIMEOUT", "15s", "a request's first byte to its last, or 408"},
        {"STEPLOG_ANSWER_TIMEOUT", "10s", "a request's last byte to its answer, or 503"},
        {"STEPLOG_WRITE_TIMEOUT", "10s", "an answer's first byte to its last, or it is reset"},
        {"STEPLOG_IDLE_TIMEOUT", "5s", "how long a connection waits for its next request"},
        {"STEPLOG_LINGER_TIMEOUT", "2s", "how long a refused sender is still listened to"},
        {"STEPLOG_MAX_CONNECTIONS", "4096", "open at once; more make the slowest go"},
        {"STEPLOG_MAX_CONNECTIONS_PER_ADDRESS", "64", "more of one address get 429"},
        {"STEPLOG_MAX_REQUESTS_PER_CONNECTION", "100", "then it is closed"},
        {"STEPLOG_REQUEST_WORKERS", "64", "threads that answer requests"},
        {"STEPLOG_MAX_QUEUE", "512", "requests waiting for one of them; more get 503"},
        {"STEPLOG_MAX_SIGNATURE_FAILURES", "20",
         "failing signatures a second of one address; more get 429"},
        {"STEPLOG_TRUSTED_PROXIES", "",
         "addresses or ranges whose X-Forwarded-For and -Proto are believed, comma-separated"},
        {"STRIPE_SECRET_KEY", "", "required: Stripe's API key", true},
        {"STRIPE_WEBHOOK_SECRET", "", "required: one secret or several, comma-separated", true},
        {"STRIPE_API_BASE", "https://api.stripe.com", "where Stripe is called"},
        {"CLERK_SECRET_KEY", "", "required: Clerk's API key", true},
        {"CLERK_API_BASE", "https://api.clerk.com", "where Clerk is called"},
        {"EMAIL", "", "off: send no welcome e-mail"},
        {"RESEND_API_KEY", "",
         "the welcome e-mail's way out: this, or SMTP_URL, is required unless EMAIL=off", true},
        {"SMTP_URL", "",
         "or this: smtp://user:password@host:587, or smtps://…; ?tls=off where the network is "
         "yours",
         true},
        {"SMTP_PASSWORD", "", "the password, where it is not in SMTP_URL", true},
        {"RESEND_API_BASE", "https://api.resend.com", "where Resend is called"},
        {"EMAIL_FROM", "", "required with e-mail: the sender"},
        {"EMAIL_REPLY_TO", "", "where answers to the welcome e-mail go"},
        {"EMAIL_UNCERTAIN", "hold",
         "an e-mail that may or may not have left, and cannot be repeated under its key: hold (for "
         "a person) or send_again"},
        {"EMAIL_TEMPLATES", "",
         "a directory with the welcome e-mail's words: welcome.subject.txt, welcome.txt, "
         "welcome.html, in German welcome.de.txt, …; built-in ones without it"},
        {"EMAIL_TEST_REDIRECT", "",
         "an address that gets the e-mails of test purchases in place of their customers"},
        {"APP_URL", "", "required with e-mail: where the customer signs in"},
        {"ADMIN_API_KEY", "",
         "opens the admin API and the dashboard: one key or several, comma-separated, of at least "
         "16 "
         "characters",
         true},
        {"SENTRY_DSN", "", "where stuck runs and outages are reported: a Sentry project", true},
        {"ALERT_WEBHOOK_URL", "",
         "where they are posted: Slack's or Discord's incoming webhook, or any URL that takes JSON",
         true},
        {"ALERT_WEBHOOK_SECRET", "",
         "signs what is posted there as Standard Webhooks has it: whsec_…", true},
        {"ALERT_EMAIL_TO", "", "whom they are mailed to, by the welcome e-mail's way out"},
        {"STEPLOG_ALERT_WAITING", "15m",
         "how long a paying customer may be without an account before that is reported"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT", "",
         "an OpenTelemetry collector's base URL: traces go to its /v1/traces, in OTLP over HTTP"},
        {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "", "the whole URL for traces; wins"},
        {"OTEL_EXPORTER_OTLP_HEADERS", "",
         "sent there with every request: name=value,name=value, values percent-encoded", true},
        {"OTEL_SERVICE_NAME", "steplog", "this service's name in traces and log lines"},
        {"TLS_CERT", "", "certificate file: serve HTTPS directly"},
        {"TLS_KEY", "", "its key file"},
    };
    return all;
}

std::string flag_of(const Variable& variable) {
    if (variable.secret) return "";
    auto name = variable.name;
    constexpr std::string_view prefix = "STEPLOG_";
    if (name.substr(0, prefix.size()) == prefix) name.remove_prefix(prefix.size());
    std::string flag = "--";
    for (const char c : name) {
        flag += c == '_' ? '-' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
    return flag;
}

Environment environment() {
    Environment all;
    for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
        const std::string_view text = *entry;
        const auto equals = text.find('=');
        if (equals == std::string_view::npos) continue;
        all.emplace(text.substr(0, equals), text.substr(equals + 1));
    }
    return all;
}

void scrub_environment() {
    for (const auto& variable : variables()) {
        if (!variable.secret) continue;
        const std::string name(variable.name);
        // The value lies in the block that /proc/<pid>/environ shows; unsetenv alone leaves it
        // there.
        if (char* value = std::getenv(name.c_str())) explicit_bzero(value, std::strlen(value));
        unsetenv(name.c_str());
    }
}

}  // namespace steplog::server
