// Clerk's client on the wire, and what each of its answers means.
#include "steps/clerk_client.h"

#include <gtest/gtest.h>

#include "tests/steps/scripted_transport.h"
#include "tests/support/manual_clock.h"

namespace steplog::steps {
namespace {

using testing::ManualClock;
using testing::retryable;
using testing::ScriptedTransport;

std::string user_json(const std::string& id, const std::string& external_id = "",
                      const std::string& status = "verified",
                      const std::string& private_metadata = "{}") {
    return R"({"id":")" + id + R"(","object":"user","external_id":)" +
           (external_id.empty() ? "null" : '"' + external_id + '"') +
           R"(,"email_addresses":[{"email_address":"ada@example.com","verification":{"status":")" +
           status + R"("}},{"email_address":"new@example.com","verification":null}],)" +
           R"("private_metadata":)" + private_metadata + "}";
}

std::string error(const std::string& code) {
    return R"({"errors":[{"code":")" + code +
           R"(","message":"taken","long_message":"ada@example.com is taken",)"
           R"("meta":{"param_name":"email_address"}}],"clerk_trace_id":"trace_1"})";
}

class ClerkClientTest : public ::testing::Test {
  protected:
    ScriptedTransport transport;
    ManualClock clock;
    ClerkClient client{transport, clock, {.base = "https://clerk.test", .secret_key = "sk_test_2"}};
    const Call call{.idempotency_key = "ignored"};
};

TEST_F(ClerkClientTest, CreatesAUserWithoutAPassword) {
    transport.answer(200, user_json("user_1", "cus_1"));
    const ClerkUser user = client.create_user({.email = "ada@example.com",
                                               .first_name = "Ada",
                                               .last_name = "",
                                               .external_id = "cus_1",
                                               .private_metadata = {{"steplog_instance", "i"}}},
                                              call);
    EXPECT_EQ(user.id, "user_1");
    EXPECT_EQ(user.external_id, "cus_1");
    const HttpRequest& request = transport.requests.at(0);
    EXPECT_EQ(request.method, "POST");
    EXPECT_EQ(request.target, "/v1/users");
    EXPECT_EQ(Json::parse(request.body),
              Json::parse(R"({"email_address":["ada@example.com"],"first_name":"Ada",
                "external_id":"cus_1","skip_password_requirement":true,
                "private_metadata":{"steplog_instance":"i"}})"));
    EXPECT_EQ(transport.header(0, "Authorization"), "Bearer sk_test_2");
    EXPECT_EQ(transport.header(0, "Clerk-API-Version"), "2026-05-12");
    EXPECT_EQ(transport.header(0, "Content-Type"), "application/json");
    EXPECT_EQ(transport.header(0, "Idempotency-Key"), "") << "Clerk has none for users";
}

TEST_F(ClerkClientTest, FindsByExternalIdOnlyWhatHasExactlyThat) {
    transport.answer(
        200, "[" + user_json("user_1", "cus_10") + "," + user_json("user_2", "cus_1") + "]");
    EXPECT_EQ(client.find_by_external_id("cus_1", call)->id, "user_2");
    EXPECT_EQ(transport.requests.at(0).target, "/v1/users?external_id=cus_1&limit=10");
    transport.answer(200, "[]");
    EXPECT_FALSE(client.find_by_external_id("cus_1", call));
    for (const char* sign : {"+cus_1", "-cus_1", "", "cus 1"}) {
        EXPECT_THROW(client.find_by_external_id(sign, call), PermanentError) << sign;
    }
    EXPECT_EQ(transport.requests.size(), 2U);
}

TEST_F(ClerkClientTest, FindsByEmailWithoutRegardToCase) {
    transport.answer(200, "[" + user_json("user_1") + "]");
    const auto user = client.find_by_email("Ada+x@Example.com", call);
    EXPECT_FALSE(user) << "another address than asked for is nobody's";
    EXPECT_EQ(
        transport.requests.at(0).target,
        "/v1/"
        "users?email_address=Ada%2Bx%40Example.com&email_address=ada%2Bx%40example.com&limit=10");
    transport.answer(200, "[" + user_json("user_1") + "]");
    const auto same = client.find_by_email("ADA@example.com", call);
    ASSERT_TRUE(same);
    EXPECT_TRUE(same->has_verified("Ada@Example.com"));
    EXPECT_FALSE(same->has_verified("new@example.com"));
    EXPECT_FALSE(same->has_verified("else@example.com"));
}

TEST_F(ClerkClientTest, KnowsAnUnverifiedAddress) {
    transport.answer(200, "[" + user_json("user_1", "", "unverified") + "]");
    EXPECT_FALSE(client.find_by_email("ada@example.com", call)->has_verified("ada@example.com"));
}

TEST_F(ClerkClientTest, PrefersWhoHasVerifiedTheAddressToWhoClaimsIt) {
    const std::string claims = user_json("user_1", "", "unverified");
    transport.answer(200, "[" + claims + "," + user_json("user_2") + "]");
    EXPECT_EQ(client.find_by_email("ada@example.com", call)->id, "user_2");
    transport.answer(200, "[" + claims + "," + user_json("user_3", "", "unverified") + "]");
    EXPECT_EQ(client.find_by_email("ada@example.com", call)->id, "user_1");
}

TEST_F(ClerkClientTest, FindsNobodyUnderAnIdThatIsGoneOrNone) {
    transport.answer(404, error("resource_not_found"));
    EXPECT_FALSE(client.find_by_id("user_1", call));
    EXPECT_FALSE(client.find_by_id("../admin", call));
    EXPECT_EQ(transport.requests.size(), 1U);
    transport.answer(200, user_json("user_1"));
    EXPECT_EQ(client.find_by_id("user_1", call)->id, "user_1");
}

TEST_F(ClerkClientTest, SaysWhenAnExternalIdIsTaken) {
    transport.answer(200, user_json("user_1", "cus_1"));
    EXPECT_TRUE(client.set_external_id("user_1", "cus_1", call));
    EXPECT_EQ(transport.requests.at(0).method, "PATCH");
    EXPECT_EQ(transport.requests.at(0).target, "/v1/users/user_1");
    transport.answer(422, error("form_identifier_exists"));
    EXPECT_FALSE(client.set_external_id("user_1", "cus_1", call));
}

TEST_F(ClerkClientTest, AddsACustomerToThoseThatAreThere) {
    transport.answer(
        200, user_json("user_1", "cus_1", "verified", R"({"stripe_customer_ids":["cus_2"]})"));
    transport.answer(200, user_json("user_1"));
    client.add_stripe_customer_id("user_1", "cus_3", call);
    EXPECT_EQ(transport.requests.at(1).target, "/v1/users/user_1/metadata");
    EXPECT_EQ(Json::parse(transport.requests.at(1).body),
              Json::parse(R"({"private_metadata":{"stripe_customer_ids":["cus_2","cus_3"]}})"));
    transport.answer(
        200, user_json("user_1", "cus_1", "verified", R"({"stripe_customer_ids":["cus_3"]})"));
    client.add_stripe_customer_id("user_1", "cus_3", call);
    EXPECT_EQ(transport.requests.size(), 3U) << "what stands is not written again";
}

TEST_F(ClerkClientTest, GivesUpOnClerksOwnNoAndQuotesNobody) {
    transport.answer(422, error("form_param_format_invalid"));
    try {
        client.create_user({.email = "ada@example.com"}, call);
        FAIL() << "nothing was thrown";
    } catch (const Refusal& refusal) {
        EXPECT_EQ(refusal.status(), 422);
        EXPECT_EQ(refusal.code(), "form_param_format_invalid");
        EXPECT_STREQ(refusal.what(),
                     "Clerk refused to create the account: 422 form_param_format_invalid on "
                     "email_address (request trace_1)");
    }
    for (const auto& [status, code] : std::map<int, std::string>{
             {400, "bad_request"}, {402, "x"}, {403, "not_allowed_access"}}) {
        transport.answer(status, error(code));
        EXPECT_THROW(client.create_user({.email = "a@b"}, call), Refusal) << status;
    }
}

TEST_F(ClerkClientTest, TriesAgainWhatMayPass) {
    struct Case {
        int status;
        std::string body, code;
        Outcome outcome;
    };
    for (const Case& expected : std::vector<Case>{
             {401, error("clerk_key_invalid"), "provider_key_rejected", Outcome::refused},
             {403, error("authorization_invalid"), "provider_key_rejected", Outcome::refused},
             {409, error("conflict"), "conflict", Outcome::refused},
             {429, error("too_many_requests"), "rate_limited", Outcome::refused},
             {500, error("internal_clerk_error"), "http_500", Outcome::unknown},
             {503, "", "http_503", Outcome::unknown},
             {422, "<html>", "http_422", Outcome::unknown},
             {200, "not JSON", "bad_reply", Outcome::unknown},
             {200, "{}", "bad_reply", Outcome::unknown}}) {
        transport.answer(expected.status, expected.body, {{"Retry-After", "3"}});
        const auto details = retryable([&] { client.create_user({.email = "a@b"}, call); });
        EXPECT_EQ(details.code, expected.code) << expected.status;
        EXPECT_EQ(details.outcome, expected.outcome) << expected.status;
        EXPECT_FALSE(details.remembered) << "Clerk stores no answers";
        EXPECT_EQ(details.retry_after.value_or(Ms(0)), expected.status == 200 ? Ms(0) : Ms(3000));
    }
    transport.answer(200, R"({"data":[]})");
    EXPECT_EQ(retryable([&] { client.find_by_email("a@b", call); }).code, "bad_reply");
}

TEST_F(ClerkClientTest, LooksManyUpInAFewRequests) {
    std::vector<std::string> customers = {"no id", "+cus_include"};
    for (int i = 0; i < 60; ++i) customers.push_back("cus_" + std::to_string(i));
    transport.answer(200, "[" + user_json("user_1", "cus_1") + "]");
    transport.answer(200, "[" + user_json("user_2", "cus_59") + "]");
    const auto users = client.find_all_by_external_id(customers, call);
    ASSERT_EQ(users.size(), 2U);
    EXPECT_EQ(users[1].external_id, "cus_59");
    ASSERT_EQ(transport.requests.size(), 2U);
    EXPECT_EQ(transport.requests[0].target.substr(0, 50),
              "/v1/users?limit=500&external_id=cus_0&external_id=");
    EXPECT_EQ(transport.requests[0].target.find("include"), std::string::npos);

    transport.answer(200, "[]");
    client.find_all_by_email({"", "Ada+x@Example.com"}, call);
    EXPECT_EQ(transport.requests.at(2).target,
              "/v1/users?limit=500&email_address=ada%2Bx%40example.com");
    EXPECT_TRUE(client.find_all_by_id({}, call).empty());
    EXPECT_EQ(transport.requests.size(), 3U) << "nobody was asked for";
}

}  // namespace
}  // namespace steplog::steps
