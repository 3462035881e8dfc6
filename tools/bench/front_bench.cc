// front: what vetting, limits and the way through memory cost. The same route, answered by the
// front and by cpp-httplib's own server.
#include <fmt/format.h>
#include <httplib.h>

#include <thread>

#include "server/front.h"
#include "tools/bench/benches.h"
#include "tools/bench/http_load.h"

namespace steplog::bench {
namespace {

constexpr int requests_per_connection = 1'000'000'000;
constexpr const char* path = "/bench";

void add_route(httplib::Server& routes) {
    routes.Get(path, [](const httplib::Request&, httplib::Response& response) {
        response.set_content(R"({"status":"ok"})", "application/json");
    });
}

HttpSeen load(int port, int connections, bool keep, double seconds) {
    return run_load({.port = port,
                     .connections = connections,
                     .keep = keep,
                     .seconds = seconds,
                     .request = [](std::uint64_t) {
                         return fmt::format("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", path);
                     }});
}

double library_per_second(int connections, bool keep, double seconds) {
    httplib::Server server;
    server.new_task_queue = [connections] {
        return new httplib::ThreadPool(static_cast<std::size_t>(connections));
    };
    server.set_keep_alive_max_count(keep ? requests_per_connection : 1);
    server.set_tcp_nodelay(true);
    add_route(server);
    const int port = server.bind_to_any_port("127.0.0.1");
    const std::jthread listener([&server] { server.listen_after_bind(); });
    while (!server.is_running()) std::this_thread::sleep_for(Ms(1));
    const double per_second = load(port, connections, keep, seconds).per_second;
    server.stop();
    return per_second;
}

}  // namespace

std::vector<Result> bench_front(const Options& options) {
    const double seconds = options.quick ? 1 : 5;
    std::vector<Result> results;
    for (const bool keep : {true, false}) {
        // The library listens with a backlog of 5: more clients that connect at once lose some.
        const int connections = !keep ? 4 : options.in_flight > 0 ? options.in_flight : 64;
        server::FrontOptions front_options;
        front_options.listen = "127.0.0.1:0";
        front_options.requests_per_connection_max = requests_per_connection;
        server::Front front(front_options);
        add_route(front.routes());
        front.start();
        const std::string address = front.address();
        const int port = std::stoi(address.substr(address.rfind(':') + 1));
        Result result{.bench = "front",
                      .name = fmt::format("connections={},{}", connections, keep ? "kept" : "new"),
                      .unit = "requests/s"};
        const double before = library_per_second(connections, keep, seconds / 2);
        const HttpSeen seen = load(port, connections, keep, seconds);
        const double after = library_per_second(connections, keep, seconds / 2);
        result.value = seen.per_second;
        result.limit = (before + after) / 2;
        seen.took.into(result);
        results.push_back(std::move(result));
    }
    return results;
}

}  // namespace steplog::bench
