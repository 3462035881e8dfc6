// Where mail is handed in, as SMTP_URL says it. Used by the settings (so that a wrong one is
// reported at start) and by the SMTP client. Pure functions; any thread.
#pragma once

#include <string>
#include <string_view>

namespace steplog::steps {

struct SmtpServer {
    enum class Tls {
        implicit,  // from the first byte on
        starttls,  // asked for before anything is said; without it nothing is sent
        off
    };
    std::string host;  // as BaseUrl has it
    int port = 0;
    Tls tls = Tls::starttls;
    std::string user, password;  // "": none
    std::string own_name;        // what we call ourselves; "": this machine's name

    /// Host and port, brackets around IPv6.
    std::string authority() const;
};

/// Takes smtp://[user[:password]@]host[:port][/own name][?tls=off|required] and smtps://…. User
/// and password are percent-encoded. Ports are 465 for smtps, 587 for smtp, 25 for smtp to this
/// machine. smtp demands STARTTLS except to this machine or with tls=off; a password goes in the
/// clear only to this machine. Throws std::invalid_argument with one sentence that says what is
/// wrong and repeats nothing of the URL.
SmtpServer parse_smtp_url(std::string_view url);

}  // namespace steplog::steps
