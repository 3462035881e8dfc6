// How text gets into a mail's header (RFC 5322, RFC 2047): in ASCII, folded, and never as more than
// the one header that it was meant to be. Used by the SMTP sender. Pure functions; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace steplog::steps {

/// "Name <a@b>" or "a@b", as EMAIL_FROM has it; quotes around the name are removed.
struct Mailbox {
    std::string name;  // "": none
    std::string address;
};
Mailbox parse_mailbox(std::string_view text);

/// Free text as a header's value: printable ASCII that fits on a line stays as it is, all else
/// becomes encoded words (UTF-8, base64), folded between them. What is not UTF-8 becomes U+FFFD.
std::string header_text(std::string_view text);

/// A mailbox as From, To and Reply-To have it. The address is ASCII and one that email_problem
/// accepts.
std::string header_mailbox(const Mailbox& mailbox);

/// "Fri, 27 Nov 2026 09:00:00 +0000".
std::string header_date(std::int64_t unix_ms);

/// Line ends as mail has them, CR LF, whatever the text has.
std::string with_crlf(std::string_view text);

}  // namespace steplog::steps
