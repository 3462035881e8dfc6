// See front_routes.h. The only file of the front that includes the library.
#include "server/front_routes.h"

#include <fmt/format.h>
#include <httplib.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <nlohmann/json.hpp>

namespace steplog::server {

namespace {

using namespace std::string_view_literals;

constexpr std::string_view internal_error = "internal error";

std::string_view phrase_of(int status) {
    switch (status) {
        case 400:
            return "Bad Request";
        case 401:
            return "Unauthorized";
        case 403:
            return "Forbidden";
        case 404:
            return "Not Found";
        case 405:
            return "Method Not Allowed";
        case 408:
            return "Request Timeout";
        case 409:
            return "Conflict";
        case 411:
            return "Length Required";
        case 413:
            return "Payload Too Large";
        case 414:
            return "URI Too Long";
        case 415:
            return "Unsupported Media Type";
        case 417:
            return "Expectation Failed";
        case 429:
            return "Too Many Requests";
        case 431:
            return "Request Header Fields Too Large";
        case 501:
            return "Not Implemented";
        case 503:
            return "Service Unavailable";
        case 505:
            return "HTTP Version Not Supported";
        default:
            return "Internal Server Error";
    }
}

std::string_view extra_headers_of(int status) {
    if (status == 405) return "Allow: GET, HEAD, POST\r\n";
    if (status == 429 || status == 503) return "Retry-After: 5\r\n";
    return "";
}

std::string error_body(std::string_view error) {
    return nlohmann::json{{"error", error}}.dump(-1, ' ', false,
                                                 nlohmann::json::error_handler_t::replace);
}

/// One request in, one answer out. The head is made anew from what was vetted: nothing that the
/// client wrote reaches the library's header parser.
class MemoryStream : public httplib::Stream {
  public:
    explicit MemoryStream(const RouteCall& call)
        : call_(call),
          head_(fmt::format("{} {} HTTP/1.1\r\nContent-Length: {}\r\n\r\n", call.request.method,
                            call.request.target, call.body.size())) {}

    bool is_readable() const override { return true; }
    bool is_writable() const override { return !overflowed_; }
    socket_t socket() const override { return 0; }

    ssize_t read(char* to, std::size_t size) override {
        const bool in_head = read_ < head_.size();
        const std::string_view source =
            in_head ? std::string_view(head_).substr(read_)
                    : std::string_view(call_.body).substr(read_ - head_.size());
        const std::size_t count = std::min(size, source.size());
        std::memcpy(to, source.data(), count);
        read_ += count;
        return static_cast<ssize_t>(count);
    }

    ssize_t write(const char* from, std::size_t size) override {
        overflowed_ = overflowed_ || size > Routes::answer_bytes_max - written_.size();
        if (overflowed_) return -1;
        written_.append(from, size);
        return static_cast<ssize_t>(size);
    }

    void get_remote_ip_and_port(std::string& ip, int& port) const override {
        ip = call_.remote_address;
        port = call_.remote_port;
    }
    void get_local_ip_and_port(std::string& ip, int& port) const override {
        ip = call_.local_address;
        port = call_.local_port;
    }

    bool overflowed() const { return overflowed_; }
    std::string take_written() { return std::move(written_); }

  private:
    const RouteCall& call_;
    const std::string head_;
    std::size_t read_ = 0;
    std::string written_;
    bool overflowed_ = false;
};

int status_of(std::string_view answer) {
    int status = 0;
    constexpr std::string_view start = "HTTP/1.1 ";
    if (answer.size() < start.size() + 3 || answer.substr(0, start.size()) != start) return 0;
    std::from_chars(answer.data() + start.size(), answer.data() + start.size() + 3, status);
    return status;
}

bool has_header(std::string_view head, std::string_view name) {
    while (!head.empty()) {
        const std::size_t end = head.find("\r\n");
        const std::string_view line = head.substr(0, end);
        const bool same = line.size() > name.size() && line[name.size()] == ':' &&
                          ::strncasecmp(line.data(), name.data(), name.size()) == 0;
        if (same) return true;
        if (end == std::string_view::npos) return false;
        head.remove_prefix(end + 2);
    }
    return false;
}

/// Whether a client can see where the answer ends without the connection ending.
bool is_delimited(std::string_view answer) {
    const std::string_view head = answer.substr(0, answer.find("\r\n\r\n"));
    return has_header(head, "Content-Length") || has_header(head, "Transfer-Encoding");
}

RouteAnswer failure() {
    RouteAnswer answer;
    answer.bytes = render_refusal(500, internal_error, false);
    answer.status = 500;
    answer.close = true;
    answer.usable = false;
    return answer;
}

}  // namespace

class Routes::Library : public httplib::Server {
  public:
    Library(std::size_t body_max, int idle_seconds, int requests_max) {
        // The library streams an answer only while it believes that it listens.
        svr_sock_ = 0;
        set_payload_max_length(body_max);
        set_keep_alive_timeout(idle_seconds);
        set_keep_alive_max_count(static_cast<std::size_t>(requests_max));
        set_exception_handler(
            [](const httplib::Request&, httplib::Response& response, std::exception_ptr) {
                response.status = 500;
                response.set_content(error_body(internal_error), "application/json");
            });
        set_error_handler([](const httplib::Request&, httplib::Response& response) {
            if (!response.body.empty()) return;
            const auto error = response.status == 404
                                   ? "there is nothing here; check the path and the method"sv
                                   : phrase_of(response.status);
            response.set_content(error_body(error), "application/json");
        });
    }

    RouteAnswer answer(const RouteCall& call) {
        MemoryStream stream(call);
        bool closed = false;
        const bool complete =
            process_request(stream, call.close, closed, [&](httplib::Request& request) {
                request.version = "HTTP/1.1";
                // In place of the library's own parsing, which decodes percent signs in values and
                // adds REMOTE_ADDR, which a client could have sent as well.
                request.headers.clear();
                for (const auto& [name, value] : call.request.headers)
                    request.headers.emplace(name, value);
            });
        if (stream.overflowed()) return failure();
        RouteAnswer answer;
        answer.bytes = stream.take_written();
        answer.status = status_of(answer.bytes);
        if (answer.status < 200) return failure();
        answer.close = call.close || !complete || !is_delimited(answer.bytes);
        return answer;
    }
};

Routes::Routes(std::size_t body_max, int idle_seconds, int requests_max)
    : library_(std::make_unique<Library>(body_max, idle_seconds, requests_max)) {
    // The library makes its tables at the first request: made here, before any worker runs, they
    // cost no first customer anything, and every thread finds them made.
    RouteCall first;
    first.request.method = "GET";
    first.request.target = "/";
    first.request.headers = {{"host", "first"}};
    answer(first);
}

Routes::~Routes() = default;

httplib::Server& Routes::server() { return *library_; }

RouteAnswer Routes::answer(const RouteCall& call) noexcept {
    try {
        return library_->answer(call);
    } catch (...) {
        // From an error handler, a logger or an allocation: the library guards only the routes. The
        // reactor reports it, by `usable`.
        return failure();
    }
}

std::string render_refusal(int status, std::string_view error, bool without_body) {
    const std::string body = error_body(error);
    return fmt::format(
        "HTTP/1.1 {} {}\r\n{}Content-Type: application/json\r\nContent-Length: {}\r\nConnection: "
        "close\r\n\r\n{}",
        status, phrase_of(status), extra_headers_of(status), body.size(), without_body ? "" : body);
}

}  // namespace steplog::server
