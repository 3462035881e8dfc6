// TLS on the front, with certificates made here: what is served, what is refused, what a reload
// changes and what it leaves alone.
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "tests/server/front_support.h"

namespace steplog::testing {
namespace {

/// A directory with cert.pem and key.pem, removed with its owner.
class Certificates {
  public:
    Certificates() {
        std::string pattern =
            (std::filesystem::temp_directory_path() / "front_tls_XXXXXX").string();
        directory_ = ::mkdtemp(pattern.data());
    }
    ~Certificates() { std::filesystem::remove_all(directory_); }
    Certificates(const Certificates&) = delete;
    Certificates& operator=(const Certificates&) = delete;

    std::string cert() const { return (directory_ / "cert.pem").string(); }
    std::string key() const { return (directory_ / "key.pem").string(); }

    /// A fresh, self-signed P-256 certificate with this common name.
    void make(const std::string& name) const {
        const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> pair(EVP_EC_gen("P-256"),
                                                                       EVP_PKEY_free);
        const std::unique_ptr<X509, decltype(&X509_free)> x509(X509_new(), X509_free);
        X509_set_version(x509.get(), 2);
        ASN1_INTEGER_set(X509_get_serialNumber(x509.get()), 1);
        X509_gmtime_adj(X509_getm_notBefore(x509.get()), -60);
        X509_gmtime_adj(X509_getm_notAfter(x509.get()), 3600);
        X509_set_pubkey(x509.get(), pair.get());
        X509_NAME* subject = X509_get_subject_name(x509.get());
        const auto* text = reinterpret_cast<const unsigned char*>(name.c_str());
        X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, text, -1, -1, 0);
        X509_set_issuer_name(x509.get(), subject);
        ASSERT_GT(X509_sign(x509.get(), pair.get(), EVP_sha256()), 0);
        const std::unique_ptr<FILE, int (*)(FILE*)> cert_file(std::fopen(cert().c_str(), "w"),
                                                              std::fclose);
        const std::unique_ptr<FILE, int (*)(FILE*)> key_file(std::fopen(key().c_str(), "w"),
                                                             std::fclose);
        ASSERT_EQ(PEM_write_X509(cert_file.get(), x509.get()), 1);
        ASSERT_EQ(
            PEM_write_PrivateKey(key_file.get(), pair.get(), nullptr, nullptr, 0, nullptr, nullptr),
            1);
    }

  private:
    std::filesystem::path directory_;
};

class TlsClient {
  public:
    explicit TlsClient(const std::string& address, int version = TLS1_3_VERSION)
        : socket_(address), context_(SSL_CTX_new(TLS_client_method()), SSL_CTX_free) {
        // What the library allows a client by default would hide what the server refuses.
        SSL_CTX_set_security_level(context_.get(), 0);
        SSL_CTX_set_min_proto_version(context_.get(), version);
        SSL_CTX_set_max_proto_version(context_.get(), version);
        ssl_.reset(SSL_new(context_.get()));
        SSL_set_fd(ssl_.get(), socket_.socket());
    }

    bool connect() {
        ERR_clear_error();
        connected_ = SSL_connect(ssl_.get()) == 1;
        return connected_;
    }

    Reply ask(std::string_view bytes) {
        EXPECT_GT(SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size())), 0);
        std::string held;
        Reply reply;
        const auto whole = [&] {
            const std::size_t end = held.find("\r\n\r\n");
            const std::size_t field = held.find("Content-Length: ");
            if (end == std::string::npos || field == std::string::npos) return false;
            const std::size_t length = std::strtoul(held.c_str() + field + 16, nullptr, 10);
            if (held.size() < end + 4 + length) return false;
            reply.head = held.substr(0, end + 4);
            reply.body = held.substr(end + 4, length);
            reply.status = std::atoi(held.c_str() + 9);
            return true;
        };
        char buffer[16384];
        while (!whole()) {
            const int count = SSL_read(ssl_.get(), buffer, sizeof(buffer));
            if (count <= 0) break;
            held.append(buffer, static_cast<std::size_t>(count));
        }
        return reply;
    }

    /// True when the server said that it will send no more, as TLS says it.
    bool ended_properly() {
        char byte = 0;
        return SSL_get_error(ssl_.get(), SSL_read(ssl_.get(), &byte, 1)) == SSL_ERROR_ZERO_RETURN;
    }

    std::string peer_name() const {
        const std::unique_ptr<X509, decltype(&X509_free)> peer(
            SSL_get1_peer_certificate(ssl_.get()), X509_free);
        char name[128] = "";
        X509_NAME_get_text_by_NID(X509_get_subject_name(peer.get()), NID_commonName, name,
                                  sizeof(name));
        return name;
    }
    SSL* ssl() { return ssl_.get(); }
    RawClient& socket() { return socket_; }

  private:
    RawClient socket_;
    std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context_;
    struct Free {
        void operator()(SSL* ssl) const { SSL_free(ssl); }
    };
    std::unique_ptr<SSL, Free> ssl_;
    bool connected_ = false;
};

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
