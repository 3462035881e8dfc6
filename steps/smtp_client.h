// One mail to one server by SMTP: the only user of libcurl. Every attempt ends by its deadline, and
// says how far it came; what that means is for SmtpSender (steps/email_smtp.h). Any thread.
#pragma once

#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "engine/types.h"
#include "steps/smtp_dialogue.h"
#include "steps/smtp_url.h"

namespace steplog::steps {

/// A mail as it is sent. Everything but the bodies is ASCII; header values are folded where they
/// are long (steps/mail_header.h).
struct Mail {
    std::string sender;                   // of the envelope: "a@b"
    std::vector<std::string> recipients;  // at least one
    std::vector<std::pair<std::string, std::string>> headers;
    std::string text;  // UTF-8
    std::string html;  // "": only text
};

/// How an attempt ended.
struct SmtpEnd {
    enum class Kind {
        taken,          // the server has it, and answers for it
        answered,       // it said no: dialogue.command(), code(), status()
        dns,            // the host has no address
        no_connection,  // nobody answered there
        tls,            // no secure connection: certificate, protocol
        no_starttls,    // the server offers none, and we say nothing without it
        login,          // our user and password were not taken, or the server wants neither
        timeout,
        lost,        // the connection ended, or what came was no SMTP
        interrupted  // we were asked to stop
    };
    Kind kind = Kind::lost;
    SmtpDialogue dialogue;
};

struct SmtpClientOptions {
    std::string ca_file = {};  // PEM; "": the system's certificates
};

class SmtpClient {
  public:
    /// Throws std::runtime_error when libcurl cannot be used.
    explicit SmtpClient(SmtpServer server, SmtpClientOptions options = {});

    /// One connection, one mail. Ends within about a second of `timeout`, and of `stop`.
    /// The bodies go as quoted-printable. Never uses a proxy.
    SmtpEnd send(const Mail& mail, Ms timeout, const std::stop_token& stop) const;

    const SmtpServer& server() const { return server_; }

  private:
    const SmtpServer server_;
    const SmtpClientOptions options_;
};

}  // namespace steplog::steps
