// The built server under attack for as long as its deadlines last: that they are what they are said
// to be, to the second, and that signed events are made durable in time beside thousands of hostile
// connections, within 256 MiB through all of it.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <chrono>
#include <deque>
#include <future>
#include <thread>

#include "server/front_listener.h"
#include "tests/server/front_attackers.h"
#include "tests/server/front_tls_support.h"
#include "tests/system/server_program.h"

namespace steplog::testing {
namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;
using std::chrono::seconds;

struct Ended {
    std::string said;
    double after_s = 0;
};

/// Sends `first`, then `drip` every two seconds, until the server ends the connection.
Ended outlast(const std::string& address, const std::string& first, const std::string& drip) {
    RawClient client(address);
    const auto began = Clock::now();
    client.send(first);
    Ended ended;
    pollfd watched{client.socket(), POLLIN, 0};
    while (::poll(&watched, 1, 2000) == 0 && Clock::now() - began < seconds(30)) {
        if (!drip.empty()) client.send(drip);
    }
    ended.after_s = Seconds(Clock::now() - began).count();
    ended.said = client.read_to_end();
    return ended;
}

TEST(ServerDeadlines, AreAbsolute) {
    const Certificates certificates;
    certificates.make("a.example");
    ServerProgram plain, tls({{"TLS_CERT", certificates.cert()}, {"TLS_KEY", certificates.key()}});
    const std::string body = post("0123456789");
    struct Case {
        const char* name;
        const ServerProgram& server;
        std::string first, drip;
        int after_s;
        std::string status;  // "" for an end without an answer
    };
    const std::vector<Case> cases = {
        {"nothing at all", plain, "", "", 5, ""},
        {"a head, a byte every two seconds", plain, "GET /healthz HTTP/1.1\r\nA: ", "b", 5, "408"},
        {"a body, a byte every two seconds", plain, body.substr(0, body.size() - 10), "1", 15,
         "408"},
        {"no TLS handshake", tls, "", "", 5, ""},
        {"half a TLS handshake", tls, "\x16\x03\x01\x02", "\x01", 5, ""},
    };
    std::vector<std::future<Ended>> running;
    for (const Case& each : cases) {
        running.push_back(
            std::async(std::launch::async, outlast, each.server.address, each.first, each.drip));
    }
    for (std::size_t i = 0; i < cases.size(); ++i) {
        const Ended ended = running[i].get();
        fmt::print("{}: {:.2f} s, {}\n", cases[i].name, ended.after_s, ended.said.substr(0, 12));
        EXPECT_NEAR(ended.after_s, cases[i].after_s, 0.9) << cases[i].name;
        EXPECT_EQ(ended.said.substr(0, 12),
                  cases[i].status.empty() ? "" : "HTTP/1.1 " + cases[i].status)
            << cases[i].name;
    }
}

/// A signed event again and again, on a connection of its own each, until told to stop.
class Deliveries {
  public:
    Deliveries(const std::string& address, const std::string& name)
        : thread_([this, address, name](const std::stop_token& stop) {
              for (int i = 0; !stop.stop_requested(); ++i) {
                  const std::string request =
                      signed_post(fmt::format("evt_{}_{}", name, i), "Connection: close\r\n");
                  const auto began = Clock::now();
                  RawClient client(address);
                  client.send(request);
                  if (client.read_reply().body != ignored_answer) ++figures_.failed;
                  figures_.took_ms.push_back(1000 * Seconds(Clock::now() - began).count());
              }
          }) {}

    Figures stop() {
        thread_.request_stop();
        thread_.join();
        return figures_;
    }

  private:
    Figures figures_;  // the thread's, until it has ended
    std::jthread thread_;
};

void expect_good(const char* name, Figures figures, const ServerProgram& server,
                 double p99_ms_max) {
    const long peak_mib = peak_kib(server.process.pid()) / 1024;
    fmt::print(
        "{}: {} signed events, {} failed, p50 {:.1f} ms, p99 {:.1f} ms, max {:.1f} ms, peak "
        "{} MiB\n",
        name, figures.took_ms.size(), figures.failed, figures.quantile(0.5), figures.quantile(0.99),
        figures.quantile(1), peak_mib);
    EXPECT_EQ(figures.failed, 0) << name;
    EXPECT_LT(figures.quantile(0.99), p99_ms_max) << name;
    EXPECT_LT(peak_mib, 256) << name;
}

void flood(const std::string& address, std::string_view first, std::string_view more,
           std::size_t megabytes) {
    RawClient client(address);
    client.send(first);
    std::string block;
    while (block.size() < (1 << 20)) block += more;
    for (std::size_t i = 0; i < megabytes && client.send(block); ++i) {
    }
}

TEST(ServerUnderAttack, MakesSignedEventsDurableWithin256MiB) {
    if (server::raise_open_files(8000) < 8000) GTEST_SKIP() << "needs 8,000 open files";
    ServerProgram server;
    const std::string half_body = post(std::string(1 << 20, 'x')).substr(0, 200);
    {
        std::deque<Attackers> attackers;
        attackers.emplace_back(server.address, 1000, "", "");
        attackers.emplace_back(server.address, 500, "GET /healthz HTTP/1.1\r\nA: ", "b");
        attackers.emplace_back(server.address, 500, half_body, "x");
        for (Attackers& group : attackers) group.continue_all();
        Deliveries deliveries(server.address, "slow");
        const auto until = Clock::now() + seconds(18);
        while (Clock::now() < until) {
            for (Attackers& group : attackers) group.continue_all();
            std::this_thread::sleep_for(std::chrono::milliseconds(100));
        }
        expect_good("1,000 idle and 1,000 slow", deliveries.stop(), server, 100);
    }
    {
        Deliveries deliveries(server.address, "resets");
        for (int i = 0; i < 2000; ++i) RawClient(server.address).reset();
        expect_good("2,000 resets", deliveries.stop(), server, 1000);
    }
    {
        Deliveries deliveries(server.address, "floods");
        flood(server.address, "GET /", "a", 200);
        flood(server.address, "GET /healthz HTTP/1.1\r\nHost: a\r\n", "A: b\r\n", 83);
        flood(server.address, half_body.substr(0, half_body.find("1048576")) + "100000000\r\n\r\n",
              "x", 100);
        expect_good("200 MB of a line, 83 MB of headers, 100 MB of a body", deliveries.stop(),
                    server, 1000);
    }
    {
        std::deque<Attackers> attackers;
        const std::string large = post(std::string(1 << 20, '['), "Stripe-Signature: t=1,v1=0\r\n");
        attackers.emplace_back(server.address, 300, large.substr(0, large.size() - 500'000), "x");
        attackers.emplace_back(server.address, 50, large, "");
        for (Attackers& group : attackers) group.continue_all();
        Deliveries deliveries(server.address, "hoard");
        const auto until = Clock::now() + seconds(8);
        while (Clock::now() < until) {
            for (Attackers& group : attackers) group.continue_all();
        }
        expect_good("300 large bodies that do not end and 50 that do", deliveries.stop(), server,
                    5000);
    }
    server.process.signal(SIGTERM);
    EXPECT_TRUE(server.process.wait(seconds(30)));
}

TEST(ServerUnderAttack, HoldsFourThousandTlsConnectionsWithin256MiB) {
    if (server::raise_open_files(8000) < 8000) GTEST_SKIP() << "needs 8,000 open files";
    const Certificates certificates;
    certificates.make("a.example");
    ServerProgram server({{"TLS_CERT", certificates.cert()},
                          {"TLS_KEY", certificates.key()},
                          {"STEPLOG_IDLE_TIMEOUT", "1m"},
                          {"STEPLOG_HEADER_TIMEOUT", "1m"},
                          {"STEPLOG_REQUEST_TIMEOUT", "1m"}});
    std::deque<TlsClient> clients;
    for (int i = 0; i < 4000; ++i) {
        clients.emplace_back(server.address);
        if (!clients.back().connect()) ADD_FAILURE() << "handshake " << i;
    }
    EXPECT_EQ(clients.back().ask(signed_post("evt_1")).body, ignored_answer);
    EXPECT_EQ(clients.front().ask(signed_post("evt_2")).body, ignored_answer) << "still there";
    const long peak_mib = peak_kib(server.process.pid()) / 1024;
    fmt::print("4,000 TLS connections: peak {} MiB\n", peak_mib);
    EXPECT_LT(peak_mib, 256);
}

}  // namespace
}  // namespace steplog::testing
