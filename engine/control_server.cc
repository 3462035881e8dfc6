// The server's end of the control socket: one thread accepts, each connection has a short-lived
// one.
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <list>
#include <thread>

#include "engine/control.h"
#include "engine/control_socket.h"
#include "engine/json_guard.h"

namespace steplog {
namespace {

using control::Descriptor;

constexpr int backlog = 32;
constexpr mode_t socket_mode = S_IRUSR | S_IWUSR;

[[noreturn]] void fail(const std::filesystem::path& path, const std::string& why) {
    throw std::runtime_error(
        fmt::format("cannot make the control socket {}: {}", path.string(), why));
}

[[noreturn]] void fail_with_errno(const std::filesystem::path& path) {
    fail(path, std::strerror(errno));
}

void set_address(sockaddr_un& address, const std::filesystem::path& path, const std::string& text) {
    address.sun_family = AF_UNIX;
    if (text.size() >= sizeof address.sun_path) fail(path, "the database's name is too long");
    std::memcpy(address.sun_path, text.c_str(), text.size() + 1);
}

std::string reply_line(const Json& reply) {
    return reply.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string error_line(const std::string& message) { return reply_line({{"error", message}}); }

}  // namespace

std::filesystem::path control_socket_path(const std::filesystem::path& database) {
    std::filesystem::path path = database;
    return path += ".sock";
}

struct ControlServer::Impl {
    struct Connection {
        Descriptor descriptor;
        std::atomic<bool> done = false;
        std::thread thread;
    };

    std::filesystem::path path;
    std::string name;
    Handler handler;
    ControlLimits limits;
    Descriptor directory, listener, wakeup;
    struct stat bound {};
    std::list<Connection> connections;  // touched by the accepting thread, and after its end
    std::thread acceptor;

    void bind_socket() {
        const auto parent =
            path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
        directory = Descriptor(open(parent.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
        if (!directory.valid()) fail_with_errno(path);
        remove_dead_owners_socket();
        listener = Descriptor(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
        wakeup = Descriptor(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
        if (!listener.valid() || !wakeup.valid()) fail_with_errno(path);
        sockaddr_un address{};
        set_address(address, path, control::short_path(directory, name));
        // The mode is set before the name exists, so that nobody can connect in between; unlike the
        // umask it belongs to this socket alone and not to the whole process.
        if (fchmod(listener.number(), socket_mode) != 0) fail_with_errno(path);
        if (bind(listener.number(), reinterpret_cast<const sockaddr*>(&address), sizeof address) !=
            0)
            fail_with_errno(path);
        if (fstatat(directory.number(), name.c_str(), &bound, AT_SYMLINK_NOFOLLOW) != 0)
            fail_with_errno(path);
        if ((bound.st_mode & 07777) != socket_mode) {
            unlinkat(directory.number(), name.c_str(), 0);
            fail(path, "it cannot be kept from other users here");
        }
        if (listen(listener.number(), backlog) != 0) fail_with_errno(path);
    }

    void remove_dead_owners_socket() {
        struct stat found {};
        if (fstatat(directory.number(), name.c_str(), &found, AT_SYMLINK_NOFOLLOW) != 0) {
            if (errno == ENOENT) return;
            fail_with_errno(path);
        }
        if (!S_ISSOCK(found.st_mode))
            fail(path, "something that is no socket has that name: remove it");
        if (unlinkat(directory.number(), name.c_str(), 0) != 0) fail_with_errno(path);
    }

    // Only what is still ours: a next owner may have bound its own meanwhile.
    void remove_socket() {
        struct stat found {};
        if (fstatat(directory.number(), name.c_str(), &found, AT_SYMLINK_NOFOLLOW) == 0 &&
            found.st_ino == bound.st_ino && found.st_dev == bound.st_dev)
            unlinkat(directory.number(), name.c_str(), 0);
    }

    void accept_until_stopped() {
        while (true) {
            pollfd entries[] = {{listener.number(), POLLIN, 0}, {wakeup.number(), POLLIN, 0}};
            if (poll(entries, 2, -1) < 0 && errno != EINTR) return;
            if (entries[1].revents != 0) return;
            if (entries[0].revents == 0) continue;
            Descriptor client(accept4(listener.number(), nullptr, nullptr, SOCK_CLOEXEC));
            reap();
            if (!client.valid()) {
                // Out of descriptors: whoever knocks is still there later, so do not spin.
                if (errno == EMFILE || errno == ENFILE) poll(entries + 1, 1, 100);
                continue;
            }
            begin(std::move(client));
        }
    }

    void begin(Descriptor client) {
        if (static_cast<int>(connections.size()) >= limits.connections_max) {
            // A fresh connection has room for a short line: this never waits.
            control::write_all(client.number(), error_line("too many commands at once: try again"),
                               control::after(Ms(1)));
            return;
        }
        Connection& connection = connections.emplace_back();
        connection.descriptor = std::move(client);
        try {
            connection.thread = std::thread([this, &connection] {
                answer(connection.descriptor.number());
                shutdown(connection.descriptor.number(), SHUT_RDWR);
                connection.done = true;
            });
        } catch (const std::system_error&) {
            connections.pop_back();  // no thread to be had: the client sees its connection end
        }
    }

    void reap() {
        connections.remove_if([](Connection& connection) {
            if (!connection.done) return false;
            connection.thread.join();
            return true;
        });
    }

    void answer(int client) {
        const auto reply = [&](const std::string& line) {
            control::write_all(client, line, control::after(limits.reply_deadline));
        };
        ucred peer{};
        socklen_t size = sizeof peer;
        if (getsockopt(client, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 ||
            (peer.uid != geteuid() && peer.uid != 0))
            return reply(error_line("only the server's user and root are answered here"));
        const auto line = control::read_line(client, limits.request_bytes_max,
                                             control::after(limits.request_deadline));
        if (!line) return reply(error_line("the request is too large, cut off or too slow"));
        std::string why_not;
        const auto request = parse_guarded(*line, why_not);
        if (!request || !request->is_object())
            return reply(error_line("the request is not a JSON object"));
        try {
            reply(reply_line({{"result", handler(*request, fmt::format("uid:{}", peer.uid))}}));
        } catch (const std::exception& error) {
            reply(error_line(error.what()));
        }
    }

    void stop() {
        const std::uint64_t one = 1;
        while (write(wakeup.number(), &one, sizeof one) < 0 && errno == EINTR) continue;
        acceptor.join();
        // Whoever has not asked yet is turned away; whoever has is still answered.
        for (Connection& connection : connections)
            shutdown(connection.descriptor.number(), SHUT_RD);
        for (Connection& connection : connections) connection.thread.join();
        remove_socket();
    }
};

ControlServer::ControlServer(const std::filesystem::path& path, Handler handler,
                             ControlLimits limits)
    : impl_(std::make_unique<Impl>()) {
    impl_->path = path;
    impl_->name = path.filename().string();
    impl_->handler = std::move(handler);
    impl_->limits = limits;
    impl_->bind_socket();
    impl_->acceptor = std::thread([impl = impl_.get()] { impl->accept_until_stopped(); });
}

ControlServer::~ControlServer() { impl_->stop(); }

}  // namespace steplog
