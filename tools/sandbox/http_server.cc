// Sockets, and the raw bytes of requests, answers and faults.
#include "tools/sandbox/http_server.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <stdexcept>

namespace steplog::sandbox {
namespace {

constexpr std::size_t head_max = 64 * 1024;
constexpr std::size_t body_max = 8 * 1024 * 1024;
constexpr std::size_t oversize_bytes = 2 * 1024 * 1024;

sockaddr_in address_of(const std::string& host, int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    if (inet_pton(AF_INET, host.c_str(), &address.sin_addr) != 1 ||
        ntohl(address.sin_addr.s_addr) >> 24 != 127) {
        throw std::runtime_error("the sandbox listens on loopback only; use 127.0.0.1:PORT");
    }
    return address;
}

/// A socket bound to the address. `shared`: several of ours may hold the port at once.
int bound_socket(const sockaddr_in& address, bool shared) {
    const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const int on = 1;
    ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (shared) ::setsockopt(socket, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    if (::bind(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        const std::string why = std::strerror(errno);
        ::close(socket);
        throw std::runtime_error(
            fmt::format("cannot listen on port {}: {}; use another port, or :0 for a free one",
                        ntohs(address.sin_port), why));
    }
    return socket;
}

bool send_all(int socket, std::string_view bytes) {
    while (!bytes.empty()) {
        const ssize_t sent = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent <= 0) return false;
        bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
}

/// Closing with this set sends RST instead of FIN.
void reset_on_close(int socket) {
    const linger now{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(socket, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

std::string_view reason_of(int status) {
    switch (status) {
        case 200:
            return "OK";
        case 400:
            return "Bad Request";
        case 401:
            return "Unauthorized";
        case 403:
            return "Forbidden";
        case 404:
            return "Not Found";
        case 409:
            return "Conflict";
        case 411:
            return "Length Required";
        case 413:
            return "Content Too Large";
        case 422:
            return "Unprocessable Content";
        case 429:
            return "Too Many Requests";
        case 500:
            return "Internal Server Error";
        case 502:
            return "Bad Gateway";
        case 503:
            return "Service Unavailable";
        default:
            return "Status";
    }
}

std::string head_of(const steps::HttpReply& reply, std::size_t length, bool keep_alive) {
    std::string head = fmt::format("HTTP/1.1 {} {}\r\n", reply.status, reason_of(reply.status));
    for (const auto& [name, value] : reply.headers) head += fmt::format("{}: {}\r\n", name, value);
    head += fmt::format("Content-Length: {}\r\nConnection: {}\r\n\r\n", length,
                        keep_alive ? "keep-alive" : "close");
    return head;
}

/// Bytes of one connection: what was received and is not used yet.
class Reader {
  public:
    explicit Reader(int socket) : socket_(socket) {}

    /// Up to and including `end`; nothing when the peer closed or sent more than `limit` before it.
    std::optional<std::string> until(std::string_view end, std::size_t limit) {
        std::size_t at = buffer_.find(end);
        while (at == std::string::npos) {
            if (buffer_.size() > limit || !receive()) return std::nullopt;
            at = buffer_.find(end);
        }
        return take(at + end.size());
    }
    std::optional<std::string> exactly(std::size_t size) {
        while (buffer_.size() < size) {
            if (!receive()) return std::nullopt;
        }
        return take(size);
    }

  private:
    bool receive() {
        std::array<char, 16 * 1024> chunk;
        while (true) {
            const ssize_t got = ::recv(socket_, chunk.data(), chunk.size(), 0);
            if (got < 0 && errno == EINTR) continue;
            if (got <= 0) return false;
            buffer_.append(chunk.data(), static_cast<std::size_t>(got));
            return true;
        }
    }
    std::string take(std::size_t size) {
        std::string out = buffer_.substr(0, size);
        buffer_.erase(0, size);
        return out;
    }

    int socket_;
    std::string buffer_;
};

/// Method, target and headers; false for what is not HTTP/1.x.
bool read_head(std::string_view head, SandboxRequest& request, bool& keep_alive) {
    const auto next_line = [&head] {
        const auto end = head.find("\r\n");
        const std::string_view line = head.substr(0, end);
        head.remove_prefix(end == std::string_view::npos ? head.size() : end + 2);
        return line;
    };
    const std::string_view first = next_line();
    const auto blank = first.find(' ');
    const auto last = first.rfind(' ');
    if (blank == std::string_view::npos || last == blank ||
        !first.substr(last + 1).starts_with("HTTP/1.") || first[blank + 1] != '/') {
        return false;
    }
    request.method = first.substr(0, blank);
    request.target = first.substr(blank + 1, last - blank - 1);
    keep_alive = first.ends_with("1.1");
    for (std::string_view line = next_line(); !line.empty(); line = next_line()) {
        const auto colon = line.find(':');
        if (colon == std::string_view::npos) return false;
        std::string_view value = line.substr(colon + 1);
        while (value.starts_with(' ')) value.remove_prefix(1);
        request.headers.emplace_back(line.substr(0, colon), value);
    }
    const std::string connection = to_lower(header_of(request.headers, "Connection"));
    if (connection == "close") keep_alive = false;
    if (connection == "keep-alive") keep_alive = true;
    return true;
}

}  // namespace

HttpServer::HttpServer(const std::string& listen, Handler handler) : handler_(std::move(handler)) {
    const auto colon = listen.rfind(':');
    host_ = colon == std::string::npos ? "" : listen.substr(0, colon);
    if (host_.empty() || host_ == "localhost") host_ = "127.0.0.1";
    const std::string_view port = std::string_view(listen).substr(colon + 1);
    const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), port_);
    if (colon == std::string::npos || error != std::errc() || end != port.data() + port.size() ||
        port_ < 0 || port_ > 65535) {
        throw std::runtime_error("an address to listen on looks like 127.0.0.1:8090");
    }
    // A shared bind would also succeed beside another sandbox on the port: ask for it alone first.
    if (port_ != 0) ::close(bound_socket(address_of(host_, port_), false));
    reserved_ = bound_socket(address_of(host_, port_), true);
    sockaddr_in bound{};
    socklen_t size = sizeof bound;
    ::getsockname(reserved_, reinterpret_cast<sockaddr*>(&bound), &size);
    port_ = ntohs(bound.sin_port);
    wake_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    stop_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    open_listener();
    acceptor_ = std::thread([this] { accept_loop(); });
}

HttpServer::~HttpServer() {
    {
        const std::scoped_lock lock(mutex_);
        stopping_ = true;
        for (Connection& connection : connections_) {
            if (!connection.ended) ::shutdown(connection.socket, SHUT_RDWR);
        }
        changed_.notify_all();
    }
    const std::uint64_t one = 1;
    (void)!::write(stop_, &one, sizeof one);
    acceptor_.join();
    reap(true);
    for (const int descriptor : {reserved_, listener_, wake_, stop_}) {
        if (descriptor >= 0) ::close(descriptor);
    }
}

std::string HttpServer::base() const { return fmt::format("http://{}:{}", host_, port_); }

void HttpServer::open_listener() {
    listener_ = bound_socket(address_of(host_, port_), true);
    if (::listen(listener_, 1024) != 0) {
        throw std::runtime_error(fmt::format("cannot listen on {}:{}: {}; use another port", host_,
                                             port_, std::strerror(errno)));
    }
    const std::scoped_lock lock(mutex_);
    is_listening_ = true;
    changed_.notify_all();
}

void HttpServer::set_listening(bool on) {
    std::unique_lock lock(mutex_);
    want_listening_ = on;
    const std::uint64_t one = 1;
    (void)!::write(wake_, &one, sizeof one);
    changed_.wait(lock, [this] { return is_listening_ == want_listening_ || stopping_; });
}

void HttpServer::accept_loop() {
    while (true) {
        std::array<pollfd, 3> wanted{{{.fd = stop_, .events = POLLIN, .revents = 0},
                                      {.fd = wake_, .events = POLLIN, .revents = 0},
                                      {.fd = listener_, .events = POLLIN, .revents = 0}}};
        ::poll(wanted.data(), wanted.size(), -1);
        if (wanted[0].revents != 0) return;
        if (wanted[1].revents != 0) {
            std::uint64_t count = 0;
            (void)!::read(wake_, &count, sizeof count);
            std::unique_lock lock(mutex_);
            if (want_listening_ && listener_ < 0) {
                lock.unlock();
                open_listener();
            } else if (!want_listening_ && listener_ >= 0) {
                ::close(listener_);
                listener_ = -1;
                is_listening_ = false;
                changed_.notify_all();
            }
            continue;
        }
        if (wanted[2].revents != 0) admit();
        reap(false);
    }
}

void HttpServer::admit() {
    const int socket = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (socket < 0) return;  // the peer has gone already
    const int on = 1;
    ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    const std::scoped_lock lock(mutex_);
    if (stopping_) {
        ::close(socket);
        return;
    }
    Connection& connection = connections_.emplace_back();
    connection.socket = socket;
    connection.thread = std::thread([this, &connection] { serve(connection); });
}

void HttpServer::reap(bool all) {
    std::list<Connection> ended;
    {
        const std::scoped_lock lock(mutex_);
        for (auto at = connections_.begin(); at != connections_.end();) {
            const auto next = std::next(at);
            if (all || at->ended) ended.splice(ended.end(), connections_, at);
            at = next;
        }
    }
    for (Connection& connection : ended) connection.thread.join();
}

void HttpServer::serve(Connection& connection) {
    Reader reader(connection.socket);
    while (true) {
        const auto head = reader.until("\r\n\r\n", head_max);
        SandboxRequest request;
        bool keep_alive = false;
        if (!head || !read_head(*head, request, keep_alive)) break;
        const auto refuse = [&](int status, const std::string& why) {
            const steps::HttpReply reply = json_reply(status, {{"error", why}});
            send_all(connection.socket, head_of(reply, reply.body.size(), false) + reply.body);
        };
        if (!header_of(request.headers, "Transfer-Encoding").empty()) {
            refuse(411, "send a Content-Length; the sandbox does not read chunked bodies");
            break;
        }
        std::size_t length = 0;
        const std::string text = header_of(request.headers, "Content-Length");
        std::from_chars(text.data(), text.data() + text.size(), length);
        if (length > body_max) {
            refuse(413, "the body is larger than 8 MiB");
            break;
        }
        if (to_lower(header_of(request.headers, "Expect")) == "100-continue") {
            send_all(connection.socket, "HTTP/1.1 100 Continue\r\n\r\n");
        }
        auto body = reader.exactly(length);
        if (!body) break;
        request.body = std::move(*body);
        if (!answer(connection.socket, request, keep_alive)) break;
    }
    // The destructor shuts down sockets of connections that have not ended: closing and saying so
    // are one step, or it could hit a descriptor that belongs to someone else by then.
    const std::scoped_lock lock(mutex_);
    ::close(connection.socket);
    connection.ended = true;
}

bool HttpServer::answer(int socket, const SandboxRequest& request, bool keep_alive) {
    Served served;
    try {
        served = handler_(request);
    } catch (const std::exception& error) {
        // A stand-in that cannot handle something must say so, not end the whole process.
        served.reply =
            json_reply(500, {{"error", fmt::format("the sandbox failed: {}", error.what())}});
    }
    const steps::HttpReply& reply = served.reply;
    bool goes_on = served.delay == Ms(0) || wait_for_peer(socket, served.delay);
    if (goes_on) {
        const std::string whole = head_of(reply, reply.body.size(), keep_alive) + reply.body;
        switch (served.wire) {
            case Wire::delivered:
                goes_on = send_all(socket, whole) && keep_alive;
                break;
            case Wire::refused:
            case Wire::reset:
                reset_on_close(socket);
                goes_on = false;
                break;
            case Wire::truncated:
                send_all(socket, std::string_view(whole).substr(
                                     0, whole.size() - (reply.body.size() + 1) / 2));
                goes_on = false;
                break;
            case Wire::hangs:
                wait_for_peer(socket, std::nullopt);
                goes_on = false;
                break;
            case Wire::interim:
                goes_on = send_all(socket, "HTTP/1.1 103 Early Hints\r\nLink: </s.css>\r\n\r\n") &&
                          send_all(socket, whole) && keep_alive;
                break;
            case Wire::interim_only:
                send_all(socket, "HTTP/1.1 103 Early Hints\r\nLink: </s.css>\r\n\r\n");
                goes_on = false;
                break;
            case Wire::oversized:
                send_all(socket, head_of(reply, reply.body.size() + oversize_bytes, false));
                send_all(socket, reply.body);
                send_all(socket, std::string(oversize_bytes, ' '));
                goes_on = false;
                break;
        }
    }
    if (served.done) served.done();
    return goes_on;
}

bool HttpServer::wait_for_peer(int socket, std::optional<Ms> how_long) const {
    std::array<pollfd, 2> wanted{{{.fd = socket, .events = POLLRDHUP, .revents = 0},
                                  {.fd = stop_, .events = POLLIN, .revents = 0}}};
    const int timeout = how_long ? static_cast<int>(how_long->count()) : -1;
    return ::poll(wanted.data(), wanted.size(), timeout) == 0;
}

}  // namespace steplog::sandbox
