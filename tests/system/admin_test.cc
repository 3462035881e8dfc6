// The built server's admin API on the wire: off without a key, what is no key, ids in a path, and
// an operator's work beside a server whose providers cannot be reached.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/temporary_directory.h"
#include "tests/system/live_server.h"
#include "tools/sandbox/sandbox.h"

namespace steplog::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

const std::string key = "an-admin-key-for-tests";
const std::string bearer = "Authorization: Bearer " + key + "\r\n";

class AdminOnTheWire : public ::testing::Test {
  protected:
    void start(const std::map<std::string, std::string>& more) {
        auto environment = server_environment(directory / "steplog.db");
        for (const auto& [name, value] : more) environment[name] = value;
        server.emplace(environment);
    }
    Reply ask(std::string_view bytes) {
        RawClient client(server->address);
        client.send(bytes);
        return client.read_reply();
    }
    Reply look(const std::string& target) { return ask(get(target, bearer)); }

    /// A POST without a body, and without a type of one.
    Reply change(const std::string& target) {
        return ask("POST " + target + " HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n" +
                   bearer + "\r\n");
    }
    /// The id of an instance that waits for its next attempt.
    std::string purchase() {
        for (const auto& event : world.purchase({.email = "grace@example.org"}).events) {
            if (event.type != "checkout.session.completed") continue;
            EXPECT_EQ(server->post_signed(event.body), R"(200 {"received":true})");
        }
        EXPECT_TRUE(server->process.wait_for_error_line("retried", std::chrono::seconds(20)));
        return server->sql("SELECT id FROM instances ORDER BY seq DESC");
    }

    TemporaryDirectory directory;
    sandbox::Sandbox world{{.seed = 1}};
    std::optional<LiveServer> server;
};

TEST_F(AdminOnTheWire, IsNotThereWithoutAKey) {
    start({});
    for (const std::string target : {"/api/admin", "/api/admin/instances", "/api/admin/x"})
        EXPECT_EQ(look(target).status, 404) << target;
    EXPECT_EQ(change("/api/admin/instances/x/resume").status, 404);
}

TEST_F(AdminOnTheWire, LetsNobodyInWithoutOneGoodKey) {
    start({{"ADMIN_API_KEY", key}});
    const std::string target = "/api/admin/instances";
    EXPECT_EQ(look(target).status, 200);
    const std::vector<std::string> bad = {
        get(target),
        get(target, "Authorization: Bearer wrong\r\n"),
        get(target, "Authorization: Basic " + key + "\r\n"),
        get(target, bearer + bearer),
        get(target + "?adminKey=" + key),
        get(target, "Cookie: key=" + key + "\r\n"),
        post(R"({"adminKey":")" + key + R"("})", "", target + "/x/resume")};
    const Reply first = ask(bad.front());
    for (const std::string& request : bad) {
        const Reply reply = ask(request);
        EXPECT_EQ(reply.status, 401) << request;
        EXPECT_EQ(reply.body, first.body) << request;
    }
    for (int i = 0; i < 30; ++i) ask(bad.front());
    const Reply limited = ask(bad.front());
    EXPECT_EQ(limited.status, 429);  // from loopback too
    EXPECT_TRUE(limited.has("Retry-After: 6"));
    EXPECT_EQ(look(target).status, 200);
    server->process.signal(SIGTERM);
    ASSERT_TRUE(server->process.wait());
    EXPECT_THAT(server->process.errors(), Not(HasSubstr(key)));
}

TEST_F(AdminOnTheWire, ShowsAndChangesWhatAPathNames) {
    start({{"ADMIN_API_KEY", key},
           {"STEPLOG_ENCRYPTION_KEY",
            "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"}});
    const std::string id = purchase();
    const std::string event = id.substr(id.find('/') + 1);
    const std::string instances = "/api/admin/instances/";
    for (const std::string& given : {id, event, "provision_customer%2F" + event}) {
        const Reply reply = look(instances + given);
        EXPECT_EQ(reply.status, 200) << given << reply.body;
        const Json shown = Json::parse(reply.body, nullptr, false);
        EXPECT_EQ(shown["id"], id);
        EXPECT_THAT(reply.body, HasSubstr("g***@example.org"));  // read, though it is encrypted
        EXPECT_THAT(reply.body, Not(HasSubstr("grace@")));
        EXPECT_TRUE(reply.has("Cache-Control: no-store"));
        EXPECT_TRUE(reply.has("X-Content-Type-Options: nosniff"));
    }
    EXPECT_EQ(look("/api/admin/instances?state=sleeping&limit=1").body.find('['), 0U);
    for (const std::string query : {"limit=-1", "limit=1e9", "limit=abc", "limit=%00", "limit="})
        EXPECT_EQ(look("/api/admin/instances?" + query).status, 400) << query;

    const std::vector<std::string> strange = {"../x",
                                              "..%2fx",
                                              "%2e%2e/x",
                                              "'%20OR%201=1",
                                              "%3Csvg%20onload%3E",
                                              std::string(10240, 'a')};
    for (const std::string& bad : strange) {
        for (const Reply& reply : {look(instances + bad), change(instances + bad + "/resume")}) {
            EXPECT_TRUE(reply.status == 400 || reply.status == 404 || reply.status == 414)
                << bad << reply.status;
            EXPECT_THAT(reply.body, Not(HasSubstr("svg")));
        }
    }
    EXPECT_EQ(change(instances + event + "/resume").status, 200);
    EXPECT_EQ(change(instances + event + "/cancel").status, 200);
    // Resumed a moment ago, it may be running: then it ends before its next step, not at once.
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (server->sql("SELECT state FROM instances WHERE id='" + id + "'") != "cancelled" &&
           std::chrono::steady_clock::now() < deadline) {
    }
    EXPECT_EQ(change(instances + event + "/cancel").status, 409);
    EXPECT_EQ(change(instances + event + "/resume").status, 409);
    EXPECT_EQ(change(instances + "unknown/resume").status, 404);
    EXPECT_EQ(server->sql("SELECT group_concat(action) FROM (SELECT action FROM audit WHERE "
                          "actor='admin-api' ORDER BY seq)"),
              "resume,cancel");
}

}  // namespace
}  // namespace steplog::testing
