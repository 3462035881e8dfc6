// The HTTP adapter: a small HTTP/1.1 server on loopback that can also misbehave on purpose: reset a
// connection, cut an answer, never answer, refuse to listen. Its own accept loop, because a server
// library keeps the socket to itself. A thread a connection; meant for tests and demos, not for the
// open network.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <list>
#include <mutex>
#include <thread>

#include "tools/sandbox/sandbox.h"

namespace steplog::sandbox {

/// An answer, what the network does with it, and what to do once it has left (or is lost).
struct Served {
    steps::HttpReply reply;
    Wire wire = Wire::delivered;
    Ms delay{0};
    std::function<void()> done;
};

class HttpServer {
  public:
    using Handler = std::function<Served(const SandboxRequest&)>;

    /// Listens on "127.0.0.1:8090"; port 0 takes a free one. Only loopback addresses are accepted.
    /// Throws std::runtime_error with a sentence that says what to do. `handler` is called from
    /// many threads at once.
    HttpServer(const std::string& listen, Handler handler);
    ~HttpServer();  // stops: open connections are closed, running handlers are waited for
    HttpServer(const HttpServer&) = delete;
    HttpServer& operator=(const HttpServer&) = delete;

    int port() const { return port_; }
    /// "http://127.0.0.1:40123"
    std::string base() const;

    /// Off: connections are refused, as by a machine on which nobody listens. The port stays ours.
    /// Returns once it is so.
    void set_listening(bool on);

  private:
    struct Connection {
        int socket = -1;
        std::atomic<bool> ended = false;
        std::thread thread;
    };
    void accept_loop();
    void open_listener();
    void admit();
    void reap(bool all);
    void serve(Connection& connection);
    bool answer(int socket, const SandboxRequest& request, bool keep_alive);
    bool wait_for_peer(int socket, std::optional<Ms> how_long) const;

    std::string host_;
    int port_ = 0;
    Handler handler_;
    int reserved_ = -1;  // bound, never listening: keeps the port while the listener is closed
    int listener_ = -1;  // used by the accept thread alone
    int wake_ = -1;      // for the accept thread
    int stop_ = -1;      // readable once stopping: ends every wait

    std::mutex mutex_;
    std::condition_variable changed_;
    bool want_listening_ = true;         // guarded by mutex_
    bool is_listening_ = false;          // guarded by mutex_
    bool stopping_ = false;              // guarded by mutex_
    std::list<Connection> connections_;  // guarded by mutex_
    std::thread acceptor_;
};

}  // namespace steplog::sandbox
