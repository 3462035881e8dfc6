// What the stand-ins answer, held against the providers' own schemas in tests/data/sandbox/.
#include "tests/sandbox/schema.h"

#include <gmock/gmock.h>

#include "tests/sandbox/client.h"

namespace steplog::sandbox {
namespace {

using ::testing::IsEmpty;

TEST(Schemas, ClerkAnswersAsItsOpenApiFileSays) {
    const Schemas schemas(read_json("tests/data/sandbox/clerk.schemas.json"));
    Client client;
    Json body = new_user("ada@example.com", "cus_1");
    body.update(Json{{"first_name", "Ada"}, {"last_name", "Lovelace"}});
    const auto user = client.clerk("POST", "/v1/users", body);
    EXPECT_THAT(schemas.faults("User", user.body), IsEmpty());
    client.sandbox.add_user({.email = "eve@example.com", .verified = false});
    const auto list = client.clerk("GET", "/v1/users");
    ASSERT_EQ(list.body.size(), 2u);
    for (const Json& one : list.body) EXPECT_THAT(schemas.faults("User", one), IsEmpty());
    EXPECT_THAT(schemas.faults("TotalCount", client.clerk("GET", "/v1/users/count").body),
                IsEmpty());
    const auto taken = client.clerk("POST", "/v1/users", body);
    EXPECT_THAT(schemas.faults("ClerkErrors", taken.body), IsEmpty());
    const std::string id = string_at(user.body, "id");
    const auto token = client.clerk("POST", "/v1/sign_in_tokens", {{"user_id", id}});
    EXPECT_THAT(schemas.faults("SignInToken", token.body), IsEmpty());
    const auto invitation =
        client.clerk("POST", "/v1/invitations", {{"email_address", "new@example.com"}});
    EXPECT_THAT(schemas.faults("Invitation", invitation.body), IsEmpty());
    const auto deleted = client.clerk("DELETE", "/v1/users/" + id);
    EXPECT_THAT(schemas.faults("DeletedObject", deleted.body), IsEmpty());
}

TEST(Schemas, StripeObjectsHaveEveryRequiredField) {
    const Schemas schemas(read_json("tests/data/sandbox/stripe.schemas.json"));
    Client client;
    for (const PurchaseOptions& options :
         {PurchaseOptions{}, PurchaseOptions{.guest = true}, PurchaseOptions{.trialing = true},
          PurchaseOptions{.email = std::nullopt, .name = std::nullopt}}) {
        const Purchase bought = client.sandbox.purchase(options);
        for (const Event& event : bought.events) {
            const Json json = event_json(event);
            EXPECT_THAT(schemas.faults("event", json), IsEmpty()) << event.type;
            const Json& object = json.at("data").at("object");
            EXPECT_THAT(schemas.faults(string_at(object, "object"), object), IsEmpty())
                << event.type;
        }
    }
    const auto made = client.stripe("POST", "/v1/customers", "name=A");
    EXPECT_THAT(schemas.faults("customer", made.body), IsEmpty());
}

TEST(Schemas, ResendShowsEmailsAsItsOpenApiFileSays) {
    const Schemas schemas(read_json("tests/data/sandbox/resend.schemas.json"));
    Client client;
    const auto sent = client.resend(
        "POST", "/emails",
        {{"from", "a@b.co"}, {"to", {"c@d.co"}}, {"subject", "Hi"}, {"html", "<p>Hi</p>"}});
    EXPECT_THAT(schemas.faults("SendEmailResponse", sent.body), IsEmpty());
    const auto shown = client.resend("GET", "/emails/" + string_at(sent.body, "id"));
    EXPECT_THAT(schemas.faults("Email", shown.body), IsEmpty());
}

TEST(Schemas, CatchAMissingFieldAndAWrongType) {
    const Schemas schemas(read_json("tests/data/sandbox/clerk.schemas.json"));
    Client client;
    Json user = client.clerk("POST", "/v1/users", new_user("ada@example.com")).body;
    user.erase("created_at");
    user["banned"] = "no";
    EXPECT_EQ(schemas.faults("User", user).size(), 2u);
}

}  // namespace
}  // namespace steplog::sandbox
