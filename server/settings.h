// What the server is told by its environment and its flags: read once at start, checked as a whole,
// and all that is wrong reported together. Used by main; one thread, before any other runs.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/cipher.h"
#include "engine/context.h"
#include "engine/retry.h"
#include "engine/types.h"
#include "server/front_limits.h"
#include "steps/email_templates.h"
#include "steps/smtp_url.h"

namespace steplog::server {

enum class LogLevel { debug, info, warn, error };
enum class LogFormat { json, text };
enum class EmailBy { off, resend, smtp };
enum class Reconcile { off, look, repair, quiet };

/// Where spans are sent.
struct TraceSettings {
    std::string base, target;  // "https://collector.example" and "/v1/traces"; "": nowhere
    std::vector<std::pair<std::string, std::string>> headers;  // hold secrets
    std::string service;                                       // also in every line of the log
};

struct Settings {
    std::filesystem::path database;
    std::vector<MasterKey> encryption_keys;  // none: payloads are stored in clear
    std::string listen;
    int workers = 0;
    Ms lease{0};
    Ms retention{0};
    Reconcile reconcile = Reconcile::look;
    std::string reconcile_at;  // a cron expression, in this time zone
    std::string time_zone;
    bool missed_events = true;     // whether Stripe's list is compared with the inbox
    std::string missed_events_at;  // a cron expression, in the same time zone
    LogLevel log_level = LogLevel::info;
    LogFormat log_format = LogFormat::json;
    RetryPolicy retry;
    Ms http_timeout{0};
    Ms http_connect_timeout{0};
    std::size_t http_reply_max = 0;
    FrontLimits front;
    int signature_failures = 0;                // a second, of one address
    std::vector<std::string> trusted_proxies;  // addresses or CIDR ranges

    std::string stripe_secret_key;
    std::vector<std::string> stripe_webhook_secrets;
    bool webhook_secrets_in_file = false;  // and can therefore be read again
    std::string stripe_api_base;
    std::string clerk_secret_key;
    std::string clerk_api_base;

    EmailBy email_by = EmailBy::off;
    std::string resend_api_key;
    std::string resend_api_base;
    std::string email_from;
    std::string email_reply_to;  // "" for none
    std::string app_url;         // "" without e-mail
    steps::SmtpServer smtp;
    std::string email_template_directory;  // "": the built-in ones
    steps::WelcomeTemplates email_templates;
    Repeat email_uncertain = Repeat::at_most_once;
    std::string email_test_redirect;  // "": none

    std::string alert_webhook_url, alert_webhook_secret;  // "": none, not signed
    std::string sentry_dsn;                               // "": none
    std::string alert_email_to;                           // "": none
    Ms alert_waiting{0};  // how long a paying customer may be without an account

    TraceSettings traces;

    std::vector<std::string> admin_keys;  // none: the admin API is off

    std::string tls_cert, tls_key;  // files; "" for plain HTTP

    /// Which of Stripe's two worlds the key belongs to; nothing when its prefix does not say.
    std::optional<bool> livemode() const;
};

/// One row of the table of settings: what --help shows, and what a flag is made of.
struct Variable {
    std::string_view name;           // "STEPLOG_LISTEN"
    std::string_view default_value;  // "" for none
    std::string_view meaning;
    bool secret = false;  // may come as NAME_FILE, has no flag, is never printed
};

/// All variables that the server knows, in the order in which --help lists them.
const std::vector<Variable>& variables();

/// "STEPLOG_LISTEN" -> "--listen", "EMAIL_FROM" -> "--email-from". "" for a secret: an argument
/// list is no place for one.
std::string flag_of(const Variable& variable);

using Environment = std::map<std::string, std::string>;

/// This process's environment.
Environment environment();

struct SettingsRead {
    Settings settings;                  // to be used only when there are no problems
    std::vector<std::string> problems;  // "NAME: what is wrong and what to write"
    std::vector<std::string> warnings;
};

/// Reads everything. `flags` maps variable names to values that override the environment's. An
/// empty value counts as none. Reads the files that NAME_FILE variables name. No text holds a
/// secret.
SettingsRead read_settings(const Environment& environment, const Environment& flags,
                           bool on_terminal);

struct WebhookSecretsRead {
    std::vector<std::string> secrets;  // to be used only when there are no problems
    std::vector<std::string> problems;
};

/// Reads the file that STRIPE_WEBHOOK_SECRET_FILE names again, as at start: for a secret that was
/// rolled while serving.
WebhookSecretsRead reread_webhook_secrets(const Environment& environment);

/// Overwrites the values of all secrets in this process's environment, so that neither a child nor
/// /proc/<pid>/environ shows them, and removes them. Call it while there is one thread.
void scrub_environment();

/// One "NAME=value" line for each setting in force; of a secret only that it is set, of an API key
/// its last four characters.
std::vector<std::string> describe(const Settings& settings);

}  // namespace steplog::server
