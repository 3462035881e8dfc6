// The built server's dashboard on the wire: off without a key, its headers, signing in, and what a
// session may and may not.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/temporary_directory.h"
#include "tests/system/live_server.h"

namespace steplog::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

const std::string dashboard_key = "an-admin-key-for-the-dashboard";

class DashboardOnTheWire : public ::testing::Test {
  protected:
    void start(const std::map<std::string, std::string>& more) {
        auto environment = server_environment(directory / "steplog.db");
        for (const auto& [name, value] : more) environment[name] = value;
        server.emplace(environment);
    }
    Reply ask(const std::string& bytes) {
        RawClient client(server->address);
        client.send(bytes);
        return client.read_reply();
    }
    Reply look(const std::string& target, const std::string& headers = "") {
        return ask(get(target, headers));
    }
    Reply send(const std::string& target, const std::string& body,
               const std::string& headers = "") {
        return ask("POST " + target + " HTTP/1.1\r\nHost: a.example\r\n" + headers +
                   "Content-Type: application/json\r\nContent-Length: " +
                   std::to_string(body.size()) + "\r\n\r\n" + body);
    }
    Reply sign_in(const std::string& key, const std::string& headers = "") {
        return send("/dashboard/login", Json({{"key", key}}).dump(), headers);
    }
    /// "Cookie: …", as a browser sends back what it got.
    static std::string cookie_of(const Reply& reply) {
        const std::string name = "Set-Cookie: ";
        const auto begin = reply.head.find(name);
        if (begin == std::string::npos) return "";
        const auto from = begin + name.size();
        return "Cookie: " + reply.head.substr(from, reply.head.find(';', from) - from) + "\r\n";
    }

    TemporaryDirectory directory;
    std::optional<LiveServer> server;
};

TEST_F(DashboardOnTheWire, IsNotThereWithoutAKey) {
    start({});
    for (const std::string target : {"/dashboard", "/dashboard/app.js", "/dashboard/session"})
        EXPECT_EQ(look(target).status, 404) << target;
    EXPECT_EQ(sign_in("").status, 404);
}

TEST_F(DashboardOnTheWire, ServesItsPageWithAStrictPolicy) {
    start({{"ADMIN_API_KEY", dashboard_key}});
    for (const std::string target : {"/dashboard", "/dashboard/app.js", "/dashboard/app.css"}) {
        const Reply reply = look(target);
        EXPECT_EQ(reply.status, 200) << target;
        EXPECT_TRUE(reply.has("Content-Security-Policy: default-src 'none'; script-src 'self'; "));
        EXPECT_TRUE(reply.has("frame-ancestors 'none'"));
        EXPECT_FALSE(reply.has("unsafe-inline"));
        EXPECT_TRUE(reply.has("X-Content-Type-Options: nosniff"));
        EXPECT_TRUE(reply.has("Referrer-Policy: no-referrer"));
        EXPECT_TRUE(reply.has("Cache-Control: no-store"));
        EXPECT_THAT(reply.body, Not(HasSubstr(dashboard_key)));
    }
    EXPECT_EQ(look("/dashboard/nothing").status, 404);
}

TEST_F(DashboardOnTheWire, OpensASessionThatLooksAndChangesWithItsToken) {
    start({{"ADMIN_API_KEY", dashboard_key}});
    EXPECT_EQ(look("/api/admin/overview").status, 401);
    EXPECT_EQ(sign_in("wrong-key-of-some-length").status, 401);
    EXPECT_EQ(sign_in(dashboard_key, "Sec-Fetch-Site: cross-site\r\n").status, 403);
    const Reply in = sign_in(dashboard_key);
    ASSERT_EQ(in.status, 200);
    EXPECT_TRUE(in.has("; HttpOnly; SameSite=Strict\r\n"));
    const std::string cookie = cookie_of(in);
    const std::string token =
        "X-Steplog-CSRF: " + Json::parse(in.body)["csrf"].get<std::string>() + "\r\n";
    EXPECT_EQ(look("/api/admin/overview", cookie).status, 200);
    EXPECT_EQ(look("/api/admin/browse?limit=5", cookie).status, 200);
    const std::string change = "/api/admin/instances/unknown/resume";
    EXPECT_EQ(send(change, "{}", cookie).status, 403);
    EXPECT_EQ(send(change, "{}", cookie + "X-Steplog-CSRF: 00\r\n").status, 403);
    EXPECT_EQ(send(change, "{}", cookie + token + "Origin: https://evil.example\r\n").status, 403);
    EXPECT_EQ(send(change, "{}", cookie + token + "Sec-Fetch-Site: same-site\r\n").status, 403);
    EXPECT_EQ(send(change, "{}", cookie + token + "Origin: http://a.example\r\n").status, 404);
    EXPECT_EQ(send("/dashboard/logout", "", cookie + token).status, 200);
    EXPECT_EQ(look("/api/admin/overview", cookie).status, 401);
    server->process.signal(SIGTERM);
    ASSERT_TRUE(server->process.wait());
    EXPECT_THAT(server->process.errors(), Not(HasSubstr(dashboard_key)));
    EXPECT_THAT(server->process.errors(), Not(HasSubstr(cookie.substr(24, 64))));
}

TEST_F(DashboardOnTheWire, LimitsWrongKeysAndNeverTheRightOne) {
    start({{"ADMIN_API_KEY", dashboard_key}});
    for (int i = 0; i < 20; ++i) EXPECT_EQ(sign_in("wrong-" + std::to_string(i)).status, 401) << i;
    const Reply limited = sign_in("wrong");
    EXPECT_EQ(limited.status, 429);
    EXPECT_TRUE(limited.has("Retry-After: 6"));
    EXPECT_EQ(sign_in(dashboard_key).status, 200);
}

TEST_F(DashboardOnTheWire, BelievesATrustedProxyAboutHttpsAndNobodyElse) {
    start({{"ADMIN_API_KEY", dashboard_key}});
    EXPECT_FALSE(sign_in(dashboard_key, "X-Forwarded-Proto: https\r\n").has("; Secure"));
    server.reset();
    start({{"ADMIN_API_KEY", dashboard_key}, {"STEPLOG_TRUSTED_PROXIES", "127.0.0.1"}});
    EXPECT_TRUE(sign_in(dashboard_key, "X-Forwarded-Proto: https\r\n").has("; Secure"));
    EXPECT_FALSE(sign_in(dashboard_key, "X-Forwarded-Proto: http\r\n").has("; Secure"));
}

}  // namespace
}  // namespace steplog::testing
