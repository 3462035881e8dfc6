// The Clerk stand-in against what Clerk documents.
#include "tests/sandbox/client.h"

namespace steplog::sandbox {
namespace {

std::string code_of(const Answered& answer) {
    return answer.body.contains("errors") ? string_at(answer.body.at("errors")[0], "code") : "";
}

std::string param_of(const Answered& answer) {
    return string_at(answer.body.at("errors")[0].at("meta"), "param_name");
}

TEST(Clerk, CreatesAVerifiedUserWith200) {
    Client client;
    Json body = new_user("ada@example.com", "cus_1");
    body.update(
        Json{{"first_name", "Ada"}, {"private_metadata", {{"stripe_customer_id", "cus_1"}}}});
    const auto created = client.clerk("POST", "/v1/users", body);
    EXPECT_EQ(created.status, 200);
    const Json& address = created.body.at("email_addresses")[0];
    EXPECT_EQ(address.at("verification").at("status"), "verified");
    EXPECT_EQ(created.body.at("primary_email_address_id"), address.at("id"));
    EXPECT_EQ(created.body.at("external_id"), "cus_1");
    EXPECT_EQ(created.body.at("private_metadata").at("stripe_customer_id"), "cus_1");
    const auto found = client.clerk("GET", "/v1/users/" + string_at(created.body, "id"));
    EXPECT_EQ(found.body, created.body);
}

TEST(Clerk, RefusesATakenAddressAndATakenExternalId) {
    Client client;
    client.clerk("POST", "/v1/users", new_user("ada@example.com", "cus_1"));
    const auto same_email = client.clerk("POST", "/v1/users", new_user("ADA@example.com", "cus_2"));
    EXPECT_EQ(same_email.status, 422);
    EXPECT_EQ(code_of(same_email), "form_identifier_exists");
    EXPECT_EQ(param_of(same_email), "email_address");
    EXPECT_FALSE(string_at(same_email.body, "clerk_trace_id").empty());
    const auto same_id = client.clerk("POST", "/v1/users", new_user("eve@example.com", "cus_1"));
    EXPECT_EQ(same_id.status, 422);
    EXPECT_EQ(param_of(same_id), "external_id");
    EXPECT_EQ(client.sandbox.users().size(), 1u);
}

TEST(Clerk, ChecksWhatItIsGiven) {
    Client client;
    EXPECT_EQ(code_of(client.clerk("POST", "/v1/users", {{"email_address", {"a@b.co"}}})),
              "form_data_missing");
    EXPECT_EQ(code_of(client.clerk("POST", "/v1/users", {{"skip_password_requirement", true}})),
              "form_data_missing");
    EXPECT_EQ(code_of(client.clerk("POST", "/v1/users", new_user("nonsense"))),
              "form_param_format_invalid");
    Json unknown = new_user("a@b.co");
    unknown["color"] = "red";
    EXPECT_EQ(code_of(client.clerk("POST", "/v1/users", unknown)), "form_param_unknown");
    EXPECT_EQ(client.clerk("POST", "/v1/users", Json::array()).status, 400);
    EXPECT_EQ(client.clerk("GET", "/v1/users/user_nobody").status, 404);
    EXPECT_EQ(client.clerk("GET", "/v1/users?limit=501").status, 422);
    EXPECT_EQ(client.clerk("GET", "/v1/users", nullptr, {{"Authorization", "Bearer re_x"}}).status,
              401);
}

TEST(Clerk, FindsByAddressesAndExternalIds) {
    Client client;
    for (const char* name : {"a", "b", "c"}) {
        client.clerk("POST", "/v1/users",
                     new_user(std::string(name) + "+x@example.com", std::string("cus_") + name));
    }
    const auto ids = [&](const std::string& query) {
        std::string found;
        const auto answer = client.clerk("GET", "/v1/users?" + query);
        for (const Json& user : answer.body) found += string_at(user, "external_id").back();
        return found;
    };
    EXPECT_EQ(ids(""), "cba") << "newest first, a bare array";
    EXPECT_EQ(ids("email_address=a%2Bx%40example.com&email_address=C%2BX%40example.com"), "ca");
    EXPECT_EQ(ids("email_address=a+x%40example.com"), "") << "a bare plus is a blank";
    EXPECT_EQ(ids("external_id=cus_b"), "b");
    EXPECT_EQ(ids("external_id=%2Bcus_b"), "b");
    EXPECT_EQ(ids("external_id=-cus_b"), "ca") << "a leading minus excludes";
    EXPECT_EQ(ids("query=B%2BX"), "b");
    EXPECT_EQ(ids("limit=1&offset=1"), "b");
    EXPECT_EQ(client.clerk("GET", "/v1/users/count?external_id=-cus_b").body.at("total_count"), 2);
}

TEST(Clerk, MergesMetadataDeeplyAndRemovesNulls) {
    Client client;
    Json body = new_user("ada@example.com");
    body["private_metadata"] = {{"a", {{"x", 1}, {"y", 2}}}, {"old", 1}};
    const std::string path =
        "/v1/users/" + string_at(client.clerk("POST", "/v1/users", body).body, "id");
    const auto merged = client.clerk("PATCH", path + "/metadata",
                                     {{"private_metadata", {{"a", {{"y", 3}}}, {"old", nullptr}}}});
    EXPECT_EQ(merged.body.at("private_metadata"), (Json{{"a", {{"x", 1}, {"y", 3}}}}));
    const auto replaced =
        client.clerk("PUT", path + "/metadata", {{"private_metadata", {{"b", 1}}}});
    EXPECT_EQ(replaced.body.at("private_metadata"), (Json{{"b", 1}}));
    EXPECT_EQ(code_of(client.clerk("PATCH", path, {{"private_metadata", {{"c", 1}}}})),
              "form_param_unknown")
        << "since 2026-05-12 only /metadata takes it";
}

TEST(Clerk, ChangesAnExternalIdOnlyToAFreeOne) {
    Client client;
    client.clerk("POST", "/v1/users", new_user("ada@example.com", "cus_1"));
    const std::string path =
        "/v1/users/" +
        string_at(client.clerk("POST", "/v1/users", new_user("eve@example.com")).body, "id");
    EXPECT_EQ(client.clerk("PATCH", path, {{"external_id", "cus_1"}}).status, 422);
    EXPECT_EQ(client.clerk("PATCH", path, {{"external_id", "cus_2"}}).status, 200);
    EXPECT_EQ(client.clerk("GET", "/v1/users?external_id=cus_2").body.size(), 1u);
    EXPECT_EQ(client.clerk("PATCH", path, {{"external_id", "cus_3"}}).status, 200);
    EXPECT_EQ(client.clerk("GET", "/v1/users?external_id=cus_2").body.size(), 0u);
}

TEST(Clerk, DeletesAUserAndFreesItsNames) {
    Client client;
    const auto created = client.clerk("POST", "/v1/users", new_user("ada@example.com", "cus_1"));
    const auto deleted = client.clerk("DELETE", "/v1/users/" + string_at(created.body, "id"));
    EXPECT_EQ(deleted.body.at("deleted"), true);
    EXPECT_EQ(client.clerk("GET", "/v1/users").body.size(), 0u);
    EXPECT_EQ(client.clerk("POST", "/v1/users", new_user("ada@example.com", "cus_1")).status, 200);
}

TEST(Clerk, KnowsAddressesThatNobodyVerified) {
    Client client;
    client.sandbox.add_user({.email = "eve@example.com", .verified = false});
    const auto status = [&](const std::string& email) {
        const auto found = client.clerk("GET", "/v1/users?email_address=" + email);
        const Json& verification = found.body.at(0).at("email_addresses")[0].at("verification");
        return verification.is_null() ? "none" : string_at(verification, "status");
    };
    EXPECT_EQ(status("eve%40example.com"), "unverified");
    EXPECT_TRUE(client.sandbox.verify_email("eve@example.com"));
    EXPECT_EQ(status("eve%40example.com"), "verified");
    Json reserved = new_user("bob@example.com");
    reserved["email_address_identification_status"] = {"reserved"};
    client.clerk("POST", "/v1/users", reserved);
    EXPECT_EQ(status("bob%40example.com"), "none");
    EXPECT_THROW(client.sandbox.add_user({.email = "Bob@example.com"}), std::invalid_argument);
}

TEST(Clerk, InvitesOnceAndMakesSignInTokensForItsOwnUsers) {
    Client client;
    const Json invitation = {{"email_address", "new@example.com"}};
    EXPECT_EQ(client.clerk("POST", "/v1/invitations", invitation).status, 200);
    const auto again = client.clerk("POST", "/v1/invitations", invitation);
    EXPECT_EQ(again.status, 400);
    EXPECT_EQ(code_of(again), "duplicate_record");
    const std::string id = client.sandbox.add_user({.email = "ada@example.com"});
    EXPECT_EQ(client.clerk("POST", "/v1/sign_in_tokens", {{"user_id", id}}).body.at("user_id"), id);
    EXPECT_EQ(client.clerk("POST", "/v1/sign_in_tokens", {{"user_id", "user_x"}}).status, 404);
}

}  // namespace
}  // namespace steplog::sandbox
