#include "server/front_listener.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>

namespace steplog::server {
namespace {

using Accepted = Listener::Accepted;

/// No descriptor can be opened while one of these lives.
class NoDescriptorsLeft {
  public:
    NoDescriptorsLeft() {
        ::getrlimit(RLIMIT_NOFILE, &before_);
        const int next = ::dup(STDERR_FILENO);
        ::close(next);
        const rlimit none{.rlim_cur = static_cast<rlim_t>(next), .rlim_max = before_.rlim_max};
        ::setrlimit(RLIMIT_NOFILE, &none);
    }
    ~NoDescriptorsLeft() { ::setrlimit(RLIMIT_NOFILE, &before_); }

  private:
    rlimit before_{};
};

Accepted accept_from(const Listener& listener) {
    Descriptor socket;
    sockaddr_storage peer{};
    int number = -1;
    const Accepted accepted = listener.accept(number, peer);
    socket.reset(number);
    return accepted;
}

TEST(Listener, IsOutOfRoomOnlyWhenSomebodyWaits) {
    Listener listener;
    listener.open("127.0.0.1:0");
    {
        const NoDescriptorsLeft none_left;
        EXPECT_EQ(accept_from(listener), Accepted::none_waiting);
    }
    const Descriptor client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(::connect(client.get(), reinterpret_cast<const sockaddr*>(&listener.address()),
                        sizeof(sockaddr_in)),
              0)
        << errno;
    {
        const NoDescriptorsLeft none_left;
        EXPECT_EQ(accept_from(listener), Accepted::out_of_room);
    }
    EXPECT_EQ(accept_from(listener), Accepted::connection);
    EXPECT_EQ(accept_from(listener), Accepted::none_waiting);
}

}  // namespace
}  // namespace steplog::server
