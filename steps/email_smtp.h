// SMTP as the e-mail's way out. Any thread.
#pragma once

#include "steps/email.h"
#include "steps/smtp_client.h"

namespace steplog::steps {

/// SMTP has no idempotency key: an attempt whose end is not known is for the policy of whoever
/// sends (Providers::email_uncertain). A repeat carries the same Message-ID, by which a mailbox may
/// tell it.
class SmtpSender : public EmailSender {
  public:
    /// The clock must outlive the sender.
    SmtpSender(const Clock& clock, SmtpServer server, SmtpClientOptions options = {});

    /// Returns the Message-ID, without its brackets. Throws
    /// - Refusal: the server refuses the sender ("sender_refused"), the recipient
    ///   ("recipient_refused") or the message ("message_refused") for good (5xx); PermanentError
    ///   "address_not_ascii" or "mail_malformed" for what SMTP cannot carry;
    /// - RetryableError refused: 4xx, and whatever happens before the server asked for the message:
    ///   "smtp_421" …, "provider_key_rejected", "dns", "no_connection", "tls", "starttls_missing",
    ///   "timeout", "reset";
    /// - RetryableError unknown: "timeout" or "cut_reply" after that.
    /// No text contains an address or the server's words.
    std::string send(const Json& message, const Call& call) override;
    Ms key_window() const override { return Ms(0); }
    std::string provider() const override { return "smtp"; }

  private:
    const Clock& clock_;
    const SmtpClient client_;
};

/// Steady for a key: 128 bits of its hash at the sender's domain.
std::string message_id(const std::string& idempotency_key, const std::string& sender);

}  // namespace steplog::steps
