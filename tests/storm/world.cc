#include "tests/storm/world.h"

#include <SQLiteCpp/SQLiteCpp.h>
#include <arpa/inet.h>
#include <fmt/core.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <sstream>
#include <thread>

#include "server/signature.h"
#include "tools/sandbox/http_call.h"

namespace steplog::testing {
namespace {

using namespace std::chrono_literals;

const std::string webhook_secret = "whsec_NotARealSecret0000";
const std::string webhook_path = "/api/stripe-webhook";

sockaddr_in loopback(int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    return address;
}

// A port that nobody uses now: the server must come back to the address that Stripe knows.
int free_port() {
    const int descriptor = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    const bool bound = bind(descriptor, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
                       getsockname(descriptor, reinterpret_cast<sockaddr*>(&address), &size) == 0;
    close(descriptor);
    if (!bound) throw std::runtime_error("no free port on loopback");
    return ntohs(address.sin_port);
}

sandbox::ServiceOptions service_options(int port, const Clock* clock) {
    sandbox::ServiceOptions options;
    options.sandbox.clock = clock;
    options.sender.url = fmt::format("http://127.0.0.1:{}{}", port, webhook_path);
    options.sender.secrets = {webhook_secret};
    options.sender.backoff_base = 20ms;
    options.sender.backoff_cap = 500ms;
    options.sender.attempts_max = 10'000;
    options.sender.timeout = 5s;
    options.sender.threads = 8;
    options.sender.clock = clock;
    return options;
}

}  // namespace

int wanted(const char* variable, int usual) {
    const char* text = std::getenv(variable);
    return text && *text ? std::atoi(text) : usual;
}

std::string missing(bool root, const Command& programs) {
    std::string why;
    if (root && geteuid() != 0) why = "needs root";
    for (const auto& program : programs) {
        const auto found =
            run({"/bin/sh", "-c", "PATH=$PATH:/usr/sbin:/sbin command -v \"$0\"", program});
        if (found.exit.code != 0) why += (why.empty() ? "" : "; ") + ("there is no " + program);
    }
    if (!why.empty())
        fmt::print(stderr, "*** SKIPPED: {}: {}\n",
                   ::testing::UnitTest::GetInstance()->current_test_info()->name(), why);
    return why;
}

std::string raw_request(int port, const std::string& request) {
    const int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const timeval limit{10, 0};
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    const sockaddr_in address = loopback(port);
    std::string answer;
    if (connect(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
        ::send(descriptor, request.data(), request.size(), MSG_NOSIGNAL) > 0) {
        char buffer[4096];
        for (ssize_t size = 0; (size = recv(descriptor, buffer, sizeof buffer, 0)) > 0;)
            answer.append(buffer, static_cast<std::size_t>(size));
    }
    close(descriptor);
    return answer;
}

StormWorld::StormWorld(const Clock* clock) : port_(free_port()) {
    stand_ins_ = std::make_unique<sandbox::Service>(service_options(port_, clock));
    environment_ = {{"STEPLOG_LISTEN", fmt::format("127.0.0.1:{}", port_)},
                    {"STEPLOG_WORKERS", "16"},
                    {"STEPLOG_RETRY_BASE", "20ms"},
                    {"STEPLOG_RETRY_CAP", "500ms"},
                    {"STEPLOG_LOG_LEVEL", "error"},
                    {"STRIPE_SECRET_KEY", "sk_test_NotARealStripeKey00001234"},
                    {"STRIPE_WEBHOOK_SECRET", webhook_secret},
                    {"STRIPE_API_BASE", stand_ins_->base(sandbox::Provider::stripe)},
                    {"CLERK_SECRET_KEY", "sk_test_NotARealClerkKey000005678"},
                    {"CLERK_API_BASE", stand_ins_->base(sandbox::Provider::clerk)},
                    {"RESEND_API_KEY", "re_NotARealKey000000"},
                    {"RESEND_API_BASE", stand_ins_->base(sandbox::Provider::resend)},
                    {"EMAIL_FROM", "hello@example.com"},
                    {"STEPLOG_MISSED_EVENTS", "off"},
                    {"APP_URL", "https://app.example.com"}};
}

std::string StormWorld::url(const std::string& path) const {
    return fmt::format("http://127.0.0.1:{}{}", port_, path);
}

void StormWorld::start(const Command& before, const std::string& program) {
    environment_["STEPLOG_DATABASE"] = database_.string();
    // Its log goes to a file: nobody here reads a pipe while hundreds of refusals are told.
    Command command{"/bin/sh", "-c", "exec \"$@\" 2>>\"$0\"", directory_ / "server.log"};
    command.insert(command.end(), before.begin(), before.end());
    command.push_back(program);
    server_.reset();
    server_.emplace(command, environment_);
}

bool StormWorld::becomes_ready(Ms timeout) {
    const auto deadline = SteadyClock::now() + timeout;
    while (SteadyClock::now() < deadline && lives(2ms))
        if (sandbox::http_call("GET", url("/readyz"), {}, "", 2s).status == 200) return true;
    return false;
}

bool StormWorld::lives(Ms wait) { return server_ && !server_->wait(wait); }

std::optional<Exit> StormWorld::exited(Ms timeout) { return server_->wait(timeout); }

void StormWorld::kill_server() {
    server_->signal(SIGKILL);
    ASSERT_TRUE(server_->wait());
}

Ms StormWorld::stop_server(Ms timeout) {
    const auto begin = SteadyClock::now();
    server_->signal(SIGTERM);
    const auto exit = server_->wait(timeout);
    EXPECT_TRUE(exit) << "still running";
    EXPECT_EQ(exit ? exit->code : 0, 0) << log();
    return std::chrono::duration_cast<Ms>(SteadyClock::now() - begin);
}

void StormWorld::restart() {
    start();
    ASSERT_TRUE(becomes_ready()) << log();
}

void StormWorld::buy(int customers) {
    for (int i = 0; i < customers; ++i) {
        const auto purchase =
            world().purchase({.email = fmt::format("customer{}@example.com", customers_++)});
        sender().send(purchase.events, {.shuffle = true, .copies = 2});
        events_.insert(events_.end(), purchase.events.begin(), purchase.events.end());
    }
}

void StormWorld::deliver_again() { sender().send(events_); }

std::string StormWorld::deliver_unwanted(const std::string& id) {
    const std::string body =
        R"({"id":")" + id +
        R"(","object":"event","created":1793520000,"data":{"object":{"id":"cus_1"}},)"
        R"("livemode":false,"type":"customer.created"})";
    const auto signature =
        server::stripe_signature_header(body, webhook_secret, std::time(nullptr));
    return raw_request(port_,
                       fmt::format("POST {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                                   "Content-Type: application/json\r\nStripe-Signature: {}\r\n"
                                   "Content-Length: {}\r\n\r\n{}",
                                   webhook_path, signature, body.size(), body));
}

void StormWorld::settle(Ms timeout) {
    ASSERT_TRUE(sender().wait_until_idle(timeout)) << sender().pending() << " deliveries are left\n"
                                                   << log();
    ASSERT_TRUE(becomes("SELECT count(*) FROM instances WHERE state<>'completed'", 0, timeout))
        << run({STEPLOG_BIN_DIR "/workflow-inspect", "stuck"},
               {{"STEPLOG_DATABASE", database_.string()}})
               .output
        << log();
}

int StormWorld::settle_resuming(const std::string& error_code, Ms timeout) {
    int resumed = 0;
    const auto deadline = SteadyClock::now() + timeout;
    while (SteadyClock::now() < deadline &&
           (sender().pending() > 0 ||
            count("SELECT count(*) FROM instances WHERE state<>'completed'") > 0)) {
        if (count("SELECT count(*) FROM instances WHERE state='stuck'") == 0) {
            std::this_thread::sleep_for(20ms);
            continue;
        }
        const auto finished = run({STEPLOG_BIN_DIR "/workflow-resume", "--all", "--error-code",
                                   error_code, "--yes", "--json"},
                                  {{"STEPLOG_DATABASE", database_.string()}}, 60s);
        const Json told = Json::parse(finished.output, nullptr, false);
        if (!told.is_object() || told.at("resumed").get<int>() == 0) break;
        resumed += told.at("resumed").get<int>();
    }
    settle(1s);
    return resumed;
}

int StormWorld::lost() {
    SQLite::Database database(database_.string(), SQLite::OPEN_READONLY, 5000);
    SQLite::Statement event(database, "SELECT count(*) FROM events WHERE id=?");
    int lost = 0;
    for (const auto& told : sender().acknowledgements()) {
        if (!told.acknowledged) continue;
        event.reset();
        event.bind(1, told.event);
        event.executeStep();
        if (event.getColumn(0).getInt() == 1) continue;
        const auto is_it = [&](const sandbox::Event& bought) { return bought.id == told.event; };
        if (echoes_forgiven_ && std::none_of(events_.begin(), events_.end(), is_it)) continue;
        if (++lost <= 5)
            fmt::print(stderr, "acknowledged and lost: {} {}, {} {}\n", told.event, told.type,
                       told.status, told.note);
    }
    return lost;
}

StormWorld::Reckoning StormWorld::reckon() {
    Reckoning sum;
    for (const auto& told : sender().acknowledgements()) sum.acknowledged += told.acknowledged;
    sum.lost = lost();
    SQLite::Database database(database_.string(), SQLite::OPEN_READONLY, 5000);
    sum.integrity = database.execAndGet("PRAGMA integrity_check").getString();
    sum.repeated_steps = static_cast<int>(
        count("SELECT count(*) FROM entries AS again JOIN entries AS done ON "
              "done.instance=again.instance AND done.step=again.step AND "
              "done.kind='completed' WHERE again.kind='started' AND again.n>done.n"));
    for (const auto& [key, times] : world().effects()) sum.repeated_effects += times - 1;
    sum.users = static_cast<int>(world().users().size());
    sum.emails = static_cast<int>(world().emails().size());
    const Json state = world().state();
    std::map<std::string, std::string> user_of;
    for (const Json& user : state.at("users"))
        user_of[user.at("external_id").get<std::string>()] = user.at("id").get<std::string>();
    const auto is_linked = [&](const Json& object, const std::string& customer) {
        return user_of.count(customer) == 1 &&
               object.at("metadata").value("clerk_user_id", "") == user_of[customer];
    };
    for (const Json& customer : state.at("customers"))
        sum.linked_customers += is_linked(customer, customer.at("id").get<std::string>());
    for (const Json& subscription : state.at("subscriptions"))
        sum.linked_subscriptions +=
            is_linked(subscription, subscription.at("customer").get<std::string>());
    return sum;
}

StormWorld::Reckoning StormWorld::expect_nothing_lost_or_repeated() {
    if (lives()) stop_server();
    const Reckoning sum = reckon();
    EXPECT_EQ(sum.lost, 0);
    EXPECT_EQ(sum.integrity, "ok");
    EXPECT_EQ(sum.repeated_effects, 0);
    EXPECT_EQ(sum.repeated_steps, 0);
    EXPECT_EQ(sum.users, customers_);
    EXPECT_EQ(sum.emails, customers_);
    EXPECT_EQ(sum.linked_customers, customers_);
    EXPECT_EQ(sum.linked_subscriptions, customers_);
    const auto check = run({STEPLOG_BIN_DIR "/workflow-inspect", "check"},
                           {{"STEPLOG_DATABASE", database_.string()}}, 120s);
    EXPECT_EQ(check.exit.code, 0) << check.output << check.errors;
    return sum;
}

std::int64_t StormWorld::count(const std::string& query) const {
    SQLite::Database reader(database_.string(), SQLite::OPEN_READONLY, 5000);
    return reader.execAndGet(query).getInt64();
}

bool StormWorld::becomes(const std::string& query, std::int64_t expected, Ms limit) const {
    const auto end = SteadyClock::now() + limit;
    while (count(query) != expected) {
        if (SteadyClock::now() > end) return false;
        std::this_thread::sleep_for(20ms);
    }
    return true;
}

int StormWorld::requests() const {
    int sum = 0;
    for (const auto& [route, times] : stand_ins_->sandbox().requests()) sum += times;
    return sum;
}

std::string StormWorld::log() const {
    std::ifstream file(directory_ / "server.log");
    std::ostringstream text;
    text << file.rdbuf();
    constexpr std::size_t enough = 3000;
    const std::string all = text.str();
    return all.size() > enough ? all.substr(all.size() - enough) : all;
}

}  // namespace steplog::testing
