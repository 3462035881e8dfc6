// The listening socket, and the descriptors the reactor waits with. Belongs to the reactor's thread
// once it runs.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <string>

#include "server/front_address.h"

namespace steplog::server {

/// A file descriptor that is closed with its owner.
class Descriptor {
  public:
    explicit Descriptor(int number = -1) : number_(number) {}
    ~Descriptor() { reset(); }
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    int get() const { return number_; }
    void reset(int number = -1);

  private:
    int number_;
};

class Listener {
  public:
    enum class Accepted {
        connection,
        none_waiting,
        try_again,   // that one is gone, there may be others
        out_of_room  // of descriptors or kernel memory: asking again at once would spin
    };

    /// Binds and listens. Throws std::runtime_error naming the address and the reason.
    void open(const std::string& listen);
    void close() { socket_.reset(); }
    bool is_open() const { return socket_.get() >= 0; }
    int socket() const { return socket_.get(); }
    const sockaddr_storage& address() const { return address_; }

    /// `socket` is non-blocking, without Nagle's delay, and the caller's.
    Accepted accept(int& socket, sockaddr_storage& peer) const;

  private:
    bool is_awaited() const;

    Descriptor socket_;
    sockaddr_storage address_{};
};

/// Raises the soft limit of open files to `wanted` or to the hard limit, and returns what it is
/// then.
std::uint64_t raise_open_files(std::uint64_t wanted);

}  // namespace steplog::server
