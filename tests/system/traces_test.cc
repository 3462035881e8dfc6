// The built server sends traces to a collector on a socket: one trace an instance, a span an
// attempt, the same trace after the server was killed between two attempts.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <httplib.h>

#include <csignal>
#include <functional>
#include <mutex>
#include <set>
#include <thread>

#include "engine/types.h"
#include "tests/support/temporary_directory.h"
#include "tests/system/live_server.h"
#include "tools/sandbox/sandbox.h"
#include "tools/sandbox/service.h"

namespace steplog::testing {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::Not;

/// Takes what is posted to /v1/traces with the right header.
class Collector {
  public:
    Collector() {
        server_.Post(
            "/v1/traces", [this](const httplib::Request& request, httplib::Response& reply) {
                const bool known = request.get_header_value("api-key") == "a secret" &&
                                   request.get_header_value("Content-Type") == "application/json";
                reply.status = known ? 200 : 401;
                reply.set_content("{}", "application/json");
                if (known) keep(request.body);
            });
        port_ = server_.bind_to_any_port("127.0.0.1");
        thread_ = std::thread([this] { server_.listen_after_bind(); });
    }
    ~Collector() {
        server_.stop();
        thread_.join();
    }
    std::string base() const { return "http://127.0.0.1:" + std::to_string(port_); }

    /// All spans that are named so, or all.
    std::vector<Json> spans(const std::string& name = "") {
        const std::lock_guard lock(mutex_);
        std::vector<Json> found;
        for (const Json& span : spans_)
            if (name.empty() || span.at("name") == name) found.push_back(span);
        return found;
    }
    std::string received() {
        const std::lock_guard lock(mutex_);
        return received_;
    }

  private:
    void keep(const std::string& body) {
        const std::lock_guard lock(mutex_);
        received_ += body;
        const Json request = Json::parse(body);
        for (const Json& span :
             request.at("resourceSpans").at(0).at("scopeSpans").at(0).at("spans"))
            spans_.push_back(span);
    }

    httplib::Server server_;
    std::mutex mutex_;
    std::vector<Json> spans_;
    std::string received_;
    int port_ = 0;
    std::thread thread_;
};

bool comes_true(const std::function<bool()>& holds) {
    const auto end = std::chrono::steady_clock::now() + 60s;
    while (!holds() && std::chrono::steady_clock::now() < end) std::this_thread::sleep_for(20ms);
    return holds();
}

bool failed(const Json& span) { return span.at("status").value("code", 0) == 2; }

TEST(TracesOnTheWire, AreOneForAnInstanceThoughItsServerIsKilled) {
    TemporaryDirectory directory;
    Collector collector;
    sandbox::Service stand_ins{sandbox::ServiceOptions{}};
    stand_ins.sandbox().add_fault(
        {.kind = sandbox::FaultKind::status, .provider = sandbox::Provider::clerk, .status = 429});
    auto environment = server_environment(directory / "steplog.db");
    environment["STRIPE_API_BASE"] = environment["CLERK_API_BASE"] = stand_ins.base();
    environment["STEPLOG_RETRY_BASE"] = "50ms";
    environment["STEPLOG_RETRY_CAP"] = "200ms";
    environment["STEPLOG_MISSED_EVENTS"] = "off";
    environment["STEPLOG_RECONCILE"] = "off";
    environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector.base() + "/";
    environment["OTEL_EXPORTER_OTLP_HEADERS"] = "api-key=a%20secret";
    std::optional<LiveServer> server(environment);
    for (const auto& event : stand_ins.sandbox().purchase({.email = "grace@example.org"}).events)
        if (event.type == "checkout.session.completed") server->post_signed(event.body);

    ASSERT_TRUE(comes_true([&] { return !collector.spans("create_clerk_user").empty(); }))
        << server->process.errors();
    server->process.signal(SIGKILL);
    ASSERT_TRUE(server->process.wait());
    EXPECT_TRUE(failed(collector.spans("create_clerk_user").at(0)));
    stand_ins.sandbox().clear_faults();
    server.emplace(environment);
    ASSERT_TRUE(comes_true([&] {
        return server->sql("SELECT count(*) FROM instances WHERE state='completed'") == "1";
    })) << server->process.errors();
    server->process.signal(SIGTERM);
    EXPECT_TRUE(server->process.wait(20s));

    std::set<Json> traces, ids;
    for (const Json& span : collector.spans()) {
        traces.insert(span.at("traceId"));
        EXPECT_TRUE(ids.insert(span.at("spanId")).second) << span;
    }
    EXPECT_EQ(traces.size(), 1U);
    const auto roots = collector.spans("provision_customer");
    ASSERT_EQ(roots.size(), 1U);
    EXPECT_FALSE(roots[0].contains("parentSpanId"));
    EXPECT_FALSE(failed(roots[0]));
    for (const char* step : {"create_clerk_user", "update_customer", "update_subscription"}) {
        const auto attempts = collector.spans(step);
        ASSERT_FALSE(attempts.empty()) << step;
        EXPECT_FALSE(failed(attempts.back())) << step;
        for (const Json& attempt : attempts)
            EXPECT_EQ(attempt.at("parentSpanId"), roots[0].at("spanId"));
    }
    EXPECT_THAT(server->process.errors(),
                HasSubstr(R"("trace_id":")" + roots[0].at("traceId").get<std::string>()));
    EXPECT_THAT(collector.received(), Not(HasSubstr("grace")));
}

}  // namespace
}  // namespace steplog::testing
