// The built server tells a Sentry and a Slack-compatible webhook on sockets of a customer without
// an account: once, and that it is over once somebody has resumed it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <httplib.h>

#include <mutex>
#include <thread>

#include "engine/types.h"
#include "tests/support/temporary_directory.h"
#include "tests/system/live_server.h"
#include "tools/sandbox/sandbox.h"
#include "tools/sandbox/service.h"

namespace steplog::testing {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::Not;

/// Both at one address: /hook, and Sentry's project 42.
class Listeners {
  public:
    Listeners() {
        server_.Post("/hook", [this](const httplib::Request& request, httplib::Response& reply) {
            keep(hooks_, request.body);
            reply.set_content("ok", "text/plain");
        });
        server_.Post("/api/42/envelope/",
                     [this](const httplib::Request& request, httplib::Response& reply) {
                         keep(envelopes_, request.body);
                         reply.set_content("{}", "application/json");
                     });
        port_ = server_.bind_to_any_port("127.0.0.1");
        thread_ = std::thread([this] { server_.listen_after_bind(); });
    }
    ~Listeners() {
        server_.stop();
        thread_.join();
    }
    std::string at(const std::string& before, const std::string& path) const {
        return "http://" + before + "127.0.0.1:" + std::to_string(port_) + path;
    }
    std::vector<std::string> hooks() { return kept(hooks_); }
    std::vector<std::string> envelopes() { return kept(envelopes_); }

  private:
    void keep(std::vector<std::string>& where, const std::string& body) {
        const std::lock_guard lock(mutex_);
        where.push_back(body);
    }
    std::vector<std::string> kept(const std::vector<std::string>& where) {
        const std::lock_guard lock(mutex_);
        return where;
    }

    httplib::Server server_;
    std::mutex mutex_;
    std::vector<std::string> hooks_, envelopes_;
    int port_ = 0;
    std::thread thread_;
};

bool becomes(const std::function<bool()>& true_at_last) {
    for (const auto end = std::chrono::steady_clock::now() + 60s;
         std::chrono::steady_clock::now() < end; std::this_thread::sleep_for(50ms))
        if (true_at_last()) return true;
    return false;
}

TEST(AlertsOnTheWire, ArriveOnceAndTheAllClearAfterTheResume) {
    TemporaryDirectory directory;
    Listeners listeners;
    sandbox::Service stand_ins{sandbox::ServiceOptions{}};
    stand_ins.sandbox().add_fault(
        {.kind = sandbox::FaultKind::status, .provider = sandbox::Provider::clerk, .status = 503});
    auto environment = server_environment(directory / "steplog.db");
    environment["STRIPE_API_BASE"] = environment["CLERK_API_BASE"] = stand_ins.base();
    environment["STEPLOG_RETRY_BASE"] = "10ms";
    environment["STEPLOG_RETRY_FOR"] = "100ms";
    environment["ALERT_WEBHOOK_URL"] = listeners.at("", "/hook");
    environment["SENTRY_DSN"] = listeners.at("public@", "/42");
    LiveServer server(environment);
    for (const auto& event : stand_ins.sandbox().purchase({.email = "grace@example.org"}).events)
        if (event.type == "checkout.session.completed") server.post_signed(event.body);

    ASSERT_TRUE(becomes([&] {
        return !listeners.hooks().empty() && !listeners.envelopes().empty();
    })) << server.process.errors();
    const std::string text = Json::parse(listeners.hooks()[0]).at("text");
    EXPECT_THAT(text, HasSubstr("CRITICAL: USER NOT CREATED: 1 instance of provision_customer"));
    EXPECT_THAT(listeners.envelopes()[0], HasSubstr("USER NOT CREATED"));

    stand_ins.sandbox().clear_faults();
    const auto resumed = run({STEPLOG_BIN_DIR "/workflow-resume", "--all", "--yes"}, environment);
    EXPECT_EQ(resumed.exit.code, 0) << resumed.errors;
    ASSERT_TRUE(
        becomes([&] { return listeners.hooks().size() > 1 && listeners.envelopes().size() > 1; }));
    EXPECT_THAT(listeners.hooks()[1], HasSubstr("over after"));
    EXPECT_THAT(listeners.envelopes()[1], HasSubstr("\"level\":\"info\""));
    server.process.signal(SIGTERM);
    EXPECT_TRUE(server.process.wait(20s));
    EXPECT_EQ(listeners.hooks().size(), 2u);
    EXPECT_EQ(listeners.envelopes().size(), 2u);
    for (const std::string& told : listeners.hooks()) {
        EXPECT_THAT(told, Not(HasSubstr("evt_")));
        EXPECT_THAT(told, Not(HasSubstr("grace")));
    }
}

}  // namespace
}  // namespace steplog::testing
