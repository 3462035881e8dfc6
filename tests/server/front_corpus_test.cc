// Bad input over real sockets: every row of the corpus gets its answer, over IPv4, IPv6 and TLS,
// and after each of them a good request is served as before. What needs more than one burst of
// bytes has a test of its own.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <deque>

#include "tests/server/front_corpus.h"
#include "tests/server/front_tls_support.h"

namespace steplog::testing {
namespace {

void expect_healthy(TestFront& front, bool tls = false) {
    const int before = front.received;
    const auto client = client_of(front.address(), tls);
    client->send(post("{}"));
    const Reply reply = client->read_reply();
    EXPECT_EQ(reply.status, 200);
    EXPECT_EQ(reply.body, R"({"received":true})");
    EXPECT_EQ(front.received, before + 1);
}

void expect_answer(const Row& row, RawClient& client) {
    client.send(row.bytes);
    const Reply reply = client.read_reply();
    EXPECT_EQ(reply.status, row.status);
    EXPECT_FALSE(reply.has("Server:"));
    EXPECT_EQ(reply.has("Connection: close"), row.close);
    if (row.close) {
        EXPECT_EQ(client.read_to_end(), "") << "one answer, whatever the bytes hide";
    }
    if (reply.status >= 400) {
        EXPECT_EQ(reply.body.substr(0, 10), R"({"error":")");
    }
}

struct Listener {
    std::string name;
    std::string listen;
    bool tls;
};
void PrintTo(const Listener& listener, std::ostream* out) { *out << listener.name; }

class FrontCorpusOver : public ::testing::TestWithParam<Listener> {};

TEST_P(FrontCorpusOver, AnswersEveryRowAndServesOn) {
    const Certificates certificates;
    server::FrontOptions options;
    options.listen = GetParam().listen;
    if (GetParam().tls) {
        certificates.make("a.example");
        options.tls_cert = certificates.cert();
        options.tls_key = certificates.key();
    }
    TestFront front(options);
    for (const Row& row : all_rows()) {
        SCOPED_TRACE(::testing::PrintToString(row));
        expect_answer(row, *client_of(front.address(), GetParam().tls));
        expect_healthy(front, GetParam().tls);
    }
    EXPECT_EQ(front.received, static_cast<int>(all_rows().size()));
}

INSTANTIATE_TEST_SUITE_P(Listeners, FrontCorpusOver,
                         ::testing::Values(Listener{"Ipv4", "127.0.0.1:0", false},
                                           Listener{"Ipv6", "[::1]:0", false},
                                           Listener{"Tls", "127.0.0.1:0", true}),
                         [](const auto& listener) { return listener.param.name; });

TEST(FrontCorpus, AnswersARefusedHeadWithoutABody) {
    TestFront front;
    for (const char* more : {"Host: b\r\n", "Transfer-Encoding: chunked\r\n", "A: \x01\r\n"}) {
        RawClient client(front.address());
        client.send("HEAD /healthz HTTP/1.1\r\nHost: a\r\n" + std::string(more) + "\r\n");
        const std::string all = client.read_to_end();
        EXPECT_NE(all.find("\r\nContent-Length: "), std::string::npos);
        EXPECT_EQ(all.find("{"), std::string::npos) << more;
    }
}

server::FrontOptions impatient() {
    server::FrontOptions options;
    options.header_deadline = Ms(150);
    options.request_deadline = Ms(250);
    options.idle_deadline = Ms(150);
    return options;
}

TEST(FrontCorpus, Row1ClosesConnectionsThatSayNothing) {
    TestFront front(impatient());
    std::deque<RawClient> idle;
    for (int i = 0; i < 200; ++i) idle.emplace_back(front.address());
    expect_healthy(front);
    for (RawClient& client : idle) EXPECT_EQ(client.read_to_end(), "");
    EXPECT_EQ(front->stats().expired, 200u);
}

TEST(FrontCorpus, Row2GivesUpOnSlowHeaders) {
    TestFront front(impatient());
    RawClient client(front.address());
    client.send("GET /healthz HTTP/1.1\r\nHo");
    const Reply reply = client.read_last_reply();
    EXPECT_EQ(reply.status, 408);
    EXPECT_TRUE(reply.ended);
    expect_healthy(front);
}

TEST(FrontCorpus, Row2CountsTheDeadlineFromTheBeginningHoweverOftenABytesArrives) {
    TestFront front(impatient());
    RawClient client(front.address());
    const auto began = std::chrono::steady_clock::now();
    client.send("GET /healthz HTTP/1.1\r\nA: ");
    pollfd answered{client.socket(), POLLIN, 0};
    while (::poll(&answered, 1, 10) == 0 && client.send("b")) {
    }
    EXPECT_EQ(client.read_reply().status, 408);
    EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(5));
}

TEST(FrontCorpus, Row3GivesUpOnASlowBody) {
    TestFront front(impatient());
    RawClient client(front.address());
    client.send(json_head("Content-Length: 200000\r\n") + "{");
    pollfd answered{client.socket(), POLLIN, 0};
    while (::poll(&answered, 1, 10) == 0 && client.send(" ")) {
    }
    EXPECT_EQ(client.read_last_reply().status, 408);
    expect_healthy(front);
    EXPECT_EQ(front.received, 1);
}

TEST(FrontCorpus, Row4SurvivesResets) {
    TestFront front;
    for (int i = 0; i < 500; ++i) {
        RawClient client(front.address());
        if (i % 3 == 1) client.send("POST /api");
        if (i % 3 == 2) client.send(post("{}"));
        client.reset();
    }
    EXPECT_EQ(front.ask(post("{}")).status, 200);
}

TEST(FrontCorpus, Row5AnswersAHalfClosedConnection) {
    TestFront front;
    RawClient client(front.address());
    client.send(post("{}"));
    client.shutdown_write();
    const Reply reply = client.read_last_reply();
    EXPECT_EQ(reply.status, 200);
    EXPECT_TRUE(reply.ended);
}

TEST(FrontCorpus, Row6ResetsAClientThatNeverReads) {
    server::FrontOptions options;
    options.write_deadline = Ms(200);
    TestFront front(options);
    RawClient client(front.address(), "", 4096);
    client.send(get("/large?bytes=15000000"));
    expect_healthy(front);
    // The answer cannot be whole: the part that was in flight, and then the reset.
    pollfd broken{client.socket(), 0, 0};
    ASSERT_EQ(::poll(&broken, 1, patience_ms), 1);
    EXPECT_NE(broken.revents & (POLLERR | POLLHUP), 0);
    EXPECT_EQ(front->stats().expired, 1u);
    EXPECT_TRUE(eventually([&] { return front->stats().buffered_bytes == 0; }));
}

TEST(FrontCorpus, Row32AnswersTheFirstOfTwoPipelinedRequestsAndCloses) {
    TestFront front;
    RawClient client(front.address());
    client.send(get("/echo") + get("/healthz"));
    const Reply reply = client.read_last_reply();
    EXPECT_EQ(reply.status, 200);
    EXPECT_TRUE(reply.has("Connection: close"));
    EXPECT_NE(reply.body, "ok");
    EXPECT_TRUE(reply.ended);
    expect_healthy(front);
}

TEST(FrontCorpus, Row33AnswersAnOversizedBodyWithoutReadingIt) {
    TestFront front;
    RawClient client(front.address());
    client.send(json_head("Content-Length: 100000000\r\n"));
    const Reply reply = client.read_reply();
    EXPECT_EQ(reply.status, 413);
    // It listens for a while, so that the answer arrives, and then no more.
    const std::string megabyte(1 << 20, 'x');
    int sent = 0;
    while (sent < 100 && client.send(megabyte)) ++sent;
    EXPECT_LT(sent, 100);
    expect_healthy(front);
}

TEST(FrontCorpus, Row35ContinuesOnlyWhatItWouldTake) {
    TestFront front;
    RawClient client(front.address());
    client.send(json_head("Content-Length: 2\r\nExpect: 100-continue\r\n"));
    const Reply interim = client.read_reply(true);
    EXPECT_EQ(interim.status, 100);
    EXPECT_EQ(front.received, 0);
    client.send("{}");
    EXPECT_EQ(client.read_reply().status, 200);
    // Whoever does not wait is not told to go on.
    EXPECT_EQ(front.ask(post("{}", "Expect: 100-continue\r\n")).status, 200);
}

}  // namespace
}  // namespace steplog::testing
