// TLS for the front's tests: certificates made on the spot, and the raw client with TLS in between.
// Included by tests that meet a TLS listener; any thread, one client each.
#pragma once

#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <csignal>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>

#include "tests/server/front_support.h"

namespace steplog::testing {

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

class TlsClient : public RawClient {
  public:
    explicit TlsClient(const std::string& address, int version = TLS1_3_VERSION)
        : RawClient(address), context_(SSL_CTX_new(TLS_client_method()), SSL_CTX_free) {
        // OpenSSL writes with write(2): what breaks must not end the test program.
        std::signal(SIGPIPE, SIG_IGN);
        // The last of the handshake and the request are two writes with no answer in between.
        const int on = 1;
        ::setsockopt(socket(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        // What the library allows a client by default would hide what the server refuses.
        SSL_CTX_set_security_level(context_.get(), 0);
        SSL_CTX_set_min_proto_version(context_.get(), version);
        SSL_CTX_set_max_proto_version(context_.get(), version);
        ssl_.reset(SSL_new(context_.get()));
        SSL_set_fd(ssl_.get(), socket());
    }

    /// False when the handshake fails.
    bool connect() {
        ERR_clear_error();
        return SSL_connect(ssl_.get()) == 1;
    }

    Reply ask(std::string_view bytes) {
        EXPECT_TRUE(send(bytes));
        return read_reply();
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

  protected:
    ssize_t write_some(std::string_view bytes) override {
        return SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size()));
    }
    ssize_t read_some(char* to, std::size_t size) override {
        return SSL_read(ssl_.get(), to, static_cast<int>(size));
    }
    bool has_buffered() override { return SSL_has_pending(ssl_.get()) == 1; }

  private:
    struct Free {
        void operator()(SSL* ssl) const { SSL_free(ssl); }
    };
    std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context_;
    std::unique_ptr<SSL, Free> ssl_;
};

/// A client of either kind, connected.
inline std::unique_ptr<RawClient> client_of(const std::string& address, bool tls) {
    if (!tls) return std::make_unique<RawClient>(address);
    auto client = std::make_unique<TlsClient>(address);
    EXPECT_TRUE(client->connect());
    return client;
}

}  // namespace steplog::testing
