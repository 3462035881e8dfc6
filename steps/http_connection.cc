// See http_connection.h. TLS works on memory; only send_bytes and receive_bytes touch the socket,
// so one deadline covers handshake, request and reply alike.
#include "steps/http_connection.h"

#include <fmt/core.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <stdexcept>
#include <system_error>

namespace steplog::steps {

namespace {

std::string system_error_text(int error) { return std::generic_category().message(error); }

std::string tls_error_text() {
    const unsigned long error = ERR_get_error();
    const char* reason = error == 0 ? nullptr : ERR_reason_error_string(error);
    return reason == nullptr ? "protocol error" : reason;
}

/// `address` in numbers, so nothing is looked up.
std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> socket_address(const std::string& address,
                                                                  int port) {
    addrinfo hints{};
    hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    if (getaddrinfo(address.c_str(), fmt::format("{}", port).c_str(), &hints, &found) != 0) {
        found = nullptr;
    }
    return {found, &freeaddrinfo};
}

}  // namespace

TlsContext::TlsContext(const std::string& ca_file)
    : context_(SSL_CTX_new(TLS_client_method()), &SSL_CTX_free) {
    if (!context_) throw std::runtime_error("OpenSSL cannot make a TLS context: out of memory?");
    SSL_CTX_set_min_proto_version(context_.get(), TLS1_2_VERSION);
    SSL_CTX_set_options(context_.get(), SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_verify(context_.get(), SSL_VERIFY_PEER, nullptr);
    ERR_clear_error();
    if (ca_file.empty()) {
        SSL_CTX_set_default_verify_paths(context_.get());
    } else if (SSL_CTX_load_verify_locations(context_.get(), ca_file.c_str(), nullptr) != 1) {
        throw std::runtime_error(
            fmt::format("{}: no CA certificates in PEM form can be read from it ({})", ca_file,
                        tls_error_text()));
    }
}

Connection::Connection(HttpAttempt& attempt, const TlsContext& tls, const BaseUrl& base,
                       const std::vector<std::string>& addresses, Ms connect_timeout)
    : attempt_(attempt), ssl_(nullptr, &SSL_free) {
    attempt_.enter(HttpAttempt::Stage::connect);
    const auto until =
        std::min(std::chrono::steady_clock::now() + connect_timeout, attempt_.deadline());
    std::string why = "it has no address";
    std::size_t left = addresses.size();
    for (const std::string& address : addresses) {
        // An address that swallows everything must leave time for the next one.
        const auto now = std::chrono::steady_clock::now();
        const auto share = now + (until - now) / static_cast<int>(left--);
        if (connect_to(address, base.port, share, why)) break;
    }
    if (socket_ < 0) {
        attempt_.fail("", fmt::format("cannot connect ({}): check the network, or the provider's "
                                      "status page",
                                      why));
    }
    try {
        if (base.tls) shake_hands(tls, base.host);
    } catch (...) {
        close(socket_);
        throw;
    }
}

Connection::~Connection() {
    // Whether the peer hears our goodbye does not matter: the reply was whole or has failed.
    if (ssl_ && SSL_is_init_finished(ssl_.get())) {
        SSL_shutdown(ssl_.get());
        std::array<char, 256> record{};
        const int size = BIO_read(leaving_, record.data(), static_cast<int>(record.size()));
        if (size > 0) ::send(socket_, record.data(), static_cast<std::size_t>(size), MSG_NOSIGNAL);
        ERR_clear_error();
    }
    close(socket_);
}

bool Connection::connect_to(const std::string& address, int port, HttpAttempt::Time until,
                            std::string& why) {
    const auto found = socket_address(address, port);
    if (!found) {
        why = "its address is not one";
        return false;
    }
    const int fd = ::socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        why = system_error_text(errno);
        return false;
    }
    int error = ::connect(fd, found->ai_addr, found->ai_addrlen) == 0 ? 0 : errno;
    try {
        if (error == EINPROGRESS) {
            socklen_t size = sizeof error;
            if (!attempt_.wait_until(fd, POLLOUT, until)) {
                error = ETIMEDOUT;
            } else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0) {
                error = errno;
            }
        }
    } catch (...) {
        close(fd);
        throw;
    }
    if (error != 0) {
        why = system_error_text(error);
        close(fd);
        return false;
    }
    const int on = 1;
    // Without it a request of several records could wait 40 ms; that is all it would cost.
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    socket_ = fd;
    return true;
}

void Connection::shake_hands(const TlsContext& tls, const std::string& host) {
    attempt_.enter(HttpAttempt::Stage::handshake);
    ERR_clear_error();
    ssl_.reset(SSL_new(tls.get()));
    std::unique_ptr<BIO, decltype(&BIO_free)> arrived(BIO_new(BIO_s_mem()), &BIO_free);
    std::unique_ptr<BIO, decltype(&BIO_free)> leaving(BIO_new(BIO_s_mem()), &BIO_free);
    if (!ssl_ || !arrived || !leaving) attempt_.fail("", "no memory for TLS");
    arrived_ = arrived.release();
    leaving_ = leaving.release();
    SSL_set_bio(ssl_.get(), arrived_, leaving_);

    X509_VERIFY_PARAM* rules = SSL_get0_param(ssl_.get());
    X509_VERIFY_PARAM_set_hostflags(
        rules, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    const bool by_address = is_ip_address(host);
    const bool rules_set =
        by_address ? X509_VERIFY_PARAM_set1_ip_asc(rules, host.c_str()) == 1
                   : X509_VERIFY_PARAM_set1_host(rules, host.c_str(), host.size()) == 1 &&
                         SSL_set_tlsext_host_name(ssl_.get(), host.c_str()) == 1;
    if (!rules_set) attempt_.fail("", "OpenSSL does not take its name");

    if (drive_tls([this] { return SSL_connect(ssl_.get()); }) == 0) {
        attempt_.fail("", "it closed the connection during the TLS handshake");
    }
}

int Connection::drive_tls(const std::function<int()>& operation) {
    for (;;) {
        ERR_clear_error();
        const int result = operation();
        const int error = SSL_get_error(ssl_.get(), result);
        if (error == SSL_ERROR_SSL || error == SSL_ERROR_SYSCALL) fail_tls();
        send_tls_records();
        if (result > 0) return result;
        if (error == SSL_ERROR_ZERO_RETURN) return 0;
        if (!receive_tls_records()) return 0;
    }
}

void Connection::send_tls_records() {
    char* records = nullptr;
    const long size = BIO_get_mem_data(leaving_, &records);
    if (size <= 0) return;
    send_bytes({records, static_cast<std::size_t>(size)});
    BIO_reset(leaving_);
}

bool Connection::receive_tls_records() {
    std::array<char, 16384> records{};
    const std::size_t size = receive_bytes(records.data(), records.size());
    if (size == 0) return false;
    if (BIO_write(arrived_, records.data(), static_cast<int>(size)) != static_cast<int>(size)) {
        attempt_.fail("reset", "no memory for what arrives");
    }
    return true;
}

void Connection::fail_tls() {
    const long verdict = SSL_get_verify_result(ssl_.get());
    std::string text;
    if (verdict != X509_V_OK) {
        text = fmt::format(
            "its certificate is not accepted ({}): check the host in the settings, this machine's "
            "clock and its CA certificates",
            X509_verify_cert_error_string(verdict));
    } else {
        text = fmt::format("TLS failed ({})", tls_error_text());
    }
    // The alert tells the other side why; this side knows already, so nothing waits for it.
    char* alert = nullptr;
    const long size = BIO_get_mem_data(leaving_, &alert);
    if (size > 0) ::send(socket_, alert, static_cast<std::size_t>(size), MSG_NOSIGNAL);
    attempt_.fail("reset", text);
}

void Connection::send(std::string_view bytes) {
    attempt_.check();
    attempt_.enter(HttpAttempt::Stage::exchange);
    if (!ssl_) return send_bytes(bytes);
    while (!bytes.empty()) {
        const int part = static_cast<int>(std::min<std::size_t>(bytes.size(), 16384));
        const int sent = drive_tls([&] { return SSL_write(ssl_.get(), bytes.data(), part); });
        if (sent == 0) attempt_.fail("reset", "it closed the connection before the request ended");
        bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
}

std::size_t Connection::receive(char* buffer, std::size_t size) {
    if (!ssl_) return receive_bytes(buffer, size);
    const int part = static_cast<int>(std::min<std::size_t>(size, INT_MAX));
    return static_cast<std::size_t>(drive_tls([&] { return SSL_read(ssl_.get(), buffer, part); }));
}

void Connection::send_bytes(std::string_view bytes) {
    while (!bytes.empty()) {
        attempt_.check();
        const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (sent >= 0) {
            bytes.remove_prefix(static_cast<std::size_t>(sent));
        } else if (errno == EAGAIN) {
            attempt_.wait(socket_, POLLOUT);
        } else if (errno != EINTR) {
            attempt_.fail("reset",
                          fmt::format("the connection broke ({})", system_error_text(errno)));
        }
    }
}

std::size_t Connection::receive_bytes(char* buffer, std::size_t size) {
    for (;;) {
        attempt_.check();
        const ssize_t received = ::recv(socket_, buffer, size, 0);
        if (received >= 0) return static_cast<std::size_t>(received);
        if (errno == EAGAIN) {
            attempt_.wait(socket_, POLLIN);
        } else if (errno != EINTR) {
            attempt_.fail("reset",
                          fmt::format("the connection broke ({})", system_error_text(errno)));
        }
    }
}

}  // namespace steplog::steps
