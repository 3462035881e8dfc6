#include "server/traces.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/context.h"
#include "tests/steps/scripted_transport.h"

namespace steplog::server {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

/// Spans that are sent when the exporter is stopped, and what came of them.
struct Exported {
    explicit Exported(const Traces::Limits& limits = {.pause = 1h, .backoff = 1ms})
        : traces({.base = "https://collector.example",
                  .target = "/v1/traces",
                  .headers = {{"api-key", "secret"}},
                  .service = "shop"},
                 {http, clock, log, metrics}, limits) {}

    void observe(int attempts) {
        for (int i = 0; i < attempts; ++i)
            traces.observe({.instance = "order/1",
                            .workflow = "order",
                            .step = "pay",
                            .what = "completed",
                            .attempt = i + 1});
    }
    std::size_t spans_of(std::size_t request) const {
        const Json body = Json::parse(http.requests.at(request).body);
        return body.at("resourceSpans").at(0).at("scopeSpans").at(0).at("spans").size();
    }
    std::string counted() const {
        std::string found;
        const std::string text = metrics.text();
        for (const std::string name : {"exported", "dropped"}) {
            const std::string line = "\nsteplog_trace_spans_" + name + "_total ";
            const auto at = text.find(line) + line.size();
            found += name + "=" + text.substr(at, text.find('\n', at) - at) + " ";
        }
        return found;
    }

    SystemClock clock;
    std::vector<std::string> lines;
    Log log{{.capture = [this](const std::string& line) { lines.push_back(line); }}};
    Metrics metrics{"1"};
    testing::ScriptedTransport http;
    Traces traces;
};

TEST(Traces, AreSentAtTheStopWithTheHeadersThatAreSet) {
    Exported exported;
    exported.http.answer(200, "{}");
    exported.observe(3);
    exported.traces.stop(5s);
    ASSERT_THAT(exported.http.requests, SizeIs(1));
    EXPECT_EQ(exported.http.requests[0].base + exported.http.requests[0].target,
              "https://collector.example/v1/traces");
    EXPECT_EQ(exported.http.header(0, "Content-Type"), "application/json");
    EXPECT_EQ(exported.http.header(0, "api-key"), "secret");
    EXPECT_EQ(exported.spans_of(0), 3U);
    EXPECT_EQ(exported.counted(), "exported=3 dropped=0 ");
}

TEST(Traces, GoInBatches) {
    Exported exported({.batch_max = 2, .pause = 1h});
    for (int i = 0; i < 3; ++i) exported.http.answer(200, "{}");
    exported.observe(5);
    exported.traces.stop(5s);
    EXPECT_GE(exported.http.requests.size(), 3U);
    EXPECT_LE(exported.spans_of(0), 2U);
    EXPECT_EQ(exported.counted(), "exported=5 dropped=0 ");
}

TEST(Traces, LetTheOldestGoWhereTooManyWait) {
    Exported exported({.queue_max = 4, .pause = 1h});
    exported.http.answer(200, R"({"partialSuccess":{"rejectedSpans":"1"}})");
    exported.observe(6);
    exported.traces.stop(5s);
    EXPECT_EQ(exported.spans_of(0), 4U);
    EXPECT_THAT(exported.http.requests[0].body, Not(HasSubstr(R"("intValue":"1")")));
    EXPECT_EQ(exported.counted(), "exported=3 dropped=3 ");
}

TEST(Traces, AreTriedAgainWhereThatIsAllowed) {
    Exported exported({.batch_max = 1, .pause = 1h, .backoff = 1ms});
    exported.http.answer(503, "", {{"Retry-After", "0"}});
    exported.http.break_off("no_connection", Outcome::refused);
    exported.http.answer(429, "");
    exported.http.answer(200, "{}");
    exported.observe(1);
    while (exported.counted() != "exported=1 dropped=0 ") std::this_thread::yield();
    exported.traces.stop(5s);
    EXPECT_THAT(exported.http.requests, SizeIs(4));
    EXPECT_THAT(exported.lines, SizeIs(0));
}

TEST(Traces, AreDroppedWhereTheCollectorRefusesAndThatIsToldOnce) {
    Exported exported({.batch_max = 1, .pause = 1h});
    exported.http.answer(400, "jane@example.org is no span");
    exported.http.answer(401, "");
    exported.observe(2);
    exported.traces.stop(5s);
    EXPECT_EQ(exported.counted(), "exported=0 dropped=2 ");
    ASSERT_THAT(exported.lines, SizeIs(1));
    EXPECT_THAT(exported.lines[0], HasSubstr(R"("error_code":"http_400")"));
    EXPECT_THAT(exported.lines[0], Not(HasSubstr("jane")));
}

}  // namespace
}  // namespace steplog::server
