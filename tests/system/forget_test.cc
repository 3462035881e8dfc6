// Forgetting a customer and rotating keys, as an operator does it: the built server and tools, a
// whole purchase provisioned by the sandbox, and a search of the files' bytes.
#include <SQLiteCpp/SQLiteCpp.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <httplib.h>

#include <csignal>
#include <ctime>
#include <fstream>
#include <sstream>

#include "server/signature.h"
#include "tests/support/process.h"
#include "tests/support/temporary_directory.h"
#include "tools/sandbox/service.h"

namespace steplog {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const std::string secret = "whsec_NotARealSecret0000";
const std::string old_key(64, '1'), new_key(64, '2');
const std::string accepted = R"({"received":true})";
const std::string known = R"({"received":true,"note":"already_processed"})";

class Operator : public ::testing::Test {
  protected:
    void start(const std::string& encryption) {
        key = encryption;
        server.emplace(std::vector<std::string>{STEPLOG_BIN_DIR "/workflow-server"},
                       std::map<std::string, std::string>{
                           {"STEPLOG_DATABASE", database},
                           {"STEPLOG_LISTEN", "127.0.0.1:0"},
                           {"STEPLOG_WORKERS", "4"},
                           {"STEPLOG_RETRY_BASE", "1h"},
                           {"STEPLOG_ENCRYPTION_KEY", encryption},
                           {"STRIPE_SECRET_KEY", "sk_test_NotARealStripeKey00001234"},
                           {"STRIPE_WEBHOOK_SECRET", secret},
                           {"STRIPE_API_BASE", stand_ins.base()},
                           {"CLERK_SECRET_KEY", "sk_test_NotARealClerkKey000005678"},
                           {"CLERK_API_BASE", stand_ins.base()},
                           {"RESEND_API_KEY", "re_NotARealKey"},
                           {"RESEND_API_BASE", stand_ins.base()},
                           {"EMAIL_FROM", "Acme <hello@acme.example>"},
                           {"STEPLOG_MISSED_EVENTS", "off"},
                           {"APP_URL", "https://app.acme.example"}});
        const auto line = server->read_line(60s);
        const std::string before = "workflow-server listening on ";
        ASSERT_TRUE(line && line->starts_with(before)) << server->errors();
        url = line->substr(before.size());
    }
    void stop() {
        server->signal(SIGTERM);
        ASSERT_TRUE(server->wait(60s));
        log += server->errors();
        server.reset();
    }
    std::string post(const std::string& body) {
        const auto result = httplib::Client(url).Post(
            "/api/stripe-webhook",
            {{"Stripe-Signature",
              server::stripe_signature_header(body, secret, std::time(nullptr))}},
            body, "application/json");
        return result ? result->body : "";
    }
    /// Delivers events and waits until what they started has come to `end`.
    void deliver(const std::vector<sandbox::Event>& events, const std::string& end = "finished") {
        int started = 0;
        for (const auto& event : events) started += post(event.body) == accepted ? 1 : 0;
        EXPECT_GT(started, 0);
        for (int i = 0; i < started; ++i)
            ASSERT_TRUE(server->wait_for_error_line("\"message\":\"" + end + "\"", 60s))
                << server->errors();
    }
    testing::Finished tool(std::vector<std::string> command) const {
        command.front() = std::string(STEPLOG_BIN_DIR "/") + command.front();
        return testing::run(command,
                            {{"STEPLOG_DATABASE", database}, {"STEPLOG_ENCRYPTION_KEY", key}}, 60s);
    }
    std::int64_t count(const std::string& query) const {
        SQLite::Database reader(database, SQLite::OPEN_READONLY, 2000);
        return reader.execAndGet(query).getInt64();
    }
    /// What of the words is in any file beside the database.
    std::vector<std::string> left_of(const std::vector<std::string>& words) const {
        std::vector<std::string> found;
        for (const auto& entry : std::filesystem::directory_iterator(directory.path())) {
            if (!entry.is_regular_file()) continue;
            std::ostringstream bytes;
            bytes << std::ifstream(entry.path(), std::ios::binary).rdbuf();
            for (const std::string& word : words)
                if (bytes.str().find(word) != std::string::npos)
                    found.push_back(entry.path().filename().string() + ": " + word);
        }
        return found;
    }

    testing::TemporaryDirectory directory;
    const std::string database = (directory / "steplog.db").string();
    sandbox::Service stand_ins{sandbox::ServiceOptions{}};
    std::optional<testing::Process> server;
    std::string url, key, log;
};

class OperatorForgets : public Operator,
                        public ::testing::WithParamInterface<std::tuple<bool, bool>> {};
INSTANTIATE_TEST_SUITE_P(EncryptedAndServed, OperatorForgets,
                         ::testing::Combine(::testing::Bool(), ::testing::Bool()));

TEST_P(OperatorForgets, ACustomerOfWhomNothingIsLeftAndWhoIsStillKnown) {
    const auto [encrypted, served] = GetParam();
    const std::string encryption = encrypted ? old_key : "";
    ASSERT_NO_FATAL_FAILURE(start(encryption));
    auto& world = stand_ins.sandbox();
    const auto gone = world.purchase({.email = "zora.zelenka@example.com", .name = "Zora Zelenka"});
    const auto stays = world.purchase({.email = "otto.ocker@example.com", .name = "Otto Ocker"});
    ASSERT_NO_FATAL_FAILURE(deliver(gone.events));
    ASSERT_NO_FATAL_FAILURE(deliver(stays.events));
    ASSERT_EQ(world.emails().size(), 2U);
    std::vector<std::string> words = {gone.customer, "zora.zelenka", "Zelenka"};
    for (const auto& event : gone.events) words.push_back(event.id);
    EXPECT_FALSE(left_of(words).empty()) << "the search is blind";
    const auto entries = count("SELECT count(*) FROM entries");
    const auto events = count("SELECT count(*) FROM events");

    if (!served) {
        ASSERT_NO_FATAL_FAILURE(stop());
    }
    const auto plan = tool({"workflow-admin", "forget", gone.customer, "--plan"});
    EXPECT_THAT(plan.output, HasSubstr("nothing was changed")) << plan.errors;
    EXPECT_FALSE(left_of(words).empty());
    const auto done = tool({"workflow-admin", "forget", gone.customer, "--reason", "asked"});
    EXPECT_EQ(done.exit.code, 0) << done.errors;
    EXPECT_THAT(done.output, HasSubstr("forgotten: "));
    EXPECT_THAT(left_of(words), IsEmpty());
    EXPECT_FALSE(left_of({stays.customer}).empty());
    const auto again = tool({"workflow-admin", "forget", gone.customer});
    EXPECT_EQ(again.exit.code, 0) << again.errors;
    EXPECT_THAT(again.output, HasSubstr("was forgotten before"));
    if (!served) {
        ASSERT_NO_FATAL_FAILURE(start(encryption));
    }

    EXPECT_EQ(count("SELECT count(*) FROM entries"), entries);
    EXPECT_EQ(count("SELECT count(*) FROM events"), events);
    EXPECT_EQ(count("SELECT count(*) FROM audit WHERE action='forget'"), 1);
    const auto check = tool({"workflow-inspect", "check"});
    EXPECT_EQ(check.exit.code, 0) << check.output;
    for (const auto& event : gone.events) EXPECT_EQ(post(event.body), known) << event.type;
    EXPECT_THAT(left_of(words), IsEmpty());

    // Next month's renewal of somebody who was forgotten and still pays.
    ASSERT_NO_FATAL_FAILURE(deliver(world.renew(gone.subscription).events));
    EXPECT_EQ(world.emails().size(), 2U);
    EXPECT_EQ(world.users().size(), 2U);
    EXPECT_EQ(count("SELECT count(*) FROM instances WHERE state<>'completed'"), 0);
    ASSERT_NO_FATAL_FAILURE(stop());
    for (const std::string& word : {std::string("zora"), std::string("Zelenka"), gone.customer})
        EXPECT_EQ(log.find(word), std::string::npos) << word;
    EXPECT_EQ(tool({"workflow-inspect", "check"}).exit.code, 0);
}

TEST_F(Operator, ForgetsWhoHasUnfinishedWorkOnlyWhenThatMayBeCancelled) {
    ASSERT_NO_FATAL_FAILURE(start(""));
    auto& world = stand_ins.sandbox();
    world.add_fault(
        {.kind = sandbox::FaultKind::status, .provider = sandbox::Provider::clerk, .status = 503});
    const auto gone = world.purchase({.email = "zora.zelenka@example.com"});
    ASSERT_EQ(post(gone.events.back().body), accepted);
    ASSERT_TRUE(server->wait_for_error_line("\"message\":\"retried\"", 60s));
    const auto refused = tool({"workflow-admin", "forget", gone.customer});
    EXPECT_EQ(refused.exit.code, 1);
    EXPECT_THAT(refused.errors, HasSubstr("run it with --cancel"));
    EXPECT_FALSE(left_of({gone.customer}).empty());
    const auto done = tool({"workflow-admin", "forget", gone.customer, "--cancel"});
    EXPECT_EQ(done.exit.code, 0) << done.errors;
    EXPECT_THAT(left_of({gone.customer, "zora.zelenka", gone.events.back().id}), IsEmpty());
    EXPECT_EQ(count("SELECT count(*) FROM instances WHERE state='cancelled'"), 1);
    EXPECT_EQ(tool({"workflow-inspect", "check"}).exit.code, 0);
    EXPECT_EQ(tool({"workflow-admin", "forget", "cus_unknown"}).exit.code, 1);
    ASSERT_NO_FATAL_FAILURE(stop());
}

TEST_F(Operator, RotatesTheEncryptionKey) {
    ASSERT_NO_FATAL_FAILURE(start(old_key));
    ASSERT_NO_FATAL_FAILURE(deliver(stand_ins.sandbox().purchase({}).events));
    ASSERT_NO_FATAL_FAILURE(stop());
    ASSERT_NO_FATAL_FAILURE(start(new_key + "," + old_key));
    const auto rotated = tool({"workflow-admin", "rotate-key"});
    EXPECT_EQ(rotated.exit.code, 0) << rotated.errors;
    EXPECT_THAT(rotated.output, HasSubstr("wrapped 2 data keys anew"))
        << "the customer's and the schedule's";
    ASSERT_NO_FATAL_FAILURE(stop());
    EXPECT_THAT(tool({"workflow-admin", "rotate-key"}).output, HasSubstr("already"));
    key = old_key;
    const auto refused = tool({"workflow-admin", "rotate-key"});
    EXPECT_EQ(refused.exit.code, 1);
    EXPECT_THAT(refused.errors, HasSubstr("STEPLOG_ENCRYPTION_KEY"));
    ASSERT_NO_FATAL_FAILURE(start(new_key));
    EXPECT_EQ(tool({"workflow-inspect", "check"}).exit.code, 0);
    ASSERT_NO_FATAL_FAILURE(stop());
}

}  // namespace
}  // namespace steplog
