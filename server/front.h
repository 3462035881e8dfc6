// The front of the server: it alone meets the network. One thread reads, vets and writes without
// ever blocking (front_reactor), and hands whole, vetted requests to a pool of workers that run the
// routes through cpp-httplib's router in memory (front_routes): the library never sees a socket.
// Used by main and by tests. Any thread may call anything here, unless said otherwise.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "server/front_limits.h"

namespace httplib {
class Server;
}

namespace steplog::server {

/// Something that a log line or a counter may want to know. Never holds a header's or a body's
/// text.
struct FrontEvent {
    enum class Kind {
        answered,  // a route's answer was handed to the network
        refused,   // answered by the front itself: `status`, and `reason` as the client reads it
        expired,   // a deadline ended the connection without an answer
        evicted,   // closed to make room: too many connections, too many bytes
        failed     // something of ours: accept, TLS handshake, a route that answered nothing usable
    };
    Kind kind = Kind::answered;
    int status = 0;                // 0 where nothing was answered
    std::string address = {};      // the client's, as routes see it
    std::string method = {};       // "" before there is a request
    std::string path = {};         // of the vetted target, without the query, still percent-encoded
    std::string_view reason = {};  // a fixed text, lives as long as the program
    std::int64_t took_ms = 0;      // from the request's first byte
};

struct FrontOptions : FrontLimits {
    /// "127.0.0.1:8080", "[::1]:8080", "localhost:0"; no host (":8080") means 127.0.0.1, port 0 a
    /// free one.
    std::string listen = "127.0.0.1:8080";
    /// Addresses or CIDR ranges whose X-Forwarded-For is believed.
    std::vector<std::string> trusted_proxies;
    bool exempt_loopback = true;    // from connections_per_address_max, as trusted proxies are
    std::string tls_cert, tls_key;  // PEM files; both, or neither for plain HTTP

    /// Called by the front's own thread and must not block, throw, or call the front.
    std::function<void(const FrontEvent&)> on_event;
};

struct FrontStats {
    std::size_t connections = 0;     // open now
    std::size_t queued = 0;          // requests waiting for a worker now
    std::size_t buffered_bytes = 0;  // held now
    std::uint64_t accepted = 0;      // connections, since the start
    std::uint64_t answered = 0;      // by routes
    std::uint64_t expired = 0;
    std::uint64_t evicted = 0;
    std::uint64_t failed = 0;
    std::map<int, std::uint64_t> refused;  // by status
};

class Front {
  public:
    /// Throws std::runtime_error naming the option that cannot be: a listen address, a proxy's
    /// address, a certificate. Opens no socket yet.
    explicit Front(FrontOptions options);
    ~Front();  // as drain(0 ms)
    Front(const Front&) = delete;
    Front& operator=(const Front&) = delete;

    /// Where routes are registered, before start and by one thread. Never call its listen or bind.
    /// A handler sees in `remote_addr` the client's true address, and of the headers only those
    /// that front_vetting.h names. What a handler throws becomes 500 {"error":"internal error"}; an
    /// answer of 400 and above without a body gets one.
    httplib::Server& routes();

    /// Binds, and serves from its own threads. Raises the process's soft limit of open files as far
    /// as connections_max needs and is allowed. Throws std::runtime_error naming the address.
    void start();

    /// "127.0.0.1:43211", "[::1]:43211": where it listens; after start.
    std::string address() const;

    /// Stops accepting, answers what has begun to be read, closes idle connections; after `grace`
    /// the rest is answered 503. Returns when no route runs any more: a handler that never returns
    /// keeps it. A second call does nothing.
    void drain(Ms grace);

    /// Reads tls_cert and tls_key again, for new connections; live ones keep theirs. Throws
    /// std::runtime_error, and keeps the old ones, when they cannot be used.
    void reload_tls();

    /// Whether an address (as in `remote_addr`) is exempt from limits per address: loopback,
    /// trusted proxies.
    bool is_exempt(std::string_view address) const;

    FrontStats stats() const;

  private:
    struct Inside;
    std::unique_ptr<Inside> inside_;
};

}  // namespace steplog::server
