// Resend's HTTP API as the e-mail's way out. Any thread.
#pragma once

#include "steps/email.h"

namespace steplog::steps {

struct ResendOptions {
    std::string base = "https://api.resend.com";
    std::string api_key;
};

/// POST /emails under an Idempotency-Key, which Resend honours for 24 hours: the same key with the
/// same payload gives the first answer (resend.com/docs/dashboard/emails/idempotency-keys).
class ResendSender : public EmailSender {
  public:
    /// The transport and the clock must outlive the sender.
    ResendSender(HttpTransport& transport, const Clock& clock, const ResendOptions& options);
    std::string send(const Json& message, const Call& call) override;
    /// An hour less than the 24 at which Resend forgets keys.
    Ms key_window() const override { return std::chrono::hours(23); }
    std::string provider() const override { return "resend"; }

  private:
    ProviderApi api_;
};

}  // namespace steplog::steps
