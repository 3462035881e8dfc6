// Reconciliation by the built server: thousands of customers at Stripe of whom some have no
// account, a server that is killed twice in the middle and started again, and then exactly the
// missing ones have an account and a welcome e-mail.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <functional>
#include <thread>

#include "tests/support/temporary_directory.h"
#include "tests/system/live_server.h"
#include "tools/sandbox/service.h"

namespace steplog::testing {
namespace {

using namespace std::chrono_literals;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr int customers = 5000;
constexpr int missing = 137;
/// The missing ones lie evenly among the others.
constexpr bool is_missing(int i) { return (i + 1) * missing / customers > i * missing / customers; }
const std::string key = "an-admin-key-for-tests";

class ThousandsReconciled : public ::testing::Test {
  protected:
    ThousandsReconciled() {
        for (int i = 0; i < customers; ++i) {
            const std::string email = "customer" + std::to_string(i) + "@example.org";
            const auto purchase = stand_ins.sandbox().purchase({.email = email});
            if (is_missing(i)) continue;
            stand_ins.sandbox().add_user({.email = email, .external_id = purchase.customer});
        }
        start();
        told("the customers are there");
    }
    void told(const std::string& what) const {
        const auto passed = std::chrono::steady_clock::now() - begun;
        std::printf("%lld ms: %s\n",
                    static_cast<long long>(std::chrono::duration_cast<Ms>(passed).count()),
                    what.c_str());
        std::fflush(stdout);
    }
    void start() {
        auto environment = server_environment(directory / "steplog.db");
        environment.insert({{"ADMIN_API_KEY", key},
                            {"RESEND_API_KEY", "re_NotARealResendKey"},
                            {"RESEND_API_BASE", stand_ins.base()},
                            {"EMAIL_FROM", "Acme <hello@acme.example>"},
                            {"APP_URL", "https://app.acme.example"}});
        environment.erase("EMAIL");
        environment["STRIPE_API_BASE"] = environment["CLERK_API_BASE"] = stand_ins.base();
        environment["STEPLOG_RETRY_BASE"] = "50ms";
        environment["STEPLOG_LEASE"] = "5s";
        server.emplace(environment);
    }
    /// The guide's call: the key in the body.
    Reply reconcile(const std::string& query) {
        RawClient client(server->address);
        client.send(post(R"({"adminKey":")" + key + R"("})", "",
                         "/api/admin/fix-missing-clerk-accounts?" + query));
        return client.read_reply();
    }
    /// What such a call finds, also where it is answered before it is through.
    Json found(const std::string& query) {
        const Reply reply = reconcile(query);
        if (reply.status == 200) return Json::parse(reply.body);
        EXPECT_EQ(reply.status, 202) << reply.body;
        const std::string id = Json::parse(reply.body).at("instance");
        const auto shown = [&] {
            RawClient client(server->address);
            client.send("GET /api/admin/instances/" + id +
                        " HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n"
                        "Authorization: Bearer " +
                        key + "\r\n\r\n");
            return Json::parse(client.read_reply().body);
        };
        EXPECT_TRUE(wait_until([&] { return shown().at("state") == "completed"; }));
        return shown().at("output");
    }
    bool wait_until(const std::function<bool()>& holds) {
        const auto end = std::chrono::steady_clock::now() + 10min;
        while (!holds() && std::chrono::steady_clock::now() < end) std::this_thread::sleep_for(5ms);
        return holds();
    }
    std::int64_t count(const std::string& where) {
        return std::stoll(server->sql("SELECT count(*) FROM instances WHERE " + where));
    }

    const std::chrono::steady_clock::time_point begun = std::chrono::steady_clock::now();
    TemporaryDirectory directory;
    sandbox::Service stand_ins{{}};
    std::optional<LiveServer> server;
};

TEST_F(ThousandsReconciled, MissingCustomersGetOneAccountAndOneMailThoughTheServerIsKilledTwice) {
    const std::size_t users_before = stand_ins.sandbox().users().size();
    const Json look = found("dryRun=true&limit=10000");
    EXPECT_EQ(look.at("checked"), customers);
    EXPECT_THAT(look.at("missing"), SizeIs(missing));
    EXPECT_THAT(look.at("started"), IsEmpty());
    EXPECT_EQ(Json::parse(reconcile("dryRun=true&limit=10").body)["checked"], 10);
    EXPECT_EQ(stand_ins.sandbox().users().size(), users_before);

    told("looked at");
    std::jthread asks([&] { reconcile("dryRun=false&limit=10000"); });
    for (const int share : {3, 2}) {
        ASSERT_TRUE(
            wait_until([&] { return count("workflow='provision_customer'") >= missing / share; }));
        server->process.signal(SIGKILL);
        ASSERT_TRUE(server->process.wait());
        told("killed with " + std::to_string(count("workflow='provision_customer'")) +
             " instances begun and " +
             std::to_string(stand_ins.sandbox().users().size() - users_before) + " accounts made");
        EXPECT_GT(count("workflow='reconcile_accounts' AND state<>'completed'"), 0);
        start();
    }
    asks.join();
    ASSERT_TRUE(wait_until([&] { return count("state<>'completed'") == 0; }));
    told("all completed");

    EXPECT_EQ(count("workflow='provision_customer'"), missing);
    EXPECT_EQ(stand_ins.sandbox().users().size(), users_before + missing);
    EXPECT_THAT(stand_ins.sandbox().emails(), SizeIs(missing));
    for (const auto& [effect, times] : stand_ins.sandbox().effects()) EXPECT_EQ(times, 1) << effect;
    EXPECT_THAT(found("limit=10000").at("missing"), IsEmpty());
    EXPECT_THAT(stand_ins.sandbox().emails(), SizeIs(missing));
}

}  // namespace
}  // namespace steplog::testing
