// The welcome e-mail by SMTP, to a real mail server (Debian's python3-aiosmtpd), from the built
// server, through a kill.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <optional>
#include <sstream>

#include "engine/inspect.h"
#include "tests/support/process.h"
#include "tests/support/temporary_directory.h"
#include "tools/sandbox/service.h"

namespace steplog::testing {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::StartsWith;

class MailServer {
  public:
    MailServer()
        : process_({"/usr/bin/python3", STEPLOG_SOURCE_DIR "/tests/system/smtpd.py"}),
          port_(process_.read_line(15s).value_or("")) {}
    bool is_there() const { return !port_.empty(); }
    std::string url() const { return "smtp://shop@127.0.0.1:" + port_; }
    /// The words of the next message's line; none when none comes in time.
    std::vector<std::string> next(Process::Timeout timeout) {
        std::istringstream line(process_.read_line(timeout).value_or(""));
        return {std::istream_iterator<std::string>(line), {}};
    }

  private:
    Process process_;
    const std::string port_;
};

TEST(WelcomeBySmtp, ArrivesOnceThroughAKill) {
    MailServer mail;
    if (!mail.is_there()) {
        fmt::print("*** SKIPPED: no mail server: apt install python3-aiosmtpd\n");
        GTEST_SKIP();
    }
    sandbox::Service stand_ins{sandbox::ServiceOptions{}};
    const TemporaryDirectory directory;
    const std::string database = directory / "steplog.db";
    const std::string secret = "whsec_NotARealSecret0000";
    const std::map<std::string, std::string> environment = {
        {"STEPLOG_DATABASE", database},
        {"STEPLOG_LISTEN", "127.0.0.1:0"},
        {"STEPLOG_MISSED_EVENTS", "off"},
        {"STEPLOG_LOG_LEVEL", "error"},
        {"STRIPE_SECRET_KEY", "sk_test_NotARealStripeKey00001234"},
        {"STRIPE_WEBHOOK_SECRET", secret},
        {"STRIPE_API_BASE", stand_ins.base()},
        {"CLERK_SECRET_KEY", "sk_test_NotARealClerkKey000005678"},
        {"CLERK_API_BASE", stand_ins.base()},
        {"SMTP_URL", mail.url()},
        {"SMTP_PASSWORD", "p/w d"},
        {"EMAIL_FROM", "Bäckerei <hello@acme.example>"},
        {"APP_URL", "https://app.acme.example"}};
    std::optional<Process> server;
    const auto start = [&] {
        server.emplace(std::vector<std::string>{STEPLOG_BIN_DIR "/workflow-server"}, environment);
        const auto line = server->read_line(20s).value_or("");
        EXPECT_THAT(line, StartsWith("workflow-server listening on ")) << server->errors();
        return line.substr(line.find("http"));
    };
    stand_ins.sandbox().add_fault({.kind = sandbox::FaultKind::hang,
                                   .provider = {},
                                   .route = "POST /v1/customers/*",
                                   .times = 1,
                                   .effect = {},
                                   .retry_after_s = {}});
    sandbox::Sender sender({.url = start() + "/api/stripe-webhook", .secrets = {secret}});
    sender.send(stand_ins.sandbox().purchase().events);
    ASSERT_TRUE(sender.wait_until_idle(20s));
    const SystemClock clock;
    const auto until = [&](const auto& holds) {
        for (int i = 0; i < 1000 && !holds(); ++i) std::this_thread::sleep_for(20ms);
        return holds();
    };
    const auto at_the_customer = [&] {
        for (const auto& [route, count] : stand_ins.sandbox().requests())
            if (route == "POST /v1/customers/{id}") return true;
        return false;
    };
    ASSERT_TRUE(until(at_the_customer));
    server->signal(SIGKILL);
    ASSERT_TRUE(server->wait(10s));
    start();
    const auto arrived = mail.next(30s);
    ASSERT_EQ(arrived.size(), 5u);
    EXPECT_EQ(arrived[0], "ada@example.com");
    EXPECT_THAT(arrived[1], StartsWith("<"));
    EXPECT_THAT(std::vector<std::string>(arrived.begin() + 2, arrived.end()),
                ElementsAre("multipart/alternative", "text/plain", "text/html"));
    ASSERT_TRUE(until([&] {
        const auto states = Inspector(database, clock).stats().by_state;
        return states.at(State::completed) == 3;
    }));
    EXPECT_TRUE(mail.next(500ms).empty()) << "one for each customer, whatever they are told by";
    server->signal(SIGTERM);
    EXPECT_EQ(server->wait(30s).value_or(Exit{}).code, 0) << server->errors();
}

}  // namespace
}  // namespace steplog::testing
