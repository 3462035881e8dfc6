// See front_tls.h. Whoever calls a Channel has SIGPIPE blocked: OpenSSL writes with write(2).
#include "server/front_tls.h"

#include <fmt/core.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <stdexcept>
#include <utility>

namespace steplog::server {

namespace {

std::string last_error() {
    std::array<char, 256> text{};
    ERR_error_string_n(ERR_get_error(), text.data(), text.size());
    ERR_clear_error();
    return text.data();
}

int select_http_1_1(SSL*, const unsigned char** chosen, unsigned char* chosen_size,
                    const unsigned char* offered, unsigned int offered_size, void*) {
    static constexpr std::array<unsigned char, 9> ours = {8,   'h', 't', 't', 'p',
                                                          '/', '1', '.', '1'};
    unsigned char* found = nullptr;
    const int result =
        SSL_select_next_proto(&found, chosen_size, ours.data(), ours.size(), offered, offered_size);
    if (result != OPENSSL_NPN_NEGOTIATED) return SSL_TLSEXT_ERR_NOACK;
    *chosen = found;
    return SSL_TLSEXT_ERR_OK;
}

std::shared_ptr<SSL_CTX> load(const std::string& certificate_file, const std::string& key_file) {
    ERR_clear_error();
    std::shared_ptr<SSL_CTX> context(SSL_CTX_new(TLS_server_method()), SSL_CTX_free);
    if (!context) throw std::runtime_error(fmt::format("cannot prepare TLS: {}", last_error()));
    SSL_CTX* raw = context.get();
    SSL_CTX_set_options(raw, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_mode(raw, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    // A read that meets something else than data (a key update, of which a peer may send any
    // number) comes back, so that one connection cannot hold the thread of all.
    SSL_CTX_clear_mode(raw, SSL_MODE_AUTO_RETRY);
    SSL_CTX_set_session_cache_mode(raw, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_alpn_select_cb(raw, select_http_1_1, nullptr);
    const bool prepared = SSL_CTX_set_min_proto_version(raw, TLS1_2_VERSION) == 1 &&
                          SSL_CTX_set_num_tickets(raw, 0) == 1 &&
                          SSL_CTX_set_cipher_list(raw, "ECDHE+AESGCM:ECDHE+CHACHA20") == 1;
    if (!prepared) throw std::runtime_error(fmt::format("cannot prepare TLS: {}", last_error()));
    if (SSL_CTX_use_certificate_chain_file(raw, certificate_file.c_str()) != 1) {
        throw std::runtime_error(
            fmt::format("TLS_CERT {}: no PEM certificate chain can be read: {}", certificate_file,
                        last_error()));
    }
    if (SSL_CTX_use_PrivateKey_file(raw, key_file.c_str(), SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(raw) != 1) {
        throw std::runtime_error(
            fmt::format("TLS_KEY {}: no PEM key that fits the certificate can be read: {}",
                        key_file, last_error()));
    }
    return context;
}

Progress judge_socket(ssize_t result, Progress when_not_ready, std::size_t& count) {
    if (result > 0) {
        count = static_cast<std::size_t>(result);
        return Progress::done;
    }
    if (result == 0) return Progress::ended;
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? when_not_ready
                                                                     : Progress::broken;
}

}  // namespace

TlsCertificate::TlsCertificate(std::string certificate_file, std::string key_file)
    : certificate_file_(std::move(certificate_file)),
      key_file_(std::move(key_file)),
      context_(load(certificate_file_, key_file_)) {}

void TlsCertificate::reload() {
    auto fresh = load(certificate_file_, key_file_);
    const std::lock_guard lock(mutex_);
    context_ = std::move(fresh);
}

std::shared_ptr<SSL_CTX> TlsCertificate::context() const {
    const std::lock_guard lock(mutex_);
    return context_;
}

void Channel::SslFree::operator()(ssl_st* ssl) const { SSL_free(ssl); }

Channel::Channel(int socket, const std::shared_ptr<SSL_CTX>& context) : socket_(socket) {
    if (!context) return;
    ssl_.reset(SSL_new(context.get()));
    if (!ssl_ || SSL_set_fd(ssl_.get(), socket_) != 1) {
        ::close(socket_);
        throw std::runtime_error(fmt::format("cannot begin TLS: {}", last_error()));
    }
    SSL_set_accept_state(ssl_.get());
}

Channel::~Channel() {
    ssl_.reset();
    ::close(socket_);
}

Progress Channel::judge(int result) {
    switch (SSL_get_error(ssl_.get(), result)) {
        case SSL_ERROR_WANT_READ:
            return Progress::wants_read;
        case SSL_ERROR_WANT_WRITE:
            return Progress::wants_write;
        case SSL_ERROR_ZERO_RETURN:
            return Progress::ended;
        default:
            established_ = false;
            return Progress::broken;
    }
}

Progress Channel::handshake() {
    if (!ssl_) return Progress::done;
    ERR_clear_error();
    const int result = SSL_do_handshake(ssl_.get());
    if (result != 1) return judge(result);
    established_ = true;
    return Progress::done;
}

Progress Channel::read(char* to, std::size_t size, std::size_t& count) {
    if (!ssl_) return judge_socket(::recv(socket_, to, size, 0), Progress::wants_read, count);
    ERR_clear_error();
    const int result = SSL_read_ex(ssl_.get(), to, size, &count);
    return result == 1 ? Progress::done : judge(result);
}

Progress Channel::write(std::string_view bytes, std::size_t& count) {
    if (!ssl_) {
        return judge_socket(::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL),
                            Progress::wants_write, count);
    }
    ERR_clear_error();
    const int result = SSL_write_ex(ssl_.get(), bytes.data(), bytes.size(), &count);
    return result == 1 ? Progress::done : judge(result);
}

bool Channel::has_buffered() const { return ssl_ && SSL_has_pending(ssl_.get()) == 1; }

void Channel::finish_writing() {
    if (established_) {
        ERR_clear_error();
        SSL_shutdown(ssl_.get());
    }
    ::shutdown(socket_, SHUT_WR);
}

Progress Channel::discard(char* to, std::size_t size, std::size_t& count) {
    return judge_socket(::recv(socket_, to, size, 0), Progress::wants_read, count);
}

void Channel::reset_on_close() {
    const linger hard{1, 0};
    ::setsockopt(socket_, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
}

}  // namespace steplog::server
