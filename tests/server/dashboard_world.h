// The dashboard over the admin API's world: who is signed in, and what the views are made of. One
// thread.
#pragma once

#include <gtest/gtest.h>

#include "server/dashboard.h"
#include "tests/server/admin_world.h"

namespace steplog::server {

inline std::string value_of(const Answer& answer, const std::string& name) {
    for (const auto& [its_name, value] : answer.headers)
        if (its_name == name) return value;
    return "";
}

class DashboardWorld : public AdminWorld {
  protected:
    DashboardWorld() { reopen(); }
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
    /// It waits for its next attempt.
    std::string sleeping_one() {
        world.add_fault(
            {.kind = sandbox::FaultKind::status, .provider = {}, .times = 1, .status = 503});
        const std::string id = accept(body_of(world.purchase(), "checkout.session.completed"));
        engine->run_until_idle();
        EXPECT_EQ(state(id), "sleeping");
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

}  // namespace steplog::server
