// The HTTP client against servers that misbehave, over real sockets. What is checked of every
// failure: that it ends in time, and that it tells refused from unknown rightly.
#include "steps/http_client.h"

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <future>
#include <latch>
#include <thread>

#include "tests/steps/http_attempts.h"

namespace steplog::steps {

TEST(HttpClient, SendsTheRequestAndReturnsTheWholeReply) {
    std::promise<std::string> request;
    HostileServer server([&](Peer& peer) {
        request.set_value(peer.read_request());
        peer.send(
            "HTTP/1.1 201 Created\r\nX-Id: one%0d%0a\r\nx-id: two\r\n"
            "Content-Length: 11\r\n\r\n{\"id\":\"u1\"}");
        peer.wait_until_gone();
    });
    HttpClient& client = shared_client();
    HttpRequest message = make_request("POST", server.url(), ample, "{}");
    message.target = "/v1/users?a=%20b+c,'d'";
    message.headers = {{"Authorization", "Bearer sk_1"}, {"Content-Type", "application/json"}};
    const HttpReply reply = client.send(message);
    EXPECT_EQ(reply.status, 201);
    EXPECT_EQ(reply.body, R"({"id":"u1"})");
    EXPECT_EQ(reply.header("x-ID"), "one%0d%0a") << "values must not be decoded";
    EXPECT_EQ(reply.header("missing"), "");
    const std::string sent = request.get_future().get();
    EXPECT_TRUE(sent.starts_with("POST /v1/users?a=%20b+c,'d' HTTP/1.1\r\n")) << sent;
    EXPECT_NE(sent.find("\r\nAuthorization: Bearer sk_1\r\n"), std::string::npos) << sent;
    EXPECT_NE(sent.find("\r\nAccept-Encoding: identity\r\n"), std::string::npos) << sent;
    EXPECT_NE(sent.find("\r\nConnection: close\r\n"), std::string::npos) << sent;
    EXPECT_NE(sent.find("\r\nHost: 127.0.0.1:" + std::to_string(server.port()) + "\r\n"),
              std::string::npos)
        << sent;
    EXPECT_NE(sent.find("\r\nContent-Length: 2\r\n"), std::string::npos) << sent;
    EXPECT_TRUE(sent.ends_with("\r\n\r\n{}")) << sent;
}

TEST(HttpClient, SendsALargeBodyToASlowReader) {
    std::promise<std::size_t> received;
    HostileServer server([&](Peer& peer) {
        received.set_value(peer.read_request().size());
        peer.send("HTTP/1.1 204 No Content\r\n\r\n");
    });
    HttpClient& client = shared_client();
    const HttpReply reply =
        client.send(make_request("POST", server.url(), ample, std::string(8'000'000, 'x')));
    EXPECT_EQ(reply.status, 204);
    EXPECT_GT(received.get_future().get(), 8'000'000U);
}

TEST(HttpClient, ReturnsErrorsOfTheProviderAsReplies) {
    for (const char* status : {"400 Bad Request", "401 Unauthorized", "429", "500 ", "503 No"}) {
        HostileServer server(
            answer_and_stay(std::string("HTTP/1.1 ") + status + "\r\nContent-Length: 2\r\n\r\n{}"));
        const Ending ending = get(server.url());
        EXPECT_EQ(ending.reply.status, std::atoi(status)) << ending.code << ending.text;
        EXPECT_EQ(ending.reply.body, "{}");
    }
}

TEST(HttpClient, DoesNotFollowRedirects) {
    HostileServer other(answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    HostileServer server(answer_and_stay("HTTP/1.1 307 Temporary Redirect\r\nLocation: " +
                                         other.url() + "/\r\nContent-Length: 0\r\n\r\n"));
    HttpClient& client = shared_client();
    HttpRequest request = make_request("POST", server.url());
    request.headers = {{"Authorization", "Bearer sk_1"}};
    const Ending ending = attempt(client, request);
    EXPECT_EQ(ending.reply.status, 307) << ending.text;
    EXPECT_EQ(other.connections(), 0);
    EXPECT_EQ(server.connections(), 1);
}

TEST(HttpClient, GivesUpOnADrippingBody) {
    HostileServer server([](Peer& peer) {
        peer.read_request();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
        peer.drip("x");
    });
    const Ending ending = get(server.url(), short_timeout);
    expect_unknown(ending, "timeout");
    expect_in_time(ending, short_timeout);
}

TEST(HttpClient, GivesUpOnADrippingHead) {
    HostileServer server([](Peer& peer) {
        peer.read_request();
        peer.send("HTTP/1.1 200 OK\r\n");
        peer.drip("X-Drop: y\r\n");
    });
    const Ending ending = get(server.url(), short_timeout);
    expect_unknown(ending, "timeout");
    expect_in_time(ending, short_timeout);
}

TEST(HttpClient, GivesUpOnSilence) {
    HostileServer server([](Peer& peer) { peer.wait_until_gone(); });
    const Ending ending = get(server.url(), short_timeout);
    expect_unknown(ending, "timeout");
    expect_in_time(ending, short_timeout);
}

TEST(HttpClient, GivesUpOnAServerThatDoesNotReadTheRequest) {
    HostileServer server([](Peer& peer) { peer.wait_until_gone(); });
    HttpClient& client = shared_client();
    const Ending ending = attempt(
        client, make_request("POST", server.url(), unread_timeout, std::string(unread_bytes, 'x')));
    expect_unknown(ending, "timeout");
    expect_in_time(ending, unread_timeout);
}

TEST(HttpClient, CallsAResetAfterTheRequestUnknown) {
    HostileServer before_reply([](Peer& peer) {
        peer.read_request();
        peer.reset();
    });
    expect_unknown(get(before_reply.url()), "reset");
    HostileServer in_reply([](Peer& peer) {
        peer.read_request();
        peer.send("HTTP/1.1 200 OK\r\nContent-Le");
        peer.reset();
    });
    expect_unknown(get(in_reply.url()), "reset");
    HostileServer closes(answer(""));
    expect_unknown(get(closes.url()), "reset");
}

TEST(HttpClient, TellsAResetBeforeTheRequestFromOneAfterIt) {
    HostileServer server([](Peer& peer) { peer.reset(); });
    for (int i = 0; i < 20; ++i) {
        const Ending ending = get(server.url());
        // Either is true, depending on who was faster; the pair must fit together.
        if (ending.outcome == Outcome::refused) {
            expect_refused(ending, "no_connection");
        } else {
            expect_unknown(ending, "reset");
        }
    }
}

TEST(HttpClient, CallsARefusedConnectionRefused) {
    const int listener = testing::listen_on_loopback(1);
    const int port = testing::port_of(listener);
    close(listener);
    const Ending ending = get("http://127.0.0.1:" + std::to_string(port));
    expect_refused(ending, "no_connection");
}

TEST(HttpClient, BoundsTheTimeToConnect) {
    // With a full queue of connections that nobody accepts, the kernel answers no more.
    const int listener = testing::listen_on_loopback(0);
    sockaddr_in where{};
    socklen_t size = sizeof where;
    getsockname(listener, reinterpret_cast<sockaddr*>(&where), &size);
    std::vector<int> waiting;
    for (int i = 0; i < 4; ++i) {
        waiting.push_back(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
        connect(waiting.back(), reinterpret_cast<sockaddr*>(&where), sizeof where);
    }
    HttpClient client({.connect_timeout = short_timeout});
    const Ending ending = attempt(
        client, make_request("GET", "http://127.0.0.1:" + std::to_string(ntohs(where.sin_port))));
    expect_refused(ending, "no_connection");
    expect_in_time(ending, short_timeout);
    for (const int each : waiting) close(each);
    close(listener);
}

TEST(HttpClient, CallsAnUnknownHostRefused) {
    // By the system's own look-up, and without a name server: no label has more than 63 characters.
    const Ending ending = get("https://" + std::string(64, 'x') + ".invalid");
    expect_refused(ending, "dns");
}

TEST(HttpClient, CallsAHostWithoutAnAddressRefused) {
    HttpClient client({.lookup = [](const std::string&) { return std::vector<std::string>(); }});
    const Ending ending = attempt(client, make_request("GET", "https://api.example.com"));
    expect_refused(ending, "dns");
}

TEST(HttpClient, DoesNotWaitForALookUpThatHangs) {
    struct Gate {
        std::mutex mutex;
        std::condition_variable changed;
        int waiting = 0;
        bool open = false;
    };
    const auto gate = std::make_shared<Gate>();
    HttpClient client({.lookup = [gate](const std::string&) -> std::vector<std::string> {
        std::unique_lock lock(gate->mutex);
        ++gate->waiting;
        gate->changed.notify_all();
        gate->changed.wait(lock, [&] { return gate->open; });
        return {"127.0.0.1"};
    }});
    for (int i = 0; i < 2; ++i) {
        const Ending ending =
            attempt(client, make_request("GET", "https://api.example.com", short_timeout));
        expect_refused(ending, "dns");
        expect_in_time(ending, short_timeout);
    }
    const std::lock_guard lock(gate->mutex);
    EXPECT_EQ(gate->waiting, 1) << "the second attempt must join the look-up that is under way";
    gate->open = true;
    gate->changed.notify_all();
}

TEST(HttpClient, BoundsTheLookUpsLeftBehind) {
    std::promise<void> gate;
    HttpClient client({.lookup = [open = gate.get_future().share()](
                                     const std::string&) -> std::vector<std::string> {
        open.wait();
        return {"127.0.0.1"};
    }});
    std::string text;
    for (int i = 0; i < 17; ++i) {
        const Ending ending = attempt(
            client, make_request("GET", "https://api" + std::to_string(i) + ".example.com", Ms(2)));
        expect_refused(ending, "dns");
        text = ending.text;
    }
    EXPECT_NE(text.find("too many look-ups"), std::string::npos) << text;
    gate.set_value();
}

TEST(HttpClient, EndsAHangWhenAskedToStop) {
    std::stop_source stop;
    HostileServer server([&](Peer& peer) {
        peer.read_request();
        stop.request_stop();
        peer.wait_until_gone();
    });
    HttpClient& client = shared_client();
    HttpRequest request = make_request("POST", server.url());
    request.stop = stop.get_token();
    const Ending ending = attempt(client, request);
    expect_unknown(ending, "interrupted");
    EXPECT_TRUE(ending.interrupted);
    EXPECT_LT(ending.took, Ms(3000));

    const Ending later = attempt(client, request);
    expect_refused(later, "interrupted");
    EXPECT_TRUE(later.interrupted);
    EXPECT_EQ(server.connections(), 1);
}

TEST(HttpClient, TakesAnyTimeOut) {
    HostileServer server(answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    EXPECT_EQ(get(server.url(), Ms::max()).reply.status, 200);
    for (const Ms none : {Ms(0), Ms(-1), Ms::min()}) {
        EXPECT_EQ(get(server.url(), none).outcome, Outcome::refused);
    }
    EXPECT_EQ(server.connections(), 1);
}

TEST(HttpClient, RepeatsNoSecretInItsErrors) {
    HostileServer server(answer("HTTP/1.1 200 OK\r\nX: reply_secret\r\n\r\nreply_secret"));
    HttpClient& client = shared_client();
    HttpRequest request = make_request("POST", server.url(), ample, "body_secret");
    request.target = "/?email_address=target_secret";
    request.headers = {{"Authorization", "header_secret"}};
    const Ending ending = attempt(client, request);
    EXPECT_EQ(ending.text.find("secret"), std::string::npos) << ending.text;
    EXPECT_EQ(ending.text, "127.0.0.1:" + std::to_string(server.port()) +
                               ": the reply does not declare its length, so that a cut could not "
                               "be seen");
}

TEST(HttpClient, RefusesRequestsThatCouldBecomeOthers) {
    HostileServer server(answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    HttpClient& client = shared_client();
    const HttpRequest good = make_request("GET", server.url());
    const auto refused = [&](auto change) {
        HttpRequest bad = good;
        change(bad);
        EXPECT_THROW(client.send(bad), std::invalid_argument);
    };
    refused([](HttpRequest& r) { r.method = "TRACE"; });
    refused([](HttpRequest& r) { r.method = "GET / HTTP/1.1\r\nX:"; });
    refused([](HttpRequest& r) { r.target = "v1"; });
    refused([](HttpRequest& r) { r.target = "/a b"; });
    refused([](HttpRequest& r) { r.target = "/a\r\nX: y"; });
    refused([](HttpRequest& r) { r.target = "/\xc3\xa4"; });
    refused([](HttpRequest& r) { r.headers = {{"X", "a\r\nY: b"}}; });
    refused([](HttpRequest& r) { r.headers = {{"X Y", "a"}}; });
    refused([](HttpRequest& r) { r.headers = {{"", "a"}}; });
    refused([](HttpRequest& r) { r.headers = {{"host", "other"}}; });
    refused([](HttpRequest& r) { r.headers = {{"Transfer-Encoding", "chunked"}}; });
    refused([](HttpRequest& r) { r.base = "http://api.stripe.com"; });
    EXPECT_EQ(server.connections(), 0);
    EXPECT_EQ(client.send(good).status, 200);
}

TEST(HttpClient, Serves64ThreadsAtOnce) {
    HostileServer server([](Peer& peer) {
        const std::string request = peer.read_request();
        if (request.starts_with("GET /good")) {
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
        } else if (request.starts_with("GET /drip")) {
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n");
            peer.drip("x");
        } else {
            peer.wait_until_gone();
        }
    });
    HttpClient client;
    std::stop_source stop;
    std::atomic<int> good = 0;
    std::atomic<int> late = 0;
    std::atomic<int> interrupted = 0;
    std::latch hanging(16);
    std::latch begun(64);
    std::vector<std::jthread> workers;
    for (int i = 0; i < 64; ++i) {
        workers.emplace_back([&, i] {
            begun.arrive_and_wait();
            HttpRequest request = make_request("GET", server.url());
            request.target = "/good";
            if (i % 4 == 0) {
                request.target = "/drip";
                request.timeout = short_timeout;
            } else if (i % 4 == 1) {
                request.target = "/hang";
                request.stop = stop.get_token();
                hanging.count_down();
            }
            const Ending ending = attempt(client, request);
            good += ending.reply.status == 200;
            late += ending.code == "timeout" || (i % 4 == 0 && ending.code == "no_connection");
            interrupted += ending.interrupted;
        });
    }
    hanging.wait();
    stop.request_stop();
    workers.clear();
    EXPECT_EQ(good, 32);
    EXPECT_EQ(late, 16);
    EXPECT_EQ(interrupted, 16);
}

}  // namespace steplog::steps
