// Where alerts go: a webhook (Slack's, Discord's, or anybody's, signed), Sentry, e-mail. Each is
// one request; used by the workflow that tells people and, where nothing can be stored, directly.
// Any thread.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "steps/alert.h"
#include "steps/email.h"
#include "steps/provider.h"

namespace steplog::steps {

class AlertChannel {
  public:
    virtual ~AlertChannel() = default;
    /// Short, stable, and different for each: "sentry". Step names are made of it.
    virtual std::string name() const = 0;
    /// Sends once; `key` is the same in every attempt at one telling. Throws PermanentError where
    /// it is refused for good, RetryableError otherwise.
    virtual void tell(const Alert& alert, const std::string& key, const Call& call) = 0;
};

/// A page's URL in the two parts that a request has. Throws std::invalid_argument as
/// parse_base_url does.
struct WebAddress {
    std::string base, target;
};
WebAddress parse_web_address(const std::string& url);

struct AlertWebhookOptions {
    std::string url;     // https, or http on loopback
    std::string secret;  // "whsec_" and base64; "": not signed
    std::string host;    // whose trouble it is: this server's name
};

/// POST of JSON. To hooks.slack.com {"text"}; to discord.com {"content"}; to all others {"type":
/// "steplog.alert","text","headline","advice","urgency","stage","kind","cause","workflow","step",
/// "error_code","provider","count","since","at","host"}, whose "text" Slack-compatible receivers
/// show. With a secret signed as Standard Webhooks has it (webhook-id, webhook-timestamp,
/// webhook-signature: standardwebhooks.com); the id is the same in every attempt.
std::unique_ptr<AlertChannel> alert_webhook(HttpTransport& transport, const Clock& clock,
                                            const AlertWebhookOptions& options);

/// A Sentry project. Throws std::invalid_argument for what is no DSN, without repeating it.
struct SentryDsn {
    std::string base, path, key;  // path: "/api/<project>/envelope/", with what stood before it
};
SentryDsn parse_sentry_dsn(const std::string& dsn);

/// One event in an envelope (develop.sentry.dev/sdk/envelopes), grouped by cause. Sentry's rate
/// limits, whatever answer they come with, are kept to (X-Sentry-Rate-Limits, Retry-After).
std::unique_ptr<AlertChannel> sentry(HttpTransport& transport, const Clock& clock,
                                     const SentryDsn& dsn, const std::string& host);

/// A mail to somebody of ours, by the way that the welcome e-mails go.
std::unique_ptr<AlertChannel> alert_email(EmailSender& sender, const std::string& from,
                                          const std::string& to);

}  // namespace steplog::steps
