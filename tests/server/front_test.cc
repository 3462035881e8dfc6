// The front as routes and operators see it: connections that live on, what a handler is told,
// limits, failures of handlers, and the end. Hostile bytes are in front_corpus_test.cc.
#include "server/front.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <mutex>
#include <thread>

#include "tests/server/front_support.h"

namespace steplog::testing {
namespace {

void wait_for(std::atomic<int>& value, int wanted) {
    for (int now = value; now != wanted; now = value) value.wait(now);
}

TEST(Front, ServesManyRequestsOnOneConnection) {
    server::FrontOptions options;
    options.requests_per_connection_max = 5;
    TestFront front(options);
    RawClient client(front.address());
    for (int i = 1; i <= 5; ++i) {
        ASSERT_TRUE(client.send(post("{}")));
        const Reply reply = client.read_reply();
        EXPECT_EQ(reply.status, 200);
        EXPECT_EQ(reply.has("Connection: close"), i == 5);
    }
    EXPECT_EQ(client.read_to_end(), "");
    EXPECT_EQ(front->stats().accepted, 1u);
    EXPECT_EQ(front->stats().answered, 5u);
}

TEST(Front, ReadsARequestByteByByte) {
    TestFront front;
    RawClient client(front.address());
    for (const char c : post("{\"a\":1}", "", "/echo")) ASSERT_TRUE(client.send(std::string(1, c)));
    const Reply reply = client.read_reply();
    EXPECT_EQ(reply.status, 200);
    EXPECT_EQ(reply.body.substr(reply.body.size() - 7), "{\"a\":1}");
}

TEST(Front, CarriesTheLargestBodyBothWays) {
    TestFront front;
    const std::string body(1024 * 1024, 'x');
    const Reply reply = front.ask(post(body, "", "/echo"));
    EXPECT_EQ(reply.status, 200);
    ASSERT_GT(reply.body.size(), body.size());
    EXPECT_EQ(reply.body.substr(reply.body.size() - body.size()), body);
    EXPECT_TRUE(eventually([&] { return front->stats().buffered_bytes == 0; }));
}

TEST(Front, ClosesAfterAnHttp10Answer) {
    TestFront front;
    RawClient client(front.address());
    client.send("GET /healthz HTTP/1.0\r\n\r\n");
    const Reply reply = client.read_last_reply();
    EXPECT_EQ(reply.body, "ok");
    EXPECT_TRUE(reply.ended);
}

TEST(Front, AnswersHeadWithoutABody) {
    TestFront front;
    RawClient client(front.address());
    client.send("HEAD /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    const std::string all = client.read_to_end();
    EXPECT_NE(all.find("Content-Length: 2\r\n"), std::string::npos);
    EXPECT_EQ(all.substr(all.size() - 4), "\r\n\r\n");
}

TEST(Front, TellsHandlersTheHeadersAsTheyWereSent) {
    TestFront front;
    const std::string body =
        front
            .ask(
                get("/echo?q=1",
                    "Cookie: a=%0d%0aX: y\r\nREMOTE_ADDR: 1.2.3.4\r\nX-Forwarded-For: 1.2.3.4\r\n"))
            .body;
    EXPECT_EQ(body, "127.0.0.1\n/echo\ncookie: a=%0d%0aX: y\nhost: a.example\n\n");
}

TEST(Front, TellsHandlersTheClientBehindATrustedProxy) {
    server::FrontOptions options;
    options.trusted_proxies = {"127.0.0.0/8"};
    TestFront front(options);
    const std::string body =
        front.ask(get("/echo", "X-Forwarded-For: 1.2.3.4, 203.0.113.9\r\n")).body;
    EXPECT_EQ(body.substr(0, body.find('\n')), "203.0.113.9");
    EXPECT_TRUE(front->is_exempt("127.0.0.1"));
    EXPECT_FALSE(front->is_exempt("203.0.113.9"));
}

TEST(Front, KeepsWhatAHandlerThrowsToItself) {
    TestFront front;
    for (const char* path : {"/throw", "/throw-a-number"}) {
        const Reply reply = front.ask(get(path));
        EXPECT_EQ(reply.status, 500);
        EXPECT_EQ(reply.body, R"({"error":"internal error"})");
        EXPECT_EQ(reply.head.find("secret"), std::string::npos);
        EXPECT_EQ(reply.head.find("EXCEPTION"), std::string::npos);
    }
    EXPECT_EQ(front.ask(get("/forbidden")).body, R"({"error":"Forbidden"})");
}

TEST(Front, SurvivesWhatTheLibraryDoesNotGuard) {
    TestFront front;
    front->routes().set_post_routing_handler(
        [](const httplib::Request& request, httplib::Response&) {
            if (request.path == "/healthz") throw std::runtime_error("the secret text");
        });
    const Reply reply = front.ask(get("/healthz"));
    EXPECT_EQ(reply.status, 500);
    EXPECT_EQ(reply.body, R"({"error":"internal error"})");
    EXPECT_EQ(front.ask(get("/echo")).status, 200);
    EXPECT_EQ(front->stats().failed, 1u);
}

TEST(Front, CarriesStreamedAnswersAndEndsEndlessOnes) {
    server::FrontOptions options;
    options.idle_deadline = Ms(600'000);  // an end is the answer's own, not the deadline's
    TestFront front(options);
    RawClient streamed(front.address());
    streamed.send(get("/streamed"));
    const std::string all = streamed.read_to_end();
    EXPECT_EQ(all.substr(all.size() - 12), "\r\n\r\nstreamed");
    RawClient chunked(front.address());
    chunked.send(get("/chunked", "Connection: close\r\n"));
    EXPECT_NE(chunked.read_to_end().find("\r\n\r\n7\r\nchunked\r\n0\r\n\r\n"), std::string::npos);
    EXPECT_EQ(front.ask(get("/endless")).status, 500);
}

TEST(Front, SaysBusyWhenTheQueueIsFull) {
    server::FrontOptions options;
    options.workers = 1;
    options.queue_max = 1;
    TestFront front(options);
    RawClient working(front.address()), queued(front.address());
    working.send(get("/wait"));
    wait_for(front.waiting, 1);
    queued.send(get("/healthz"));
    ASSERT_TRUE(eventually([&] { return front->stats().queued == 1; }));
    const Reply refused = front.ask(get("/healthz"));
    EXPECT_EQ(refused.status, 503);
    EXPECT_TRUE(refused.has("Retry-After: 5"));
    front.gate.open();
    EXPECT_EQ(working.read_reply().body, "waited");
    EXPECT_EQ(queued.read_reply().body, "ok");
    EXPECT_EQ(front.ask(get("/healthz")).status, 200);
    EXPECT_EQ(front->stats().refused.at(503), 1u);
}

TEST(Front, AnswersInTimeEvenIfARouteDoesNot) {
    server::FrontOptions options;
    options.answer_deadline = Ms(100);
    TestFront front(options);
    RawClient client(front.address());
    client.send(get("/wait"));
    const Reply reply = client.read_last_reply();
    EXPECT_EQ(reply.status, 503);
    EXPECT_TRUE(reply.ended);
    front.gate.open();
    EXPECT_EQ(front.ask(get("/healthz")).body, "ok");
}

TEST(Front, LimitsConnectionsPerAddress) {
    server::FrontOptions options;
    options.connections_per_address_max = 2;
    options.exempt_loopback = false;
    TestFront front(options);
    RawClient first(front.address()), second(front.address());
    first.send(get("/healthz"));
    second.send(get("/healthz"));
    EXPECT_EQ(first.read_reply().status, 200);
    EXPECT_EQ(second.read_reply().status, 200);
    RawClient third(front.address());
    EXPECT_EQ(third.read_last_reply().status, 429);
    RawClient neighbour(front.address(), "127.0.0.2");
    neighbour.send(get("/healthz"));
    EXPECT_EQ(neighbour.read_reply().status, 200);
    first.close();
    EXPECT_TRUE(eventually([&] { return front.ask(get("/healthz")).status == 200; }));
}

TEST(Front, MakesRoomForNewConnectionsByClosingIdleOnes) {
    server::FrontOptions options;
    options.connections_max = 10;
    TestFront front(options);
    std::deque<RawClient> idle;
    for (int i = 0; i < 50; ++i) idle.emplace_back(front.address());
    EXPECT_EQ(front.ask(get("/healthz")).status, 200);
    EXPECT_EQ(idle.front().read_to_end(), "");
    EXPECT_LE(front->stats().connections, 10u);
    EXPECT_GE(front->stats().evicted, 41u);
}

TEST(Front, MakesRoomByDroppingWhoeverKeepsItWaitingLongest) {
    server::FrontOptions options;
    options.connections_max = 4;
    TestFront front(options);
    std::deque<RawClient> slow;
    const auto begin_body = [&] {
        slow.emplace_back(front.address());
        slow.back().send(post("{}").substr(0, post("{}").size() - 1));
    };
    for (int i = 0; i < 4; ++i) begin_body();
    ASSERT_TRUE(eventually([&] { return front->stats().accepted == 4; }));
    // It has not spoken yet, and still it is none of those who must go for others.
    RawClient young(front.address());
    for (int i = 0; i < 3; ++i) {
        begin_body();
        ASSERT_TRUE(eventually(
            [&] { return front->stats().evicted == static_cast<std::uint64_t>(i) + 2; }));
    }
    EXPECT_EQ(slow.front().read_to_end(), "");
    young.send(get("/healthz"));
    EXPECT_EQ(young.read_reply().status, 200);
}

TEST(Front, MakesRoomForSmallRequestsByDroppingTheLargest) {
    server::FrontOptions options;
    options.buffered_bytes_max = 400'000;
    TestFront front(options);
    std::deque<RawClient> hoarders;
    const std::string half = post(std::string(200'000, 'x')).substr(0, 150'000);
    for (int i = 0; i < 4; ++i) {
        hoarders.emplace_back(front.address());
        hoarders.back().send(half);
    }
    ASSERT_TRUE(eventually([&] { return front->stats().evicted >= 2; }));
    EXPECT_LE(front->stats().buffered_bytes, 400'000u);
    EXPECT_EQ(front.ask(post("{}")).status, 200);
}

TEST(Front, CountsBodiesOfVanishedClientsUntilTheirHandlersEnd) {
    server::FrontOptions options;
    options.workers = 1;
    TestFront front(options);
    RawClient working(front.address());
    working.send(get("/wait"));
    wait_for(front.waiting, 1);
    {
        RawClient vanishing(front.address());
        vanishing.send(post(std::string(100'000, 'x')));
        ASSERT_TRUE(eventually([&] { return front->stats().queued == 1; }));
        vanishing.reset();
    }
    ASSERT_TRUE(eventually([&] { return front->stats().connections == 1; }));
    EXPECT_GE(front->stats().buffered_bytes, 100'000u);
    front.gate.open();
    EXPECT_TRUE(eventually([&] { return front->stats().buffered_bytes == 0; }));
}

TEST(Front, ReportsWhatItDoes) {
    std::mutex mutex;
    std::vector<server::FrontEvent> events;
    server::FrontOptions options;
    options.on_event = [&](const server::FrontEvent& event) {
        const std::lock_guard lock(mutex);
        events.push_back(event);
    };
    {
        TestFront front(options);
        front.ask(post("{}", "", "/api/stripe-webhook?secret=1"));
        front.ask(get("/a\x01"));
    }
    ASSERT_EQ(events.size(), 2u);
    EXPECT_EQ(events[0].kind, server::FrontEvent::Kind::answered);
    EXPECT_EQ(events[0].status, 200);
    EXPECT_EQ(events[0].address, "127.0.0.1");
    EXPECT_EQ(events[0].method, "POST");
    EXPECT_EQ(events[0].path, "/api/stripe-webhook");
    EXPECT_EQ(events[1].kind, server::FrontEvent::Kind::refused);
    EXPECT_EQ(events[1].status, 400);
}

TEST(Front, AnswersWhatHasBegunBeforeItEnds) {
    server::FrontOptions options;
    TestFront front(options);
    RawClient idle(front.address()), half(front.address()), working(front.address());
    idle.send(get("/healthz"));
    EXPECT_EQ(idle.read_reply().status, 200);
    const std::string request = post("{}");
    half.send(request.substr(0, 60));
    working.send(get("/wait"));
    wait_for(front.waiting, 1);
    std::thread draining([&] { front->drain(Ms(patience_ms)); });
    EXPECT_EQ(idle.read_to_end(), "");
    EXPECT_FALSE(RawClient(front.address()).connected());
    half.send(request.substr(60));
    const Reply finished = half.read_last_reply();
    EXPECT_EQ(finished.status, 200);
    EXPECT_TRUE(finished.has("Connection: close"));
    front.gate.open();
    EXPECT_EQ(working.read_last_reply().body, "waited");
    half.close();
    working.close();
    draining.join();
}

TEST(Front, SaysBusyToWhatIsUnfinishedWhenItsGraceEnds) {
    TestFront front;
    RawClient half(front.address()), working(front.address());
    half.send("POST /api");
    working.send(get("/wait"));
    wait_for(front.waiting, 1);
    ASSERT_TRUE(eventually([&] { return front->stats().connections == 2; }));
    std::thread draining([&] { front->drain(Ms(100)); });
    EXPECT_EQ(half.read_last_reply().status, 503);
    EXPECT_EQ(working.read_last_reply().status, 503);
    front.gate.open();
    draining.join();
}

TEST(Front, NamesTheAddressItCannotHave) {
    TestFront front;
    server::FrontOptions options;
    options.listen = front.address();
    server::Front second(options);
    try {
        second.start();
        FAIL() << "two fronts have one address";
    } catch (const std::runtime_error& error) {
        EXPECT_NE(std::string(error.what()).find(front.address()), std::string::npos)
            << error.what();
    }
}

TEST(Front, RefusesOptionsThatCannotBe) {
    const auto with = [](auto change) {
        server::FrontOptions options;
        change(options);
        return options;
    };
    EXPECT_THROW(server::Front(with([](auto& options) { options.body_max = 17 << 20; })),
                 std::runtime_error);
    EXPECT_THROW(server::Front(with([](auto& options) { options.listen = "8080"; })),
                 std::runtime_error);
    EXPECT_THROW(server::Front(with([](auto& options) { options.tls_cert = "a.pem"; })),
                 std::runtime_error);
    EXPECT_THROW(
        server::Front(with([](auto& options) { options.trusted_proxies = {"10.0.0.0/99"}; })),
        std::runtime_error);
}

TEST(Front, ListensOnIpv6) {
    server::FrontOptions options;
    options.listen = "[::1]:0";
    TestFront front(options);
    EXPECT_EQ(front.address().substr(0, 6), "[::1]:");
    const std::string body = front.ask(get("/echo")).body;
    EXPECT_EQ(body.substr(0, body.find('\n')), "::1");
}

TEST(Front, Serves256ClientsAtOnce) {
    server::FrontOptions options;
    options.workers = 16;
    TestFront front(options);
    constexpr int threads = 8, clients_per_thread = 32, requests = 4;
    std::atomic<int> good = 0;
    std::vector<std::thread> running;
    for (int i = 0; i < threads; ++i) {
        running.emplace_back([&] {
            std::deque<RawClient> clients;
            for (int c = 0; c < clients_per_thread; ++c) clients.emplace_back(front.address());
            for (int r = 0; r < requests; ++r) {
                for (RawClient& client : clients)
                    client.send(post("{\"n\":" + std::to_string(r) + "}"));
                for (RawClient& client : clients) good += client.read_reply().status == 200 ? 1 : 0;
            }
        });
    }
    for (std::thread& thread : running) thread.join();
    EXPECT_EQ(good, threads * clients_per_thread * requests);
    EXPECT_EQ(front.received, good);
    EXPECT_EQ(front->stats().accepted, 256u);
}

}  // namespace
}  // namespace steplog::testing
