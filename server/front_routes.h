// The routes: cpp-httplib's router and renderer, without its network. The reactor's workers give it
// one vetted request and get one whole answer, both in memory. answer() may be called from many
// threads once all handlers are registered.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "server/front_vetting.h"

namespace httplib {
class Server;
}

namespace steplog::server {

/// A request on its way to a handler.
struct RouteCall {
    VettedRequest request;
    std::string body;  // exactly request.content_length bytes
    std::string remote_address;
    int remote_port = 0;
    std::string local_address;
    int local_port = 0;
    bool close = false;  // the connection ends with this answer
};

struct RouteAnswer {
    std::string bytes;  // status line, headers, body
    int status = 0;
    bool close =
        false;  // nothing in the bytes says where the answer ends, or the call asked for it
    bool usable =
        true;  // false: the route's answer could not be used, bytes are a 500 in its place
};

class Routes {
  public:
    /// No answer is longer than this: it is held in memory.
    static constexpr std::size_t answer_bytes_max = 16 * 1024 * 1024;

    /// `idle_seconds` and `requests_max` are what the Keep-Alive header of an answer promises.
    Routes(std::size_t body_max, int idle_seconds, int requests_max);
    ~Routes();

    httplib::Server& server();

    /// Runs the handler and renders its answer. Throws nothing: what cannot be answered is a 500.
    RouteAnswer answer(const RouteCall& call) noexcept;

  private:
    class Library;
    std::unique_ptr<Library> library_;
};

/// A whole answer by the front itself: {"error":"…"}, Connection: close, and with 429 and 503 also
/// Retry-After. `error` is plain text.
std::string render_refusal(int status, std::string_view error, bool without_body);

}  // namespace steplog::server
