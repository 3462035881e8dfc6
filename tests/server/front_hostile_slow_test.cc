// The front in its own process under thousands of hostile connections: good requests beside them
// are answered, and its memory stays bounded. Prints how fast, and how much memory.
#include <fmt/core.h>
#include <sys/wait.h>

#include <chrono>
#include <deque>

#include "server/front_listener.h"
#include "tests/server/front_attackers.h"

namespace steplog::testing {
namespace {

using Time = std::chrono::steady_clock::time_point;

/// A front in a child process, so that its memory can be told from the attackers'.
class FrontProcess {
  public:
    explicit FrontProcess(const server::FrontOptions& options) {
        int ready[2], stop[2];
        if (::pipe(ready) != 0 || ::pipe(stop) != 0) std::abort();
        child_ = ::fork();
        if (child_ == 0) {
            ::close(stop[1]);
            TestFront front(options);
            const std::string address = front.address();
            if (::write(ready[1], address.data(), address.size()) < 0) ::_exit(1);
            ::close(ready[1]);
            char byte = 0;
            // Ends with the parent, however that ends.
            while (::read(stop[0], &byte, 1) > 0) {
            }
            front->drain(Ms(0));
            ::_exit(0);
        }
        ::close(ready[1]);
        ::close(stop[0]);
        stop_ = stop[1];
        char buffer[128];
        for (ssize_t count = 0; (count = ::read(ready[0], buffer, sizeof(buffer))) > 0;) {
            address_.append(buffer, static_cast<std::size_t>(count));
        }
        ::close(ready[0]);
    }
    ~FrontProcess() {
        ::close(stop_);
        ::waitpid(child_, nullptr, 0);
    }
    FrontProcess(const FrontProcess&) = delete;
    FrontProcess& operator=(const FrontProcess&) = delete;

    const std::string& address() const { return address_; }

    long peak_kib() const { return testing::peak_kib(child_); }

  private:
    pid_t child_ = -1;
    int stop_ = -1;
    std::string address_;
};

void ask_well(const std::string& address, Time until, Figures& figures) {
    while (std::chrono::steady_clock::now() < until) {
        const auto began = std::chrono::steady_clock::now();
        RawClient client(address);
        client.send(post("{}"));
        if (client.read_reply().status != 200) ++figures.failed;
        figures.took_ms.push_back(
            std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - began)
                .count());
    }
}

void run_attack(const char* name, const FrontProcess& front, std::deque<Attackers>& attackers,
                std::chrono::seconds duration, double p99_ms_max) {
    for (Attackers& group : attackers) group.continue_all();
    Figures figures;
    const Time until = std::chrono::steady_clock::now() + duration;
    std::thread asking([&] { ask_well(front.address(), until, figures); });
    while (std::chrono::steady_clock::now() < until) {
        for (Attackers& group : attackers) group.continue_all();
    }
    asking.join();
    int made = 0;
    for (const Attackers& group : attackers) made += group.made();
    fmt::print(
        "{}: {} hostile connections made, {} good requests, {} failed, p50 {:.1f} ms, p99 {:.1f} "
        "ms, max {:.1f} ms, peak {} MiB\n",
        name, made, figures.took_ms.size(), figures.failed, figures.quantile(0.5),
        figures.quantile(0.99), figures.quantile(1), front.peak_kib() / 1024);
    EXPECT_EQ(figures.failed, 0);
    EXPECT_LT(figures.quantile(0.99), p99_ms_max);
    EXPECT_LT(front.peak_kib(), 256 * 1024);
}

TEST(FrontHostile, ServesBeside1000IdleAnd1000SlowConnections) {
    if (server::raise_open_files(6000) < 6000) GTEST_SKIP() << "needs 6,000 open files";
    const FrontProcess front({});
    std::deque<Attackers> attackers;
    attackers.emplace_back(front.address(), 1000, "", "");
    attackers.emplace_back(front.address(), 500, "GET /healthz HTTP/1.1\r\nA: ", "b");
    attackers.emplace_back(front.address(), 500, post(std::string(1 << 20, 'x')).substr(0, 200),
                           "x");
    run_attack("1,000 idle and 1,000 slow", front, attackers, std::chrono::seconds(18), 100);
}

TEST(FrontHostile, ServesWhileAllItsConnectionsAreTaken) {
    if (server::raise_open_files(10'000) < 10'000) GTEST_SKIP() << "needs 10,000 open files";
    const FrontProcess front({});
    std::deque<Attackers> attackers;
    attackers.emplace_back(front.address(), 5000, "GET /healthz HTTP/1.1\r\nA: ", "");
    run_attack("5,000 slow, more than it allows", front, attackers, std::chrono::seconds(12), 1000);
}

TEST(FrontHostile, ServesWhileBodiesThatDoNotComeTakeAllItsConnections) {
    if (server::raise_open_files(10'000) < 10'000) GTEST_SKIP() << "needs 10,000 open files";
    const FrontProcess front({});
    std::deque<Attackers> attackers;
    attackers.emplace_back(front.address(), 5000, post("{}  ").substr(0, post("{}  ").size() - 2),
                           "");
    run_attack("5,000 bodies that do not come", front, attackers, std::chrono::seconds(12), 1000);
}

TEST(FrontHostile, ServesBesideHoardersOfMemory) {
    const FrontProcess front({});
    std::deque<Attackers> attackers;
    const std::string large = post(std::string(1 << 20, 'x'));
    attackers.emplace_back(front.address(), 300, large.substr(0, large.size() - 500'000), "x");
    attackers.emplace_back(front.address(), 100, get("/large?bytes=300000"), "");
    run_attack("300 large bodies that never end, 100 large answers never read", front, attackers,
               std::chrono::seconds(12), 5000);
}

}  // namespace
}  // namespace steplog::testing
