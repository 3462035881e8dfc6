// 256 clients at once, a thread each, honest and hostile ones mixed, while statistics are read, the
// certificate is replaced and the front is drained: for ThreadSanitizer above all.
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <latch>
#include <thread>
#include <vector>

#include "tests/server/front_tls_support.h"

namespace steplog::testing {
namespace {

constexpr int clients_count = 256;

/// Starts all clients at the same moment and waits for their end.
class Crowd {
  public:
    explicit Crowd(const std::function<void(int)>& client) : together_(clients_count) {
        for (int i = 0; i < clients_count; ++i) {
            threads_.emplace_back([this, client, i] {
                together_.arrive_and_wait();
                client(i);
            });
        }
    }
    void join() {
        for (std::jthread& thread : threads_) thread.join();
        threads_.clear();
    }

  private:
    std::latch together_;
    std::vector<std::jthread> threads_;
};

/// How many of three requests on one connection were answered as they should.
int be_honest(RawClient& client, int number) {
    int good = 0;
    for (int i = 0; i < 3; ++i) {
        const std::string body = "{\"n\":" + std::to_string(number * 10 + i) + "}";
        client.send(post(body, "", "/echo"));
        const Reply reply = client.read_reply();
        good += reply.status == 200 && reply.body.ends_with(body) ? 1 : 0;
    }
    return good;
}

void be_hostile(RawClient& client, int number) {
    switch (number % 4) {
        case 0:
            client.send("GET /healthz HTTP/1.1\r\nA: ");
            client.reset();
            break;
        case 1:
            client.send(get("/healthz") + get("/healthz"));
            client.reset();
            break;
        case 2:
            client.send("BREW / HTTP/1.1\r\n\r\n");
            client.read_to_end();
            break;
        case 3:
            client.send(post(std::string(300'000, 'x')).substr(0, 200'000));
            break;
    }
}

TEST(FrontConcurrency, Serves256ClientsOfAllKindsAtOnce) {
    server::FrontOptions options;
    options.workers = 8;
    options.connections_per_address_max = 1000;
    TestFront front(options);
    std::atomic<int> good = 0;
    Crowd crowd([&](int number) {
        RawClient client(front.address());
        if (number % 2 == 0) {
            good += be_honest(client, number);
        } else {
            be_hostile(client, number / 2);
        }
    });
    while (front->stats().accepted < clients_count) std::this_thread::yield();
    crowd.join();
    EXPECT_EQ(good, clients_count / 2 * 3);
    EXPECT_TRUE(eventually([&] { return front->stats().connections == 0; }));
    EXPECT_EQ(front->stats().buffered_bytes, 0u);
}

TEST(FrontConcurrency, ReplacesItsCertificateUnder256Clients) {
    const Certificates certificates;
    certificates.make("a.example");
    server::FrontOptions options;
    options.tls_cert = certificates.cert();
    options.tls_key = certificates.key();
    options.header_deadline = Ms(patience_ms);  // 256 handshakes, under a sanitizer
    options.workers = 8;
    TestFront front(options);
    std::atomic<int> good = 0;
    std::atomic<bool> over = false;
    std::jthread reloading([&] {
        while (!over) front->reload_tls();
    });
    Crowd crowd([&](int number) {
        TlsClient client(front.address());
        EXPECT_TRUE(client.connect());
        good += be_honest(client, number);
    });
    crowd.join();
    over = true;
    EXPECT_EQ(good, clients_count * 3);
}

TEST(FrontConcurrency, EndsWhile256ClientsAsk) {
    server::FrontOptions options;
    options.workers = 8;
    TestFront front(options);
    std::atomic<int> answered = 0, unfinished = 0;
    Crowd crowd([&](int number) {
        for (int i = 0; i < 100; ++i) {
            RawClient client(front.address());
            if (!client.connected()) return;
            client.send(post("{}", number % 2 == 0 ? "Connection: close\r\n" : ""));
            const int status = client.read_reply().status;
            // 200, or 503 when its turn never came; nothing when it was not accepted any more.
            EXPECT_TRUE(status == 200 || status == 503 || status == 0) << status;
            ++(status == 200 ? answered : unfinished);
        }
    });
    EXPECT_TRUE(eventually([&] { return answered > clients_count; }));
    front->drain(Ms(patience_ms));
    const auto stats = front->stats();
    EXPECT_EQ(stats.connections, 0u);
    EXPECT_EQ(static_cast<int>(stats.answered), front.received);
    crowd.join();
}

}  // namespace
}  // namespace steplog::testing
