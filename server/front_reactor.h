// The one thread that meets the network: epoll, never blocking, an absolute deadline on everything.
// It accepts, reads, vets, hands whole requests to the workers, and writes their answers. Owned by
// Front. Public functions may be called from any thread, run() by the one that is the reactor.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "server/front.h"
#include "server/front_connection.h"
#include "server/front_listener.h"
#include "server/front_workers.h"

namespace steplog::server {

class Reactor {
  public:
    /// All arguments must outlive it. `tls` is null for plain HTTP.
    Reactor(const FrontOptions& options, const AddressRanges& trusted, Routes& routes,
            TlsCertificate* tls);

    /// Binds, and starts the workers. Throws std::runtime_error naming the address.
    void open();
    std::string address() const { return address_; }

    /// Serves until a drain is over.
    void run();

    /// Asks run() to end: when all that has begun is answered, or at `until`.
    void drain(SteadyTime until);

    /// Ends the workers; after run().
    void stop_workers() { workers_.stop(); }

    FrontStats stats() const;

  private:
    struct Answer {
        std::uint64_t connection;
        RouteAnswer answer;
    };

    // Arrivals.
    void accept_some();
    void admit(int socket, const sockaddr_storage& peer);
    void turn_away(int socket, const Address& peer, int status, std::string_view reason);
    void find_descriptors();
    bool evict();

    // One connection's life, in the order of its phases.
    void on_ready(Connection& connection, std::uint32_t events);
    void shake_hands(Connection& connection);
    void receive(Connection& connection);
    void consider(Connection& connection);
    void accept_head(Connection& connection, Verdict verdict);
    void hand_over(Connection& connection);
    void answer(Connection& connection, RouteAnswer answer);
    void refuse(Connection& connection, int status, std::string_view reason,
                FrontEvent::Kind kind = FrontEvent::Kind::refused);
    void send(Connection& connection);
    void finish(Connection& connection);
    void discard(Connection& connection);
    void abandon(Connection& connection, FrontEvent::Kind kind, std::string_view reason);
    void close(Connection& connection);

    // All connections.
    void take_answers();
    void expire();
    void expire(Connection& connection);
    void make_room();
    void begin_drain();
    void end_drain();
    void bury();
    int wait_ms() const;

    void watch(Connection& connection, std::uint32_t interest);
    void recharge(Connection& connection);
    void report(FrontEvent::Kind kind, const Connection& connection, int status,
                std::string_view reason);
    void report(FrontEvent event);
    Connection* find(std::uint64_t id);

    const FrontOptions& options_;
    const AddressRanges& trusted_;
    TlsCertificate* const tls_;
    const VettingLimits limits_;
    std::size_t connections_max_;
    std::string address_;
    std::string local_address_;
    int local_port_ = 0;

    // The reactor's thread.
    Descriptor epoll_, wake_;
    Listener listener_;
    std::optional<SteadyTime> accept_again_at_;
    std::unordered_map<std::uint64_t, std::unique_ptr<Connection>> connections_;
    std::unordered_map<std::string, int> per_address_;
    Deadlines deadlines_;
    std::vector<std::uint64_t> closed_;
    // Bytes of bodies that are with the workers, also when their connection is gone.
    std::unordered_map<std::uint64_t, std::size_t> in_work_;
    std::size_t open_ = 0;
    std::size_t buffered_ = 0;
    std::uint64_t next_id_ = 0;
    std::array<char, 16 * 1024> buffer_{};  // what one connection may send in one turn
    SteadyTime now_;
    bool draining_ = false;

    mutable std::mutex mutex_;
    // Guarded by mutex_.
    std::vector<Answer> answers_;
    std::optional<SteadyTime> drain_until_;
    FrontStats stats_;

    Workers workers_;  // last: its threads use what stands above
};

}  // namespace steplog::server
