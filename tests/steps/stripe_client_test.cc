// Stripe's client on the wire, and what each of its answers means.
#include "steps/stripe_client.h"

#include <gtest/gtest.h>

#include "steps/json_reading.h"
#include "tests/steps/scripted_transport.h"
#include "tests/support/manual_clock.h"

namespace steplog::steps {
namespace {

using testing::ManualClock;
using testing::retryable;
using testing::ScriptedTransport;

class StripeClientTest : public ::testing::Test {
  protected:
    RetryableError::Details update_gets(int status, const std::string& body, Headers headers = {}) {
        transport.answer(status, body, std::move(headers));
        return retryable([&] { update(); });
    }
    RetryableError::Details read_gets(int status, const std::string& body, Headers headers = {}) {
        transport.answer(status, body, std::move(headers));
        return retryable([&] { client.get_customer("cus_1", "", {}); });
    }
    void update() {
        client.update_customer_metadata("cus_1", "clerk_user_id", "user_1", "",
                                        {.idempotency_key = "steplog:i:update_customer"});
    }
    static std::string error(const std::string& code) {
        return R"({"error":{"type":"invalid_request_error","code":")" + code +
               R"(","message":"No such person: ada@example.com","param":"id"}})";
    }

    ScriptedTransport transport;
    ManualClock clock;
    StripeClient client{
        transport, clock, {.base = "https://stripe.test", .secret_key = "sk_test_1"}};
};

TEST_F(StripeClientTest, UpdatesMetadataAsStripesOwnClientsDo) {
    transport.answer(200, R"({"id":"cus_1","object":"customer"})");
    update();
    const HttpRequest& request = transport.requests.at(0);
    EXPECT_EQ(request.method, "POST");
    EXPECT_EQ(request.base, "https://stripe.test");
    EXPECT_EQ(request.target, "/v1/customers/cus_1");
    EXPECT_EQ(request.body, "metadata[clerk_user_id]=user_1");
    EXPECT_EQ(transport.header(0, "Authorization"), "Bearer sk_test_1");
    EXPECT_EQ(transport.header(0, "Stripe-Version"), stripe_version);
    EXPECT_EQ(transport.header(0, "Idempotency-Key"), "steplog:i:update_customer");
    EXPECT_EQ(transport.header(0, "Content-Type"), "application/x-www-form-urlencoded");
    EXPECT_EQ(transport.header(0, "Stripe-Account"), "");
}

TEST_F(StripeClientTest, NamesTheConnectedAccount) {
    transport.answer(200, R"({"id":"sub_1"})");
    client.update_subscription_metadata("sub_1", "k", "v", "acct_1", {});
    EXPECT_EQ(transport.header(0, "Stripe-Account"), "acct_1");
    transport.answer(200, R"({"id":"sub_1"})");
    client.get_subscription("sub_1", "org_1/acct_1", {});
    EXPECT_EQ(transport.header(1, "Stripe-Account"), "");
    EXPECT_EQ(transport.header(1, "Stripe-Context"), "org_1/acct_1");
}

TEST_F(StripeClientTest, ReadsWithoutAnIdempotencyKey) {
    transport.answer(200, R"({"id":"cus_1","object":"customer","deleted":true})");
    const Json customer = client.get_customer("cus_1", "", {.idempotency_key = "k"});
    EXPECT_EQ(flag_at(customer, {"deleted"}), true);
    EXPECT_EQ(transport.requests.at(0).method, "GET");
    EXPECT_EQ(transport.header(0, "Idempotency-Key"), "");
    for (const auto& [expected, read] : std::map<std::string, std::function<Json()>>{
             {"/v1/subscriptions/x", [&] { return client.get_subscription("x", "", {}); }},
             {"/v1/checkout/sessions/x", [&] { return client.get_checkout_session("x", "", {}); }},
             {"/v1/invoices/x", [&] { return client.get_invoice("x", "", {}); }},
             {"/v2/core/events/x", [&] { return client.get_event("x", "", {}); }},
             {"/v1/a/x", [&] { return client.get_related_object("/v1/a/x", "x", "", {}); }}}) {
        transport.answer(200, R"({"id":"x"})");
        read();
        EXPECT_EQ(transport.requests.back().target, expected);
    }
}

TEST_F(StripeClientTest, AsksNothingUnderAnIdThatIsNone) {
    EXPECT_THROW(client.get_customer("../x", "", {}), PermanentError);
    EXPECT_THROW(client.get_customer("", "", {}), PermanentError);
    EXPECT_THROW(client.get_related_object("/v1/../x", "x", "", {}), PermanentError);
    EXPECT_THROW(client.get_related_object("https://evil.example/v1/x", "x", "", {}),
                 PermanentError);
    EXPECT_TRUE(transport.requests.empty());
}

TEST_F(StripeClientTest, BelievesASuccessOnlyWhenItIsWhole) {
    for (const std::string body : {"", "<html>", "{\"id\":\"cus_1\"", "[]", R"({"id":"cus_2"})",
                                   R"({"id":"cus_1","id":"cus_1"})"}) {
        const auto wrote = update_gets(200, body);
        EXPECT_EQ(wrote.code, "bad_reply");
        EXPECT_EQ(wrote.outcome, Outcome::unknown);
        const auto read = read_gets(200, body);
        EXPECT_EQ(read.code, "bad_reply");
        EXPECT_EQ(read.outcome, Outcome::refused) << "a read has no effect";
    }
}

TEST_F(StripeClientTest, TakesAServerErrorForUnknownAndRemembered) {
    const auto plain = update_gets(500, error("api_error"));
    EXPECT_EQ(plain.code, "http_500");
    EXPECT_EQ(plain.outcome, Outcome::unknown);
    EXPECT_TRUE(plain.remembered);
    EXPECT_TRUE(update_gets(503, "busy", {{"Stripe-Should-Retry", "false"}}).remembered);
    EXPECT_FALSE(update_gets(503, "busy", {{"Stripe-Should-Retry", "true"}}).remembered);
    const auto read = read_gets(502, "<html>");
    EXPECT_EQ(read.outcome, Outcome::refused);
    EXPECT_FALSE(read.remembered);
}

TEST_F(StripeClientTest, WaitsAsLongAsItIsAskedTo) {
    const auto limited = update_gets(429, error("rate_limit"), {{"retry-after", "7"}});
    EXPECT_EQ(limited.code, "rate_limited");
    EXPECT_EQ(limited.outcome, Outcome::refused);
    EXPECT_EQ(limited.retry_after, Ms(7000));
    EXPECT_EQ(update_gets(429, "").retry_after, std::nullopt);
    EXPECT_EQ(update_gets(503, "", {{"Retry-After", "Thu, 01 Jan 2026 00:01:00 GMT"}}).retry_after,
              Ms(60000));
}

TEST_F(StripeClientTest, TellsOurKeysTroubleFromTheCustomers) {
    const auto wrong_key = update_gets(401, R"({"error":{"type":"invalid_request_error"}})");
    EXPECT_EQ(wrong_key.code, "provider_key_rejected");
    EXPECT_EQ(wrong_key.outcome, Outcome::refused);
    EXPECT_EQ(update_gets(403, error("permission_missing")).code, "provider_key_rejected");
    transport.answer(403, error("account_invalid"));
    EXPECT_THROW(update(), Refusal);
}

TEST_F(StripeClientTest, TriesAgainWhatWasOnlyInTheWay) {
    EXPECT_EQ(update_gets(409, error("idempotency_key_in_use")).outcome, Outcome::refused);
    EXPECT_EQ(update_gets(409, error("lock_timeout")).code, "lock_timeout");
    EXPECT_EQ(update_gets(425, "").outcome, Outcome::refused);
    EXPECT_EQ(update_gets(408, "").outcome, Outcome::unknown);
    EXPECT_EQ(update_gets(302, "", {{"Location", "https://evil.example"}}).outcome,
              Outcome::unknown);
    EXPECT_EQ(update_gets(400, error("x"), {{"Stripe-Should-Retry", "true"}}).outcome,
              Outcome::refused);
    EXPECT_EQ(transport.requests.size(), 6U) << "each was sent once, and no redirect followed";
}

TEST_F(StripeClientTest, TakesAGatewaysWordForUnknown) {
    EXPECT_EQ(update_gets(403 + 1, "<html>not found</html>").code, "http_404");
    EXPECT_EQ(update_gets(400, "Bad Request").outcome, Outcome::unknown);
}

TEST_F(StripeClientTest, GivesUpOnStripesOwnNoAndQuotesNobody) {
    transport.answer(404, error("resource_missing"), {{"Request-Id", "req_1"}});
    try {
        update();
        FAIL() << "nothing was thrown";
    } catch (const Refusal& refusal) {
        EXPECT_EQ(refusal.status(), 404);
        EXPECT_EQ(refusal.code(), "resource_missing");
        EXPECT_STREQ(
            refusal.what(),
            "Stripe refused to update customer cus_1: 404 resource_missing on id (request req_1)");
    }
    transport.answer(400, error("a code with\\nada@example.com"), {{"Request-Id", "a b@c"}});
    try {
        update();
        FAIL() << "nothing was thrown";
    } catch (const Refusal& refusal) {
        EXPECT_EQ(std::string(refusal.what()).find("ada@example.com"), std::string::npos);
        EXPECT_EQ(std::string(refusal.what()).find("a b@c"), std::string::npos);
    }
}

TEST_F(StripeClientTest, PassesOnWhatTheNetworkSays) {
    transport.break_off("reset", Outcome::unknown);
    EXPECT_EQ(retryable([&] { update(); }).outcome, Outcome::unknown);
    transport.break_off("no_connection", Outcome::refused);
    EXPECT_EQ(retryable([&] { update(); }).outcome, Outcome::refused);
    transport.break_off("timeout", Outcome::unknown);
    const auto read = retryable([&] { client.get_customer("cus_1", "", {}); });
    EXPECT_EQ(read.code, "timeout");
    EXPECT_EQ(read.outcome, Outcome::refused) << "a read has no effect";
}

TEST(RetryAfter, IsSecondsOrADateAndNeverMoreThanAnHour) {
    constexpr std::int64_t now_ms = 1'767'225'600'000;  // 2026-01-01 00:00:00
    EXPECT_EQ(parse_retry_after("0", now_ms), Ms(0));
    EXPECT_EQ(parse_retry_after("120", now_ms), Ms(120000));
    EXPECT_EQ(parse_retry_after("999999999", now_ms), Ms(3600000));
    EXPECT_EQ(parse_retry_after("99999999999999999999999", now_ms), Ms(3600000));
    EXPECT_EQ(parse_retry_after("-5", now_ms), Ms(0));
    EXPECT_EQ(parse_retry_after("Thu, 01 Jan 2026 00:00:30 GMT", now_ms), Ms(30000));
    EXPECT_EQ(parse_retry_after("Thu, 01 Jan 2020 00:00:30 GMT", now_ms), Ms(0));
    EXPECT_EQ(parse_retry_after("Thu, 01 Jan 2099 00:00:30 GMT", now_ms), Ms(3600000));
    for (const char* nonsense : {"", "soon", "5s", "1.5", "Thu, 01 Jan 2026"}) {
        EXPECT_EQ(parse_retry_after(nonsense, now_ms), std::nullopt) << nonsense;
    }
}

TEST_F(StripeClientTest, ListsSubscriptionsPageByPage) {
    transport.answer(200, R"({"object":"list","has_more":true,"data":[{"id":"sub_1"}]})");
    transport.answer(200, R"({"object":"list","has_more":false,"data":[]})");
    const SubscriptionPage first = client.list_subscriptions("", 50, {});
    ASSERT_EQ(first.subscriptions.size(), 1U);
    EXPECT_TRUE(first.has_more);
    EXPECT_FALSE(client.list_subscriptions("sub_1", 50, {}).has_more);
    EXPECT_EQ(transport.requests.at(0).target,
              "/v1/subscriptions?limit=50&expand%5B%5D=data.customer");
    EXPECT_EQ(transport.requests.at(1).target,
              "/v1/subscriptions?limit=50&expand%5B%5D=data.customer&starting_after=sub_1");
    for (const char* bad :
         {"{}", R"({"data":{}})", R"({"data":[{"id":"../x"}]})", R"({"data":[1]})"}) {
        transport.answer(200, bad);
        EXPECT_THROW(client.list_subscriptions("", 50, {}), RetryableError) << bad;
    }
}

}  // namespace
}  // namespace steplog::steps
