// The built workflow-server as a user meets it: started, asked, killed, started again.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <httplib.h>
#include <sys/stat.h>

#include <chrono>
#include <csignal>
#include <ctime>
#include <fstream>
#include <sstream>

#include "server/signature.h"
#include "tests/support/process.h"
#include "tests/support/temporary_directory.h"

namespace steplog {
namespace {

using std::string_literals::operator""s;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::Process;
using ::testing::StartsWith;

using Environment = std::map<std::string, std::string>;

const std::string program = STEPLOG_BIN_DIR "/workflow-server";
const std::string stripe_key = "sk_test_NotARealStripeKey00001234";
const std::string clerk_key = "sk_test_NotARealClerkKey000005678";
const std::string webhook_secret = "whsec_NotARealSecret0000";

const std::string received = R"(200 {"received":true})";
const std::string ignored = R"(200 {"received":true,"note":"ignored"})";
const std::string quarantined = R"(200 {"received":true,"note":"quarantined"})";
const std::string already_processed = R"(200 {"received":true,"note":"already_processed"})";

/// Nobody listens at the providers' addresses: whatever is started waits for its first retry.
Environment environment_for(const std::filesystem::path& database) {
    return {{"STEPLOG_DATABASE", database.string()},
            {"STEPLOG_LISTEN", "127.0.0.1:0"},
            {"STEPLOG_WORKERS", "4"},
            {"STRIPE_SECRET_KEY", stripe_key},
            {"STRIPE_WEBHOOK_SECRET", webhook_secret},
            {"STRIPE_API_BASE", "http://127.0.0.1:1"},
            {"CLERK_SECRET_KEY", clerk_key},
            {"CLERK_API_BASE", "http://127.0.0.1:1"},
            {"EMAIL", "off"}};
}

std::string event_file(const std::string& name) {
    std::ifstream file(STEPLOG_SOURCE_DIR "/tests/data/events/" + name);
    EXPECT_TRUE(file) << name;
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

std::string unwanted(const std::string& id) {
    return R"({"id":")" + id +
           R"(","object":"event","created":1793520000,"data":{"object":{"id":"cus_1"}},)" +
           R"("livemode":false,"type":"customer.created"})";
}

/// A server that has said where it listens.
class Server {
  public:
    explicit Server(const Environment& environment, std::vector<std::string> command = {program})
        : process(command, environment) {
        const auto line = process.read_line(std::chrono::seconds(20));
        const std::string before = "workflow-server listening on ";
        if (!line || line->substr(0, before.size()) != before) {
            process.wait(std::chrono::seconds(1));
            throw std::runtime_error("the server did not start: " + process.errors());
        }
        url = line->substr(before.size());
    }

    /// "200 {…}": status and body; "" when there is no answer.
    std::string get(const std::string& path) { return text_of(httplib::Client(url).Get(path)); }
    std::string post(const std::string& body, const std::string& signature) {
        return text_of(httplib::Client(url).Post("/api/stripe-webhook",
                                                 {{"Stripe-Signature", signature}}, body,
                                                 "application/json; charset=utf-8"));
    }
    std::string post_signed(const std::string& body) {
        return post(body,
                    server::stripe_signature_header(body, webhook_secret, std::time(nullptr)));
    }

    Process process;
    std::string url;

  private:
    static std::string text_of(const httplib::Result& result) {
        return result ? std::to_string(result->status) + " " + result->body : "";
    }
};

class WorkflowServer : public ::testing::Test {
  protected:
    Environment environment() const { return environment_for(directory_ / "steplog.db"); }
    testing::TemporaryDirectory directory_;
};

TEST_F(WorkflowServer, StartsOnAFreePortAndEndsWhenAsked) {
    for (const int signal : {SIGTERM, SIGINT}) {
        Server server(environment());
        EXPECT_THAT(server.url, StartsWith("http://127.0.0.1:"));
        EXPECT_EQ(server.get("/healthz"), R"(200 {"status":"ok"})");
        EXPECT_EQ(server.get("/readyz"), R"(200 {"status":"ready"})");
        server.process.signal(signal);
        const auto exit = server.process.wait();
        ASSERT_TRUE(exit) << "still running";
        EXPECT_EQ(exit->code, 0) << server.process.errors();
    }
}

TEST_F(WorkflowServer, RemembersWhatItAnsweredThroughAKill) {
    const auto body = event_file("06_checkout.session.completed.json");
    {
        Server server(environment());
        EXPECT_EQ(server.post_signed(body), received);
        EXPECT_EQ(server.post_signed(unwanted("evt_1")), ignored);
        server.process.signal(SIGKILL);
        ASSERT_TRUE(server.process.wait());
    }
    Server server(environment());
    EXPECT_EQ(server.post_signed(body), already_processed);
    EXPECT_EQ(server.post_signed(unwanted("evt_1")), already_processed);
    EXPECT_TRUE(server.process.wait_for_error_line("\"step\":\"create_clerk_user\""))
        << "the instance did not go on";
}

TEST_F(WorkflowServer, RefusesASecondOneOnTheSameDatabase) {
    Server first(environment());
    const auto begin = std::chrono::steady_clock::now();
    const auto second = testing::run({program}, environment());
    EXPECT_EQ(second.exit.code, 1);
    EXPECT_THAT(second.errors, StartsWith("workflow-server: "));
    EXPECT_EQ(std::count(second.errors.begin(), second.errors.end(), '\n'), 1) << second.errors;
    // Within a second; with room for a machine that is busy with other tests.
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(3));
    EXPECT_EQ(first.get("/readyz"), R"(200 {"status":"ready"})");
}

TEST_F(WorkflowServer, RefusesAnAddressThatIsTaken) {
    Server first(environment());
    auto other = environment_for(directory_ / "other.db");
    other["STEPLOG_LISTEN"] = first.url.substr("http://"s.size());
    const auto second = testing::run({program}, other);
    EXPECT_EQ(second.exit.code, 1);
    EXPECT_THAT(second.errors, HasSubstr(other["STEPLOG_LISTEN"]));
}

TEST_F(WorkflowServer, RefusesAFileThatIsNoDatabase) {
    std::ofstream(directory_ / "steplog.db") << std::string(10'000, 'x');
    const auto finished = testing::run({program}, environment());
    EXPECT_EQ(finished.exit.code, 1);
    EXPECT_THAT(finished.errors, StartsWith("workflow-server: "));
}

TEST_F(WorkflowServer, ChecksItsSettingsAndNamesAllThatIsWrong) {
    auto wrong = environment();
    wrong["STEPLOG_LEASE"] = "soon";
    wrong["STRIPE_WEBHOOK_SECRET"] = "whsec_short";
    wrong["STEPLOG_WORKER"] = "5";
    wrong.erase("CLERK_SECRET_KEY");
    for (const auto& arguments : {std::vector<std::string>{program, "--check-config"}, {program}}) {
        const auto finished = testing::run(arguments, wrong);
        EXPECT_EQ(finished.exit.code, 1);
        for (const auto* name :
             {"STEPLOG_LEASE: ", "STRIPE_WEBHOOK_SECRET: ", "CLERK_SECRET_KEY: ", "3 problems"}) {
            EXPECT_THAT(finished.errors, HasSubstr(name));
        }
        EXPECT_THAT(finished.errors, Not(HasSubstr("whsec_short")));
        EXPECT_EQ(finished.output, "");
    }
    EXPECT_THAT(testing::run({program, "--check-config"}, wrong).errors,
                HasSubstr("did you mean STEPLOG_WORKERS?"));
    EXPECT_FALSE(std::filesystem::exists(directory_ / "steplog.db"));
}

TEST_F(WorkflowServer, ShowsTheSettingsInForceWithoutTheirSecrets) {
    const auto finished =
        testing::run({program, "--check-config", "--workers", "9"}, environment());
    EXPECT_EQ(finished.exit.code, 0) << finished.errors;
    EXPECT_THAT(finished.output, HasSubstr("STEPLOG_WORKERS=9\n"));
    EXPECT_THAT(finished.output, HasSubstr("STRIPE_SECRET_KEY=…1234\n"));
    for (const auto& hidden : {stripe_key, clerk_key, webhook_secret}) {
        EXPECT_THAT(finished.output + finished.errors, Not(HasSubstr(hidden)));
    }
    EXPECT_FALSE(std::filesystem::exists(directory_ / "steplog.db"));
}

TEST_F(WorkflowServer, ExplainsItself) {
    const auto help = testing::run({program, "--help"});
    EXPECT_EQ(help.exit.code, 0);
    for (const auto* text :
         {"Examples:", "STEPLOG_TRUSTED_PROXIES", "STRIPE_SECRET_KEY_FILE", "--check-config"}) {
        EXPECT_THAT(help.output, HasSubstr(text));
    }
    const auto version = testing::run({program, "--version"});
    EXPECT_EQ(version.exit.code, 0);
    EXPECT_THAT(version.output, StartsWith("workflow-server "));
    const auto wrong = testing::run({program, "--colour"});
    EXPECT_EQ(wrong.exit.code, 2);
    EXPECT_EQ(wrong.output, "");
}

TEST_F(WorkflowServer, StaysUpWhateverIsSent) {
    Server server(environment());
    const auto now = std::time(nullptr);
    for (const auto& signature : {""s, "t=,v1="s, "t=1"s, "v1=0"s, std::string(7'000, ','),
                                  "t=1,v1=" + std::string(64, '0')}) {
        EXPECT_THAT(server.post(unwanted("evt_1"), signature), StartsWith("400 {\"error\""))
            << signature;
    }
    EXPECT_THAT(server.post(std::string(1'000'000, '['), "t=1,v1=0"), StartsWith("400 "));
    const auto stale =
        server::stripe_signature_header(unwanted("evt_1"), webhook_secret, now - 400);
    EXPECT_THAT(server.post(unwanted("evt_1"), stale), StartsWith("400 "));
    for (const auto& body :
         {""s, "null"s, "{"s, "\xff"s, std::string(1'000'000, '['), std::string(1'000'000, '1'),
          R"({"id":"evt_1\u0000","type":"x"})"s, R"({"id":"evt_1","id":"evt_1"})"s,
          R"({"id":"evt_1\n\u001b[31mforged","type":"x.y"})"s}) {
        EXPECT_EQ(server.post_signed(body), quarantined) << body.substr(0, 60);
    }
    EXPECT_THAT(server.post_signed(std::string(2'000'000, ' ')), StartsWith("413 "));
    EXPECT_EQ(server.post_signed(unwanted("evt_1")), ignored);
    EXPECT_EQ(server.post_signed(unwanted("evt_1") + " "), already_processed);
    EXPECT_TRUE(server.process.wait_for_error_line("dedupe_conflict"));
    EXPECT_EQ(server.get("/readyz"), R"(200 {"status":"ready"})");
    server.process.signal(SIGTERM);
    const auto exit = server.process.wait();
    ASSERT_TRUE(exit);
    EXPECT_EQ(exit->code, 0);
    EXPECT_THAT(server.process.errors(), Not(HasSubstr("\x1b")));
}

TEST_F(WorkflowServer, KeepsItsSecretsAndItsCustomersToItself) {
    Server server(environment());
    EXPECT_EQ(server.post_signed(event_file("06_checkout.session.completed.json")), received);
    EXPECT_TRUE(server.process.wait_for_error_line("create_clerk_user"));
    std::ostringstream its_environment;
    its_environment
        << std::ifstream("/proc/" + std::to_string(server.process.pid()) + "/environ").rdbuf();
    server.process.signal(SIGTERM);
    ASSERT_TRUE(server.process.wait());
    for (const auto& hidden :
         {stripe_key, clerk_key, webhook_secret, "ada@example.com"s, "Lovelace"s}) {
        EXPECT_THAT(server.process.errors() + server.process.output(), Not(HasSubstr(hidden)));
        EXPECT_THAT(its_environment.str(), Not(HasSubstr(hidden)));
    }
    for (const auto& entry : std::filesystem::directory_iterator(directory_.path())) {
        struct stat status {};
        ASSERT_EQ(stat(entry.path().c_str(), &status), 0);
        EXPECT_EQ(status.st_mode & 077, 0U) << entry.path() << " is open to others";
    }
}

TEST_F(WorkflowServer, EndsAtOnceWhenTheStoreFails) {
    // A file may not grow beyond its limit: the write that wants it to is an I/O error to SQLite.
    Server server(environment(), {"/usr/bin/prlimit", "--fsize=800000", program});
    std::string answer = received;
    for (int i = 0; i < 1000 && answer.substr(0, 3) == "200"; ++i) {
        answer =
            server.post_signed(unwanted("evt_" + std::to_string(i)) + std::string(20'000, ' '));
    }
    EXPECT_THAT(answer, ::testing::AnyOf(StartsWith("503 "), ""));
    const auto exit = server.process.wait(std::chrono::seconds(5));
    ASSERT_TRUE(exit) << "still running";
    EXPECT_EQ(exit->code, 74) << server.process.errors();
    EXPECT_THAT(server.process.errors(), HasSubstr("CRITICAL: the store failed"));
}

}  // namespace
}  // namespace steplog
