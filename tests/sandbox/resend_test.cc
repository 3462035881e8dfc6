// The Resend stand-in against what Resend documents.
#include "tests/sandbox/client.h"

namespace steplog::sandbox {
namespace {

Json welcome(const std::string& to = "ada@example.com") {
    return {{"from", "Acme <hello@acme.dev>"}, {"to", to}, {"subject", "Welcome"}, {"text", "Hi"}};
}

TEST(Resend, AcceptsAnEmailAndShowsIt) {
    Client client;
    const auto sent = client.resend("POST", "/emails", welcome());
    EXPECT_EQ(sent.status, 200);
    const auto shown = client.resend("GET", "/emails/" + string_at(sent.body, "id"));
    EXPECT_EQ(shown.body.at("to"), Json::array({"ada@example.com"}));
    EXPECT_EQ(shown.body.at("last_event"), "delivered");
    EXPECT_EQ(client.resend("GET", "/emails/nothing").status, 404);
}

TEST(Resend, SendsOnceUnderAKeyForADay) {
    Client client;
    const steps::Headers key = {{"Idempotency-Key", "welcome-email/user_1"}};
    const auto first = client.resend("POST", "/emails", welcome(), key);
    EXPECT_EQ(client.resend("POST", "/emails", welcome(), key).body, first.body);
    EXPECT_EQ(client.sandbox.emails().size(), 1u);
    const auto other = client.resend("POST", "/emails", welcome("eve@example.com"), key);
    EXPECT_EQ(other.status, 409);
    EXPECT_EQ(other.body.at("name"), "invalid_idempotent_request");
    client.clock.advance(std::chrono::hours(24));
    EXPECT_NE(client.resend("POST", "/emails", welcome(), key).body, first.body);
    EXPECT_EQ(client.sandbox.effects().at("welcome-email/user_1"), 2);
}

TEST(Resend, RefusesAKeyThatIsInUse) {
    Client client;
    const SandboxRequest request{
        .method = "POST",
        .target = "/emails",
        .headers = {{"Authorization", "Bearer re_x"}, {"Idempotency-Key", "k"}},
        .body = to_text(welcome())};
    const Exchange first = client.sandbox.exchange(request);
    const Exchange second = client.sandbox.exchange(request);
    EXPECT_EQ(second.reply.status, 409);
    EXPECT_NE(second.reply.body.find("concurrent_idempotent_requests"), std::string::npos);
    client.sandbox.finish(first);
    client.sandbox.finish(second);
}

TEST(Resend, SaysWhatIsMissing) {
    Client client;
    for (const char* field : {"from", "to", "subject", "text"}) {
        Json email = welcome();
        email.erase(field);
        const auto refused = client.resend("POST", "/emails", email, {{"Idempotency-Key", "k"}});
        EXPECT_EQ(refused.status, 422) << field;
        EXPECT_EQ(refused.body.at("name"), "missing_required_field") << field;
        EXPECT_EQ(refused.body.at("statusCode"), 422);
    }
    EXPECT_EQ(client.resend("POST", "/emails", welcome(), {{"Idempotency-Key", "k"}}).status, 200)
        << "what failed validation is not kept";
    EXPECT_EQ(client.resend("POST", "/emails", welcome("nonsense")).status, 422);
    const auto no_key = client.resend("POST", "/emails", welcome(), {{"Authorization", "x"}});
    EXPECT_EQ(no_key.status, 401);
    EXPECT_EQ(no_key.body.at("name"), "missing_api_key");
}

}  // namespace
}  // namespace steplog::sandbox
