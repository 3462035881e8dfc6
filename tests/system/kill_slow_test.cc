// The built server under load, killed with SIGKILL again and again while the sandbox's Stripe goes
// on delivering: whatever was acknowledged is there, and every customer has one user, one e-mail
// and both links. STEPLOG_KILLS asks for more kills than the usual 60.
#include <SQLiteCpp/SQLiteCpp.h>
#include <arpa/inet.h>
#include <fmt/core.h>
#include <gtest/gtest.h>
#include <httplib.h>
#include <sqlite3.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

#include "engine/types.h"
#include "tests/support/manual_clock.h"
#include "tests/support/process.h"
#include "tests/support/temporary_directory.h"

namespace steplog::testing {
namespace {

using Environment = std::map<std::string, std::string>;
using std::chrono::milliseconds;
using std::chrono::seconds;
using Clock = std::chrono::steady_clock;

const std::string webhook_secret = "whsec_NotARealSecret0000";

// A port that nobody uses now: the server must come back to the address that Stripe knows.
int free_port() {
    const int descriptor = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    const bool bound = bind(descriptor, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
                       getsockname(descriptor, reinterpret_cast<sockaddr*>(&address), &size) == 0;
    close(descriptor);
    if (!bound) throw std::runtime_error("no free port on loopback");
    return ntohs(address.sin_port);
}

class SandboxProgram {
  public:
    explicit SandboxProgram(const std::string& webhook)
        : process_({STEPLOG_BIN_DIR "/workflow-sandbox", "serve", "--listen", "127.0.0.1:0",
                    "--webhook", webhook, "--webhook-secret", webhook_secret}) {
        const auto line = process_.read_line(seconds(20));
        const Json bases = Json::parse(line.value_or(""), nullptr, false);
        if (!bases.is_object())
            throw std::runtime_error("the sandbox did not start: " + process_.errors());
        bases_ = bases;
    }

    std::string base(const char* provider) const { return bases_.at(provider).get<std::string>(); }

    Json call(const std::string& method, const std::string& path,
              const Json& body = Json::object()) {
        httplib::Client client(base("sandbox"));
        client.set_read_timeout(seconds(200));
        const auto reply =
            method == "GET" ? client.Get(path) : client.Post(path, body.dump(), "application/json");
        if (!reply || reply->status != 200)
            throw std::runtime_error("the sandbox did not answer " + path);
        return Json::parse(reply->body);
    }

    int requests() {
        int sum = 0;
        const Json state = call("GET", "/_sandbox/state?full=false");
        for (const auto& [route, count] : state.at("requests").items()) sum += count.get<int>();
        return sum;
    }

  private:
    Process process_;
    Json bases_;
};

class KilledServer : public ::testing::Test {
  protected:
    KilledServer()
        : port_(free_port()),
          sandbox_(fmt::format("http://127.0.0.1:{}/api/stripe-webhook", port_)) {}

    Process start_server() {
        Process server({STEPLOG_BIN_DIR "/workflow-server"},
                       {{"STEPLOG_DATABASE", (directory_ / "steplog.db").string()},
                        {"STEPLOG_LISTEN", fmt::format("127.0.0.1:{}", port_)},
                        {"STEPLOG_WORKERS", "16"},
                        {"STEPLOG_RETRY_BASE", "20ms"},
                        {"STEPLOG_LOG_LEVEL", "error"},
                        {"STRIPE_SECRET_KEY", "sk_test_NotARealStripeKey00001234"},
                        {"STRIPE_WEBHOOK_SECRET", webhook_secret},
                        {"STRIPE_API_BASE", sandbox_.base("stripe")},
                        {"CLERK_SECRET_KEY", "sk_test_NotARealClerkKey000005678"},
                        {"CLERK_API_BASE", sandbox_.base("clerk")},
                        {"RESEND_API_KEY", "re_NotARealKey000000"},
                        {"RESEND_API_BASE", sandbox_.base("resend")},
                        {"EMAIL_FROM", "hello@example.com"},
                        {"APP_URL", "https://app.example.com"}});
        return server;
    }

    static bool wait_until_ready(int port) {
        const auto deadline = Clock::now() + seconds(60);
        while (Clock::now() < deadline) {
            httplib::Client client("127.0.0.1", port);
            const auto reply = client.Get("/readyz");
            if (reply && reply->status == 200) return true;
        }
        return false;
    }

    void buy(int customer) {
        sandbox_.call("POST", "/_sandbox/purchase",
                      {{"email", fmt::format("customer{}@example.com", customer)},
                       {"name", "A Customer"},
                       {"deliver", true},
                       {"shuffle", true},
                       {"copies", 2}});
    }

    int count(const std::string& sql) {
        SQLite::Database database((directory_ / "steplog.db").string(), SQLITE_OPEN_READONLY, 5000);
        return database.execAndGet(sql).getInt();
    }

    const int port_;
    TemporaryDirectory directory_;
    SandboxProgram sandbox_;
};

TEST_F(KilledServer, LosesAndRepeatsNothing) {
    const char* wanted = std::getenv("STEPLOG_KILLS");
    const int kills = wanted ? std::atoi(wanted) : 60;
    SeededRandom random(20261123);
    int customers = 0;
    const auto begin = Clock::now();
    for (int kill = 0; kill < kills; ++kill) {
        Process server = start_server();
        ASSERT_TRUE(wait_until_ready(port_)) << server.errors();
        buy(customers++);
        buy(customers++);
        // A moment under load: after so many requests of its own, wherever it stands then.
        const int until = sandbox_.requests() + static_cast<int>(random.below(25));
        const auto deadline = Clock::now() + seconds(5);
        while (sandbox_.requests() < until && Clock::now() < deadline)
            ASSERT_FALSE(server.wait(milliseconds(random.below(4)))) << server.errors();
        server.signal(SIGKILL);
        ASSERT_TRUE(server.wait());
    }
    const std::chrono::duration<double> killing = Clock::now() - begin;

    Process server = start_server();
    ASSERT_TRUE(wait_until_ready(port_)) << server.errors();
    const Json idle = sandbox_.call("POST", "/_sandbox/wait", {{"timeout_ms", 120'000}});
    ASSERT_TRUE(idle.at("idle").get<bool>()) << idle.dump();
    const auto deadline = Clock::now() + seconds(120);
    while (count("SELECT count(*) FROM instances WHERE state<>'completed'") > 0 &&
           Clock::now() < deadline)
        ASSERT_FALSE(server.wait(milliseconds(50))) << server.errors();
    EXPECT_EQ(count("SELECT count(*) FROM instances WHERE state<>'completed'"), 0);
    server.signal(SIGTERM);
    const auto exit = server.wait(seconds(30));
    ASSERT_TRUE(exit);
    EXPECT_EQ(exit->code, 0) << server.errors();

    // What Stripe was told, against what is there.
    const Json deliveries = sandbox_.call("GET", "/_sandbox/deliveries");
    SQLite::Database database((directory_ / "steplog.db").string(), SQLITE_OPEN_READONLY, 5000);
    EXPECT_EQ(database.execAndGet("PRAGMA integrity_check").getString(), "ok");
    SQLite::Statement event(database, "SELECT count(*) FROM events WHERE id=?");
    int acknowledged = 0, lost = 0;
    for (const Json& delivery : deliveries.at("acknowledgements")) {
        if (!delivery.at("acknowledged").get<bool>()) continue;
        ++acknowledged;
        event.reset();
        event.bind(1, delivery.at("event").get<std::string>());
        event.executeStep();
        lost += event.getColumn(0).getInt() == 1 ? 0 : 1;
    }
    EXPECT_EQ(lost, 0);
    EXPECT_GE(acknowledged, customers * 6);

    const Json state = sandbox_.call("GET", "/_sandbox/state");
    EXPECT_EQ(static_cast<int>(state.at("users").size()), customers);
    EXPECT_EQ(static_cast<int>(state.at("emails").size()), customers);
    for (const auto& [key, times] : state.at("effects").items())
        EXPECT_EQ(times.get<int>(), 1) << key;
    std::map<std::string, std::string> user_of;
    for (const Json& user : state.at("users"))
        user_of[user.at("external_id").get<std::string>()] = user.at("id").get<std::string>();
    int linked = 0;
    for (const Json& customer : state.at("customers"))
        linked += customer.at("metadata").value("clerk_user_id", "") ==
                  user_of[customer.at("id").get<std::string>()];
    EXPECT_EQ(linked, customers);
    int subscriptions = 0;
    for (const Json& subscription : state.at("subscriptions"))
        subscriptions += subscription.at("metadata").value("clerk_user_id", "") ==
                         user_of[subscription.at("customer").get<std::string>()];
    EXPECT_EQ(subscriptions, customers);
    fmt::print(
        "{} kills in {:.1f} s, {} acknowledged deliveries, {} lost, {} customers with {} users, {} "
        "e-mails\n",
        kills, killing.count(), acknowledged, lost, customers, state.at("users").size(),
        state.at("emails").size());
}

}  // namespace
}  // namespace steplog::testing
