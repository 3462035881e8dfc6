// One connection's life in the reactor, in the order of its phases. See front_reactor.h.
#include <sys/epoll.h>

#include <algorithm>
#include <utility>

#include "server/front_reactor.h"

namespace steplog::server {

namespace {

constexpr std::string_view continue_answer = "HTTP/1.1 100 Continue\r\n\r\n";

void clear(std::string& text) { std::string().swap(text); }

}  // namespace

void Reactor::on_ready(Connection& connection, std::uint32_t events) {
    switch (connection.phase) {
        case Phase::handshake:
            shake_hands(connection);
            break;
        case Phase::idle:
        case Phase::head:
        case Phase::body:
            if (!connection.to_send.empty()) send(connection);
            receive(connection);
            break;
        case Phase::working:
            if ((events & (EPOLLERR | EPOLLHUP)) != 0) {
                close(connection);
            } else {
                // The next request, or the end of the peer's sending: both wait for the answer.
                watch(connection, 0);
            }
            break;
        case Phase::writing:
            send(connection);
            break;
        case Phase::lingering:
            discard(connection);
            break;
        case Phase::closed:
            break;
    }
}

void Reactor::shake_hands(Connection& connection) {
    switch (connection.channel.handshake()) {
        case Progress::done:
            connection.phase = Phase::idle;
            receive(connection);
            break;
        case Progress::wants_read:
            watch(connection, EPOLLIN);
            break;
        case Progress::wants_write:
            watch(connection, EPOLLOUT);
            break;
        case Progress::ended:
        case Progress::broken:
            abandon(connection, FrontEvent::Kind::failed, "the TLS handshake failed");
            break;
    }
}

void Reactor::receive(Connection& connection) {
    std::size_t taken = 0;
    while (connection.is_reading()) {
        // Whoever sends much waits for the others' turn; what TLS has decrypted no event announces.
        if (taken >= buffer_.size() && !connection.channel.has_buffered()) {
            watch(connection, EPOLLIN | (connection.to_send.empty() ? 0u : EPOLLOUT));
            return;
        }
        // Of a body no byte more than it has: what follows is another request's.
        const std::size_t wanted =
            connection.phase == Phase::body
                ? std::min(buffer_.size(),
                           connection.request.content_length - connection.received.size())
                : std::min(buffer_.size(), limits_.header_bytes_max);
        std::size_t count = 0;
        switch (connection.channel.read(buffer_.data(), wanted, count)) {
            case Progress::done:
                taken += count;
                connection.received.append(buffer_.data(), count);
                recharge(connection);
                consider(connection);
                break;
            case Progress::wants_read:
                watch(connection, EPOLLIN | (connection.to_send.empty() ? 0u : EPOLLOUT));
                return;
            case Progress::wants_write:
                watch(connection, EPOLLOUT);
                return;
            case Progress::ended:
            case Progress::broken:
                close(connection);
                return;
        }
    }
}

void Reactor::consider(Connection& connection) {
    if (connection.phase == Phase::idle) {
        connection.phase = Phase::head;
        connection.began_at = now_;
        // A first request's headers are due from the connection's beginning.
        if (connection.served > 0) {
            connection.waits_since = now_;
            deadlines_.move(connection, now_ + options_.header_deadline);
        }
    }
    if (connection.phase == Phase::head) {
        const std::string& received = connection.received;
        if (is_still_incomplete(received, connection.vetted, connection.line_begins, limits_)) {
            connection.vetted = received.size();
            return;
        }
        Verdict verdict = vet(received, limits_);
        connection.vetted = 0;
        switch (verdict.kind) {
            case Verdict::Kind::incomplete:
                connection.vetted = received.size();
                connection.line_begins = verdict.line_begins;
                return;
            case Verdict::Kind::refused:
                if (verdict.head_only) connection.method = "HEAD";
                refuse(connection, verdict.status, verdict.error);
                return;
            case Verdict::Kind::accepted:
                accept_head(connection, std::move(verdict));
                break;
        }
    }
    const bool whole = connection.received.size() >= connection.request.content_length;
    if (connection.phase == Phase::body && whole) hand_over(connection);
}

void Reactor::accept_head(Connection& connection, Verdict verdict) {
    VettedRequest& request = connection.request;
    request = std::move(verdict.request);
    connection.received.erase(0, verdict.head_bytes);
    connection.method = request.method;
    connection.path = request.target.substr(0, request.target.find('?'));
    std::vector<std::string_view> forwarded_for;
    for (const auto& [name, value] : request.headers) {
        if (name == "x-forwarded-for") forwarded_for.push_back(value);
    }
    connection.client = client_address(connection.peer, forwarded_for, trusted_);
    if (!trusted_.contains(connection.peer)) {
        std::erase_if(request.headers, [](const auto& header) {
            return header.first == "x-forwarded-for" || header.first == "x-forwarded-proto";
        });
    }
    connection.phase = Phase::body;
    deadlines_.move(connection, connection.began_at + options_.request_deadline);
    if (request.expects_continue && connection.received.size() < request.content_length) {
        connection.to_send = continue_answer;
        send(connection);
    }
}

void Reactor::hand_over(Connection& connection) {
    const std::size_t content_length = connection.request.content_length;
    // Whoever pipelines is answered once: where one request ends and the next begins is what
    // smuggling plays with.
    const bool pipelined = connection.received.size() > content_length;
    ++connection.served;
    RouteCall call;
    call.close = pipelined || draining_ || !connection.request.keep_alive ||
                 connection.served >= options_.requests_per_connection_max;
    call.body = std::move(connection.received);
    call.body.resize(content_length);
    clear(connection.received);
    recharge(connection);
    call.request = std::move(connection.request);
    call.remote_address = to_string(connection.client);
    call.remote_port = connection.client == connection.peer ? connection.port : 0;
    call.local_address = local_address_;
    call.local_port = local_port_;
    const std::size_t bytes = footprint(call.body);
    if (!workers_.hand_over(connection.id, call)) {
        refuse(connection, 503, "the server is busy; try again in a moment");
        return;
    }
    in_work_.emplace(connection.id, bytes);
    buffered_ += bytes;
    connection.phase = Phase::working;
    deadlines_.move(connection, now_ + options_.answer_deadline);
}

void Reactor::answer(Connection& connection, RouteAnswer answer) {
    connection.close_after = answer.close;
    if (connection.to_send.empty()) {
        connection.to_send = std::move(answer.bytes);
    } else {
        connection.to_send += answer.bytes;
    }
    connection.phase = Phase::writing;
    connection.waits_since = now_;
    deadlines_.move(connection, now_ + options_.write_deadline);
    recharge(connection);
    if (answer.usable) {
        report(FrontEvent::Kind::answered, connection, answer.status, "");
    } else {
        report(FrontEvent::Kind::failed, connection, answer.status,
               "a route's answer could not be used");
    }
    send(connection);
}

void Reactor::refuse(Connection& connection, int status, std::string_view reason,
                     FrontEvent::Kind kind) {
    clear(connection.received);
    connection.close_after = true;
    connection.to_send += render_refusal(status, reason, connection.method == "HEAD");
    connection.phase = Phase::writing;
    connection.waits_since = now_;
    deadlines_.move(connection, now_ + options_.write_deadline);
    recharge(connection);
    report(kind, connection, status, reason);
    send(connection);
}

void Reactor::send(Connection& connection) {
    while (connection.sent < connection.to_send.size()) {
        std::size_t count = 0;
        const auto rest = std::string_view(connection.to_send).substr(connection.sent);
        switch (connection.channel.write(rest, count)) {
            case Progress::done:
                connection.sent += count;
                break;
            case Progress::wants_write:
                watch(connection, EPOLLOUT | (connection.is_reading() ? EPOLLIN : 0u));
                return;
            case Progress::wants_read:
                watch(connection, EPOLLIN);
                return;
            case Progress::ended:
            case Progress::broken:
                close(connection);
                return;
        }
    }
    clear(connection.to_send);
    connection.sent = 0;
    recharge(connection);
    if (connection.phase == Phase::writing) finish(connection);
}

void Reactor::finish(Connection& connection) {
    if (connection.close_after || draining_) {
        connection.channel.finish_writing();
        connection.phase = Phase::lingering;
        deadlines_.move(connection, now_ + options_.linger_deadline);
        watch(connection, EPOLLIN);
        return;
    }
    connection.phase = Phase::idle;
    connection.waits_since = now_;
    connection.method.clear();
    connection.path.clear();
    deadlines_.move(connection, now_ + options_.idle_deadline);
    watch(connection, EPOLLIN);
    if (connection.channel.has_buffered()) receive(connection);
}

void Reactor::discard(Connection& connection) {
    std::size_t count = 0;
    const Progress progress = connection.channel.discard(buffer_.data(), buffer_.size(), count);
    if (progress == Progress::wants_read) return;
    connection.discarded += count;
    if (progress != Progress::done || connection.discarded > options_.discarded_bytes_max)
        close(connection);
}

void Reactor::abandon(Connection& connection, FrontEvent::Kind kind, std::string_view reason) {
    report(kind, connection, 0, reason);
    close(connection);
}

void Reactor::close(Connection& connection) {
    if (connection.phase == Phase::closed) return;
    connection.phase = Phase::closed;
    deadlines_.remove(connection);
    buffered_ -= connection.charged;
    connection.charged = 0;
    --open_;
    if (!connection.limit_key.empty()) {
        const auto count = per_address_.find(connection.limit_key);
        if (--count->second == 0) per_address_.erase(count);
    }
    closed_.push_back(connection.id);
}

void Reactor::watch(Connection& connection, std::uint32_t interest) {
    if (connection.interest == interest) return;
    connection.interest = interest;
    epoll_event event{.events = interest, .data = {.u64 = connection.id}};
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, connection.channel.socket(), &event) != 0) {
        abandon(connection, FrontEvent::Kind::failed, "cannot watch a connection");
    }
}

void Reactor::recharge(Connection& connection) {
    if (connection.phase == Phase::closed) return;
    buffered_ += connection.held() - connection.charged;
    connection.charged = connection.held();
}

}  // namespace steplog::server
