// See front_reactor.h. Here: the loop, arrivals, deadlines, limits, the end. One connection's life
// is in front_reactor_connection.cc.
#include "server/front_reactor.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <stdexcept>
#include <system_error>
#include <utility>

namespace steplog::server {

namespace {

constexpr std::uint64_t listener_id = 0;
constexpr std::uint64_t wake_id = 1;
constexpr int accepted_per_turn_max = 64;
constexpr Ms accept_pause{100};
constexpr std::size_t evicted_share = 64;  // one in so many connections, when one must go
// The database, its log, the standard streams, outbound calls: what else the process has open.
constexpr std::uint64_t other_files = 256;

void must(int result, const char* what) {
    if (result < 0) throw std::system_error(errno, std::generic_category(), what);
}

/// The peer is waited for, not a worker.
bool can_be_evicted(Phase phase) { return phase != Phase::working && phase != Phase::closed; }

}  // namespace

Reactor::Reactor(const FrontOptions& options, const AddressRanges& trusted, Routes& routes,
                 TlsCertificate* tls)
    : options_(options),
      trusted_(trusted),
      tls_(tls),
      limits_{.header_bytes_max = options.header_bytes_max,
              .header_lines_max = options.header_lines_max,
              .line_max = options.line_max,
              .target_max = options.target_max,
              .body_max = options.body_max},
      connections_max_(static_cast<std::size_t>(options.connections_max)),
      next_id_(wake_id + 1),
      workers_(routes, options.workers, options.queue_max,
               [this](std::uint64_t connection, RouteAnswer answer) {
                   bool first = false;
                   {
                       const std::lock_guard lock(mutex_);
                       first = answers_.empty();
                       answers_.push_back({connection, std::move(answer)});
                   }
                   if (first) ::eventfd_write(wake_.get(), 1);
               }) {}

void Reactor::open() {
    listener_.open(options_.listen);
    address_ = to_string(listener_.address());
    local_address_ = to_string(address_of(listener_.address()));
    local_port_ = port_of(listener_.address());
    const std::uint64_t files = raise_open_files(connections_max_ + other_files);
    if (files < connections_max_ + other_files) {
        connections_max_ =
            static_cast<std::size_t>(files > 2 * other_files ? files - other_files : files / 2);
    }
    epoll_.reset(::epoll_create1(EPOLL_CLOEXEC));
    must(epoll_.get(), "epoll_create1");
    wake_.reset(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    must(wake_.get(), "eventfd");
    epoll_event event{.events = EPOLLIN, .data = {.u64 = listener_id}};
    must(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, listener_.socket(), &event), "epoll_ctl");
    event.data.u64 = wake_id;
    must(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wake_.get(), &event), "epoll_ctl");
    workers_.start();
}

void Reactor::run() {
    std::array<epoll_event, 256> events{};
    now_ = std::chrono::steady_clock::now();
    for (;;) {
        const int count =
            ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), wait_ms());
        now_ = std::chrono::steady_clock::now();
        bool has_new = false;
        for (int i = 0; i < count; ++i) {
            const epoll_event& event = events[static_cast<std::size_t>(i)];
            const std::uint64_t id = event.data.u64;
            if (id == listener_id) {
                has_new = true;
            } else if (id == wake_id) {
                eventfd_t ignored = 0;
                ::eventfd_read(wake_.get(), &ignored);
            } else if (Connection* connection = find(id)) {
                on_ready(*connection, event.events);
                make_room();
            }
        }
        take_answers();
        bury();  // the descriptors of those who have ended are for those who come
        if (has_new && !draining_) accept_some();
        expire();
        make_room();
        begin_drain();
        bury();
        if (draining_ && (connections_.empty() || now_ >= *drain_until_)) break;
    }
    end_drain();
}

void Reactor::drain(SteadyTime until) {
    {
        const std::lock_guard lock(mutex_);
        if (drain_until_) return;
        drain_until_ = until;
    }
    ::eventfd_write(wake_.get(), 1);
}

FrontStats Reactor::stats() const {
    const std::size_t queued = workers_.queued();
    const std::lock_guard lock(mutex_);
    FrontStats stats = stats_;
    stats.queued = queued;
    return stats;
}

// ---- arrivals ----

void Reactor::accept_some() {
    if (!listener_.is_open()) return;
    for (int i = 0; i < accepted_per_turn_max; ++i) {
        int socket = -1;
        sockaddr_storage peer{};
        switch (listener_.accept(socket, peer)) {
            case Listener::Accepted::connection:
                admit(socket, peer);
                break;
            case Listener::Accepted::none_waiting:
                return;
            case Listener::Accepted::try_again:
                break;
            case Listener::Accepted::out_of_room:
                find_descriptors();
                return;
        }
    }
}

void Reactor::admit(int socket, const sockaddr_storage& peer) {
    const Address address = address_of(peer);
    const bool exempt =
        (options_.exempt_loopback && address.is_loopback()) || trusted_.contains(address);
    const std::string key = exempt ? "" : limit_key(address);
    if (!exempt) {
        const auto found = per_address_.find(key);
        if (found != per_address_.end() && found->second >= options_.connections_per_address_max) {
            turn_away(socket, address, 429, "too many connections from this address");
            return;
        }
    }
    if (open_ >= connections_max_ && !evict()) {
        turn_away(socket, address, 503, "too many connections; try again in a moment");
        return;
    }
    const std::uint64_t id = next_id_++;
    auto connection = std::make_unique<Connection>(id, socket, tls_ ? tls_->context() : nullptr,
                                                   address, port_of(peer));
    connection->limit_key = key;
    connection->phase = tls_ ? Phase::handshake : Phase::idle;
    connection->began_at = now_;
    connection->waits_since = now_;
    connection->interest = EPOLLIN;
    epoll_event event{.events = EPOLLIN, .data = {.u64 = id}};
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, socket, &event) != 0) {
        report(FrontEvent::Kind::failed, *connection, 0, "cannot watch a connection");
        return;
    }
    if (!exempt) ++per_address_[key];
    deadlines_.add(*connection, now_ + options_.header_deadline);
    connections_.emplace(id, std::move(connection));
    ++open_;
    const std::lock_guard lock(mutex_);
    ++stats_.accepted;
}

void Reactor::turn_away(int socket, const Address& peer, int status, std::string_view reason) {
    if (!tls_) {
        // What came with the connection is taken first: bytes that nobody read would turn the end
        // into a reset, which can overtake the answer.
        ::recv(socket, buffer_.data(), buffer_.size(), MSG_DONTWAIT);
        const std::string bytes = render_refusal(status, reason, false);
        // Whether it arrives is the peer's affair.
        ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
        ::shutdown(socket, SHUT_WR);
    }
    ::close(socket);
    report({.kind = FrontEvent::Kind::refused,
            .status = status,
            .address = to_string(peer),
            .reason = reason});
}

void Reactor::find_descriptors() {
    report({.kind = FrontEvent::Kind::failed,
            .reason = "no file descriptor left for a new connection"});
    if (evict()) return;  // what they free is there at the next turn
    epoll_event event{.events = 0, .data = {.u64 = listener_id}};
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, listener_.socket(), &event);
    accept_again_at_ = now_ + accept_pause;
}

bool Reactor::evict() {
    // Whoever has kept us waiting longest, in whatever phase: a new connection that has just not
    // spoken yet is never the one. Some at once, so that a storm of arrivals does not look at all
    // connections for each.
    std::vector<std::pair<SteadyTime, std::uint64_t>> waiting;  // the older id among equals
    for (const auto& [id, connection] : connections_) {
        if (can_be_evicted(connection->phase)) waiting.emplace_back(connection->waits_since, id);
    }
    if (waiting.empty()) return false;
    const std::size_t count = (waiting.size() + evicted_share - 1) / evicted_share;
    const auto last = waiting.begin() + static_cast<std::ptrdiff_t>(count);
    std::nth_element(waiting.begin(), last - 1, waiting.end());
    std::for_each(waiting.begin(), last, [this](const auto& item) {
        abandon(*find(item.second), FrontEvent::Kind::evicted,
                "closed to make room for a new connection");
    });
    return true;
}

// ---- all connections ----

void Reactor::take_answers() {
    std::vector<Answer> answers;
    {
        const std::lock_guard lock(mutex_);
        answers.swap(answers_);
    }
    for (Answer& item : answers) {
        const auto work = in_work_.find(item.connection);
        buffered_ -= work->second;
        in_work_.erase(work);
        Connection* connection = find(item.connection);
        // Gone, or told 503 in the meantime.
        if (!connection || connection->phase != Phase::working) continue;
        answer(*connection, std::move(item.answer));
    }
}

void Reactor::expire() {
    while (!deadlines_.empty() && deadlines_.next() <= now_) expire(*find(deadlines_.next_id()));
    if (accept_again_at_ && *accept_again_at_ <= now_) {
        accept_again_at_.reset();
        if (!listener_.is_open()) return;
        epoll_event event{.events = EPOLLIN, .data = {.u64 = listener_id}};
        ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, listener_.socket(), &event);
    }
}

void Reactor::expire(Connection& connection) {
    switch (connection.phase) {
        case Phase::handshake:
            abandon(connection, FrontEvent::Kind::expired, "no TLS handshake in time");
            break;
        case Phase::idle:
            if (connection.served > 0) {
                close(connection);
            } else {
                abandon(connection, FrontEvent::Kind::expired, "no request in time");
            }
            break;
        case Phase::head:
            refuse(connection, 408, "the request's headers did not arrive in time");
            break;
        case Phase::body:
            refuse(connection, 408, "the request's body did not arrive in time");
            break;
        case Phase::working:
            refuse(connection, 503, "the answer took too long; try again in a moment");
            break;
        case Phase::writing:
            connection.channel.reset_on_close();
            abandon(connection, FrontEvent::Kind::expired, "the answer was not read in time");
            break;
        case Phase::lingering:
        case Phase::closed:
            close(connection);
            break;
    }
}

void Reactor::make_room() {
    while (buffered_ > options_.buffered_bytes_max) {
        Connection* largest = nullptr;
        for (const auto& [id, connection] : connections_) {
            const Phase phase = connection->phase;
            const bool candidate =
                phase == Phase::head || phase == Phase::body || phase == Phase::writing;
            if (candidate && (!largest || connection->charged > largest->charged))
                largest = connection.get();
        }
        if (!largest) return;
        if (largest->phase == Phase::writing) {
            largest->channel.reset_on_close();
            abandon(*largest, FrontEvent::Kind::evicted,
                    "an unread answer was dropped to make room");
        } else {
            refuse(*largest, 503, "the server is short of memory; try again in a moment",
                   FrontEvent::Kind::evicted);
        }
    }
}

void Reactor::begin_drain() {
    {
        const std::lock_guard lock(mutex_);
        if (draining_ || !drain_until_) return;
    }
    // Whom the kernel has greeted in our name is served as well.
    while (listener_.is_open()) {
        int socket = -1;
        sockaddr_storage peer{};
        const auto accepted = listener_.accept(socket, peer);
        if (accepted == Listener::Accepted::connection) {
            admit(socket, peer);
        } else if (accepted != Listener::Accepted::try_again) {
            listener_.close();
        }
    }
    draining_ = true;
    std::vector<std::uint64_t> ids;
    for (const auto& [id, connection] : connections_) ids.push_back(id);
    for (const std::uint64_t id : ids) {
        Connection* connection = find(id);
        if (!connection) continue;
        if (connection->phase == Phase::idle) receive(*connection);
        if (connection->phase == Phase::idle || connection->phase == Phase::handshake)
            close(*connection);
    }
}

void Reactor::end_drain() {
    for (const auto& [id, connection] : connections_) {
        const Phase phase = connection->phase;
        if (connection->is_reading() || phase == Phase::working) {
            refuse(*connection, 503, "the server is shutting down; try again in a moment");
        }
    }
    for (const auto& [id, connection] : connections_) close(*connection);
    bury();
}

void Reactor::bury() {
    for (const std::uint64_t id : closed_) connections_.erase(id);
    closed_.clear();
    const std::lock_guard lock(mutex_);
    stats_.connections = open_;
    stats_.buffered_bytes = buffered_;
}

int Reactor::wait_ms() const {
    if (deadlines_.empty() && !accept_again_at_ && !draining_) return -1;
    SteadyTime next = SteadyTime::max();
    if (!deadlines_.empty()) next = deadlines_.next();
    if (accept_again_at_) next = std::min(next, *accept_again_at_);
    if (draining_) next = std::min(next, *drain_until_);
    const auto wait = std::chrono::ceil<Ms>(next - now_);
    return static_cast<int>(std::clamp<Ms::rep>(wait.count(), 0, 60'000));
}

Connection* Reactor::find(std::uint64_t id) {
    const auto found = connections_.find(id);
    return found == connections_.end() ? nullptr : found->second.get();
}

void Reactor::report(FrontEvent::Kind kind, const Connection& connection, int status,
                     std::string_view reason) {
    report({.kind = kind,
            .status = status,
            .address = to_string(connection.client),
            .method = connection.method,
            .path = connection.path,
            .reason = reason,
            .took_ms = std::chrono::duration_cast<Ms>(now_ - connection.began_at).count()});
}

void Reactor::report(FrontEvent event) {
    {
        const std::lock_guard lock(mutex_);
        switch (event.kind) {
            case FrontEvent::Kind::answered:
                ++stats_.answered;
                break;
            case FrontEvent::Kind::refused:
                ++stats_.refused[event.status];
                break;
            case FrontEvent::Kind::expired:
                ++stats_.expired;
                break;
            case FrontEvent::Kind::evicted:
                ++stats_.evicted;
                break;
            case FrontEvent::Kind::failed:
                ++stats_.failed;
                break;
        }
    }
    if (options_.on_event) options_.on_event(event);
}

}  // namespace steplog::server
