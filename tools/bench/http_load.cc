#include "tools/bench/http_load.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <ctime>
#include <stdexcept>
#include <thread>

#include "server/signature.h"

namespace steplog::bench {
namespace {

class Connection {
  public:
    Connection(int port, bool keep) : port_(port), keep_(keep) {}
    ~Connection() { disconnect(); }
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    /// The answer's status. A server may end a kept connection after so many requests.
    int exchange(const std::string& request) {
        if (socket_ < 0) connect();
        const int status = send_and_read(request);
        if (closes_ || !keep_) disconnect();
        return status;
    }

  private:
    void disconnect() {
        if (socket_ >= 0) close(socket_);
        socket_ = -1;
    }

    void connect() {
        socket_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(static_cast<std::uint16_t>(port_));
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        if (::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
            throw std::runtime_error("the load cannot connect");
        const int on = 1;
        setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        // A server that never answers must not hold the measure for ever.
        const timeval patience{.tv_sec = 10, .tv_usec = 0};
        setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    }

    int send_and_read(const std::string& request) {
        for (std::size_t sent = 0; sent < request.size();) {
            const ssize_t n =
                ::send(socket_, request.data() + sent, request.size() - sent, MSG_NOSIGNAL);
            if (n <= 0) throw std::runtime_error("a connection of the load broke");
            sent += static_cast<std::size_t>(n);
        }
        received_.clear();
        std::size_t whole = std::string::npos;
        while (received_.size() < whole) {
            std::array<char, 4096> bytes;
            const ssize_t n = ::recv(socket_, bytes.data(), bytes.size(), 0);
            if (n <= 0) throw std::runtime_error("a connection of the load broke");
            received_.append(bytes.data(), static_cast<std::size_t>(n));
            if (whole == std::string::npos) whole = whole_size();
        }
        closes_ = received_.find("\r\nConnection: close") != std::string::npos;
        int status = 0;
        std::from_chars(received_.data() + 9, received_.data() + 12, status);
        return status;
    }

    std::size_t whole_size() const {
        const auto head = received_.find("\r\n\r\n");
        if (head == std::string::npos) return head;
        constexpr std::string_view name = "\r\nContent-Length: ";
        const auto length = received_.find(name);
        std::size_t bytes = 0;
        if (length < head) {
            const char* digits = received_.data() + length + name.size();
            std::from_chars(digits, received_.data() + head, bytes);
        }
        return head + 4 + bytes;
    }

    const int port_;
    const bool keep_;
    int socket_ = -1;
    bool closes_ = false;
    std::string received_;
};

}  // namespace

HttpSeen run_load(const HttpLoad& load) {
    std::atomic<std::uint64_t> next{0}, refused{0};
    std::vector<Samples> took(static_cast<std::size_t>(load.connections));
    std::exception_ptr broken;
    std::mutex mutex;
    const auto begun = Steady::now();
    const auto until = begun + std::chrono::duration_cast<Steady::duration>(
                                   std::chrono::duration<double>(load.seconds));
    const auto work = [&](Samples& samples) {
        Connection connection(load.port, load.keep);
        while (true) {
            const std::uint64_t n = next++;
            auto due = Steady::now();
            if (load.per_second > 0) {
                due = begun +
                      std::chrono::duration_cast<Steady::duration>(
                          std::chrono::duration<double>(static_cast<double>(n) / load.per_second));
                std::this_thread::sleep_until(due);
            }
            if (due >= until) return;
            const std::string request = load.request(n);
            // In a closed loop the client's own work (signing) is not the server's time.
            if (load.per_second == 0) due = Steady::now();
            if (connection.exchange(request) != 200) ++refused;
            samples.add(Steady::now() - due);
        }
    };
    {
        std::vector<std::jthread> threads;
        for (Samples& samples : took)
            threads.emplace_back([&] {
                try {
                    work(samples);
                } catch (...) {
                    const std::lock_guard lock(mutex);
                    broken = std::current_exception();
                }
            });
    }
    if (broken) std::rethrow_exception(broken);
    HttpSeen seen;
    for (const Samples& each : took) seen.took.add(each);
    seen.per_second = static_cast<double>(seen.took.size()) / seconds_since(begun);
    seen.refused = refused;
    return seen;
}

std::string signed_delivery(const std::string& body, const std::string& secret) {
    return fmt::format(
        "POST /api/stripe-webhook HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        "Stripe-Signature: {}\r\nContent-Length: {}\r\n\r\n{}",
        server::stripe_signature_header(body, secret, std::time(nullptr)), body.size(), body);
}

}  // namespace steplog::bench
