// See email_smtp.h.
#include "steps/email_smtp.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/digest.h"
#include "steps/http_text.h"
#include "steps/json_reading.h"
#include "steps/mail_header.h"

namespace steplog::steps {
namespace {

using Trouble = RetryableError::Trouble;

[[noreturn]] void malformed(const std::string& what) {
    throw PermanentError("mail_malformed", fmt::format("The e-mail cannot be sent: {}", what));
}

/// One that may stand in the envelope and in the header.
Mailbox mailbox_of(const std::string& text, const std::string& which) {
    if (std::any_of(text.begin(), text.end(), is_control))
        malformed(fmt::format("{} holds a control character", which));
    Mailbox mailbox = parse_mailbox(text);
    const std::string problem = email_problem(mailbox.address);
    if (!problem.empty()) malformed(fmt::format("{} is no address: {}", which, problem));
    const bool ascii = std::all_of(mailbox.address.begin(), mailbox.address.end(),
                                   [](char c) { return static_cast<unsigned char>(c) < 0x80; });
    if (!ascii)
        throw PermanentError("address_not_ascii",
                             fmt::format("The e-mail cannot be sent by SMTP: {} has characters "
                                         "that only newer mail servers take. Correct it in Stripe",
                                         which));
    return mailbox;
}

void add_recipients(const Json& message, Mail& mail) {
    std::string to;
    const Json& list = value_at(message, {"to"});
    if (!list.is_array() || list.empty()) malformed("it has no recipient");
    for (const Json& each : list) {
        if (!each.is_string()) malformed("a recipient is no text");
        const Mailbox mailbox = mailbox_of(each.get<std::string>(), "the recipient's address");
        mail.recipients.push_back(mailbox.address);
        to += (to.empty() ? "" : ",\r\n ") + header_mailbox(mailbox);
    }
    mail.headers.emplace_back("To", to);
}

void add_own_headers(const Json& message, Mail& mail) {
    const Json& headers = value_at(message, {"headers"});
    if (!headers.is_object()) return;
    for (const auto& [name, value] : headers.items()) {
        if (!is_header_name(name) || !value.is_string()) malformed("a header is no header");
        const std::string text = value.get<std::string>();
        if (std::any_of(text.begin(), text.end(), is_control))
            malformed("a header holds a control character");
        mail.headers.emplace_back(name, header_text(text));
    }
}

Mail mail_of(const Json& message, const std::string& key, std::int64_t now_ms) {
    Mail mail;
    const Mailbox from = mailbox_of(text_at(message, {"from"}), "EMAIL_FROM");
    mail.sender = from.address;
    mail.headers = {{"Date", header_date(now_ms)}, {"From", header_mailbox(from)}};
    const std::string reply_to = text_at(message, {"reply_to"});
    if (!reply_to.empty())
        mail.headers.emplace_back("Reply-To",
                                  header_mailbox(mailbox_of(reply_to, "EMAIL_REPLY_TO")));
    add_recipients(message, mail);
    const std::string subject = text_at(message, {"subject"});
    if (std::any_of(subject.begin(), subject.end(), is_control))
        malformed("its subject holds a control character");
    mail.headers.emplace_back("Subject", header_text(subject));
    mail.headers.emplace_back("Message-ID", fmt::format("<{}>", message_id(key, from.address)));
    add_own_headers(message, mail);
    mail.text = text_at(message, {"text"});
    mail.html = text_at(message, {"html"});
    return mail;
}

/// What the server said no to, and how the no is known.
struct Refused {
    const char* code;
    const char* what;
};
Refused refused_by(const SmtpDialogue& dialogue) {
    if (dialogue.command() == "MAIL") return {"sender_refused", "the sender's address, EMAIL_FROM"};
    if (dialogue.command() == "RCPT") return {"recipient_refused", "the recipient's address"};
    return {"message_refused", "the message"};
}

std::string number_of(const SmtpDialogue& dialogue) {
    return fmt::format("{}{}{}", dialogue.code(), dialogue.status().empty() ? "" : " ",
                       dialogue.status());
}

/// The server said no, in so many numbers: certain, whenever it comes.
[[noreturn]] void throw_answer(const SmtpDialogue& dialogue) {
    const int code = dialogue.code();
    const std::string number = number_of(dialogue);
    const std::string& command = dialogue.command();
    const bool about_mail = command == "MAIL" || command == "RCPT" || command == "DATA";
    // 454 is a temporary failure of the login, and of TLS.
    const bool about_login = (command == "AUTH" && code >= 500) || code == 530;
    if (about_login)
        throw RetryableError(
            fmt::format("the mail server does not take our user and password: {}", number),
            {.code = "provider_key_rejected",
             .outcome = Outcome::refused,
             .trouble = Trouble::our_key});
    const Refused refused = refused_by(dialogue);
    if (about_mail && code >= 500)
        throw Refusal(code, refused.code,
                      fmt::format("The mail server refused {}: {}", refused.what, number));
    throw RetryableError(
        about_mail ? fmt::format("the mail server does not take {} now: {}", refused.what, number)
                   : fmt::format("the mail server is not ready for mail: {}", number),
        {.code = fmt::format("smtp_{}", code),
         .outcome = Outcome::refused,
         .trouble = about_mail && code != 421 ? Trouble::request : Trouble::provider});
}

struct Words {
    const char* code;
    const char* text;
};
Words words_for(SmtpEnd::Kind kind, bool in_doubt) {
    switch (kind) {
        case SmtpEnd::Kind::dns:
            return {"dns", "its name has no address"};
        case SmtpEnd::Kind::no_connection:
            return {"no_connection", "no connection"};
        case SmtpEnd::Kind::tls:
            return {"tls", "no secure connection: its certificate or protocol is not good"};
        case SmtpEnd::Kind::no_starttls:
            return {"starttls_missing",
                    "it offers no STARTTLS, so nothing was said to it; smtps:// may be what it "
                    "wants, or ?tls=off in a network that is yours"};
        case SmtpEnd::Kind::login:
            return {"provider_key_rejected", "it offers no login that we know"};
        case SmtpEnd::Kind::timeout:
            return in_doubt ? Words{"timeout", "it was given the message, and said nothing in time"}
                            : Words{"timeout", "it was too slow, and was not given the message"};
        case SmtpEnd::Kind::interrupted:
            return {"interrupted", "the attempt was interrupted by a shutdown"};
        default:
            return in_doubt
                       ? Words{"cut_reply",
                               "it was given the message, and went without a word on it"}
                       : Words{"reset", "it went, or spoke no SMTP, before it had the message"};
    }
}

[[noreturn]] void throw_silence(const SmtpServer& server, const SmtpEnd& end) {
    const bool in_doubt = end.dialogue.may_have_taken();
    const Words words = words_for(end.kind, in_doubt);
    throw RetryableError(
        fmt::format("the mail server {}: {}", server.authority(), words.text),
        {.code = words.code,
         .outcome = in_doubt ? Outcome::unknown : Outcome::refused,
         .interrupted = end.kind == SmtpEnd::Kind::interrupted,
         .trouble = end.kind == SmtpEnd::Kind::login ? Trouble::our_key : Trouble::provider});
}

}  // namespace

SmtpSender::SmtpSender(const Clock& clock, SmtpServer server, SmtpClientOptions options)
    : clock_(clock), client_(std::move(server), std::move(options)) {}

std::string SmtpSender::send(const Json& message, const Call& call) {
    const Mail mail = mail_of(message, call.idempotency_key, clock_.now_ms());
    const SmtpEnd end = client_.send(mail, call.timeout, call.stop);
    if (end.kind == SmtpEnd::Kind::taken) return message_id(call.idempotency_key, mail.sender);
    if (end.kind == SmtpEnd::Kind::answered) throw_answer(end.dialogue);
    throw_silence(client_.server(), end);
}

std::string message_id(const std::string& idempotency_key, const std::string& sender) {
    constexpr std::size_t digits = 32;
    return fmt::format("{}@{}", to_hex(sha256("mail " + idempotency_key)).substr(0, digits),
                       sender.substr(sender.rfind('@') + 1));
}

}  // namespace steplog::steps
