// The asking end of the control socket.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "engine/control.h"
#include "engine/control_socket.h"

namespace steplog {
namespace {

using control::Descriptor;

constexpr std::size_t reply_bytes_max = 64 * 1024 * 1024;

[[noreturn]] void no_server(const std::filesystem::path& path) {
    throw NoServerError(fmt::format("no server answers at {}", path.string()));
}

// A path handle to the socket itself: its address is then short, however long its path is, and what
// was looked at is what is connected to.
Descriptor open_socket_path(const std::filesystem::path& path) {
    Descriptor handle(open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    if (!handle.valid()) {
        if (errno == ENOENT || errno == ENOTDIR) no_server(path);
        throw ControlError(
            fmt::format("cannot reach the server at {}: {}", path.string(), std::strerror(errno)));
    }
    struct stat status {};
    if (fstat(handle.number(), &status) != 0 || !S_ISSOCK(status.st_mode))
        throw ControlError(
            fmt::format("{} is no socket: remove it and start the server again", path.string()));
    return handle;
}

Descriptor connect_to(const std::filesystem::path& path, Ms timeout) {
    const Descriptor handle = open_socket_path(path);
    Descriptor connection(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!connection.valid())
        throw ControlError(fmt::format("cannot make a socket: {}", std::strerror(errno)));
    // A full backlog makes connect wait: bound that too.
    timeval limit{};
    limit.tv_sec = timeout.count() / 1000;
    limit.tv_usec = timeout.count() % 1000 * 1000;
    setsockopt(connection.number(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string text = fmt::format("/proc/self/fd/{}", handle.number());
    std::memcpy(address.sun_path, text.c_str(), text.size() + 1);
    int result = 0;
    do {
        result = connect(connection.number(), reinterpret_cast<const sockaddr*>(&address),
                         sizeof address);
    } while (result != 0 && errno == EINTR);
    if (result == 0) return connection;
    if (errno == ECONNREFUSED || errno == ENOENT) no_server(path);
    if (errno == EACCES || errno == EPERM)
        throw ControlError(fmt::format(
            "the server at {} answers only its own user and root: run this as one of them",
            path.string()));
    throw ControlError(
        fmt::format("cannot reach the server at {}: {}", path.string(), std::strerror(errno)));
}

}  // namespace

Json control_call(const std::filesystem::path& path, const Json& request, Ms timeout) {
    const auto deadline = control::after(timeout);
    const Descriptor connection = connect_to(path, timeout);
    const std::string line = request.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
    // A server that refuses early may answer before it has read all: look for its answer either
    // way.
    control::write_all(connection.number(), line, deadline);
    const auto answer = control::read_line(connection.number(), reply_bytes_max, deadline);
    if (!answer)
        throw ControlError(fmt::format(
            "the server at {} did not answer within {} s: look whether it is overloaded or ending",
            path.string(), timeout.count() / 1000));
    // Not the guarded parser: the owner of the database may list more than a stranger may send.
    Json reply = Json::parse(*answer, nullptr, false);
    if (!reply.is_object())
        throw ControlError(
            fmt::format("the server at {} gave an answer that is no answer", path.string()));
    if (const auto error = reply.find("error"); error != reply.end())
        throw ControlError(error->is_string() ? error->get<std::string>() : "the server refused");
    const auto result = reply.find("result");
    if (result == reply.end())
        throw ControlError(
            fmt::format("the server at {} gave an answer that is no answer", path.string()));
    return std::move(*result);
}

}  // namespace steplog
