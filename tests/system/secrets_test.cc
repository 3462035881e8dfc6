// Nothing secret and nobody's data in what the programs say: the built server and its tools are fed
// unmistakable marks for every secret and everything personal, through success, refusals, outages
// and wrong settings, and all that comes out of them is searched for the marks.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <httplib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <ctime>
#include <fstream>
#include <mutex>
#include <sstream>
#include <thread>

#include "server/signature.h"
#include "tests/support/process.h"
#include "tests/support/temporary_directory.h"
#include "tools/sandbox/service.h"

namespace steplog {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::Process;

using Environment = std::map<std::string, std::string>;

// Every secret holds "MARK"; everything personal "Mxrk".
const Environment secrets = {
    {"STRIPE_SECRET_KEY", "sk_test_MARKstripe00000000001234"},
    {"STRIPE_WEBHOOK_SECRET", "whsec_MARKwebhook0000,whsec_MARKrolled00000"},
    {"CLERK_SECRET_KEY", "sk_test_MARKclerk000000000005678"},
    {"RESEND_API_KEY", "re_MARKresend000000000000009012"},
    {"OTEL_EXPORTER_OTLP_HEADERS", "api-key=MARKotlp000"},
    {"ADMIN_API_KEY", "admin_MARKadmin00000000000003456"},
    {"STEPLOG_ENCRYPTION_KEY", "TUFSSy1NQVJLLU1BUkstTUFSSy1NQVJLLU1BUkstTUE="},
};
const std::vector<std::string> marks = {"MARK",    "TUFSSy1N",   "4d41524b", "Mxrk",
                                        "Mxrkova", "12 Mxrk St", "+1555Mxrk"};
const std::string signing_secret = "whsec_MARKwebhook0000";

constexpr uid_t nobody = 65534;
const std::string email = "jana.Mxrk@example.com";

/// What a provider says when it wants to be of help: everything that it was sent.
class Echo {
  public:
    Echo() {
        const auto answer = [this](const httplib::Request& request, httplib::Response& response) {
            const std::lock_guard lock(mutex_);
            if (request.method == "GET" && request.path == "/v1/users" && status_ != 500) {
                response.set_content("[]", "application/json");
                return;
            }
            response.status = status_;
            const std::string echoed = "no: " + email + " Jana Mxrkova " + request.body + " " +
                                       request.get_header_value("Authorization");
            const Json body = {{"errors",
                                {{{"code", "form_param_format_invalid"},
                                  {"message", echoed},
                                  {"long_message", echoed},
                                  {"meta", {{"param_name", "email_address"}}}}}},
                               {"error", {{"message", echoed}, {"type", "invalid_request_error"}}},
                               {"message", echoed}};
            response.set_content(status_ == 500 ? "<html>" + echoed : body.dump(),
                                 status_ == 500 ? "text/html" : "application/json");
        };
        server_.Get(".*", answer);
        server_.Post(".*", answer);
        port_ = server_.bind_to_any_port("127.0.0.1");
        thread_ = std::jthread([this] { server_.listen_after_bind(); });
    }
    ~Echo() { server_.stop(); }
    void answers(int status) {
        const std::lock_guard lock(mutex_);
        status_ = status;
    }
    std::string base() const { return "http://127.0.0.1:" + std::to_string(port_); }

  private:
    std::mutex mutex_;
    int status_ = 422;
    httplib::Server server_;
    int port_ = 0;
    std::jthread thread_;
};

class Discretion : public ::testing::Test {
  protected:
    Environment environment(const std::string& providers) const {
        Environment all = secrets;
        all.insert({{"STEPLOG_DATABASE", (directory / "steplog.db").string()},
                    {"STEPLOG_LISTEN", "127.0.0.1:0"},
                    {"STEPLOG_WORKERS", "4"},
                    {"STEPLOG_LOG_LEVEL", "debug"},
                    {"STEPLOG_RETRY_BASE", "50ms"},
                    {"STRIPE_API_BASE", providers},
                    {"CLERK_API_BASE", providers},
                    {"RESEND_API_BASE", providers},
                    {"OTEL_EXPORTER_OTLP_ENDPOINT", providers},
                    {"EMAIL_FROM", "Acme <hello@acme.example>"},
                    {"STEPLOG_MISSED_EVENTS", "off"},
                    {"APP_URL", "https://app.acme.example"}});
        return all;
    }
    void start(const Environment& variables,
               const std::vector<std::string>& command = {program("workflow-server")}) {
        server.emplace(command, variables);
        const auto line = server->read_line(60s);
        const std::string before = "workflow-server listening on ";
        ASSERT_TRUE(line && line->starts_with(before)) << server->errors();
        url = line->substr(before.size());
    }
    static std::string program(const std::string& name) { return STEPLOG_BIN_DIR "/" + name; }

    std::string post(const std::string& body, const std::string& secret = signing_secret) {
        httplib::Client client(url);
        const auto result =
            client.Post("/api/stripe-webhook",
                        {{"Stripe-Signature",
                          server::stripe_signature_header(body, secret, std::time(nullptr))}},
                        body, "application/json");
        if (!result) return "";
        keep("answer to a webhook", result->body);
        return std::to_string(result->status);
    }
    void get(const std::string& path, const httplib::Headers& headers = {}) {
        const auto result = httplib::Client(url).Get(path, headers);
        if (result) keep(path, result->body);
    }
    /// A purchase of somebody whose every detail is a mark.
    static std::string purchase(const std::string& event, const std::string& customer) {
        const Json details = {{"email", email},
                              {"name", "Jana Mxrkova"},
                              {"phone", "+1555Mxrk"},
                              {"address", {{"line1", "12 Mxrk St"}, {"city", "Mxrkville"}}}};
        return Json({{"id", event},
                     {"object", "event"},
                     {"created", 1793520000},
                     {"livemode", false},
                     {"type", "checkout.session.completed"},
                     {"data",
                      {{"object",
                        {{"id", "cs_test_" + event},
                         {"object", "checkout.session"},
                         {"mode", "subscription"},
                         {"payment_status", "paid"},
                         {"customer", customer},
                         {"subscription", "sub_1"},
                         {"metadata", {{"firstName", "JanaMxrk"}}},
                         {"customer_details", details}}}}}})
            .dump();
    }
    /// What a tool says, with and without the key to what is encrypted.
    void look(const std::vector<std::string>& command) {
        for (const bool with_key : {false, true}) {
            Environment variables = {{"STEPLOG_DATABASE", (directory / "steplog.db").string()}};
            if (with_key)
                variables["STEPLOG_ENCRYPTION_KEY"] = secrets.at("STEPLOG_ENCRYPTION_KEY");
            auto argv = command;
            argv.front() = program(argv.front());
            const auto finished = testing::run(argv, variables, 60s);
            keep(command[0] + " " + command[1], finished.output + finished.errors);
        }
    }
    void look_around(const std::string& id, const std::string& customer) {
        for (const std::string json : {"", "--json"}) {
            for (const std::string verb : {"list", "stuck", "stats", "events", "check"})
                look(json.empty() ? std::vector<std::string>{"workflow-inspect", verb}
                                  : std::vector<std::string>{"workflow-inspect", verb, json});
            for (const std::string verb : {"show", "why"}) {
                std::vector<std::string> command = {"workflow-inspect", verb, id};
                if (!json.empty()) command.push_back(json);
                look(command);
            }
            look({"workflow-inspect", "customer", customer});
        }
        const httplib::Headers admin = {{"Authorization", "Bearer " + secrets.at("ADMIN_API_KEY")}};
        get("/api/admin/instances", admin);
        get("/api/admin/instances/" + id, admin);
        EXPECT_THAT(said.back().second, HasSubstr(R"("state":)")) << said.back().second;
        EXPECT_THAT(said.back().second, HasSubstr("***@")) << "its payloads are not to be read";
        look({"workflow-resume", "--all", "--plan"});
        look({"workflow-admin", "forget", customer, "--plan"});
    }
    void end_server() {
        std::ostringstream seen;
        for (const char* name : {"/environ", "/cmdline"})
            seen << std::ifstream("/proc/" + std::to_string(server->pid()) + name).rdbuf();
        keep("/proc", seen.str());
        get("/metrics");
        get("/readyz");
        get("/api/admin/instances", {{"Authorization", "Bearer wrong"}});
        server->signal(SIGTERM);
        ASSERT_TRUE(server->wait(60s));
        keep("the server", server->output() + server->errors());
    }
    void keep(const std::string& where, const std::string& what) { said.emplace_back(where, what); }

    /// Who said a mark, and with what around it.
    std::vector<std::string> leaks() const {
        std::vector<std::string> found;
        for (const auto& [where, what] : said)
            for (const std::string& mark : marks)
                if (const auto at = what.find(mark); at != what.npos)
                    found.push_back(where + ": " + what.substr(at < 80 ? 0 : at - 80, 160));
        return found;
    }
    std::size_t bytes_said() const {
        std::size_t bytes = 0;
        for (const auto& [where, what] : said) bytes += what.size();
        return bytes;
    }

    testing::TemporaryDirectory directory;
    std::optional<Process> server;
    std::string url;
    std::vector<std::pair<std::string, std::string>> said;
};

TEST_F(Discretion, HoldsThroughRefusalsOutagesAndWhatIsNotUnderstood) {
    Echo echo;
    ASSERT_NO_FATAL_FAILURE(start(environment(echo.base())));
    ASSERT_EQ(post(purchase("evt_refused", "cus_1")), "200");
    EXPECT_TRUE(server->wait_for_error_line("CRITICAL", 60s)) << server->errors();
    echo.answers(500);
    ASSERT_EQ(post(purchase("evt_outage", "cus_2")), "200");
    EXPECT_TRUE(server->wait_for_error_line("retried", 60s));
    echo.answers(401);
    ASSERT_EQ(post(purchase("evt_key", "cus_3")), "200");
    EXPECT_TRUE(server->wait_for_error_line("provider_key_rejected", 60s));
    EXPECT_EQ(post(purchase("evt_1", "cus_1"), "whsec_another_MARK_000"), "400");
    EXPECT_EQ(post("{not JSON " + email + " Jana Mxrkova"), "200");
    EXPECT_EQ(post(R"({"id":"jana.Mxrk","type":"Mxrk, Jana"})"), "200");
    look_around("evt_refused", "cus_1");
    get("/" + email);
    end_server();
    EXPECT_GT(bytes_said(), 10'000U) << "nothing was said that could be searched";
    EXPECT_THAT(leaks(), IsEmpty());
}

TEST_F(Discretion, HoldsThroughSuccess) {
    sandbox::Service stand_ins({});
    ASSERT_NO_FATAL_FAILURE(start(environment(stand_ins.base())));
    const auto bought = stand_ins.sandbox().purchase({.email = email, .name = "Jana Mxrkova"});
    for (const auto& event : bought.events) ASSERT_EQ(post(event.body), "200");
    const auto end = std::chrono::steady_clock::now() + 60s;
    while (stand_ins.sandbox().emails().empty() && std::chrono::steady_clock::now() < end)
        std::this_thread::sleep_for(20ms);
    EXPECT_EQ(stand_ins.sandbox().emails().size(), 1U);
    std::string id;
    for (const auto& event : bought.events)
        if (event.type == "checkout.session.completed") id = Json::parse(event.body).at("id");
    look_around(id, bought.customer);
    end_server();
    EXPECT_THAT(leaks(), IsEmpty());
    std::ostringstream database;
    database << std::ifstream(directory / "steplog.db", std::ios::binary).rdbuf();
    EXPECT_EQ(database.str().find("Mxrk"), std::string::npos) << "it should be encrypted";
}

TEST_F(Discretion, HoldsThroughWrongSettings) {
    std::vector<Environment> wrong;
    for (const auto& [name, secret] : secrets) {
        wrong.push_back(environment("http://127.0.0.1:1"));
        wrong.back()[name] = secret + " MARK\n";
        wrong.push_back(environment("http://127.0.0.1:1"));
        wrong.back()[name + "_FILE"] = "/dev/null";
        wrong.push_back(environment("http://127.0.0.1:1"));
        wrong.back()[name] = "MARK";
    }
    wrong.push_back(environment("http://127.0.0.1:1"));
    wrong.back()["STRIPE_SECRET_KEY"] = "pk_test_MARK00000000000000";
    for (const Environment& variables : wrong) {
        const auto finished =
            testing::run({program("workflow-server"), "--check-config"}, variables, 60s);
        keep("--check-config", finished.output + finished.errors);
    }
    const auto right = testing::run({program("workflow-server"), "--check-config"},
                                    environment("http://127.0.0.1:1"), 60s);
    EXPECT_EQ(right.exit.code, 0) << right.errors;
    keep("--check-config", right.output + right.errors);
    EXPECT_THAT(leaks(), IsEmpty());
}

TEST_F(Discretion, LeavesNoCoreDumpAndNoOpenFile) {
    Echo echo;
    // Root may look at every process; whether others may is seen only with a server of another
    // user.
    std::vector<std::string> command = {program("workflow-server")};
    if (geteuid() == 0) {
        ASSERT_EQ(chown(directory.path().c_str(), nobody, nobody), 0);
        command.insert(command.begin(),
                       {"/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"});
    }
    ASSERT_NO_FATAL_FAILURE(start(environment(echo.base()), command));
    struct stat status {};
    const std::string process = "/proc/" + std::to_string(server->pid());
    ASSERT_EQ(stat((process + "/environ").c_str(), &status), 0);
    EXPECT_EQ(status.st_uid, 0U) << "a process that may be dumped belongs to its user";
    EXPECT_EQ(status.st_mode & 077, 0U);
    server->signal(SIGABRT);
    ASSERT_TRUE(server->wait(20s));
    for (const auto& entry : std::filesystem::directory_iterator(directory.path())) {
        ASSERT_EQ(lstat(entry.path().c_str(), &status), 0);
        EXPECT_EQ(status.st_mode & 077, 0U) << entry.path() << " is open to others";
        EXPECT_EQ(entry.path().filename().string().find("core"), std::string::npos);
    }
}

}  // namespace
}  // namespace steplog
