// See http_exchange.h. Of cpp-httplib's client only the part between the sockets is used
// (process_request): its own waits have no total time-out, its stop() waits for a lock that a
// connecting or handshaking client holds, and its certificate check falls back to the CN.
#include "steps/http_exchange.h"

#include <fmt/core.h>
#include <httplib.h>

#include <algorithm>
#include <array>
#include <exception>
#include <stdexcept>
#include <utility>

#include "engine/errors.h"
#include "steps/http_reply_frame.h"
#include "steps/http_text.h"

namespace steplog::steps {

namespace {

/// The channel as the library wants it, with the frame in between. The library knows of errors only
/// that there was one; what really happened is kept here.
class FramedStream : public httplib::Stream {
  public:
    FramedStream(Channel& channel, std::size_t reply_max) : channel_(channel), frame_(reply_max) {}

    const ReplyFrame& frame() const { return frame_; }
    std::exception_ptr failure() const { return failure_; }

    ssize_t read(char* target, std::size_t size) override {
        try {
            return static_cast<ssize_t>(take(target, size));
        } catch (...) {
            failure_ = std::current_exception();
            return -1;
        }
    }

    /// Kept until the library wants to read, so that head and body leave together.
    ssize_t write(const char* bytes, std::size_t size) override {
        outgoing_.append(bytes, size);
        return static_cast<ssize_t>(size);
    }

    bool is_readable() const override { return true; }
    bool is_writable() const override { return true; }
    void get_remote_ip_and_port(std::string&, int&) const override {}
    void get_local_ip_and_port(std::string&, int&) const override {}
    socket_t socket() const override { return INVALID_SOCKET; }

  private:
    std::size_t take(char* target, std::size_t size) {
        if (failure_) std::rethrow_exception(failure_);
        if (!outgoing_.empty()) channel_.send(std::exchange(outgoing_, {}));
        while (taken_ == ready_.size() && !frame_.is_whole()) {
            const std::size_t arrived = channel_.receive(buffer_.data(), buffer_.size());
            if (arrived == 0) frame_.end();
            ready_ = frame_.take({buffer_.data(), arrived});
            taken_ = 0;
        }
        const std::size_t part = std::min(size, ready_.size() - taken_);
        std::copy_n(ready_.data() + taken_, part, target);
        taken_ += part;
        return part;
    }

    Channel& channel_;
    ReplyFrame frame_;
    std::exception_ptr failure_;
    std::string outgoing_;
    std::string ready_;  // passed by the frame, from taken_ on not yet read by the library
    std::size_t taken_ = 0;
    std::array<char, 16384> buffer_{};
};

/// The library's client without its sockets.
class MessageClient : public httplib::ClientImpl {
  public:
    explicit MessageClient(const BaseUrl& base) : ClientImpl(base.host, base.port) {
        set_url_encode(false);
        set_decompress(false);
        set_follow_location(false);
    }
    using ClientImpl::process_request;
};

bool is_own_header(std::string_view name) {
    constexpr std::array<std::string_view, 9> own = {"host",
                                                     "content-length",
                                                     "transfer-encoding",
                                                     "connection",
                                                     "accept-encoding",
                                                     "expect",
                                                     "upgrade",
                                                     "te",
                                                     "trailer"};
    return std::find(own.begin(), own.end(), lower_case(name)) != own.end();
}

bool is_visible(char c) { return c > 0x20 && c < 0x7f; }

httplib::Request to_library(const HttpRequest& request, const BaseUrl& base) {
    httplib::Request message;
    message.method = request.method;
    message.path = request.target;
    message.body = request.body;
    message.headers.emplace("User-Agent", "steplog/" STEPLOG_VERSION);
    for (const auto& [name, value] : request.headers) {
        if (name == "User-Agent") message.headers.erase(name);
        message.headers.emplace(name, value);
    }
    message.headers.emplace("Host", base.authority());
    message.headers.emplace("Accept-Encoding", "identity");
    return message;
}

[[noreturn]] void throw_unknown(const BaseUrl& base, const std::string& code,
                                const std::string& text) {
    throw RetryableError(fmt::format("{}: {}", base.authority(), text),
                         {.code = code, .outcome = Outcome::unknown});
}

}  // namespace

void check_request(const HttpRequest& request) {
    constexpr std::array<std::string_view, 5> methods = {"GET", "POST", "PUT", "PATCH", "DELETE"};
    if (std::find(methods.begin(), methods.end(), request.method) == methods.end()) {
        throw std::invalid_argument("a request's method must be GET, POST, PUT, PATCH or DELETE");
    }
    if (!request.target.starts_with('/') ||
        !std::all_of(request.target.begin(), request.target.end(), is_visible)) {
        throw std::invalid_argument(
            "a request's target must begin with '/' and be percent-encoded");
    }
    for (const auto& [name, value] : request.headers) {
        if (!is_header_name(name)) {
            throw std::invalid_argument("a request has a header with a malformed name");
        }
        if (is_own_header(name)) {
            throw std::invalid_argument(
                fmt::format("the header {} is set by the HTTP client: leave it away", name));
        }
        if (std::any_of(value.begin(), value.end(), is_control)) {
            throw std::invalid_argument(
                fmt::format("the header {} has a line break or control character", name));
        }
    }
}

HttpReply exchange(Channel& channel, const HttpRequest& request, const BaseUrl& base,
                   std::size_t reply_max) {
    FramedStream stream(channel, reply_max);
    MessageClient client(base);
    httplib::Request message = to_library(request, base);
    HttpReply reply;
    message.content_receiver = [&](const char* bytes, std::size_t size, std::uint64_t,
                                   std::uint64_t) {
        reply.body.append(bytes, size);
        return reply.body.size() <= reply_max;
    };
    httplib::Response response;
    auto error = httplib::Error::Success;
    bool taken = false;
    try {
        taken = client.process_request(stream, message, response, true, error);
        if (stream.failure()) std::rethrow_exception(stream.failure());
    } catch (const ReplyFault& fault) {
        throw_unknown(base, fault.code(), fault.what());
    }
    if (!taken || !stream.frame().is_whole()) {
        throw_unknown(base, "unparsable_reply", "the reply cannot be taken apart");
    }
    reply.status = response.status;
    reply.headers = stream.frame().headers();
    return reply;
}

}  // namespace steplog::steps
