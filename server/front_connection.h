// What the reactor knows of one connection, and of all their deadlines. The reactor's thread only.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "server/front_address.h"
#include "server/front_tls.h"
#include "server/front_vetting.h"

namespace steplog::server {

using SteadyTime = std::chrono::steady_clock::time_point;

enum class Phase {
    handshake,  // TLS is being agreed on
    idle,       // no byte of a request yet
    head,       // request line and headers
    body,
    working,    // the request is with the workers
    writing,    // the answer is being sent
    lingering,  // answered; what still comes is thrown away, so that no reset overtakes the answer
    closed      // to be buried
};

/// What a text holds of memory beside itself.
inline std::size_t footprint(const std::string& text) {
    return text.capacity() > std::string().capacity() ? text.capacity() : 0;
}

struct Connection {
    Connection(std::uint64_t id_, int socket, const std::shared_ptr<ssl_ctx_st>& tls,
               const Address& peer_, int port_)
        : id(id_), channel(socket, tls), peer(peer_), port(port_), client(peer_) {}

    const std::uint64_t id;
    Channel channel;
    const Address peer;
    const int port;
    std::string limit_key;  // "" for one that is exempt
    Phase phase = Phase::idle;
    SteadyTime deadline;
    SteadyTime waits_since;       // for the peer: its request, or that it reads the answer
    std::uint32_t interest = 0;   // what epoll watches it for
    std::string received;         // not yet handed over
    std::size_t vetted = 0;       // bytes of it that were found to be an unfinished head
    std::size_t line_begins = 0;  // in them: the line without an end
    std::string to_send;
    std::size_t sent = 0;       // of to_send
    std::size_t charged = 0;    // what the budget counts for it
    std::size_t discarded = 0;  // while lingering
    int served = 0;             // requests
    bool close_after = false;   // to_send is the last
    // The request being read or answered.
    VettedRequest request;
    Address client;
    SteadyTime began_at;
    std::string method, path;  // outlive `request`, which goes to the workers

    std::size_t held() const { return footprint(received) + footprint(to_send); }
    bool is_reading() const {
        return phase == Phase::idle || phase == Phase::head || phase == Phase::body;
    }
};

/// Which connection is due next. A connection has exactly one deadline from add to remove.
class Deadlines {
  public:
    void add(Connection& connection, SteadyTime at) {
        connection.deadline = at;
        order_.emplace(at, connection.id);
    }
    void move(Connection& connection, SteadyTime at) {
        remove(connection);
        add(connection, at);
    }
    void remove(const Connection& connection) {
        order_.erase({connection.deadline, connection.id});
    }

    bool empty() const { return order_.empty(); }
    SteadyTime next() const { return order_.begin()->first; }
    std::uint64_t next_id() const { return order_.begin()->second; }
    /// By deadline, earliest first.
    auto begin() const { return order_.begin(); }
    auto end() const { return order_.end(); }

  private:
    std::set<std::pair<SteadyTime, std::uint64_t>> order_;
};

}  // namespace steplog::server
