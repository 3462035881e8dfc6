// Reconciliation by the built server: hundreds of customers at Stripe of whom some have no account,
// a server that is killed in the middle and started again, and then exactly the missing ones have
// an account and a welcome e-mail.
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

constexpr int customers = 300;
constexpr int every_so_many_is_missing = 4;
constexpr int missing = customers / every_so_many_is_missing;
const std::string key = "an-admin-key-for-tests";

class Reconciled : public ::testing::Test {
  protected:
    Reconciled() {
        for (int i = 0; i < customers; ++i) {
            const std::string email = "customer" + std::to_string(i) + "@example.org";
            const auto purchase = stand_ins.sandbox().purchase({.email = email});
            if (i % every_so_many_is_missing == 0) continue;
            stand_ins.sandbox().add_user({.email = email, .external_id = purchase.customer});
        }
        start();
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
    bool wait_until(const std::function<bool()>& holds) {
        const auto end = std::chrono::steady_clock::now() + 60s;
        while (!holds() && std::chrono::steady_clock::now() < end) std::this_thread::sleep_for(5ms);
        return holds();
    }
    std::int64_t count(const std::string& where) {
        return std::stoll(server->sql("SELECT count(*) FROM instances WHERE " + where));
    }

    TemporaryDirectory directory;
    sandbox::Service stand_ins{{}};
    std::optional<LiveServer> server;
};

TEST_F(Reconciled, MissingCustomersGetOneAccountAndOneMailThoughTheServerIsKilled) {
    const std::size_t users_before = stand_ins.sandbox().users().size();
    const Reply look = reconcile("dryRun=true&limit=1000");
    ASSERT_EQ(look.status, 200) << look.body;
    const Json found = Json::parse(look.body);
    EXPECT_EQ(found["checked"], customers);
    EXPECT_THAT(found["missing"], SizeIs(missing));
    EXPECT_THAT(found["started"], IsEmpty());
    EXPECT_EQ(Json::parse(reconcile("dryRun=true&limit=10").body)["checked"], 10);
    EXPECT_EQ(stand_ins.sandbox().users().size(), users_before);

    std::jthread asks([&] { reconcile("dryRun=false&limit=1000"); });
    ASSERT_TRUE(wait_until([&] { return count("workflow='provision_customer'") >= missing / 3; }));
    server->process.signal(SIGKILL);
    ASSERT_TRUE(server->process.wait());
    asks.join();
    std::printf("killed with %zu of %d accounts made\n",
                stand_ins.sandbox().users().size() - users_before, missing);
    start();
    ASSERT_TRUE(wait_until([&] { return count("state<>'completed'") == 0; }));

    EXPECT_EQ(count("workflow='provision_customer'"), missing);
    EXPECT_EQ(stand_ins.sandbox().users().size(), users_before + missing);
    EXPECT_THAT(stand_ins.sandbox().emails(), SizeIs(missing));
    for (const auto& [effect, times] : stand_ins.sandbox().effects()) EXPECT_EQ(times, 1) << effect;
    EXPECT_THAT(Json::parse(reconcile("limit=1000").body)["missing"], IsEmpty());
    EXPECT_THAT(stand_ins.sandbox().emails(), SizeIs(missing));
}

}  // namespace
}  // namespace steplog::testing
