// See front_listener.h.
#include "server/front_listener.h"

#include <fmt/core.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <stdexcept>
#include <system_error>

namespace steplog::server {

namespace {

constexpr int backlog = 1024;

void set_option(int socket, int level, int option, int value) {
    // An option that the kernel does not take costs speed, not correctness.
    ::setsockopt(socket, level, option, &value, sizeof(value));
}

}  // namespace

void Descriptor::reset(int number) {
    if (number_ >= 0) ::close(number_);
    number_ = number;
}

void Listener::open(const std::string& listen) {
    const ListenAddress wanted = parse_listen(listen);
    const auto fail = [&] {
        const int error = errno;
        socket_.reset();
        const char* advice = error == EADDRINUSE
                                 ? "; another program uses it: stop that one or choose another port"
                                 : "";
        throw std::runtime_error(fmt::format("cannot listen on {}: {}{}", to_string(wanted.address),
                                             std::generic_category().message(error), advice));
    };
    socket_.reset(
        ::socket(wanted.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (socket_.get() < 0) fail();
    set_option(socket_.get(), SOL_SOCKET, SO_REUSEADDR, 1);
    // "[::]:8080" serves IPv4 as well.
    if (wanted.address.ss_family == AF_INET6)
        set_option(socket_.get(), IPPROTO_IPV6, IPV6_V6ONLY, 0);
    const auto* address = reinterpret_cast<const sockaddr*>(&wanted.address);
    if (::bind(socket_.get(), address, wanted.length) != 0) fail();
    if (::listen(socket_.get(), backlog) != 0) fail();
    socklen_t length = sizeof(address_);
    if (::getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&address_), &length) != 0) fail();
}

Listener::Accepted Listener::accept(int& socket, sockaddr_storage& peer) const {
    socklen_t length = sizeof(peer);
    socket = ::accept4(socket_.get(), reinterpret_cast<sockaddr*>(&peer), &length,
                       SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (socket >= 0) {
        set_option(socket, IPPROTO_TCP, TCP_NODELAY, 1);
        return Accepted::connection;
    }
    switch (errno) {
        case EAGAIN:
            return Accepted::none_waiting;
        case EMFILE:
        case ENFILE:
        case ENOBUFS:
        case ENOMEM:
            // The kernel looks for room before it looks whether anybody waits.
            return is_awaited() ? Accepted::out_of_room : Accepted::none_waiting;
        default:
            return Accepted::try_again;
    }
}

bool Listener::is_awaited() const {
    pollfd waiting{.fd = socket_.get(), .events = POLLIN, .revents = 0};
    return ::poll(&waiting, 1, 0) > 0;
}

std::uint64_t raise_open_files(std::uint64_t wanted) {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
    if (limit.rlim_cur >= wanted) return limit.rlim_cur;
    rlimit raised = limit;
    raised.rlim_cur = std::min<rlim_t>(wanted, limit.rlim_max);
    return ::setrlimit(RLIMIT_NOFILE, &raised) == 0 ? raised.rlim_cur : limit.rlim_cur;
}

}  // namespace steplog::server
