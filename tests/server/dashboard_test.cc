// The dashboard: who is signed in, what a session may do, what the page consists of, and the
// figures and pages of the list behind it.
#include "server/dashboard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/server/admin_world.h"

namespace steplog::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

std::string value_of(const Answer& answer, const std::string& name) {
    for (const auto& [its_name, value] : answer.headers)
        if (its_name == name) return value;
    return "";
}

std::vector<std::string> ids_in(const Json& page) {
    std::vector<std::string> ids;
    for (const Json& one : page["instances"]) ids.push_back(one["id"]);
    return ids;
}

class DashboardTest : public AdminWorld {
  protected:
    DashboardTest() { reopen(); }
    void reopen() {
        begin();
        overview.emplace(database, clock);
        api.emplace(guard, *instances, *reconciliation, &sessions, &*overview);
    }
    /// As the built-in client of nobody: no key, no cookie, and no word about where it is.
    static AdminRequest plain(const std::string& method, const std::string& path,
                              const std::string& body = "") {
        return {.method = method,
                .path = path,
                .query = {},
                .authorization = "",
                .body = body,
                .address = "192.0.2.1"};
    }
    static AdminRequest login(const std::string& key) {
        return plain("POST", "/dashboard/login", Json({{"key", key}}).dump());
    }
    /// Signs in; what a request then carries.
    BrowserSaid sign_in() {
        const Answer answer = dashboard.answer(login(admin_key));
        EXPECT_EQ(answer.status, 200) << answer.body;
        const std::string cookie = value_of(answer, "Set-Cookie");
        return {.cookie = cookie.substr(0, cookie.find(';')),
                .csrf = Json::parse(answer.body, nullptr, false).value("csrf", ""),
                .fetch_site = "same-origin"};
    }
    int status(const std::string& method, const std::string& path, const BrowserSaid& browser) {
        AdminRequest request = plain(method, path);
        request.browser = browser;
        return api->answer(request).status;
    }
    int look(const BrowserSaid& browser) { return status("GET", "/api/admin/instances", browser); }
    Json browse(const std::multimap<std::string, std::string>& query) {
        return ask(get("/api/admin/browse", query), 200);
    }
    std::string stuck_one() {
        const std::string id =
            accept(body_of(world.purchase({.email = std::nullopt}), "checkout.session.completed"));
        run();
        EXPECT_EQ(state(id), "stuck");
        return id;
    }
    std::string completed_one() {
        const std::string id = accept(body_of(world.purchase(), "checkout.session.completed"));
        run();
        EXPECT_EQ(state(id), "completed");
        return id;
    }
    /// Finished instances that nobody ran, behind everything else.
    void load(int count) {
        api.reset();
        reconciliation.reset();
        instances.reset();
        engine.reset();
        store.reset();
        SQLite::Database file(database, SQLite::OPEN_READWRITE);
        SQLite::Statement insert(
            file,
            "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM numbers WHERE n<?1) "
            "INSERT INTO instances(id,workflow,version,state,log_hash,input_hash,created_at_ms,"
            "updated_at_ms,finished_at_ms) SELECT printf('old/%06d',n), 'old', 1, iif(n=7,'failed',"
            "'completed'), randomblob(32), randomblob(32), ?2-1000, ?2, ?2 FROM numbers");
        insert.bind(1, count);
        insert.bind(2, clock.now_ms());
        insert.exec();
        reopen();
    }

    AdminSessions sessions{clock};
    std::optional<AdminOverview> overview;
    Dashboard dashboard{guard, sessions, false, log};
};

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
    for (const std::string cookie :
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

TEST_F(DashboardTest, ShowsHowTheLastDayWent) {
    completed_one();
    const std::string stuck = stuck_one();
    const Json seen = ask(get("/api/admin/overview"), 200);
    EXPECT_EQ(seen["states"]["stuck"], 1);
    EXPECT_EQ(seen["recent"]["completed"], 1);
    EXPECT_EQ(seen["recent"]["failed"], 0);
    EXPECT_EQ(seen["recent"]["whole"], true);
    EXPECT_TRUE(seen["recent"]["took_ms_p50"].is_number());
    EXPECT_EQ(seen["workflows"][0]["workflow"], "provision_customer");
    EXPECT_EQ(seen["without_account"]["stuck"], 1);
    EXPECT_TRUE(seen["without_account"]["waiting_since"].is_string());
    EXPECT_EQ(seen["stuck"][0]["error_code"], "no_email");
    EXPECT_EQ(seen["heads"], Json({"provision_customer"}));
    EXPECT_EQ(seen["hours"].size(), 24U);
    std::int64_t ended = 0;
    for (const Json& hour : seen["hours"]) ended += hour["finished"].get<std::int64_t>();
    EXPECT_EQ(ended, 1);

    ask(post("/api/admin/instances/" + stuck + "/cancel"), 200);
    EXPECT_EQ(ask(get("/api/admin/overview"), 200), seen);  // looked up once a second
    clock.advance(Ms(1000));
    const Json later = ask(get("/api/admin/overview"), 200);
    EXPECT_EQ(later["recent"]["cancelled"], 1);
    EXPECT_EQ(later["without_account"]["stuck"], 0);
    clock.advance(std::chrono::hours(25));
    EXPECT_EQ(ask(get("/api/admin/overview"), 200)["recent"]["completed"], 0);
}

TEST_F(DashboardTest, CallsFiguresASampleWhereMoreHasEnded) {
    load(12'000);
    const Json seen = ask(get("/api/admin/overview"), 200);
    EXPECT_EQ(seen["recent"]["whole"], false);
    EXPECT_EQ(seen["recent"]["looked_at"], 10'000);
    EXPECT_EQ(seen["recent"]["took_ms_p95"], 1000);
    std::int64_t ended = 0;
    for (const Json& hour : seen["hours"]) ended += hour["finished"].get<std::int64_t>();
    EXPECT_EQ(ended, 12'000);
}

TEST_F(DashboardTest, PagesThroughTheList) {
    std::vector<std::string> newest_first;
    for (int i = 0; i < 5; ++i) newest_first.insert(newest_first.begin(), completed_one());
    std::vector<std::string> seen;
    Json next = nullptr;
    for (int pages = 0; pages < 3; ++pages) {
        std::multimap<std::string, std::string> query = {{"limit", "2"}};
        if (!next.is_null()) query.emplace("before", next.dump());
        const Json page = browse(query);
        for (const std::string& id : ids_in(page)) seen.push_back(id);
        next = page["next"];
    }
    EXPECT_EQ(seen, newest_first);
    EXPECT_TRUE(next.is_null());
    EXPECT_THAT(ids_in(browse({{"state", "failed"}})), IsEmpty());
    EXPECT_EQ(ids_in(browse({{"workflow", "provision_customer"}})), newest_first);
    EXPECT_THAT(ids_in(browse({{"older_than", "1h"}})), IsEmpty());
}

TEST_F(DashboardTest, FindsByIdKeyAndCustomer) {
    const std::string id = completed_one();
    completed_one();
    const std::string event = id.substr(id.find('/') + 1);
    const std::string customer = sql("SELECT subject FROM events WHERE id='" + event + "'");
    const std::string key = sql("SELECT key FROM instances WHERE id='" + id + "'");
    for (const std::string& text :
         {id, id.substr(0, id.size() - 2), event, event.substr(0, event.size() - 1),
          event.substr(event.size() - 5), customer, key})
        EXPECT_THAT(ids_in(browse({{"text", text}})), ElementsAre(id)) << text;
    EXPECT_EQ(ids_in(browse({{"text", "provision_customer/"}})).size(), 2U);
    EXPECT_THAT(ids_in(browse({{"text", event}, {"state", "stuck"}})), IsEmpty());
    EXPECT_THAT(ids_in(browse({{"text", "'; DROP TABLE instances"}})), IsEmpty());
    EXPECT_EQ(browse({{"text", "evt"}, {"limit", "1"}})["cut"], true);
}

TEST_F(DashboardTest, LooksAtSoManyAndGoesOnBehindThem) {
    const std::string stuck = stuck_one();
    load(45'000);
    const Json page = browse({{"state", "stuck"}});
    EXPECT_THAT(ids_in(page), ElementsAre(stuck));  // by its index, behind all of them
    EXPECT_TRUE(page["next"].is_null());
    EXPECT_THAT(ids_in(browse({{"state", "unfinished"}})), ElementsAre(stuck));

    std::vector<std::string> failed;
    int questions = 0;
    for (Json next = 1'000'000; !next.is_null() && questions < 10; ++questions) {
        const Json more = browse({{"state", "failed"}, {"before", next.dump()}});
        for (const std::string& id : ids_in(more)) failed.push_back(id);
        next = more["next"];
    }
    EXPECT_THAT(failed, ElementsAre("old/000007"));
    EXPECT_EQ(questions, 3);
    EXPECT_THAT(ids_in(browse({{"text", "000009"}})), ElementsAre("old/000009"));
}

TEST_F(DashboardTest, RefusesQuestionsThatItDoesNotUnderstand) {
    for (const std::multimap<std::string, std::string>& query :
         {std::multimap<std::string, std::string>{{"state", "all"}},
          {{"before", "x"}},
          {{"before", "-1"}},
          {{"older_than", "soon"}},
          {{"limit", "0"}},
          {{"page", "1"}}})
        ask(get("/api/admin/browse", query), 400);
    ask(get("/api/admin/overview", {{"x", "1"}}), 400);
    ask(post("/api/admin/browse"), 405);
    ask(post("/api/admin/overview"), 405);
}

TEST_F(DashboardTest, RetriesAtOnceWhatWaitsForItsNextAttempt) {
    world.add_fault({.kind = sandbox::FaultKind::status, .provider = {}, .status = 503});
    const std::string id = accept(body_of(world.purchase(), "checkout.session.completed"));
    engine->run_until_idle();
    ASSERT_EQ(state(id), "sleeping");
    world.clear_faults({});
    const std::string path = "/api/admin/instances/" + id + "/retry-now";
    EXPECT_EQ(ask(post(path), 200)["retried"], 1);
    engine->run_until_idle();
    EXPECT_EQ(state(id), "completed");
    ask(post(path), 409);
    ask(post(path, {}, R"({"reason":"x"})"), 400);
    ask(get(path), 405);
}

}  // namespace
}  // namespace steplog::server
