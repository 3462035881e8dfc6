// A provider's stand-in on a real socket that does to its clients what the test's script says:
// answers, drips, floods, cuts, resets. One thread accepts, one more serves each connection; the
// destructor ends them all.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace steplog::testing {

/// A client's connection, seen from the server.
class Peer {
  public:
    Peer(int socket, SSL* ssl) : socket_(socket), ssl_(ssl) {}

    /// Head and, as Content-Length says, body; "" when the client went before.
    std::string read_request() {
        std::string request;
        std::size_t wanted = std::string::npos;
        while (request.size() < wanted) {
            char buffer[4096];
            const long size = receive(buffer, sizeof buffer);
            if (size <= 0) return {};
            request.append(buffer, static_cast<std::size_t>(size));
            const std::size_t head = request.find("\r\n\r\n");
            if (head == std::string::npos || wanted != std::string::npos) continue;
            const std::size_t length = request.find("Content-Length: ");
            wanted = head + 4;
            if (length < head) wanted += std::strtoul(request.c_str() + length + 16, nullptr, 10);
        }
        return request;
    }

    /// A line without its end; nothing when the client went before it was whole.
    std::optional<std::string> read_line() {
        for (std::size_t end; (end = unread_.find('\n')) == std::string::npos;) {
            char buffer[4096];
            const long size = receive(buffer, sizeof buffer);
            if (size <= 0) return std::nullopt;
            unread_.append(buffer, static_cast<std::size_t>(size));
        }
        std::string line = unread_.substr(0, unread_.find('\n'));
        unread_.erase(0, line.size() + 1);
        if (line.ends_with('\r')) line.pop_back();
        return line;
    }

    /// False once the client is gone.
    bool send(std::string_view bytes) {
        while (!bytes.empty()) {
            const long sent = ssl_ ? SSL_write(ssl_, bytes.data(), static_cast<int>(bytes.size()))
                                   : ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (sent <= 0) return false;
            bytes.remove_prefix(static_cast<std::size_t>(sent));
        }
        return true;
    }

    /// One byte every 10 ms, over and over, until the client is gone.
    void drip(std::string_view bytes) {
        for (;;) {
            for (std::size_t i = 0; i < bytes.size(); ++i) {
                if (!send(bytes.substr(i, 1)) || is_gone_within_ms(10)) return;
            }
        }
    }

    void flood(const std::string& bytes) {
        while (send(bytes)) {
        }
    }

    void wait_until_gone() { is_gone_within_ms(-1); }

    /// The connection ends with RST rather than FIN.
    void reset() {
        const linger now{1, 0};
        setsockopt(socket_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    }

  private:
    long receive(char* buffer, std::size_t size) {
        return ssl_ ? SSL_read(ssl_, buffer, static_cast<int>(size))
                    : ::recv(socket_, buffer, size, 0);
    }

    bool is_gone_within_ms(int ms) {
        pollfd watched{socket_, POLLRDHUP, 0};
        return poll(&watched, 1, ms) > 0;
    }

    int socket_;
    SSL* ssl_;
    std::string unread_;
};

/// A TCP socket on 127.0.0.1 (or another address of that net) and a free port.
inline int listen_on_loopback(int backlog, const char* address = "127.0.0.1", int port = 0) {
    const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int on = 1;
    const int small = 65536;  // so that a client notices soon that nobody reads
    setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(socket, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    sockaddr_in where{};
    where.sin_family = AF_INET;
    where.sin_port = htons(static_cast<std::uint16_t>(port));
    inet_pton(AF_INET, address, &where.sin_addr);
    if (bind(socket, reinterpret_cast<sockaddr*>(&where), sizeof where) != 0 ||
        listen(socket, backlog) != 0) {
        throw std::runtime_error("cannot listen on loopback");
    }
    return socket;
}

inline int port_of(int socket) {
    sockaddr_in where{};
    socklen_t size = sizeof where;
    getsockname(socket, reinterpret_cast<sockaddr*>(&where), &size);
    return ntohs(where.sin_port);
}

class HostileServer {
  public:
    using Script = std::function<void(Peer&)>;

    explicit HostileServer(Script script, std::shared_ptr<SSL_CTX> tls = nullptr)
        : script_(std::move(script)), tls_(std::move(tls)), listener_(listen_on_loopback(128)) {
        acceptor_ = std::thread([this] { accept_all(); });
    }

    ~HostileServer() {
        shutdown(listener_, SHUT_RDWR);
        acceptor_.join();
        {
            const std::lock_guard lock(mutex_);
            for (const int socket : open_) shutdown(socket, SHUT_RDWR);
        }
        for (std::thread& each : servers_) each.join();
        close(listener_);
    }

    int port() const { return port_of(listener_); }
    std::string url() const { return "http://127.0.0.1:" + std::to_string(port()); }
    int connections() const {
        const std::lock_guard lock(mutex_);
        return connections_;
    }

  private:
    void accept_all() {
        for (;;) {
            const int socket = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
            if (socket < 0) return;
            const std::lock_guard lock(mutex_);
            ++connections_;
            open_.push_back(socket);
            servers_.emplace_back([this, socket] { serve(socket); });
        }
    }

    void serve(int socket) {
        // A client that leaves in the middle must not end the test program.
        sigset_t broken_pipe;
        sigemptyset(&broken_pipe);
        sigaddset(&broken_pipe, SIGPIPE);
        pthread_sigmask(SIG_BLOCK, &broken_pipe, nullptr);

        std::unique_ptr<SSL, decltype(&SSL_free)> ssl(tls_ ? SSL_new(tls_.get()) : nullptr,
                                                      &SSL_free);
        if (ssl) SSL_set_fd(ssl.get(), socket);
        if (!ssl || SSL_accept(ssl.get()) == 1) {
            Peer peer(socket, ssl.get());
            script_(peer);
        }
        const std::lock_guard lock(mutex_);
        open_.remove(socket);
        close(socket);
    }

    const Script script_;
    const std::shared_ptr<SSL_CTX> tls_;
    const int listener_;
    std::thread acceptor_;

    mutable std::mutex mutex_;  // guards what follows, but for servers_ once acceptor_ has ended
    std::list<int> open_;
    std::vector<std::thread> servers_;
    int connections_ = 0;
};

}  // namespace steplog::testing
