// A raw client and a small set of routes for the front's tests: bytes out, an answer in, no waiting
// but for the answer itself. Included by tests/server/front*_test.cc; any thread, one client each.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <httplib.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "server/front.h"
#include "server/front_address.h"

namespace steplog::testing {

constexpr int patience_ms = 20'000;  // far more than anything here takes

/// Asks until the condition holds; what changes it is another thread, and soon.
template <typename Condition>
inline bool eventually(Condition condition) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(patience_ms);
    while (!condition()) {
        if (std::chrono::steady_clock::now() > until) return false;
        std::this_thread::yield();
    }
    return true;
}

struct Reply {
    int status = 0;  // 0: the connection ended without a whole answer
    std::string head;
    std::string body;
    bool ended = false;  // the connection ended after it

    bool has(std::string_view text) const { return head.find(text) != std::string::npos; }
};

class RawClient {
  public:
    /// `source` is an address of this machine to come from, "" for any.
    explicit RawClient(const std::string& address, const std::string& source = "",
                       int receive_buffer = 0) {
        const server::ListenAddress to = server::parse_listen(address);
        socket_ = ::socket(to.address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (receive_buffer > 0) {
            ::setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer));
        }
        if (!source.empty()) {
            const server::ListenAddress from = server::parse_listen(source + ":0");
            ::bind(socket_, reinterpret_cast<const sockaddr*>(&from.address), from.length);
        }
        connected_ =
            ::connect(socket_, reinterpret_cast<const sockaddr*>(&to.address), to.length) == 0;
    }
    virtual ~RawClient() { close(); }
    RawClient(const RawClient&) = delete;
    RawClient& operator=(const RawClient&) = delete;

    bool connected() const { return connected_; }
    int socket() const { return socket_; }

    /// False when the server ended the connection before all was sent.
    bool send(std::string_view bytes) {
        while (!bytes.empty()) {
            const ssize_t count = write_some(bytes);
            if (count <= 0) return false;
            bytes.remove_prefix(static_cast<std::size_t>(count));
        }
        return true;
    }
    void shutdown_write() { ::shutdown(socket_, SHUT_WR); }
    void reset() {
        const linger hard{1, 0};
        ::setsockopt(socket_, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
        close();
    }
    void close() {
        if (socket_ >= 0) ::close(socket_);
        socket_ = -1;
    }

    /// Receives more into what is held; false at the end of the connection.
    bool receive_some() {
        pollfd waiting{socket_, POLLIN, 0};
        if (!has_buffered() && ::poll(&waiting, 1, patience_ms) != 1) {
            ADD_FAILURE() << "the server neither answered nor closed";
            return false;
        }
        char buffer[65536];
        const ssize_t count = read_some(buffer, sizeof(buffer));
        if (count <= 0) return false;
        held_.append(buffer, static_cast<std::size_t>(count));
        return true;
    }

    /// One answer, by its Content-Length; nothing is read beyond it on purpose.
    Reply read_reply(bool without_body = false) {
        Reply reply;
        while (held_.find("\r\n\r\n") == std::string::npos) {
            if (!receive_some()) return reply;
        }
        const std::size_t head_bytes = held_.find("\r\n\r\n") + 4;
        reply.head = held_.substr(0, head_bytes);
        held_.erase(0, head_bytes);
        const std::size_t field = reply.head.find("Content-Length: ");
        std::size_t length = 0;
        if (field != std::string::npos && !without_body) {
            length = std::strtoul(reply.head.c_str() + field + 16, nullptr, 10);
        }
        while (held_.size() < length) {
            if (!receive_some()) return reply;
        }
        reply.body = held_.substr(0, length);
        held_.erase(0, length);
        reply.status = std::atoi(reply.head.c_str() + 9);
        return reply;
    }

    /// The last answer of a connection, and whether the connection then ended.
    Reply read_last_reply() {
        Reply reply = read_reply();
        while (receive_some()) {
        }
        reply.ended = held_.empty();
        return reply;
    }

    /// Everything until the end of the connection.
    std::string read_to_end() {
        while (receive_some()) {
        }
        return std::exchange(held_, {});
    }

  protected:
    // Where TLS comes in between.
    virtual ssize_t write_some(std::string_view bytes) {
        return ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    }
    virtual ssize_t read_some(char* to, std::size_t size) { return ::recv(socket_, to, size, 0); }
    virtual bool has_buffered() { return false; }

  private:
    int socket_ = -1;
    bool connected_ = false;
    std::string held_;
};

inline std::string post(std::string_view body, std::string_view more_headers = "",
                        std::string_view target = "/api/stripe-webhook") {
    return "POST " + std::string(target) +
           " HTTP/1.1\r\nHost: a.example\r\nContent-Type: application/json\r\nContent-Length: " +
           std::to_string(body.size()) + "\r\n" + std::string(more_headers) + "\r\n" +
           std::string(body);
}

inline std::string get(std::string_view target, std::string_view more_headers = "") {
    return "GET " + std::string(target) + " HTTP/1.1\r\nHost: a.example\r\n" +
           std::string(more_headers) + "\r\n";
}

/// A gate that handlers wait at until the test opens it.
class Gate {
  public:
    void wait() { open_.wait(false); }
    void open() {
        open_ = true;
        open_.notify_all();
    }

  private:
    std::atomic<bool> open_ = false;
};

/// A front with the routes that the tests ask for.
class TestFront {
  public:
    explicit TestFront(server::FrontOptions options = {}) : front_(prepare(std::move(options))) {
        auto& routes = front_.routes();
        routes.Post("/api/stripe-webhook",
                    [this](const httplib::Request&, httplib::Response& response) {
                        ++received;
                        response.set_content(R"({"received":true})", "application/json");
                    });
        routes.Get("/healthz", [](const httplib::Request&, httplib::Response& response) {
            response.set_content("ok", "text/plain");
        });
        const auto echo = [](const httplib::Request& request, httplib::Response& response) {
            std::string text = request.remote_addr + "\n" + request.path + "\n";
            for (const auto& [name, value] : request.headers) text += name + ": " + value + "\n";
            response.set_content(text + "\n" + request.body, "text/plain");
        };
        routes.Get("/echo", echo);
        routes.Post("/echo", echo);
        routes.Get("/large", [](const httplib::Request& request, httplib::Response& response) {
            response.set_content(std::string(std::stoul(request.get_param_value("bytes")), 'x'),
                                 "text/plain");
        });
        routes.Get("/throw", [](const httplib::Request&, httplib::Response&) {
            throw std::runtime_error("the secret text");
        });
        routes.Get("/throw-a-number", [](const httplib::Request&, httplib::Response&) { throw 7; });
        routes.Get("/forbidden", [](const httplib::Request&, httplib::Response& response) {
            response.status = 403;
        });
        routes.Get("/wait", [this](const httplib::Request&, httplib::Response& response) {
            ++waiting;
            waiting.notify_all();
            gate.wait();
            response.set_content("waited", "text/plain");
        });
        routes.Get("/streamed", [](const httplib::Request&, httplib::Response& response) {
            response.set_content_provider("text/plain", [](std::size_t, httplib::DataSink& sink) {
                sink.write("streamed", 8);
                sink.done();
                return true;
            });
        });
        routes.Get("/chunked", [](const httplib::Request&, httplib::Response& response) {
            response.set_chunked_content_provider("text/plain",
                                                  [](std::size_t, httplib::DataSink& sink) {
                                                      sink.write("chunked", 7);
                                                      sink.done();
                                                      return true;
                                                  });
        });
        routes.Get("/endless", [](const httplib::Request&, httplib::Response& response) {
            response.set_content_provider("text/plain", [](std::size_t, httplib::DataSink& sink) {
                return sink.write(std::string(1 << 20, 'x').data(), 1 << 20);
            });
        });
        front_.start();
    }
    ~TestFront() { gate.open(); }

    server::Front& operator*() { return front_; }
    server::Front* operator->() { return &front_; }
    std::string address() const { return front_.address(); }

    Reply ask(std::string_view bytes) {
        RawClient client(front_.address());
        client.send(bytes);
        return client.read_reply();
    }

    std::atomic<int> received = 0;
    std::atomic<int> waiting = 0;
    Gate gate;

  private:
    static server::FrontOptions prepare(server::FrontOptions options) {
        if (options.listen == server::FrontOptions().listen) options.listen = "127.0.0.1:0";
        return options;
    }

    server::Front front_;
};

}  // namespace steplog::testing
