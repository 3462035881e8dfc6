// The dashboard: who is signed in, what a session may do, and what the page consists of.
#include "server/dashboard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/server/dashboard_world.h"

namespace steplog::server {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

using DashboardTest = DashboardWorld;

TEST_F(DashboardTest, SignsInWithAKeyAndGivesACookieThatNoScriptReads) {
    const Answer answer = dashboard.answer(login(admin_key));
    EXPECT_EQ(answer.status, 200);
    EXPECT_THAT(value_of(answer, "Set-Cookie"),
                ::testing::MatchesRegex("steplog_session=[0-9a-f]+; Path=/; Max-Age=43200; "
                                        "HttpOnly; SameSite=Strict"));
    EXPECT_THAT(value_of(answer, "Cache-Control"), "no-store");
    EXPECT_THAT(answer.body, Not(HasSubstr(admin_key)));
    EXPECT_THAT(logged, Not(HasSubstr(admin_key)));
    EXPECT_EQ(dashboard.answer(login(other_admin_key)).status, 200);
}

TEST_F(DashboardTest, KeepsTheCookieToHttpsWhereThePageCameByIt) {
    AdminRequest behind_a_proxy = login(admin_key);
    behind_a_proxy.browser.forwarded_proto = "https";
    EXPECT_THAT(value_of(dashboard.answer(behind_a_proxy), "Set-Cookie"), HasSubstr("; Secure"));
    Dashboard by_tls(guard, sessions, true, log);
    EXPECT_THAT(value_of(by_tls.answer(login(admin_key)), "Set-Cookie"), HasSubstr("; Secure"));
}

TEST_F(DashboardTest, LimitsWrongKeysTogetherWithTheAdminApi) {
    for (const std::string body :
         {R"({"key":"wrong"})", R"({"key":1})", R"({"key":""})", "[]", "{", "",
          R"({"key":"an-admin-key-for-tests","more":1})",
          R"({"key":"an-admin-key-for-tests","key":"an-admin-key-for-tests"})"}) {
        const Answer answer = dashboard.answer(plain("POST", "/dashboard/login", body));
        EXPECT_EQ(answer.status, 401) << body;
        EXPECT_EQ(value_of(answer, "Set-Cookie"), "");
    }
    for (int i = 8; i < 20; ++i)
        EXPECT_EQ(api->answer(plain("GET", "/api/admin/instances")).status, 401);
    EXPECT_EQ(dashboard.answer(login("wrong")).status, 429);
    EXPECT_EQ(dashboard.answer(login(admin_key)).status, 200);
}

TEST_F(DashboardTest, TakesNoKeyFromAnotherSitesPage) {
    const std::vector<std::pair<BrowserSaid, int>> cases = {
        {{.fetch_site = "same-origin"}, 200},
        {{.fetch_site = "cross-site"}, 403},
        {{.fetch_site = "same-site"}, 403},
        {{.origin = "https://a.example", .host = "a.example"}, 200},
        {{.origin = "https://a.example:8443", .host = "A.example:8443"}, 200},
        {{.origin = "https://b.example", .host = "a.example"}, 403},
        {{.origin = "null", .host = "a.example"}, 403},
        {{.origin = "http://", .host = ""}, 403}};
    for (const auto& [browser, status] : cases) {
        AdminRequest request = login(admin_key);
        request.browser = browser;
        EXPECT_EQ(dashboard.answer(request).status, status) << browser.origin << browser.fetch_site;
    }
}

TEST_F(DashboardTest, LetsASessionLookAndChangeOnlyWithItsToken) {
    const std::string id = stuck_one();
    const std::string resume = "/api/admin/instances/" + id + "/resume";
    const BrowserSaid browser = sign_in();
    EXPECT_EQ(look(browser), 200);
    EXPECT_EQ(status("GET", "/api/admin/overview", browser), 200);
    const auto without = [&](auto change) {
        BrowserSaid other = browser;
        change(other);
        return status("POST", resume, other);
    };
    EXPECT_EQ(without([](auto& other) { other.csrf = ""; }), 403);
    EXPECT_EQ(without([](auto& other) { other.csrf.back() ^= 1; }), 403);
    EXPECT_EQ(without([](auto& other) { other.fetch_site = "cross-site"; }), 403);
    EXPECT_EQ(without([](auto& other) { other.cookie = ""; }), 401);
    EXPECT_EQ(without([&](auto& other) { other.csrf = sign_in().csrf; }), 403);
    EXPECT_EQ(state(id), "stuck");
    EXPECT_EQ(status("POST", resume, browser), 200);
    EXPECT_EQ(sql("SELECT actor FROM audit ORDER BY seq DESC"), "dashboard");
}

TEST_F(DashboardTest, EndsASession) {
    const BrowserSaid idle = sign_in();
    clock.advance(std::chrono::minutes(59));
    EXPECT_EQ(look(idle), 200);
    clock.advance(std::chrono::minutes(60));
    EXPECT_EQ(look(idle), 401);

    const BrowserSaid busy = sign_in();
    for (int i = 0; i < 14; ++i) {
        EXPECT_EQ(look(busy), 200) << i;
        clock.advance(std::chrono::minutes(50));
    }
    clock.advance(std::chrono::minutes(20));
    EXPECT_EQ(look(busy), 401);

    const BrowserSaid leaving = sign_in();
    AdminRequest logout = plain("POST", "/dashboard/logout");
    logout.browser = leaving;
    logout.browser.csrf = "";
    EXPECT_EQ(dashboard.answer(logout).status, 403);
    EXPECT_EQ(look(leaving), 200);
    logout.browser = leaving;
    const Answer left = dashboard.answer(logout);
    EXPECT_EQ(left.status, 200);
    EXPECT_THAT(value_of(left, "Set-Cookie"), StartsWith("steplog_session=; Path=/; Max-Age=0;"));
    EXPECT_EQ(look(leaving), 401);
}

TEST_F(DashboardTest, TakesOneCookieOfItsNameOnly) {
    const BrowserSaid browser = sign_in();
    BrowserSaid among = browser;
    among.cookie = "a=b; " + browser.cookie + "; c=d";
    EXPECT_EQ(look(among), 200);
    for (const std::string& cookie :
         {browser.cookie + "; " + browser.cookie, "steplog_session=; " + browser.cookie + "x",
          std::string("steplog_session"), "x" + browser.cookie,
          std::string("steplog_session=%00")}) {
        BrowserSaid other = browser;
        other.cookie = cookie;
        EXPECT_EQ(look(other), 401) << cookie;
    }
}

TEST_F(DashboardTest, KeepsABoundedNumberOfSessions) {
    const BrowserSaid first = sign_in();
    clock.advance(Ms(1));
    const BrowserSaid second = sign_in();
    for (std::size_t i = 2; i <= AdminSessions::sessions_max; ++i) {
        clock.advance(Ms(1));
        sign_in();
    }
    EXPECT_EQ(look(first), 401);
    EXPECT_EQ(look(second), 200);
}

TEST_F(DashboardTest, TellsAPageOfItsOwnWhetherItIsSignedIn) {
    AdminRequest request = plain("GET", "/dashboard/session");
    EXPECT_EQ(Json::parse(dashboard.answer(request).body), Json({{"signed_in", false}}));
    request.browser = sign_in();
    const Json said = Json::parse(dashboard.answer(request).body);
    EXPECT_EQ(said, Json({{"signed_in", true}, {"csrf", request.browser.csrf}}));
}

TEST_F(DashboardTest, ServesThePageAndNothingElseToAnybody) {
    for (const auto& [path, type] :
         std::map<std::string, std::string>{{"/dashboard", "text/html"},
                                            {"/dashboard/", "text/html"},
                                            {"/dashboard/app.js", "text/javascript"},
                                            {"/dashboard/overview.js", "text/javascript"},
                                            {"/dashboard/app.css", "text/css"},
                                            {"/dashboard/errors.json", "application/json"}}) {
        const Answer answer = dashboard.answer(plain("GET", path));
        EXPECT_EQ(answer.status, 200) << path;
        EXPECT_THAT(answer.type, StartsWith(type)) << path;
        EXPECT_FALSE(answer.body.empty()) << path;
        EXPECT_EQ(value_of(answer, "Content-Security-Policy"),
                  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
                  "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri "
                  "'none'");
        EXPECT_EQ(value_of(answer, "X-Content-Type-Options"), "nosniff");
        EXPECT_EQ(value_of(answer, "Referrer-Policy"), "no-referrer");
        EXPECT_EQ(value_of(answer, "Cache-Control"), "no-store");
        EXPECT_EQ(dashboard.answer(plain("POST", path)).status, 405) << path;
    }
    for (const std::string path : {"/dashboard/x", "/dashboard/error_codes.md", "/dashboard//",
                                   "/dashboard/app.js/", "/dashboard/../admin.cc"})
        EXPECT_EQ(dashboard.answer(plain("GET", path)).status, 404) << path;
    EXPECT_EQ(dashboard.answer(plain("GET", "/dashboard/login")).status, 405);
}

TEST_F(DashboardTest, HasNoScriptAndNoStyleWithinThePage) {
    const std::string page = dashboard.answer(plain("GET", "/dashboard")).body;
    for (const std::string inline_part : {"<style", " style=", " onclick", " onload", "http://"})
        EXPECT_TRUE(page.find(inline_part) == std::string::npos ||
                    page.find("http://www.w3.org/2000/svg") == page.find(inline_part))
            << inline_part;
    for (const DashboardAsset& asset : dashboard_assets()) {
        if (!asset.name.ends_with(".js")) continue;
        for (const std::string way : {"innerHTML", "outerHTML", "insertAdjacentHTML",
                                      "document.write", "eval(", "new Function"})
            EXPECT_THAT(std::string(asset.content), Not(HasSubstr(way))) << asset.name;
    }
}

TEST_F(DashboardTest, KnowsTheParagraphsOfErrorCodes) {
    const Json help = Json::parse(error_help());
    EXPECT_GT(help.size(), 20U);
    EXPECT_THAT(help["in_doubt"].get<std::string>(), HasSubstr("Look at the provider."));
    EXPECT_THAT(help["decided"].get<std::string>(), Not(HasSubstr("##")));
}

}  // namespace
}  // namespace steplog::server
