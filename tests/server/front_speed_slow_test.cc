// How fast the bare front is beside the bare library it stands before: Debian's cpp-httplib as it
// comes and with TCP_NODELAY, each in a process of its own, the same handler, and the same clients
// in one run. Prints requests a second; what is expected is no more than that the front is not the
// slow one.
#include <fmt/core.h>
#include <sys/wait.h>

#include <chrono>
#include <functional>
#include <optional>
#include <thread>
#include <vector>

#include "tests/server/front_support.h"

namespace steplog::testing {
namespace {

using Clock = std::chrono::steady_clock;

/// Runs `serve` in a child process: it writes its address to the first descriptor and returns when
/// the second one ends.
class Served {
  public:
    using Serve = std::function<void(int ready, int stop)>;

    explicit Served(const Serve& serve) {
        int ready[2], stop[2];
        if (::pipe(ready) != 0 || ::pipe(stop) != 0) std::abort();
        child_ = ::fork();
        if (child_ == 0) {
            ::close(stop[1]);
            serve(ready[1], stop[0]);
            ::_exit(0);
        }
        ::close(ready[1]);
        ::close(stop[0]);
        stop_ = stop[1];
        char buffer[128];
        const ssize_t count = ::read(ready[0], buffer, sizeof(buffer));
        if (count > 0) address_.assign(buffer, static_cast<std::size_t>(count));
        ::close(ready[0]);
    }
    ~Served() {
        ::close(stop_);
        ::waitpid(child_, nullptr, 0);
    }
    Served(const Served&) = delete;
    Served& operator=(const Served&) = delete;

    const std::string& address() const { return address_; }

  private:
    pid_t child_ = -1;
    int stop_ = -1;
    std::string address_;
};

void announce(int ready, const std::string& address) {
    if (::write(ready, address.data(), address.size()) < 0) ::_exit(1);
}

void wait_for_end(int stop) {
    char byte = 0;
    while (::read(stop, &byte, 1) > 0) {
    }
}

void serve_front(int ready, int stop) {
    TestFront front;
    announce(ready, front.address());
    wait_for_end(stop);
    front->drain(Ms(0));
}

void serve_library(bool no_delay, int ready, int stop) {
    httplib::Server server;
    server.set_tcp_nodelay(no_delay);
    server.Post("/api/stripe-webhook", [](const httplib::Request&, httplib::Response& response) {
        response.set_content(R"({"received":true})", "application/json");
    });
    const int port = server.bind_to_any_port("127.0.0.1");
    std::thread listening([&] { server.listen_after_bind(); });
    announce(ready, "127.0.0.1:" + std::to_string(port));
    wait_for_end(stop);
    ::_exit(0);  // its keep-alive connections would keep it for 5 s
}

constexpr int clients_count = 64;
constexpr std::chrono::seconds duration(4);

/// Requests a second of 64 clients that each wait for their answer. They keep their connection as
/// long as the server does, or take a new one each time.
double requests_per_second(const std::string& address, bool keep_alive) {
    std::atomic<int> answered = 0;
    const std::string request =
        post(std::string(3000, ' '), keep_alive ? "" : "Connection: close\r\n");
    const auto until = Clock::now() + duration;
    std::vector<std::jthread> clients;
    for (int i = 0; i < clients_count; ++i) {
        clients.emplace_back([&] {
            std::optional<RawClient> client;
            while (Clock::now() < until) {
                if (!client) client.emplace(address);
                client->send(request);
                const Reply reply = client->read_reply();
                answered += reply.status == 200 ? 1 : 0;
                if (reply.status != 200 || reply.has("Connection: close") || !keep_alive)
                    client.reset();
            }
        });
    }
    clients.clear();
    return answered / std::chrono::duration<double>(duration).count();
}

TEST(FrontSpeed, IsNotWhatTheLibraryLoses) {
    struct Contestant {
        const char* name;
        Served::Serve serve;
        double kept = 0, fresh = 0;
    };
    std::vector<Contestant> contestants = {
        {"the front", serve_front},
        {"cpp-httplib as it comes", std::bind_front(serve_library, false)},
        {"cpp-httplib with TCP_NODELAY", std::bind_front(serve_library, true)},
    };
    for (Contestant& contestant : contestants) {
        const Served served(contestant.serve);
        contestant.kept = requests_per_second(served.address(), true);
        contestant.fresh = requests_per_second(served.address(), false);
        fmt::print("{}: {:.0f} requests/s on kept connections, {:.0f} on a new one each\n",
                   contestant.name, contestant.kept, contestant.fresh);
    }
    const Contestant &front = contestants[0], &library = contestants[1], &quick = contestants[2];
    EXPECT_GT(front.kept, library.kept);
    EXPECT_GT(front.kept, quick.kept / 4);
    EXPECT_GT(front.fresh, quick.fresh / 4);
}

}  // namespace
}  // namespace steplog::testing
