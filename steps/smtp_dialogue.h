// What was said so far in one conversation with a mail server (RFC 5321), and what follows from it
// for the message. Fed by the SMTP client as it hears itself and the server; keeps nothing of what
// the server says but its numbers. One thread.
#pragma once

#include <string>
#include <string_view>

namespace steplog::steps {

class SmtpDialogue {
  public:
    /// Bytes of our side, but not of the message.
    void we_said(std::string_view bytes);
    /// Bytes of the server's side, in pieces of any size.
    void they_said(std::string_view bytes);

    /// Our last command, "" before the first: EHLO, HELO, STARTTLS, AUTH, MAIL, RCPT or DATA. Our
    /// goodbye is none.
    const std::string& command() const { return command_; }

    /// The server's answer to it (to DATA: its word on the whole message), 0 when there was none:
    /// 250, 451, …
    int code() const { return code_; }
    /// Its enhanced status code (RFC 3463), "" when there was none: "5.1.1".
    const std::string& status() const { return status_; }

    /// The server asked for the message: from now on only its word tells whether it took it.
    bool may_have_taken() const { return may_have_taken_; }

  private:
    void take_line(std::string_view line);

    std::string command_, line_, status_;
    int code_ = 0;
    bool may_have_taken_ = false;
    bool over_ = false;  // we said goodbye: what is answered to that is about no mail
};

}  // namespace steplog::steps
