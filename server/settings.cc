// Reads and checks the settings; see settings.h.
#include "server/settings.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <stdexcept>

#include "engine/text.h"
#include "server/front_address.h"
#include "server/settings_checks.h"
#include "steps/address.h"

namespace steplog::server {
namespace {

constexpr std::size_t webhook_secret_bytes_min = 16;
constexpr std::size_t secret_file_bytes_max = 64 * 1024;
constexpr std::string_view duration_forms = "write a duration like 500ms, 30s, 5m, 2h or 30d";

bool begins_with(std::string_view text, std::string_view prefix) {
    return text.substr(0, prefix.size()) == prefix;
}

/// Takes values from flags, environment and secret files, and collects what is wrong with them.
class Reader {
  public:
    Reader(const Environment& environment, const Environment& flags, SettingsRead& read)
        : environment_(environment), flags_(flags), read_(read) {}

    void problem(std::string_view name, std::string_view what) {
        read_.problems.push_back(fmt::format("{}: {}", name, what));
    }
    void warning(std::string_view name, std::string_view what) {
        read_.warnings.push_back(fmt::format("{}: {}", name, what));
    }

    /// The value in force, or the default; "" when there is neither.
    std::string text(std::string_view name) const {
        const Variable& variable = find(name);
        for (const auto* source : {&flags_, &environment_}) {
            const auto found = source->find(std::string(name));
            if (found != source->end() && !found->second.empty()) return found->second;
        }
        return std::string(variable.default_value);
    }

    /// A secret, from the variable itself or the file that NAME_FILE names. Nothing when neither is
    /// set; "" when there is a problem, which is then noted.
    std::optional<std::string> secret(std::string_view name) {
        std::string value = text(name);
        const std::string file_name = fmt::format("{}_FILE", name);
        const auto file = environment_.find(file_name);
        if (file != environment_.end() && !file->second.empty()) {
            if (value.empty()) return from_file(file_name, file->second);
            problem(name, fmt::format("is set beside {}; set one of the two", file_name));
            return "";
        }
        return value.empty() ? std::nullopt : std::optional(value);
    }

    std::string required_secret(std::string_view name, std::string_view hint) {
        const auto value = secret(name);
        if (!value) {
            problem(name, fmt::format("is missing; set it, or {}_FILE to a file that holds it ({})",
                                      name, hint));
        }
        return value.value_or("");
    }

    /// Checks what was read of a secret, or a part of it.
    void expect_plain(std::string_view name, std::string_view secret) {
        if (is_plain_ascii(secret)) return;
        problem(name,
                "holds a blank, a line break or another character that no key has; copy it again");
    }

    Ms duration(std::string_view name, Ms min, Ms max) {
        const auto value = parse_duration(text(name));
        if (!value) {
            problem(name, fmt::format("\"{}\" is no duration; {}", printable(text(name)),
                                      duration_forms));
        } else if (*value < min || *value > max) {
            problem(name, fmt::format("must be between {} and {}", format_duration(min),
                                      format_duration(max)));
        } else {
            return *value;
        }
        return min;
    }

    int count(std::string_view name, int max) {
        const auto value = parse_count(text(name), max);
        if (value && *value >= 1) return static_cast<int>(*value);
        problem(name,
                fmt::format("\"{}\" is no whole number from 1 to {}", printable(text(name)), max));
        return 1;
    }

    std::size_t size(std::string_view name, std::size_t min, std::size_t max) {
        const auto value = parse_size(text(name));
        if (!value) {
            problem(name, fmt::format("\"{}\" is no size; write a size like 512KiB or 1MiB",
                                      printable(text(name))));
        } else if (*value < min || *value > max) {
            problem(name,
                    fmt::format("must be between {} and {}", format_size(min), format_size(max)));
        } else {
            return *value;
        }
        return min;
    }

    template <class T>
    T choice(std::string_view name, const std::vector<std::pair<std::string_view, T>>& choices,
             T otherwise) {
        const std::string value = text(name);
        if (value.empty()) return otherwise;
        std::vector<std::string_view> words;
        for (const auto& [word, meaning] : choices) {
            if (word == value) return meaning;
            words.push_back(word);
        }
        problem(name,
                fmt::format("\"{}\" is none of: {}", printable(value), fmt::join(words, ", ")));
        return otherwise;
    }

    /// Notes what `check` throws as the setting's problem. Its texts hold no secrets.
    template <class Check>
    void expect(std::string_view name, Check&& check) {
        try {
            check();
        } catch (const std::exception& error) {
            problem(name, error.what());
        }
    }

    /// Where a provider lives, without a '/' at the end.
    std::string base_url(std::string_view name) {
        std::string value = text(name);
        expect(name, [&] { steps::parse_base_url(value); });
        if (!value.empty() && value.back() == '/') value.pop_back();
        return value;
    }

    /// A page that people are sent to.
    std::string page_url(std::string_view name) {
        const std::string value = text(name);
        const auto host_at = value.find("://") + 3;
        const auto path_at = std::min(value.find_first_of("/?#", host_at), value.size());
        expect(name, [&] { steps::parse_base_url(value.substr(0, path_at)); });
        if (!is_plain_ascii(value) || value.find_first_of("\"<>\\") != std::string::npos) {
            problem(name, "holds a character that no URL has; write it percent-encoded");
        }
        return value;
    }

    /// A value's beginning, fit to stand in a message on a terminal.
    static std::string printable(const std::string& value) {
        constexpr std::size_t length_max = 60;
        std::string shown;
        for (const char c : value.substr(0, length_max)) {
            shown += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
        }
        return value.size() > length_max ? shown + "…" : shown;
    }

  private:
    static const Variable& find(std::string_view name) {
        for (const auto& variable : variables()) {
            if (variable.name == name) return variable;
        }
        throw std::logic_error(fmt::format("{} is not in the table of settings", name));
    }

    std::string from_file(const std::string& name, const std::string& path) {
        errno = 0;
        std::ifstream file(path, std::ios::binary);
        std::string value(secret_file_bytes_max + 1, '\0');
        file.read(value.data(), static_cast<std::streamsize>(value.size()));
        if (!file.eof() || file.bad()) {
            const char* why = errno != 0 ? std::strerror(errno) : "it is larger than 64 KiB";
            problem(name, fmt::format("cannot read {}: {}", printable(path), why));
            return "";
        }
        value.resize(static_cast<std::size_t>(file.gcount()));
        while (!value.empty() && (value.back() == '\n' || value.back() == '\r')) value.pop_back();
        if (value.empty())
            problem(name, fmt::format("{} is empty; it must hold the secret", printable(path)));
        return value;
    }

    const Environment& environment_;
    const Environment& flags_;
    SettingsRead& read_;
};

void read_engine(Reader& reader, Settings& settings, bool on_terminal) {
    using std::chrono::hours;
    using std::chrono::minutes;
    using std::chrono::seconds;
    settings.database = reader.text("STEPLOG_DATABASE");
    if (settings.database.string().find("://") != std::string::npos) {
        reader.problem("STEPLOG_DATABASE", "must be a file; this version stores in SQLite only");
    }
    settings.listen = reader.text("STEPLOG_LISTEN");
    reader.expect("STEPLOG_LISTEN", [&] { parse_listen(settings.listen); });
    settings.workers = reader.count("STEPLOG_WORKERS", 1024);
    settings.lease = reader.duration("STEPLOG_LEASE", Ms(100), hours(1));
    settings.body_max = reader.size("STEPLOG_MAX_BODY", 1024, 16 * 1024 * 1024);
    settings.retention = reader.duration("STEPLOG_RETENTION", minutes(1), hours(24 * 3650));
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
    settings.trusted_proxies = split_list(reader.text("STEPLOG_TRUSTED_PROXIES"));
    reader.expect("STEPLOG_TRUSTED_PROXIES",
                  [&] { AddressRanges ranges(settings.trusted_proxies); });
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

    const std::string webhook_secrets = reader.required_secret(
        "STRIPE_WEBHOOK_SECRET",
        "whsec_… from the endpoint's page in Stripe's Dashboard, or from stripe listen");
    settings.stripe_webhook_secrets = split_list(webhook_secrets);
    for (const auto& secret : settings.stripe_webhook_secrets) {
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
    settings.stripe_api_base = reader.base_url("STRIPE_API_BASE");

    settings.clerk_secret_key = reader.required_secret(
        "CLERK_SECRET_KEY", "sk_… from Clerk's Dashboard, Configure, API keys");
    reader.expect_plain("CLERK_SECRET_KEY", settings.clerk_secret_key);
    if (begins_with(settings.clerk_secret_key, "pk_")) {
        reader.problem("CLERK_SECRET_KEY", "is a publishable key; the secret key begins sk_");
    }
    settings.clerk_api_base = reader.base_url("CLERK_API_BASE");
}

void read_email(Reader& reader, Settings& settings) {
    const std::string email = reader.text("EMAIL");
    if (email == "off") return;
    if (!email.empty()) {
        reader.problem("EMAIL", fmt::format("\"{}\" is not off; leave it out to send e-mail",
                                            Reader::printable(email)));
        return;
    }
    settings.email_by = EmailBy::resend;
    if (reader.secret("SMTP_URL")) {
        reader.problem(
            "SMTP_URL",
            "is not supported by this version; set RESEND_API_KEY instead, or EMAIL=off");
    }
    settings.resend_api_key =
        reader.required_secret("RESEND_API_KEY", "or EMAIL=off to send no welcome e-mail");
    reader.expect_plain("RESEND_API_KEY", settings.resend_api_key);
    settings.resend_api_base = reader.base_url("RESEND_API_BASE");
    settings.email_from = reader.text("EMAIL_FROM");
    if (!is_mailbox(settings.email_from)) {
        reader.problem(
            "EMAIL_FROM",
            settings.email_from.empty()
                ? "is missing; write the sender, like Acme <hello@acme.com> (or set EMAIL=off)"
                : "is no sender; write hello@acme.com or Acme <hello@acme.com>");
    }
    settings.email_reply_to = reader.text("EMAIL_REPLY_TO");
    if (!settings.email_reply_to.empty() && !is_mailbox(settings.email_reply_to)) {
        reader.problem("EMAIL_REPLY_TO", "is no address; write support@acme.com");
    }
    if (reader.text("APP_URL").empty()) {
        reader.problem("APP_URL",
                       "is missing; write where the customer signs in, like https://app.acme.com "
                       "(or set EMAIL=off)");
    } else {
        settings.app_url = reader.page_url("APP_URL");
    }
}

void read_tls(Reader& reader, Settings& settings) {
    settings.tls_cert = reader.text("TLS_CERT");
    settings.tls_key = reader.text("TLS_KEY");
    if (settings.tls_cert.empty() != settings.tls_key.empty()) {
        reader.problem(settings.tls_cert.empty() ? "TLS_CERT" : "TLS_KEY",
                       "is missing; set TLS_CERT and TLS_KEY together, or neither");
        return;
    }
    for (const auto& [name, path] :
         {std::pair("TLS_CERT", settings.tls_cert), {"TLS_KEY", settings.tls_key}}) {
        if (!path.empty() && !std::ifstream(path)) {
            reader.problem(name, fmt::format("cannot read {}: {}", Reader::printable(path),
                                             std::strerror(errno)));
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

void look_for_unused(Reader& reader) {
    for (const auto* name : {"ADMIN_API_KEY", "SENTRY_DSN", "ALERT_WEBHOOK_URL"}) {
        if (reader.secret(name)) reader.warning(name, "is set, and not used by this version yet");
    }
}

std::string last_four(const std::string& key) {
    constexpr std::size_t shown = 4;
    return key.size() > 4 * shown ? "…" + key.substr(key.size() - shown) : "set";
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
    look_for_unused(reader);
    look_for_unknown(reader, environment);
    return read;
}

std::vector<std::string> describe(const Settings& settings) {
    std::vector<std::string> lines;
    const auto add = [&](std::string_view name, const auto& value) {
        lines.push_back(fmt::format("{}={}", name, value));
    };
    add("STEPLOG_DATABASE", settings.database.string());
    add("STEPLOG_LISTEN", settings.listen);
    add("STEPLOG_WORKERS", settings.workers);
    add("STEPLOG_LEASE", format_duration(settings.lease));
    add("STEPLOG_MAX_BODY", format_size(settings.body_max));
    add("STEPLOG_RETENTION", format_duration(settings.retention));
    add("STEPLOG_RETRY_FOR", format_duration(settings.retry.retry_for));
    const bool unlimited = settings.retry.attempts_max == RetryPolicy{}.attempts_max;
    add("STEPLOG_RETRY_ATTEMPTS",
        unlimited ? "unlimited" : std::to_string(settings.retry.attempts_max));
    add("STEPLOG_RETRY_BASE", format_duration(settings.retry.base));
    add("STEPLOG_RETRY_CAP", format_duration(settings.retry.cap));
    add("STEPLOG_HTTP_TIMEOUT", format_duration(settings.http_timeout));
    add("STEPLOG_TRUSTED_PROXIES", fmt::format("{}", fmt::join(settings.trusted_proxies, ",")));
    add("STRIPE_SECRET_KEY", last_four(settings.stripe_secret_key));
    add("STRIPE_WEBHOOK_SECRET", fmt::format("{} set", settings.stripe_webhook_secrets.size()));
    add("STRIPE_API_BASE", settings.stripe_api_base);
    add("CLERK_SECRET_KEY", last_four(settings.clerk_secret_key));
    add("CLERK_API_BASE", settings.clerk_api_base);
    if (settings.email_by == EmailBy::off) {
        add("EMAIL", "off");
    } else {
        add("RESEND_API_KEY", last_four(settings.resend_api_key));
        add("RESEND_API_BASE", settings.resend_api_base);
        add("EMAIL_FROM", "set");
        add("EMAIL_REPLY_TO", settings.email_reply_to.empty() ? "none" : "set");
        add("APP_URL", settings.app_url);
    }
    add("TLS", settings.tls_cert.empty() ? "off" : "on");
    return lines;
}

}  // namespace steplog::server
