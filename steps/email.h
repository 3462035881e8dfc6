// The welcome e-mail: how it is worded, and the interface by which it leaves. The rendered message
// is stored in the step log before the first attempt, so that every attempt sends the same bytes.
// Used by provision_customer; the way out is ResendSender (steps/email_resend.h). Any thread.
#pragma once

#include <string>
#include <string_view>

#include "steps/provider.h"

namespace steplog::steps {

/// Sends messages as render_welcome makes them.
class EmailSender {
  public:
    virtual ~EmailSender() = default;

    /// Hands the message over and returns the service's id for it: accepted, not yet delivered. The
    /// service must fold repeats under call.idempotency_key for at least 23 hours. Throws
    /// PermanentError when it refuses the message, RetryableError otherwise.
    virtual std::string send(const Json& message, const Call& call) = 0;

    /// The service's name, for operators: "resend".
    virtual std::string provider() const = 0;
};

/// What the message says and to whom.
struct Welcome {
    std::string to;
    std::string first_name;  // "": a neutral greeting
    std::string app_url;     // where to sign in
    std::string from;        // "Name <a@b>" or "a@b"
    std::string reply_to;    // "": none
    std::string reference;   // stands in X-Entity-Ref-ID; names the once key
};

/// {"from","to":[…],"subject","text","html","headers","tags","reply_to"?}: Resend's own shape,
/// which any other way out can read. The name is escaped in the HTML; nothing else comes from
/// outside.
Json render_welcome(const Welcome& welcome);

/// "" when the text can be an address that mail is sent to, else what is wrong, without the text:
/// at most 254 bytes, one '@' with something on both sides, no spaces, no control or bracket
/// characters. Says nothing about whether the mailbox exists. Other scripts are allowed (RFC 6531).
std::string email_problem(std::string_view address);

}  // namespace steplog::steps
