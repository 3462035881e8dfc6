// The way out by SMTP, against a mail server of our own that does what the test's script says: what
// is sent, and what each of its answers and silences means for the message.
#include "steps/email_smtp.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <mutex>

#include "steps/mail_header.h"
#include "tests/steps/hostile_server.h"
#include "tests/steps/scripted_transport.h"
#include "tests/support/manual_clock.h"

namespace steplog::steps {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::HostileServer;
using testing::ManualClock;
using ::testing::Not;
using testing::Peer;
using testing::retryable;
using ::testing::StartsWith;

/// Answers each command with the test's line, where it has one; "cut" ends the connection, "hang"
/// says nothing more. "." stands for the message's end.
class MailServer {
  public:
    std::map<std::string, std::string> answers;

    SmtpServer address() const {
        return parse_smtp_url("smtp://127.0.0.1:" + std::to_string(server_.port()));
    }
    std::string message() const {
        const std::lock_guard lock(mutex_);
        return message_;
    }
    std::vector<std::string> commands() const {
        const std::lock_guard lock(mutex_);
        return commands_;
    }

  private:
    bool answer(Peer& peer, const std::string& command, const std::string& usual) {
        const auto found = answers.find(command);
        const std::string line = found == answers.end() ? usual : found->second;
        if (line == "cut") return false;
        if (line == "hang") {
            peer.wait_until_gone();
            return false;
        }
        return peer.send(line + "\r\n");
    }

    void serve(Peer& peer) {
        if (!answer(peer, "", "220 mail.test ready")) return;
        while (const auto line = peer.read_line()) {
            const std::string verb = line->substr(0, line->find(' '));
            {
                const std::lock_guard lock(mutex_);
                commands_.push_back(*line);
            }
            if (!answer(peer, verb, verb == "DATA" ? "354 go on" : "250 2.0.0 good")) return;
            if (verb == "QUIT") return;
            const bool wanted = !answers.contains("DATA") || answers.at("DATA").starts_with("354");
            if (verb == "DATA" && wanted && !take_message(peer)) return;
        }
    }

    bool take_message(Peer& peer) {
        std::string message;
        while (const auto line = peer.read_line()) {
            if (*line == ".") {
                const std::lock_guard lock(mutex_);
                message_ = message;
                break;
            }
            message += *line + "\n";
        }
        return answer(peer, ".", "250 2.0.0 queued as 42 for ada@example.com");
    }

    mutable std::mutex mutex_;  // guards the next two
    std::string message_;
    std::vector<std::string> commands_;
    HostileServer server_{[this](Peer& peer) { serve(peer); }};
};

class SmtpSenderTest : public ::testing::Test {
  protected:
    static Json message() {
        return render_welcome({.to = "ada@example.com",
                               .first_name = "Ada",
                               .app_url = "https://app.example.com/?a=1",
                               .from = "Acme, Inc. <hello@acme.example>",
                               .reply_to = "help@acme.example",
                               .reference = "welcome_email/cus_1"},
                              {});
    }
    std::string send(const Json& json) {
        return SmtpSender(clock, mail.address()).send(json, call);
    }
    RetryableError::Details fails() {
        return retryable([&] { send(message()); });
    }
    std::string refusal() {
        try {
            send(message());
        } catch (const Refusal& refused) {
            EXPECT_THAT(refused.what(), Not(HasSubstr("@")));
            return refused.code();
        } catch (const std::exception& error) {
            return std::string("another error: ") + error.what();
        }
        return "no error";
    }

    MailServer mail;
    ManualClock clock;
    Call call{.timeout = std::chrono::seconds(20),
              .idempotency_key = "steplog:once:welcome_email/cus_1"};
};

TEST_F(SmtpSenderTest, SendsTextAndHtmlUnderASteadyMessageId) {
    const std::string id = send(message());
    EXPECT_EQ(id, message_id(call.idempotency_key, "hello@acme.example"));
    EXPECT_THAT(id, ::testing::EndsWith("@acme.example"));
    const std::string sent = mail.message();
    for (const std::string line :
         {"From: \"Acme, Inc.\" <hello@acme.example>\n", "To: ada@example.com\n",
          "Reply-To: help@acme.example\n", "Subject: Your account is ready\n",
          "Auto-Submitted: auto-generated\n", "X-Entity-Ref-ID: welcome_email/cus_1\n",
          "Content-Type: multipart/alternative; boundary=",
          "Content-Type: text/plain; charset=utf-8\n", "Content-Type: text/html; charset=utf-8\n",
          "Content-Transfer-Encoding: quoted-printable\n", "Hello Ada,\n", "<p>Hello Ada,</p>\n"})
        EXPECT_THAT(sent, HasSubstr(line));
    EXPECT_THAT(sent, HasSubstr("Message-ID: <" + id + ">\n"));
    EXPECT_EQ(send(message()), id);
    EXPECT_THAT(mail.message(), HasSubstr("Message-ID: <" + id + ">\n"));
    EXPECT_THAT(mail.commands(), ::testing::Contains("MAIL FROM:<hello@acme.example>"));
    EXPECT_THAT(mail.commands(), ::testing::Contains("RCPT TO:<ada@example.com>"));
}

TEST_F(SmtpSenderTest, EncodesWhatIsNotAscii) {
    Json json = message();
    json["subject"] = "Grüße an 山田太郎, und ein Betreff, der länger ist als eine Zeile sein soll";
    json["from"] = "Bäckerei <hello@acme.example>";
    json["text"] = "Grüße\n.\nbis bald";
    json.erase("html");
    send(json);
    const std::string sent = mail.message();
    for (const char c : sent) ASSERT_LT(static_cast<unsigned char>(c), 0x80);
    EXPECT_THAT(sent, HasSubstr("Subject: =?UTF-8?B?R3LDvMOfZSBhbiDlsbHnlLDlpKrpg44sIHVuZCBlaW4g"));
    EXPECT_THAT(sent, HasSubstr("From: =?UTF-8?B?QsOkY2tlcmVp?= <hello@acme.example>\n"));
    EXPECT_THAT(sent, HasSubstr("Gr=C3=BC=C3=9Fe\n"));
    EXPECT_THAT(sent, HasSubstr("\nbis bald"));
}

TEST_F(SmtpSenderTest, RefusesWhatWouldBecomeAnotherHeader) {
    for (const std::string field : {"from", "reply_to", "subject"}) {
        Json json = message();
        json[field] = "Acme\r\nBcc: all@example.com <hello@acme.example>";
        EXPECT_THROW(send(json), PermanentError) << field;
    }
    Json json = message();
    json["to"] = {"ada@example.com>\r\nRCPT TO:<eve@example.com"};
    EXPECT_THROW(send(json), PermanentError);
    for (const std::string foreign : {"ädä@example.com", "ada@bücher.example"}) {
        json["to"] = {foreign};
        EXPECT_THROW(send(json), PermanentError) << foreign;
    }
    EXPECT_THAT(mail.commands(), ElementsAre());
}

TEST_F(SmtpSenderTest, TriesAgainWhatIsRefusedForNow) {
    for (const auto& [command, answer, code] :
         {std::tuple("", "421 4.3.2 busy", "smtp_421"),
          {"MAIL", "451 later", "smtp_451"},
          {"RCPT", "450 4.2.0 greylisted, ada@example.com", "smtp_450"},
          {"DATA", "452 4.3.1 full", "smtp_452"},
          {".", "451 4.3.0 later", "smtp_451"}}) {
        mail.answers = {{command, answer}};
        const auto details = fails();
        EXPECT_EQ(details.code, code) << command;
        EXPECT_EQ(details.outcome, Outcome::refused) << command;
    }
}

TEST_F(SmtpSenderTest, TellsWhoseNoItIs) {
    for (const auto& [command, answer, code] :
         {std::tuple("MAIL", "553 5.1.8 who?", "sender_refused"),
          {"RCPT", "550 5.1.1 no ada@example.com", "recipient_refused"},
          {".", "554 5.7.1 spam", "message_refused"}}) {
        mail.answers = {{command, answer}};
        EXPECT_EQ(refusal(), code);
    }
    mail.answers = {{"MAIL", "530 5.7.0 log in"}};
    const auto details = fails();
    EXPECT_EQ(details.code, "provider_key_rejected");
    EXPECT_EQ(details.trouble, RetryableError::Trouble::our_key);
}

TEST_F(SmtpSenderTest, KnowsThatNothingWasSentBeforeTheServerAskedForTheMessage) {
    for (const std::string command : {"", "EHLO", "MAIL", "RCPT", "DATA"}) {
        mail.answers = {{command, "cut"}};
        EXPECT_EQ(fails().outcome, Outcome::refused) << command;
    }
    mail.answers = {{"", "<html>no mail here</html>"}};
    call.timeout = Ms(300);
    EXPECT_EQ(fails().outcome, Outcome::refused);
    mail.answers = {{"RCPT", "hang"}};
    const auto details = fails();
    EXPECT_EQ(details.code, "timeout");
    EXPECT_EQ(details.outcome, Outcome::refused);
}

TEST_F(SmtpSenderTest, DoesNotKnowWhatBecameOfAMessageWithoutAWordOnIt) {
    mail.answers = {{".", "cut"}};
    EXPECT_EQ(fails().outcome, Outcome::unknown);
    mail.answers = {{".", "hang"}};
    call.timeout = Ms(500);
    const auto details = fails();
    EXPECT_EQ(details.code, "timeout");
    EXPECT_EQ(details.outcome, Outcome::unknown);
}

TEST_F(SmtpSenderTest, SaysNothingWithoutStarttlsWhereItIsDemanded) {
    SmtpServer server = mail.address();
    server.tls = SmtpServer::Tls::starttls;
    server.user = "user";
    server.password = "secret";
    SmtpSender sender(clock, server);
    const auto details = retryable([&] { sender.send(message(), call); });
    EXPECT_EQ(details.code, "starttls_missing");
    EXPECT_EQ(details.outcome, Outcome::refused);
    for (const std::string& command : mail.commands())
        EXPECT_THAT(command, Not(StartsWith("AUTH")));
}

TEST(SmtpUrl, SaysWhereAndHow) {
    using Tls = SmtpServer::Tls;
    const SmtpServer full =
        parse_smtp_url("smtp://hello%40acme.com:p%2Fw@mail.acme.com:2525/me.acme.com");
    EXPECT_EQ(full.user, "hello@acme.com");
    EXPECT_EQ(full.password, "p/w");
    EXPECT_EQ(full.authority(), "mail.acme.com:2525");
    EXPECT_EQ(full.own_name, "me.acme.com");
    EXPECT_EQ(full.tls, Tls::starttls);
    EXPECT_EQ(parse_smtp_url("smtps://mail.acme.com").port, 465);
    EXPECT_EQ(parse_smtp_url("smtps://mail.acme.com").tls, Tls::implicit);
    EXPECT_EQ(parse_smtp_url("smtp://mail.acme.com").port, 587);
    EXPECT_EQ(parse_smtp_url("smtp://localhost").tls, Tls::off);
    EXPECT_EQ(parse_smtp_url("smtp://[::1]?tls=required").tls, Tls::starttls);
    EXPECT_EQ(parse_smtp_url("smtp://relay?tls=off").tls, Tls::off);
    for (const std::string wrong :
         {"mail.acme.com", "http://mail.acme.com", "smtp://", "smtp://a:b@mail?tls=off",
          "smtp://mail:99999", "smtp://a%4:b@mail", "smtp://a@b@mail", "smtp://mail/a b",
          "smtp://mail?tls=maybe", "smtps://mail?tls=off", "smtp://a:%0d@mail", "smtp://mail#x"})
        EXPECT_THROW(parse_smtp_url(wrong), std::invalid_argument) << wrong;
}

TEST(MailHeader, HoldsOneMailboxAndOneLine) {
    EXPECT_EQ(header_mailbox(parse_mailbox("\"Acme \\\"A\\\"\" <a@b>")),
              "\"Acme \\\"A\\\"\" <a@b>");
    EXPECT_EQ(header_mailbox(parse_mailbox("a@b")), "a@b");
    EXPECT_EQ(header_date(1793520000000), "Sun, 1 Nov 2026 08:00:00 +0000");
    EXPECT_EQ(header_text("a\r\nBcc: b").find('\n'), std::string::npos);
    EXPECT_EQ(with_crlf("a\nb\r\nc"), "a\r\nb\r\nc");
}

}  // namespace
}  // namespace steplog::steps
