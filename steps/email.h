// The welcome e-mail: how it is put together, and the interface by which it leaves. The rendered
// message is stored in the step log before the first attempt, so that every attempt sends the same.
// Used by provision_customer; the ways out are ResendSender (steps/email_resend.h) and SmtpSender
// (steps/email_smtp.h). Any thread.
#pragma once

#include <string>
#include <string_view>

#include "steps/email_templates.h"
#include "steps/provider.h"

namespace steplog::steps {

/// Sends messages as render_welcome makes them.
class EmailSender {
  public:
    virtual ~EmailSender() = default;

    /// Hands the message over and returns an id for it: accepted, not yet delivered. Throws
    /// PermanentError when it refuses the message, RetryableError otherwise.
    virtual std::string send(const Json& message, const Call& call) = 0;

    /// For how long the service folds repeats under call.idempotency_key; 0: not at all.
    virtual Ms key_window() const = 0;

    /// The service's name, for operators: "resend".
    virtual std::string provider() const = 0;
};

/// What the message says and to whom.
struct Welcome {
    std::string to;
    std::string first_name;   // "": the template's fallback
    std::string app_url;      // where to sign in
    std::string from;         // "Name <a@b>" or "a@b"
    std::string reply_to;     // "": none
    std::string reference;    // stands in X-Entity-Ref-ID; names the once key
    std::string language;     // a language tag: "de-AT"; "": not known
    std::string redirect_to;  // "": the customer; else a test, which goes there in their place
};

/// {"from","to":[…],"subject","text","html","headers","tags","reply_to"?}: Resend's own shape,
/// which any other way out can read. Values are escaped in the HTML. A redirected one names the
/// customer in the header X-Steplog-Original-To, and begins its subject with "[test] ".
Json render_welcome(const Welcome& welcome, const WelcomeTemplates& templates);

/// "" when the text can be an address that mail is sent to, else what is wrong, without the text:
/// at most 254 bytes, one '@' with something on both sides, no spaces, no control or bracket
/// characters. Says nothing about whether the mailbox exists. Other scripts are allowed (RFC 6531).
std::string email_problem(std::string_view address);

}  // namespace steplog::steps
