// Signals, limits and supervisors; see process.h.
#include "server/process.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <system_error>

namespace steplog::server {
namespace {

constexpr int exit_software = 70;  // sysexits.h: an internal error

void say(std::string_view line) noexcept {
    // Nothing can be done about a standard error that takes nothing.
    [[maybe_unused]] const auto written = write(STDERR_FILENO, line.data(), line.size());
}

/// Restarting is the recovery; unwinding a process whose state is unknown would only do more. Says
/// nothing of the exception's text, which may hold anything.
[[noreturn]] void end_now() noexcept {
    say("{\"level\":\"error\",\"message\":\"CRITICAL: an error that nobody handles; the process "
        "ends, and a restart "
        "continues from the step log\"}\n");
    _exit(exit_software);
}

}  // namespace

void prepare_process() {
    umask(0077);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    std::signal(SIGPIPE, SIG_IGN);
    std::signal(SIGXFSZ, SIG_IGN);
    std::set_terminate(end_now);
}

Signals::Signals() {
    sigset_t set;
    sigemptyset(&set);
    for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, signal);
    const int blocked = pthread_sigmask(SIG_BLOCK, &set, nullptr);
    if (blocked != 0)
        throw std::system_error(blocked, std::generic_category(), "cannot block signals");
    signals_fd_ = signalfd(-1, &set, SFD_CLOEXEC);
    failed_fd_ = eventfd(0, EFD_CLOEXEC);
    if (signals_fd_ < 0 || failed_fd_ < 0) {
        throw std::system_error(errno, std::generic_category(), "cannot wait for signals");
    }
}

Signals::~Signals() {
    close(signals_fd_);
    close(failed_fd_);
}

Signals::Kind Signals::wait() {
    while (true) {
        std::array<pollfd, 2> watched = {{{failed_fd_, POLLIN, 0}, {signals_fd_, POLLIN, 0}}};
        if (poll(watched.data(), watched.size(), -1) < 0) {
            if (errno == EINTR) continue;
            throw std::system_error(errno, std::generic_category(), "cannot wait for signals");
        }
        if (watched[0].revents != 0) return Kind::failed;
        signalfd_siginfo info{};
        if (read(signals_fd_, &info, sizeof info) != sizeof info) continue;
        return info.ssi_signo == SIGHUP ? Kind::reload : Kind::stop;
    }
}

void Signals::fail() noexcept {
    if (failed_.exchange(true)) return;
    alarm(1);  // SIGALRM is not blocked and ends the process
    const std::uint64_t one = 1;
    // An eventfd's counter takes a one from whoever comes first, always.
    [[maybe_unused]] const auto written = write(failed_fd_, &one, sizeof one);
}

void notify_supervisor(std::string_view state) noexcept {
    const char* path = std::getenv("NOTIFY_SOCKET");
    sockaddr_un address{};
    if (path == nullptr || (path[0] != '/' && path[0] != '@') ||
        std::strlen(path) >= sizeof address.sun_path)
        return;
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path, std::strlen(path));
    if (path[0] == '@') address.sun_path[0] = '\0';  // an abstract name
    const int socket_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (socket_fd < 0) return;
    const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + std::strlen(path));
    // A supervisor that went away is not our failure.
    [[maybe_unused]] const auto sent = sendto(socket_fd, state.data(), state.size(), MSG_NOSIGNAL,
                                              reinterpret_cast<const sockaddr*>(&address), length);
    close(socket_fd);
}

}  // namespace steplog::server
