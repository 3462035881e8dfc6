// The stand-in for Resend's e-mail API: sends nothing, remembers everything. Idempotency-Key as
// resend.com/docs/dashboard/emails/idempotency-keys says; errors as in the official client's list.
// Used by the Sandbox, whose mutex guards it.
#pragma once

#include "tools/sandbox/idempotency.h"
#include "tools/sandbox/stripe.h"

namespace steplog::sandbox {

/// {"statusCode","name","message"}
steps::HttpReply resend_error(int status, const std::string& name, const std::string& message);

class Resend {
  public:
    /// Accepts only this key; "" accepts whatever begins with re_.
    explicit Resend(std::string api_key = "") : api_key_(std::move(api_key)) {}

    Handled handle(const Call& call, IdSource& ids);

    IdempotencyKeys& keys() { return keys_; }
    /// The key under which this call's answer is or would be stored; "" when the call has none.
    static std::string stored_key(const Call& call);
    static std::string fingerprint(const Call& call);

    /// As GET /emails/{id} shows them, in the order of acceptance.
    const std::vector<std::shared_ptr<const Json>>& emails() const { return emails_; }

  private:
    steps::HttpReply send(const Call& call, IdSource& ids);

    std::string api_key_;
    std::vector<std::shared_ptr<const Json>> emails_;
    IdempotencyKeys keys_;
};

}  // namespace steplog::sandbox
