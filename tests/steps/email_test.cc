// The welcome e-mail's words and Resend's way of taking it.
#include "steps/email.h"

#include <gtest/gtest.h>

#include "steps/email_resend.h"
#include "steps/json_reading.h"
#include "tests/steps/scripted_transport.h"
#include "tests/support/manual_clock.h"

namespace steplog::steps {
namespace {

using testing::ManualClock;
using testing::retryable;
using testing::ScriptedTransport;

Welcome welcome() {
    return {.to = "ada@example.com",
            .first_name = "Ada",
            .app_url = "https://app.example.com/sign-in?a=1&b=2",
            .from = "Acme <hello@acme.example>",
            .reply_to = "help@acme.example",
            .reference = "welcome_email/cus_1"};
}

TEST(WelcomeEmail, SaysWhereToSignIn) {
    const Json message = render_welcome(welcome(), {});
    EXPECT_EQ(text_at(message, {"from"}), "Acme <hello@acme.example>");
    EXPECT_EQ(value_at(message, {"to"}), Json::array({"ada@example.com"}));
    EXPECT_EQ(text_at(message, {"reply_to"}), "help@acme.example");
    EXPECT_TRUE(text_at(message, {"text"}).starts_with("Hello Ada,\n"));
    EXPECT_NE(text_at(message, {"text"}).find("https://app.example.com/sign-in?a=1&b=2"),
              std::string::npos);
    EXPECT_NE(
        text_at(message, {"html"}).find("href=\"https://app.example.com/sign-in?a=1&amp;b=2\""),
        std::string::npos);
    EXPECT_EQ(text_at(message, {"headers", "X-Entity-Ref-ID"}), "welcome_email/cus_1");
}

TEST(WelcomeEmail, GreetsANamelessCustomerNeutrally) {
    Welcome nameless = welcome();
    nameless.first_name.clear();
    nameless.reply_to.clear();
    const Json message = render_welcome(nameless, {});
    EXPECT_TRUE(text_at(message, {"text"}).starts_with("Hello there,\n"));
    EXPECT_FALSE(message.contains("reply_to"));
}

TEST(WelcomeEmail, DoesNotLetANameBecomeMarkup) {
    Welcome hostile = welcome();
    hostile.first_name = "<a href=\"x\">&'";
    const std::string html = text_at(render_welcome(hostile, {}), {"html"});
    EXPECT_NE(html.find("Hello &lt;a href=&quot;x&quot;&gt;&amp;&#39;,"), std::string::npos);
}

TEST(WelcomeEmail, IsTheSameBytesEveryTime) {
    const std::string once = dump_json(render_welcome(welcome(), {}));
    EXPECT_EQ(dump_json(Json::parse(once)), once);
}

class ResendSenderTest : public ::testing::Test {
  protected:
    RetryableError::Details send_gets(int status, const std::string& body, Headers headers = {}) {
        transport.answer(status, body, std::move(headers));
        return retryable([&] { sender.send(render_welcome(welcome(), {}), call); });
    }
    static std::string error(const std::string& name) {
        return R"({"statusCode":400,"name":")" + name + R"(","message":"about ada@example.com"})";
    }

    ScriptedTransport transport;
    ManualClock clock;
    ResendSender sender{transport, clock, {.base = "https://resend.test", .api_key = "re_1"}};
    const Call call{.idempotency_key = "steplog:once:welcome_email/cus_1"};
};

TEST_F(ResendSenderTest, SendsUnderItsKey) {
    transport.answer(200, R"({"id":"49a3999c"})");
    EXPECT_EQ(sender.send(render_welcome(welcome(), {}), call), "49a3999c");
    const HttpRequest& request = transport.requests.at(0);
    EXPECT_EQ(request.method, "POST");
    EXPECT_EQ(request.target, "/emails");
    EXPECT_EQ(request.body, dump_json(render_welcome(welcome(), {})));
    EXPECT_EQ(transport.header(0, "Authorization"), "Bearer re_1");
    EXPECT_EQ(transport.header(0, "Idempotency-Key"), "steplog:once:welcome_email/cus_1");
}

TEST_F(ResendSenderTest, TellsWhatMayPassFromWhatWillNot) {
    EXPECT_EQ(send_gets(429, error("rate_limit_exceeded"), {{"retry-after", "2"}}).retry_after,
              Ms(2000));
    const auto quota = send_gets(429, error("daily_quota_exceeded"), {{"retry-after", "2"}});
    EXPECT_EQ(quota.code, "daily_quota_exceeded");
    EXPECT_EQ(quota.retry_after, Ms(3600000));
    EXPECT_EQ(send_gets(500, error("internal_server_error")).outcome, Outcome::unknown);
    EXPECT_EQ(send_gets(409, error("concurrent_idempotent_requests")).outcome, Outcome::unknown)
        << "the other request may be sending it";
    EXPECT_EQ(send_gets(401, error("missing_api_key")).code, "provider_key_rejected");
    EXPECT_EQ(send_gets(403, error("invalid_api_key")).code, "provider_key_rejected");
    EXPECT_EQ(send_gets(200, "{}").code, "bad_reply");
    for (const auto& [status, name] :
         std::map<int, std::string>{{409, "invalid_idempotent_request"},
                                    {422, "invalid_from_address"},
                                    {403, "validation_error"}}) {
        transport.answer(status, error(name));
        try {
            sender.send(render_welcome(welcome(), {}), call);
            ADD_FAILURE() << status;
        } catch (const Refusal& refusal) {
            EXPECT_EQ(refusal.code(), name);
            EXPECT_EQ(std::string(refusal.what()).find("@"), std::string::npos);
        }
    }
}

}  // namespace
}  // namespace steplog::steps
