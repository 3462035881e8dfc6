// Certificates made on the spot with OpenSSL, for tests that need a TLS server that is wrong in
// just one way. Used by this room's tests. One thread.
#pragma once

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <memory>
#include <stdexcept>
#include <string>

namespace steplog::testing {

struct Certificate {
    std::shared_ptr<EVP_PKEY> key;
    std::shared_ptr<X509> x509;
};

struct CertificateWish {
    std::string common_name = {};
    std::string alternative_names = {};  // "DNS:api.example.com,IP:127.0.0.1"; "" for none
    long valid_from_s = -3600;           // from now
    long valid_until_s = 3600;
    bool is_ca = false;
};

inline void add_extension(X509* x509, int id, const std::string& value) {
    const std::unique_ptr<X509_EXTENSION, decltype(&X509_EXTENSION_free)> extension(
        X509V3_EXT_conf_nid(nullptr, nullptr, id, value.c_str()), &X509_EXTENSION_free);
    if (!extension || X509_add_ext(x509, extension.get(), -1) != 1) {
        throw std::runtime_error("cannot add a certificate's extension: " + value);
    }
}

/// Signed by `issuer`, or by itself.
inline Certificate make_certificate(const CertificateWish& wish,
                                    const Certificate* issuer = nullptr) {
    Certificate made;
    made.key.reset(EVP_EC_gen("P-256"), &EVP_PKEY_free);
    made.x509.reset(X509_new(), &X509_free);
    X509* const x509 = made.x509.get();
    static int serial = 0;
    X509_set_version(x509, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x509), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(x509), wish.valid_from_s);
    X509_gmtime_adj(X509_getm_notAfter(x509), wish.valid_until_s);
    X509_set_pubkey(x509, made.key.get());
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x509), "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>(wish.common_name.c_str()), -1,
                               -1, 0);
    X509_set_issuer_name(x509, X509_get_subject_name(issuer ? issuer->x509.get() : x509));
    if (wish.is_ca) add_extension(x509, NID_basic_constraints, "critical,CA:TRUE");
    if (!wish.alternative_names.empty()) {
        add_extension(x509, NID_subject_alt_name, wish.alternative_names);
    }
    if (X509_sign(x509, issuer ? issuer->key.get() : made.key.get(), EVP_sha256()) == 0) {
        throw std::runtime_error("cannot sign a certificate");
    }
    return made;
}

inline void write_pem(const Certificate& certificate, const std::string& path) {
    const std::unique_ptr<BIO, decltype(&BIO_free)> file(BIO_new_file(path.c_str(), "w"),
                                                         &BIO_free);
    if (!file || PEM_write_bio_X509(file.get(), certificate.x509.get()) != 1) {
        throw std::runtime_error("cannot write " + path);
    }
}

/// A server's side of TLS with that certificate; `version_max` as TLS1_1_VERSION, 0 for the newest.
inline std::shared_ptr<SSL_CTX> make_tls_server(const Certificate& certificate,
                                                int version_max = 0) {
    std::shared_ptr<SSL_CTX> context(SSL_CTX_new(TLS_server_method()), &SSL_CTX_free);
    if (version_max != 0) {
        SSL_CTX_set_security_level(context.get(), 0);
        SSL_CTX_set_min_proto_version(context.get(), 0);
        SSL_CTX_set_max_proto_version(context.get(), version_max);
    }
    SSL_CTX_use_certificate(context.get(), certificate.x509.get());
    SSL_CTX_use_PrivateKey(context.get(), certificate.key.get());
    return context;
}

}  // namespace steplog::testing
