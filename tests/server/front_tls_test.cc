// TLS on the front, with certificates made here: what is served, what is refused, what a reload
// changes and what it leaves alone.
#include <atomic>
#include <fstream>
#include <thread>

#include "tests/server/front_tls_support.h"

namespace steplog::testing {
namespace {

class FrontTls : public ::testing::Test {
  protected:
    server::FrontOptions options() const {
        server::FrontOptions options;
        options.tls_cert = certificates.cert();
        options.tls_key = certificates.key();
        return options;
    }
    void SetUp() override { certificates.make("first.example"); }

    Certificates certificates;
};

TEST_F(FrontTls, ServesTls12And13) {
    TestFront front(options());
    for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
        TlsClient client(front.address(), version);
        ASSERT_TRUE(client.connect());
        for (int i = 0; i < 3; ++i) {
            const Reply reply = client.ask(post("{}"));
            EXPECT_EQ(reply.status, 200);
            EXPECT_EQ(reply.body, R"({"received":true})");
        }
        EXPECT_EQ(client.ask(get("/healthz", "Connection: close\r\n")).body, "ok");
        EXPECT_TRUE(client.ended_properly());
    }
}

TEST_F(FrontTls, RefusesOlderVersions) {
    TestFront front(options());
    for (const int version : {TLS1_VERSION, TLS1_1_VERSION})
        EXPECT_FALSE(TlsClient(front.address(), version).connect());
    TlsClient client(front.address());
    EXPECT_TRUE(client.connect());
}

TEST_F(FrontTls, GivesOutNoSessionTickets) {
    TestFront front(options());
    for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
        TlsClient client(front.address(), version);
        ASSERT_TRUE(client.connect());
        EXPECT_EQ(client.ask(post("{}")).status, 200);
        EXPECT_EQ(SSL_SESSION_has_ticket(SSL_get_session(client.ssl())), 0);
    }
}

TEST_F(FrontTls, ChoosesHttp11WhereItIsOffered) {
    TestFront front(options());
    TlsClient client(front.address());
    const unsigned char offer[] = "\x02h2\x08http/1.1";
    SSL_set_alpn_protos(client.ssl(), offer, sizeof(offer) - 1);
    ASSERT_TRUE(client.connect());
    const unsigned char* chosen = nullptr;
    unsigned int size = 0;
    SSL_get0_alpn_selected(client.ssl(), &chosen, &size);
    EXPECT_EQ(std::string(reinterpret_cast<const char*>(chosen), size), "http/1.1");
}

TEST_F(FrontTls, CarriesLargeBodiesBothWays) {
    TestFront front(options());
    TlsClient client(front.address());
    ASSERT_TRUE(client.connect());
    const std::string body(1024 * 1024, 'x');
    const Reply reply = client.ask(post(body, "", "/echo"));
    EXPECT_EQ(reply.status, 200);
    EXPECT_NE(reply.body.find(body), std::string::npos);
    EXPECT_EQ(client.ask(get("/large?bytes=5000000")).body.size(), 5'000'000u);
}

TEST_F(FrontTls, VetsWhatItDecrypts) {
    TestFront front(options());
    TlsClient client(front.address());
    ASSERT_TRUE(client.connect());
    EXPECT_EQ(client.ask("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").status,
              501);
    EXPECT_TRUE(client.ended_properly());
}

TEST_F(FrontTls, ClosesHandshakesThatDoNotComeOrAreNone) {
    server::FrontOptions impatient = options();
    impatient.header_deadline = Ms(150);
    TestFront front(impatient);
    RawClient silent(front.address()), plain(front.address()), half(front.address());
    plain.send(get("/healthz"));
    half.send("\x16\x03\x01");
    EXPECT_EQ(silent.read_to_end(), "");
    EXPECT_EQ(plain.read_to_end().find("HTTP/1.1 200"), std::string::npos);
    EXPECT_EQ(half.read_to_end(), "");
    EXPECT_EQ(front->stats().expired, 2u);
    EXPECT_EQ(front->stats().failed, 1u);
}

TEST_F(FrontTls, ServesBesideAFloodOfKeyUpdates) {
    TestFront front(options());
    std::atomic<bool> over = false;
    std::vector<std::thread> flooding;
    for (int i = 0; i < 3; ++i) {
        flooding.emplace_back([&] {
            TlsClient client(front.address());
            if (!client.connect()) return;
            while (!over && SSL_key_update(client.ssl(), SSL_KEY_UPDATE_NOT_REQUESTED) == 1 &&
                   SSL_do_handshake(client.ssl()) == 1) {
            }
        });
    }
    for (int i = 0; i < 10; ++i) {
        TlsClient client(front.address());
        EXPECT_TRUE(client.connect());
        EXPECT_EQ(client.ask(post("{}")).status, 200);
    }
    over = true;
    for (std::thread& thread : flooding) thread.join();
}

TEST_F(FrontTls, ReloadsForNewConnectionsAndKeepsLiveOnes) {
    TestFront front(options());
    TlsClient before(front.address());
    ASSERT_TRUE(before.connect());
    certificates.make("second.example");
    front->reload_tls();
    TlsClient after(front.address());
    ASSERT_TRUE(after.connect());
    EXPECT_EQ(before.peer_name(), "first.example");
    EXPECT_EQ(after.peer_name(), "second.example");
    EXPECT_EQ(before.ask(post("{}")).status, 200);
    EXPECT_EQ(after.ask(post("{}")).status, 200);
}

TEST_F(FrontTls, KeepsItsCertificateWhenTheNewOneCannotBeUsed) {
    TestFront front(options());
    std::ofstream(certificates.cert()) << "no certificate";
    EXPECT_THROW(front->reload_tls(), std::runtime_error);
    TlsClient client(front.address());
    ASSERT_TRUE(client.connect());
    EXPECT_EQ(client.ask(post("{}")).status, 200);
}

TEST_F(FrontTls, NamesTheFileThatCannotBeUsed) {
    const auto problem = [](const server::FrontOptions& options) -> std::string {
        try {
            const server::Front front(options);
        } catch (const std::runtime_error& error) {
            return error.what();
        }
        return "";
    };
    Certificates other;
    other.make("other.example");
    server::FrontOptions mismatched = options();
    mismatched.tls_key = other.key();
    EXPECT_NE(problem(mismatched).find("TLS_KEY " + other.key()), std::string::npos);
    server::FrontOptions missing = options();
    missing.tls_cert = certificates.cert() + ".missing";
    EXPECT_NE(problem(missing).find("TLS_CERT " + missing.tls_cert), std::string::npos);
}

}  // namespace
}  // namespace steplog::testing
