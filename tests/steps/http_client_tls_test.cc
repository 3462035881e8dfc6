// Whom the HTTP client believes to be the provider, and that its other promises hold inside TLS.
#include <atomic>
#include <cstdlib>

#include "tests/steps/certificates.h"
#include "tests/steps/http_attempts.h"

namespace steplog::steps {

using testing::Certificate;
using testing::make_certificate;
using testing::make_tls_server;

class HttpClientTls : public ::testing::Test {
  protected:
    void SetUp() override {
        testing::write_pem(authority_, ca_file_);
        testing::write_pem(stranger_, ca_file_ + ".stranger");
    }

    static std::shared_ptr<HttpClient> make_client(const std::string& ca_file) {
        return std::make_shared<HttpClient>(HttpClientOptions{
            .ca_file = ca_file, .lookup = [](const std::string&) -> std::vector<std::string> {
                return {"127.0.0.1"};
            }});
    }

    Certificate leaf(const testing::CertificateWish& wish) const {
        return make_certificate(wish, &authority_);
    }

    /// One GET to https://api.example.com, answered by a server that has this certificate.
    Ending get_from(const Certificate& certificate, int version_max = 0,
                    const std::string& host = "api.example.com") {
        HostileServer server(
            [this](Peer& peer) {
                ++requests_;
                if (peer.read_request().empty()) return;
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
                peer.wait_until_gone();
            },
            make_tls_server(certificate, version_max));
        const auto client = make_client(ca_file_);
        return attempt(
            *client, make_request("GET", "https://" + host + ":" + std::to_string(server.port())));
    }

    const Certificate authority_ = make_certificate({.common_name = "Test CA", .is_ca = true});
    const Certificate stranger_ = make_certificate({.common_name = "Other CA", .is_ca = true});
    const std::string ca_file_ =
        ::testing::TempDir() + "steplog_http_ca_" + std::to_string(getpid()) + ".pem";
    std::atomic<int> requests_ = 0;
};

TEST_F(HttpClientTls, AcceptsARightCertificate) {
    const Ending ending = get_from(leaf({"any", "DNS:api.example.com"}));
    EXPECT_EQ(ending.code, "") << ending.text;
    EXPECT_EQ(ending.reply.body, "{}");
    EXPECT_EQ(get_from(leaf({"any", "DNS:*.example.com"})).reply.status, 200);
    EXPECT_EQ(get_from(leaf({"any", "IP:127.0.0.1"}), 0, "127.0.0.1").reply.status, 200);
    EXPECT_EQ(get_from(leaf({"any", "DNS:api.example.com"}), TLS1_2_VERSION).reply.status, 200);
}

TEST_F(HttpClientTls, RefusesAnExpiredCertificate) {
    expect_refused(get_from(leaf({"any", "DNS:api.example.com", -7200, -3600})), "tls");
    expect_refused(get_from(leaf({"any", "DNS:api.example.com", 3600, 7200})), "tls");
    EXPECT_EQ(requests_, 0);
}

TEST_F(HttpClientTls, RefusesAnotherHostsCertificate) {
    expect_refused(get_from(leaf({"api.example.com", "DNS:other.example.com"})), "tls");
    expect_refused(get_from(leaf({"api.example.com", ""})), "tls");
    expect_refused(get_from(leaf({"any", "DNS:a*.example.com"})), "tls");
    expect_refused(get_from(leaf({"127.0.0.1", "DNS:127.0.0.1"}), 0, "127.0.0.1"), "tls");
}

TEST_F(HttpClientTls, RefusesAnUnknownAuthority) {
    const Certificate alien = make_certificate({"any", "DNS:api.example.com"}, &stranger_);
    const Ending ending = get_from(alien);
    expect_refused(ending, "tls");
    EXPECT_NE(ending.text.find("certificate is not accepted"), std::string::npos) << ending.text;
    expect_refused(get_from(make_certificate({"any", "DNS:api.example.com"})), "tls");
}

TEST_F(HttpClientTls, RefusesTls11) {
    expect_refused(get_from(leaf({"any", "DNS:api.example.com"}), TLS1_1_VERSION), "tls");
    EXPECT_EQ(requests_, 0);
}

TEST_F(HttpClientTls, TrustsTheSystemsFileWhenNoneIsGiven) {
    const Certificate alien = make_certificate({"any", "DNS:api.example.com"}, &stranger_);
    HostileServer server(answer_and_stay("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
                         make_tls_server(alien));
    const HttpRequest request =
        make_request("GET", "https://api.example.com:" + std::to_string(server.port()));
    const auto by_default = make_client("");
    expect_refused(attempt(*by_default, request), "tls");
    setenv("SSL_CERT_FILE", (ca_file_ + ".stranger").c_str(), 1);
    const auto by_environment = make_client("");
    unsetenv("SSL_CERT_FILE");
    const Ending ending = attempt(*by_environment, request);
    EXPECT_EQ(ending.reply.status, 200) << ending.text;
}

TEST_F(HttpClientTls, SaysWhichCaFileIsWrong) {
    try {
        HttpClient client({.ca_file = "/nonexistent/ca.pem"});
        FAIL() << "it was accepted";
    } catch (const std::runtime_error& error) {
        EXPECT_NE(std::string(error.what()).find("/nonexistent/ca.pem"), std::string::npos);
    }
}

TEST_F(HttpClientTls, GivesUpOnAHandshakeThatHangsDripsOrIsNoTls) {
    const auto client = make_client(ca_file_);
    const auto get_at = [&](const HostileServer& server, Ms timeout) {
        return attempt(
            *client, make_request("GET", "https://api.example.com:" + std::to_string(server.port()),
                                  timeout));
    };
    HostileServer silent([](Peer& peer) { peer.wait_until_gone(); });
    const Ending hang = get_at(silent, short_timeout);
    expect_refused(hang, "tls");
    expect_in_time(hang, short_timeout);
    HostileServer slow([](Peer& peer) {
        peer.send("\x16\x03\x03\x40\x01\x02");  // a ServerHello of 16 KiB begins
        peer.drip("x");
    });
    const Ending drip = get_at(slow, short_timeout);
    expect_refused(drip, "tls");
    expect_in_time(drip, short_timeout);
    HostileServer plain([](Peer& peer) {
        peer.send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        peer.wait_until_gone();
    });
    expect_refused(get_at(plain, ample), "tls");
    HostileServer closes([](Peer&) {});
    const Ending closed = get_at(closes, ample);
    EXPECT_EQ(closed.outcome, Outcome::refused);
}

TEST_F(HttpClientTls, KeepsItsPromisesInsideTls) {
    const auto certificate = leaf({"any", "DNS:api.example.com"});
    const auto run = [&](HostileServer::Script script, Ms timeout, std::size_t body = 0) {
        HostileServer server(std::move(script), make_tls_server(certificate));
        const auto client = make_client(ca_file_);
        return attempt(
            *client,
            make_request("POST", "https://api.example.com:" + std::to_string(server.port()),
                         timeout, std::string(body, 'x')));
    };
    const std::string head = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n";
    const Ending drip = run(
        [&](Peer& peer) {
            peer.read_request();
            peer.send(head);
            peer.drip("x");
        },
        short_timeout);
    expect_unknown(drip, "timeout");
    expect_in_time(drip, short_timeout);
    const Ending unread =
        run([](Peer& peer) { peer.wait_until_gone(); }, unread_timeout, unread_bytes);
    expect_unknown(unread, "timeout");
    expect_in_time(unread, unread_timeout);
    expect_unknown(run(answer(head + "cut"), ample), "cut_reply");
    expect_unknown(run(answer(""), ample), "reset");
    expect_unknown(run(
                       [](Peer& peer) {
                           peer.read_request();
                           peer.reset();
                       },
                       ample),
                   "reset");
    const Ending large = run(answer_and_stay(head + std::string(1000, 'y')), ample, 1'000'000);
    EXPECT_EQ(large.reply.body, std::string(1000, 'y')) << large.text;
}

TEST_F(HttpClientTls, TriesTheNextAddress) {
    HostileServer server(answer_and_stay("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
                         make_tls_server(leaf({"any", "DNS:api.example.com"})));
    HttpClient client(
        {.ca_file = ca_file_, .lookup = [](const std::string&) -> std::vector<std::string> {
             return {"not an address", "127.0.0.77", "127.0.0.1"};
         }});
    const Ending ending = attempt(
        client, make_request("GET", "https://api.example.com:" + std::to_string(server.port())));
    EXPECT_EQ(ending.reply.status, 200) << ending.text;
}

TEST_F(HttpClientTls, Serves64ThreadsAtOnce) {
    HostileServer server(answer_and_stay("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"),
                         make_tls_server(leaf({"any", "DNS:api.example.com"})));
    const auto client = make_client(ca_file_);
    const HttpRequest request =
        make_request("GET", "https://api.example.com:" + std::to_string(server.port()));
    std::atomic<int> good = 0;
    std::vector<std::jthread> workers;
    for (int i = 0; i < 64; ++i) {
        workers.emplace_back([&] { good += attempt(*client, request).reply.status == 200; });
    }
    workers.clear();
    EXPECT_EQ(good, 64);
}

}  // namespace steplog::steps
