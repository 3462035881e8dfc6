#include "engine/control_socket.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace steplog::control {
namespace {

// True when the descriptor is ready (or broken) before the deadline.
bool wait_for(int descriptor, short events, Deadline deadline) {
    while (true) {
        const auto left =
            std::chrono::ceil<Ms>(deadline - std::chrono::steady_clock::now()).count();
        if (left <= 0) return false;
        pollfd entry{descriptor, events, 0};
        const int ready = poll(&entry, 1, static_cast<int>(std::min<std::int64_t>(left, 60'000)));
        if (ready > 0) return true;
        if (ready < 0 && errno != EINTR) return false;
    }
}

bool try_again(int error) { return error == EAGAIN || error == EWOULDBLOCK || error == EINTR; }

}  // namespace

Descriptor::~Descriptor() {
    if (number_ >= 0) close(number_);
}

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
}

std::string short_path(const Descriptor& directory, const std::string& name) {
    return fmt::format("/proc/self/fd/{}/{}", directory.number(), name);
}

std::optional<std::string> read_line(int descriptor, std::size_t bytes_max, Deadline deadline) {
    std::string line;
    std::array<char, 16 * 1024> buffer;
    while (true) {
        if (!wait_for(descriptor, POLLIN, deadline)) return std::nullopt;
        const ssize_t size = recv(descriptor, buffer.data(), buffer.size(), MSG_DONTWAIT);
        if (size < 0 && try_again(errno)) continue;
        if (size <= 0) return std::nullopt;
        const std::string_view part(buffer.data(), static_cast<std::size_t>(size));
        const std::size_t end = part.find('\n');
        line += part.substr(0, end);
        if (line.size() > bytes_max) return std::nullopt;
        if (end != std::string_view::npos) return line;
    }
}

bool write_all(int descriptor, std::string_view bytes, Deadline deadline) {
    while (!bytes.empty()) {
        const ssize_t size =
            send(descriptor, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (size > 0) {
            bytes.remove_prefix(static_cast<std::size_t>(size));
            continue;
        }
        if (size < 0 && !try_again(errno)) return false;
        if (!wait_for(descriptor, POLLOUT, deadline)) return false;
    }
    return true;
}

}  // namespace steplog::control
