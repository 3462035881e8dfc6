// The admin API: who is let in, what is refused, and what an operator can see and do.
#include "server/admin.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/server/admin_world.h"

namespace steplog::server {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using Query = std::multimap<std::string, std::string>;

std::string header(const Answer& answer, const std::string& name) {
    for (const auto& [its_name, value] : answer.headers)
        if (its_name == name) return value;
    return "";
}

class AdminApiTest : public AdminWorld {
  protected:
    /// A customer without an address: its instance is stuck, `no_email`.
    std::string stuck_instance() {
        const auto purchase = world.purchase({.email = std::nullopt});
        const std::string id = accept(body_of(purchase, "checkout.session.completed"));
        run();
        EXPECT_EQ(state(id), "stuck");
        return id;
    }
    /// A purchase whose instance waits for its next attempt.
    std::string sleeping_instance() {
        world.add_fault({.kind = sandbox::FaultKind::status, .provider = {}, .status = 503});
        const std::string id = accept(body_of(world.purchase(), "checkout.session.completed"));
        engine->run_until_idle();
        EXPECT_EQ(state(id), "sleeping");
        return id;
    }
};

TEST_F(AdminApiTest, LetsInWhoeverHasAKeyAndNobodyElse) {
    for (const auto& right :
         {"Bearer " + admin_key, "bearer " + admin_key, "Bearer " + other_admin_key}) {
        AdminRequest request = get("/api/admin/instances");
        request.authorization = right;
        EXPECT_EQ(api->answer(request).status, 200) << right;
    }
    std::string first;
    for (const std::string wrong :
         {"", "Bearer", "Bearer ", "Bearer wrong", "Basic YWRtaW46", "ambiguous", admin_key.c_str(),
          "Bearer an-admin-key-for-test", "Bearer an-admin-key-for-tests2"}) {
        for (AdminRequest request : {get("/api/admin/instances"), get("/api/admin/nothing"),
                                     post("/api/admin/instances/x/resume")}) {
            request.authorization = wrong;
            clock.advance(std::chrono::minutes(10));
            const Answer answer = api->answer(request);
            EXPECT_EQ(answer.status, 401) << wrong;
            EXPECT_EQ(header(answer, "WWW-Authenticate"), "Bearer");
            if (first.empty()) first = answer.body;
            EXPECT_EQ(answer.body, first) << wrong;
        }
    }
    EXPECT_THAT(logged, Not(HasSubstr("an-admin-key")));
}

TEST_F(AdminApiTest, TakesTheKeyFromTheBodyOnOneRouteOnly) {
    AdminRequest request =
        post("/api/admin/fix-missing-clerk-accounts", {{"dryRun", "true"}, {"limit", "10"}},
             R"({"adminKey":")" + admin_key + R"("})");
    request.authorization = "";
    EXPECT_EQ(api->answer(request).status, 200);
    AdminRequest with_wrong_header = request;
    with_wrong_header.authorization = "Bearer wrong";
    EXPECT_EQ(api->answer(with_wrong_header).status, 401);
    for (const std::string body :
         {R"({"adminKey":"wrong"})", R"({"adminKey":1})", R"({"adminKey":null})", "[]", "{",
          R"({"adminkey":"an-admin-key-for-tests"})",
          R"({"adminKey":"an-admin-key-for-tests","adminKey":"an-admin-key-for-tests"})"}) {
        AdminRequest wrong = request;
        wrong.body = body;
        EXPECT_EQ(api->answer(wrong).status, 401) << body;
    }
    AdminRequest elsewhere = post("/api/admin/instances/x/cancel", {}, request.body);
    elsewhere.authorization = "";
    EXPECT_EQ(api->answer(elsewhere).status, 401);
    AdminRequest in_query = get("/api/admin/instances", {{"adminKey", admin_key}});
    in_query.authorization = "";
    EXPECT_EQ(api->answer(in_query).status, 401);
}

TEST_F(AdminApiTest, LimitsWrongKeysByAddressAndNeverARightOne) {
    AdminRequest wrong = get("/api/admin/instances");
    wrong.authorization = "Bearer wrong";
    wrong.address = "127.0.0.1";
    for (int i = 0; i < 20; ++i) EXPECT_EQ(api->answer(wrong).status, 401) << i;
    const Answer limited = api->answer(wrong);
    EXPECT_EQ(limited.status, 429);
    EXPECT_EQ(header(limited, "Retry-After"), "6");
    AdminRequest right = get("/api/admin/instances");
    right.address = wrong.address;
    EXPECT_EQ(api->answer(right).status, 200);
    wrong.address = "192.0.2.7";
    EXPECT_EQ(api->answer(wrong).status, 401);
    wrong.address = "127.0.0.1";
    clock.advance(Ms(6000));
    EXPECT_EQ(api->answer(wrong).status, 401);
}

TEST_F(AdminApiTest, LimitsChangesByKeyAndLooksNever) {
    const std::string id = stuck_instance();
    const std::string path = "/api/admin/instances/" + id;
    ask(post(path + "/resume"), 200);
    for (int i = 0; i < 9; ++i) ask(post(path + "/resume"), 409);
    const Answer limited = api->answer(post(path + "/resume"));
    EXPECT_EQ(limited.status, 429);
    EXPECT_EQ(header(limited, "Retry-After"), "6");
    for (int i = 0; i < 30; ++i) ask(get(path), 200);
    AdminRequest other = post(path + "/resume");
    other.authorization = "Bearer " + other_admin_key;
    EXPECT_EQ(api->answer(other).status, 409);
    ask(post("/api/admin/instances/unknown/resume"), 404);
    clock.advance(Ms(6000));
    ask(post(path + "/cancel"), 200);
}

TEST_F(AdminApiTest, TellsBrowsersAndCachesToKeepOff) {
    AdminRequest nobody = get("/api/admin/instances");
    nobody.authorization = "";
    for (const AdminRequest& request :
         {get("/api/admin/instances"), get("/api/admin/instances/x"), nobody}) {
        const Answer answer = api->answer(request);
        EXPECT_THAT(header(answer, "Content-Security-Policy"), HasSubstr("default-src 'none'"));
        EXPECT_EQ(header(answer, "X-Content-Type-Options"), "nosniff");
        EXPECT_EQ(header(answer, "Referrer-Policy"), "no-referrer");
        EXPECT_EQ(header(answer, "Cross-Origin-Opener-Policy"), "same-origin");
        EXPECT_EQ(header(answer, "Cross-Origin-Resource-Policy"), "same-origin");
        EXPECT_EQ(header(answer, "Cache-Control"), "no-store");
        EXPECT_EQ(header(answer, "Strict-Transport-Security"), "");
    }
    EXPECT_EQ(header(AdminGuard({.keys = {}, .https = true}, clock, log).dress({}),
                     "Strict-Transport-Security"),
              "max-age=31536000");
}

TEST_F(AdminApiTest, ListsWhatIsAskedFor) {
    const std::string stuck = stuck_instance();
    const std::string sleeping = sleeping_instance();
    EXPECT_EQ(ask(get("/api/admin/instances"), 200).size(), 2u);
    const Json found =
        ask(get("/api/admin/instances",
                {{"state", "stuck"}, {"workflow", "provision_customer"}, {"limit", "1000000"}}),
            200);
    ASSERT_EQ(found.size(), 1u);
    EXPECT_EQ(found[0]["id"], stuck);
    for (const char* name : {"id", "workflow", "version", "state", "key", "step", "attempts",
                             "error", "created_at", "updated_at", "due_at", "finished_at"})
        EXPECT_TRUE(found[0].contains(name)) << name;
    EXPECT_EQ(ask(get("/api/admin/instances", {{"limit", "1"}}), 200).size(), 1u);
    EXPECT_EQ(ask(get("/api/admin/instances", {{"workflow", "other"}}), 200).size(), 0u);
    EXPECT_EQ(ask(get("/api/admin/instances", {{"older_than", "1d"}}), 200).size(), 0u);
    EXPECT_EQ(ask(get("/api/admin/instances", {{"error_code", "no_email"}}), 200).size(), 1u);
}

TEST_F(AdminApiTest, RefusesParametersThatItDoesNotUnderstand) {
    const std::vector<std::string> limits = {"-1",
                                             "0",
                                             "1e9",
                                             "abc",
                                             "",
                                             "1.5",
                                             " 5",
                                             "+5",
                                             "5 ",
                                             "0x10",
                                             "1000001",
                                             "1000000000",
                                             "99999999999999999999",
                                             std::string(1, '\0')};
    for (const std::string& limit : limits) {
        for (AdminRequest request : {get("/api/admin/instances", {{"limit", limit}}),
                                     post("/api/admin/fix-missing-clerk-accounts",
                                          {{"dryRun", "true"}, {"limit", limit}})})
            ask(request, 400);
    }
    for (const Query& query :
         {Query{{"state", "broken"}}, Query{{"state", ""}}, Query{{"older_than", "1"}},
          Query{{"limit", "1"}, {"limit", "2"}}, Query{{"colour", "<svg onload=x>"}}}) {
        const Answer answer = api->answer(get("/api/admin/instances", query));
        EXPECT_EQ(answer.status, 400);
        EXPECT_THAT(answer.body, Not(HasSubstr("svg")));
    }
    // A misspelt dryRun must not become a real run.
    for (const Query& query : {Query{{"dryrun", "true"}}, Query{{"dryRun", "yes"}},
                               Query{{"dryRun", "1"}}, Query{{"dry_run", "true"}}})
        ask(post("/api/admin/fix-missing-clerk-accounts", query), 400);
    ask(post("/api/admin/fix-missing-clerk-accounts", {}, R"({"dryRun":true})"), 400);
    EXPECT_EQ(sql("SELECT count(*) FROM instances"), "0");
}

TEST_F(AdminApiTest, ShowsAnInstanceByWhateverMeansIt) {
    const std::string id = stuck_instance();
    const std::string event = id.substr(id.find('/') + 1);
    for (const std::string& given : {id, event, id.substr(0, 20)}) {
        const Json shown = ask(get("/api/admin/instances/" + given), 200);
        EXPECT_EQ(shown["id"], id);
        EXPECT_EQ(shown["state"], "stuck");
        EXPECT_TRUE(shown["log"].is_array());
        EXPECT_TRUE(shown.contains("input") && shown.contains("output"));
    }
}

TEST_F(AdminApiTest, HidesPeopleAsTheInspectorDoes) {
    world.add_fault({.kind = sandbox::FaultKind::status, .provider = {}, .status = 503});
    const std::string id = accept(
        body_of(world.purchase({.email = "grace@example.org"}), "checkout.session.completed"));
    engine->run_until_idle();
    const Answer answer = api->answer(get("/api/admin/instances/" + id));
    EXPECT_EQ(answer.status, 200);
    EXPECT_THAT(answer.body, Not(HasSubstr("grace@")));
    EXPECT_THAT(answer.body, HasSubstr("g***@example.org"));
}

TEST_F(AdminApiTest, FindsNothingUnderWhatIsNoId) {
    stuck_instance();
    stuck_instance();
    const std::string bad[] = {"x",
                               "' OR 1=1",
                               "<svg onload=alert(1)>",
                               std::string(1900, 'a'),
                               "provision_customer/evt_none",
                               "%",
                               "_",
                               "\xc3\xa9",
                               "a/b/c/d"};
    for (const std::string& id : bad) {
        for (const AdminRequest& request :
             {get("/api/admin/instances/" + id), post("/api/admin/instances/" + id + "/resume"),
              post("/api/admin/instances/" + id + "/cancel")}) {
            const Answer answer = api->answer(request);
            EXPECT_TRUE(answer.status == 404 || answer.status == 400) << id << answer.status;
            EXPECT_THAT(answer.body, Not(HasSubstr("svg")));
            EXPECT_THAT(answer.body, Not(HasSubstr("OR 1")));
        }
    }
    ask(get("/api/admin/instances/provision_customer"), 400);  // fits both
    ask(post("/api/admin/instances/provision_customer/cancel"), 400);
    ask(get("/api/admin/instances/"), 404);
    ask(get("/api/admin"), 404);
    ask(get("/api/admin/"), 404);
    EXPECT_EQ(sql("SELECT count(*) FROM instances WHERE state='stuck'"), "2");
}

TEST_F(AdminApiTest, TakesEachPathByItsMethodOnly) {
    const std::string id = stuck_instance();
    ask(post("/api/admin/instances"), 405);
    ask(post("/api/admin/instances/" + id), 405);
    ask(get("/api/admin/instances/" + id + "/resume"), 405);
    ask(get("/api/admin/instances/" + id + "/cancel"), 405);
    ask(get("/api/admin/fix-missing-clerk-accounts"), 405);
    EXPECT_EQ(header(api->answer(get("/api/admin/fix-missing-clerk-accounts")), "Allow"), "POST");
    EXPECT_EQ(state(id), "stuck");
}

TEST_F(AdminApiTest, ResumesWhatIsStuckOnce) {
    const std::string id = stuck_instance();
    const Json resumed = ask(post("/api/admin/instances/" + id + "/resume"), 200);
    EXPECT_EQ(resumed, Json({{"resumed", 1}, {"ids", {id}}, {"skipped", Json::array()}}));
    EXPECT_EQ(state(id), "pending");
    EXPECT_EQ(sql("SELECT actor||' '||action||' '||target FROM audit"), "admin-api resume " + id);
    EXPECT_THAT(ask(post("/api/admin/instances/" + id + "/resume"), 409)["error"].dump(),
                HasSubstr("pending"));
    ask(post("/api/admin/instances/" + id + "/resume", {}, R"({"x":1})"), 400);
    ask(post("/api/admin/instances/" + id + "/resume", {{"force", "true"}}), 400);
    EXPECT_EQ(sql("SELECT count(*) FROM audit"), "1");
}

TEST_F(AdminApiTest, CancelsWhatHasNotEnded) {
    const std::string id = sleeping_instance();
    const std::string event = id.substr(id.find('/') + 1);
    ask(post("/api/admin/instances/" + id + "/cancel", {}, R"({"reason":1})"), 400);
    ask(post("/api/admin/instances/" + id + "/cancel", {}, R"({"why":"x"})"), 400);
    const Json cancelled = ask(
        post("/api/admin/instances/" + event + "/cancel", {}, R"({"reason":"was refunded"})"), 200);
    EXPECT_EQ(cancelled, Json({{"cancelled", 1},
                               {"ids", {id}},
                               {"requested", Json::array()},
                               {"skipped", Json::array()}}));
    EXPECT_EQ(state(id), "cancelled");
    EXPECT_THAT(ask(post("/api/admin/instances/" + id + "/cancel"), 409)["error"].dump(),
                HasSubstr("it has ended"));
    ask(post("/api/admin/instances/" + id + "/resume"), 409);
    EXPECT_THAT(sql("SELECT actor||' '||action||detail FROM audit"), HasSubstr("admin-api cancel"));
    EXPECT_THAT(ask(get("/api/admin/instances/" + id), 200)["why"].dump(),
                HasSubstr("by admin-api while it was sleeping (http_503): was refunded"));
}

}  // namespace
}  // namespace steplog::server
