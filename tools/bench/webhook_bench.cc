// webhook: how many signed events a second are durable and answered, over real sockets, beside a
// bare httplib with one grouping writer on bare SQLite that checks nothing.
#include <fmt/format.h>
#include <httplib.h>
#include <netinet/tcp.h>

#include <deque>
#include <future>
#include <thread>

#include "server/front.h"
#include "server/webhook.h"
#include "tools/bench/bare_loop.h"
#include "tools/bench/benches.h"
#include "tools/bench/house.h"
#include "tools/bench/http_load.h"

namespace steplog::bench {
namespace {

const std::string secret = "whsec_workflow_bench_0123456789";
constexpr int requests_per_connection = 1'000'000'000;

/// The event of a paid checkout, padded to the payload's size.
std::string event_body(std::uint64_t number, std::size_t bytes) {
    const std::string id = event_id(number);
    std::string body = fmt::format(
        R"({{"id":"{}","object":"event","api_version":"2026-10-28.endive","created":1793520000,)"
        R"("type":"checkout.session.completed","livemode":false,"pending_webhooks":1,"request":null,)"
        R"("data":{{"object":{{"id":"cs_test_{}","object":"checkout.session","mode":"subscription",)"
        R"("customer":"cus_{}","subscription":"sub_{}","payment_status":"paid","status":"complete",)"
        R"("customer_details":{{"email":"bench@example.com","name":"Bench"}},"metadata":{{"text":")",
        id, id, id, id);
    const std::string end = R"("}}}})";
    if (body.size() + end.size() < bytes) body.append(bytes - body.size() - end.size(), 'x');
    return body + end;
}

/// The whole way of an event into the database, without anybody to work on it.
class OurServer {
  public:
    OurServer(const std::filesystem::path& database, int connections)
        : house_({.database = database, .workers = 0}),
          log_({.capture = [](const std::string&) {}}),
          front_(front_options(connections)),
          webhook_(house_.engine(), clock_, log_, {.secrets = {secret}}) {
        webhook_.add_to(front_.routes());
        front_.start();
    }
    ~OurServer() { front_.drain(Ms(0)); }
    int port() const {
        const std::string address = front_.address();
        return std::stoi(address.substr(address.rfind(':') + 1));
    }
    House& house() { return house_; }

  private:
    static server::FrontOptions front_options(int connections) {
        server::FrontOptions options;
        options.listen = "127.0.0.1:0";
        options.workers = std::max(64, connections);
        options.requests_per_connection_max = requests_per_connection;
        return options;
    }
    SystemClock clock_;
    House house_;
    server::Log log_;
    server::Front front_;
    server::StripeWebhook webhook_;
};

/// httplib as it comes (but for TCP_NODELAY and a thread for each connection), and a writer that
/// commits all that waits.
class BareServer {
  public:
    BareServer(const std::filesystem::path& database, int connections)
        : loop_(database, 0, 0), writer_([this](const std::stop_token& stop) { write(stop); }) {
        server_.new_task_queue = [connections] {
            return new httplib::ThreadPool(static_cast<std::size_t>(connections));
        };
        server_.set_keep_alive_max_count(requests_per_connection);
        server_.set_tcp_nodelay(true);
        server_.Post("/api/stripe-webhook",
                     [this](const httplib::Request& request, httplib::Response& response) {
                         store(request.body).get();
                         response.set_content(R"({"received":true})", "application/json");
                     });
        port_ = server_.bind_to_any_port("127.0.0.1");
        listener_ = std::jthread([this] { server_.listen_after_bind(); });
        while (!server_.is_running()) std::this_thread::sleep_for(Ms(1));
    }
    ~BareServer() { server_.stop(); }
    int port() const { return port_; }

  private:
    struct Waiting {
        std::string body;
        std::promise<void> durable;
    };
    std::future<void> store(const std::string& body) {
        const std::lock_guard lock(mutex_);
        Waiting& waiting = queue_.emplace_back();
        waiting.body = body;
        queued_.notify_one();
        return waiting.durable.get_future();
    }
    void write(const std::stop_token& stop) {
        while (true) {
            std::deque<Waiting> batch;
            {
                std::unique_lock lock(mutex_);
                if (!queued_.wait(lock, stop, [this] { return !queue_.empty(); })) return;
                batch.swap(queue_);
            }
            std::vector<std::string> bodies;
            for (Waiting& each : batch) bodies.push_back(std::move(each.body));
            loop_.accept(bodies);
            for (Waiting& each : batch) each.durable.set_value();
        }
    }

    BareLoop loop_;
    std::mutex mutex_;
    std::condition_variable_any queued_;
    std::deque<Waiting> queue_;
    std::jthread writer_;
    httplib::Server server_;
    int port_ = 0;
    std::jthread listener_;
};

/// Ids that no other load in this run used.
std::function<std::string(std::uint64_t)> deliveries(std::size_t bytes) {
    static std::atomic<std::uint64_t> series{0};
    return [bytes, first = ++series << 32](std::uint64_t n) {
        return signed_delivery(event_body(first + n, bytes), secret);
    };
}

double bare_per_second(const Options& options, int connections, double seconds) {
    const Place place(options.directory);
    BareServer server(place.database(), connections);
    return run_load({.port = server.port(),
                     .connections = connections,
                     .seconds = seconds,
                     .request = deliveries(options.payload)})
        .per_second;
}

void refuse_refusals(const HttpSeen& seen) {
    if (seen.refused > 0)
        throw std::runtime_error(fmt::format("{} deliveries were not answered 200", seen.refused));
}

}  // namespace

std::vector<Result> bench_webhook(const Options& options) {
    std::vector<int> cases = {1, 32, 256};
    if (options.in_flight > 0) cases = {options.in_flight};
    const double seconds = options.quick ? 1.5 : 5;
    std::vector<Result> results;
    for (const int connections : cases) {
        Result result{.bench = "webhook",
                      .name = fmt::format("connections={}", connections),
                      .unit = "events/s"};
        const double before = bare_per_second(options, connections, seconds / 2);
        const Place place(options.directory);
        OurServer server(place.database(), connections);
        const std::uint64_t commits = server.house().commits(), items = server.house().items();
        const HttpSeen seen = run_load({.port = server.port(),
                                        .connections = connections,
                                        .seconds = seconds,
                                        .request = deliveries(options.payload)});
        refuse_refusals(seen);
        result.batch = static_cast<double>(server.house().items() - items) /
                       static_cast<double>(server.house().commits() - commits);
        const double after = bare_per_second(options, connections, seconds / 2);
        result.value = seen.per_second;
        result.limit = (before + after) / 2;
        seen.took.into(result);
        result.sync_ms = sync_ms(place.path());
        results.push_back(result);

        // At half that rate, on time whatever happens: what a sender sees on an ordinary day.
        const HttpSeen open = run_load({.port = server.port(),
                                        .connections = connections,
                                        .seconds = seconds,
                                        .per_second = seen.per_second / 2,
                                        .request = deliveries(options.payload)});
        refuse_refusals(open);
        Result half{.bench = "webhook",
                    .name = fmt::format("connections={},half_rate", connections),
                    .unit = "ms",
                    .smaller_is_better = true};
        open.took.into(half);
        half.value = *half.p99_ms;
        half.sync_ms = sync_ms(place.path());
        half.limit = std::max(20 * *half.sync_ms, 5.0);
        half.note = "p99 in an open loop; limit: max(20 syncs, 5 ms)";
        results.push_back(half);
    }
    return results;
}

}  // namespace steplog::bench
