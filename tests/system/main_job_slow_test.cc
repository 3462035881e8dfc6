// The main job as its users meet it: the built server, a sandbox on real sockets, the commands.
// Many customers at once in the worst order; an outage of Clerk and the way back; every answer
// lost.
#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <thread>

#include "tests/support/process.h"
#include "tests/support/temporary_directory.h"
#include "tools/sandbox/service.h"

namespace steplog {
namespace {

using namespace std::chrono_literals;
using sandbox::Event;
using sandbox::Fault;
using sandbox::FaultKind;
using sandbox::Provider;
using sandbox::Purchase;

const std::string webhook_secret = "whsec_NotARealSecret0000";

// A server between a sandbox and a sender, each on its own port.
class MainJob : public ::testing::Test {
  protected:
    void SetUp() override {
        environment_ = {{"STEPLOG_DATABASE", database()},
                        {"STEPLOG_LISTEN", "127.0.0.1:0"},
                        {"STEPLOG_WORKERS", "16"},
                        {"STEPLOG_RETRY_BASE", "20ms"},
                        {"STEPLOG_RETRY_CAP", "200ms"},
                        {"STEPLOG_RETRY_FOR", "60s"},
                        {"STEPLOG_LOG_LEVEL", "warn"},
                        {"STRIPE_SECRET_KEY", "sk_test_NotARealStripeKey00001234"},
                        {"STRIPE_WEBHOOK_SECRET", webhook_secret},
                        {"STRIPE_API_BASE", stand_ins_.base()},
                        {"CLERK_SECRET_KEY", "sk_test_NotARealClerkKey000005678"},
                        {"CLERK_API_BASE", stand_ins_.base()},
                        {"RESEND_API_KEY", "re_NotARealKey"},
                        {"RESEND_API_BASE", stand_ins_.base()},
                        {"EMAIL_FROM", "Acme <hello@acme.example>"},
                        {"STEPLOG_MISSED_EVENTS", "off"},
                        {"APP_URL", "https://app.acme.example"}};
    }

    void start_server() {
        // Its log goes to a file: nobody here reads a pipe while hundreds of retries are told.
        server_.emplace(
            std::vector<std::string>{"/bin/sh", "-c", "exec \"$0\" 2>\"$1\"",
                                     STEPLOG_BIN_DIR "/workflow-server", directory_ / "server.log"},
            environment_);
        const auto line = server_->read_line(20s);
        const std::string before = "workflow-server listening on ";
        ASSERT_TRUE(line && line->starts_with(before)) << server_->errors();
        webhook_url_ = line->substr(before.size()) + "/api/stripe-webhook";
        sender_ = std::make_unique<sandbox::Sender>(sandbox::SenderOptions{
            .url = webhook_url_, .secrets = {webhook_secret}, .threads = 16});
    }
    void stop_server() {
        sender_.reset();
        server_->signal(SIGTERM);
        const auto exit = server_->wait(30s);
        ASSERT_TRUE(exit);
        EXPECT_EQ(exit->code, 0) << server_->errors();
    }

    sandbox::Sandbox& world() { return stand_ins_.sandbox(); }
    std::string database() const { return (directory_ / "steplog.db").string(); }

    std::int64_t count(const std::string& query) const {
        SQLite::Database reader(database(), SQLite::OPEN_READONLY, 2000);
        return reader.execAndGet(query).getInt64();
    }
    // Looks every few milliseconds until the query gives `expected`.
    [[nodiscard]] bool becomes(const std::string& query, std::int64_t expected,
                               std::chrono::seconds limit = 60s) const {
        const auto end = std::chrono::steady_clock::now() + limit;
        while (count(query) != expected) {
            if (std::chrono::steady_clock::now() > end) return false;
            std::this_thread::sleep_for(20ms);
        }
        return true;
    }
    testing::Finished command(const std::string& name, std::vector<std::string> arguments) const {
        arguments.insert(arguments.begin(), std::string(STEPLOG_BIN_DIR "/") + name);
        return testing::run(arguments, {{"STEPLOG_DATABASE", database()}}, 60s);
    }

    std::vector<Purchase> buy(int customers) {
        std::vector<Purchase> purchases;
        for (int i = 0; i < customers; ++i)
            purchases.push_back(
                world().purchase({.email = "buyer" + std::to_string(i) + "@example.com"}));
        return purchases;
    }
    void send(const std::vector<Purchase>& purchases, const sandbox::SendOptions& options) {
        std::vector<Event> events;
        for (const Purchase& purchase : purchases)
            events.insert(events.end(), purchase.events.begin(), purchase.events.end());
        sender_->send(events, options);
        ASSERT_TRUE(sender_->wait_until_idle(60s));
        for (const auto& told : sender_->acknowledgements())
            ASSERT_TRUE(told.acknowledged) << told.type << ": " << told.status << " " << told.note;
    }

    // One account and one mail each, linked in both directions, every effect done once.
    void expect_provisioned(const std::vector<Purchase>& purchases) {
        EXPECT_EQ(world().users().size(), purchases.size());
        EXPECT_EQ(world().emails().size(), purchases.size());
        std::map<std::string, std::string> users;  // Stripe customer -> Clerk user
        for (const auto& user : world().users())
            users[(*user).at("external_id").get<std::string>()] =
                (*user).at("id").get<std::string>();
        for (const Purchase& purchase : purchases) {
            const std::string& user = users[purchase.customer];
            EXPECT_FALSE(user.empty()) << purchase.customer;
            for (const auto& id : {purchase.customer, purchase.subscription})
                EXPECT_EQ(world().stripe_object(id)->at("metadata").value("clerk_user_id", ""),
                          user)
                    << id;
        }
        for (const auto& [key, times] : world().effects()) EXPECT_EQ(times, 1) << key;
        EXPECT_EQ(count("SELECT count(*) FROM entries AS again JOIN entries AS done ON "
                        "done.instance=again.instance AND "
                        "done.step=again.step AND done.kind='completed' WHERE again.kind='started' "
                        "AND again.n>done.n"),
                  0);
        EXPECT_EQ(command("workflow-inspect", {"check"}).exit.code, 0);
    }

    static constexpr auto unfinished =
        "SELECT count(*) FROM instances WHERE finished_at_ms IS NULL";

    testing::TemporaryDirectory directory_;
    sandbox::Service stand_ins_{sandbox::ServiceOptions{}};
    std::map<std::string, std::string> environment_;
    std::optional<testing::Process> server_;
    std::string webhook_url_;
    std::unique_ptr<sandbox::Sender> sender_;
};

TEST_F(MainJob, GivesAHundredCustomersOneAccountEachFromShuffledDoubledConcurrentEvents) {
    start_server();
    const auto purchases = buy(100);
    send(purchases, {.shuffle = true, .copies = 2});
    ASSERT_TRUE(becomes(unfinished, 0));
    // What our own writes made Stripe say comes back as events, and must start nothing.
    sender_->send(world().take_outbox());
    ASSERT_TRUE(sender_->wait_until_idle(60s));
    ASSERT_TRUE(becomes(unfinished, 0));
    EXPECT_GE(sender_->acknowledgements().size(), 1200u);
    EXPECT_EQ(count("SELECT count(*) FROM events WHERE disposition='quarantined'"), 0);
    expect_provisioned(purchases);
    stop_server();
}

// Row 69 of the bad inputs: the subscription before the checkout, and everything at once.
TEST_F(MainJob, GivesOneAccountForAllEventsOfAPurchaseAtOnceFromAHundredThreads) {
    start_server();
    const auto purchases = buy(1);
    sandbox::SenderOptions crowd{.url = webhook_url_, .secrets = {webhook_secret}, .threads = 100};
    sandbox::Sender senders(crowd);
    senders.send(purchases.front().events, {.shuffle = true, .copies = 20});
    ASSERT_TRUE(senders.wait_until_idle(60s));
    for (const auto& told : senders.acknowledgements())
        ASSERT_TRUE(told.acknowledged) << told.type << ": " << told.status << " " << told.note;
    ASSERT_TRUE(becomes(unfinished, 0));
    EXPECT_GE(senders.acknowledgements().size(), 100u);
    EXPECT_EQ(count("SELECT count(DISTINCT key) FROM instances"), 1);
    // One at a time: no instance of the customer began before the one before it had ended.
    EXPECT_EQ(count("SELECT count(*) FROM instances a JOIN instances b ON a.seq<b.seq WHERE "
                    "(SELECT min(at_ms) FROM entries WHERE instance=b.seq) < a.finished_at_ms AND "
                    "(SELECT min(at_ms) FROM entries WHERE instance=a.seq) < b.finished_at_ms"),
              0);
    expect_provisioned(purchases);
    stop_server();
}

TEST_F(MainJob, ComesThroughAnOutageOfClerkWithOneCommand) {
    environment_["STEPLOG_RETRY_FOR"] = "1s";
    world().add_fault({.kind = FaultKind::status, .provider = Provider::clerk, .status = 503});
    start_server();
    const auto purchases = buy(20);
    send(purchases, {.shuffle = true});
    std::vector<std::int64_t> took_ms;
    for (const auto& told : sender_->acknowledgements()) took_ms.push_back(told.took_ms);
    std::sort(took_ms.begin(), took_ms.end());
    fmt::print("acknowledgements during the outage: median {} ms, slowest {} ms\n",
               took_ms[took_ms.size() / 2], took_ms.back());
    ASSERT_TRUE(becomes("SELECT count(*) FROM instances WHERE state<>'stuck'", 0));
    const std::int64_t waiting = count("SELECT count(*) FROM instances");
    EXPECT_GE(waiting, 20);
    EXPECT_EQ(count("SELECT count(*) FROM instances WHERE error_code='retries_exhausted' AND "
                    "step='create_clerk_user'"),
              waiting);
    const auto stuck = command("workflow-inspect", {"stuck", "--exit-code"});
    EXPECT_EQ(stuck.exit.code, 3);
    EXPECT_NE(stuck.output.find("create_clerk_user"), std::string::npos);
    EXPECT_TRUE(world().users().empty());

    world().clear_faults();
    const auto plan = command("workflow-resume", {"--all", "--plan"});
    EXPECT_EQ(plan.exit.code, 0) << plan.errors;
    EXPECT_EQ(count("SELECT count(*) FROM instances WHERE state='stuck'"), waiting);
    const auto resumed = command("workflow-resume", {"--all", "--yes", "--json"});
    EXPECT_EQ(resumed.exit.code, 0) << resumed.errors;
    EXPECT_EQ(Json::parse(resumed.output).at("resumed"), waiting);
    ASSERT_TRUE(becomes(unfinished, 0));
    expect_provisioned(purchases);
    stop_server();
}

struct LostAnswer {
    Provider provider;
    const char* route;
};

class LostAnswers : public MainJob, public ::testing::WithParamInterface<LostAnswer> {};

TEST_P(LostAnswers, RepeatNothingThatHappened) {
    world().add_fault({.kind = FaultKind::lost_answer,
                       .provider = GetParam().provider,
                       .route = GetParam().route,
                       .times = 1});
    start_server();
    const auto purchases = buy(1);
    send(purchases, {});
    ASSERT_TRUE(becomes(unfinished, 0));
    EXPECT_TRUE(world().faults().empty()) << "the fault never struck";
    expect_provisioned(purchases);
    stop_server();
}

INSTANTIATE_TEST_SUITE_P(EachCall, LostAnswers,
                         ::testing::Values(LostAnswer{Provider::stripe, "GET /v1/customers/*"},
                                           LostAnswer{Provider::clerk, "GET /v1/users*"},
                                           LostAnswer{Provider::clerk, "POST /v1/users"},
                                           LostAnswer{Provider::stripe, "POST /v1/customers/*"},
                                           LostAnswer{Provider::stripe, "GET /v1/subscriptions/*"},
                                           LostAnswer{Provider::stripe, "POST /v1/subscriptions/*"},
                                           LostAnswer{Provider::resend, "POST /emails"}));

}  // namespace
}  // namespace steplog
