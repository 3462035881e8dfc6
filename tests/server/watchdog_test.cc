#include "server/watchdog.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>

#include "engine/sqlite_store.h"
#include "tests/support/manual_clock.h"
#include "tests/support/temporary_directory.h"

namespace steplog::server {
namespace {

/// A supervisor's end of the notify socket.
class Listener {
  public:
    Listener() {
        const std::string path = (directory_ / "notify").string();
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::memcpy(address.sun_path, path.c_str(), path.size());
        socket_ = socket(AF_UNIX, SOCK_DGRAM, 0);
        const timeval patience{.tv_sec = 10, .tv_usec = 0};
        setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        if (bind(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0)
            setenv("NOTIFY_SOCKET", path.c_str(), 1);
    }
    ~Listener() {
        unsetenv("NOTIFY_SOCKET");
        close(socket_);
    }
    std::string next() {
        std::array<char, 64> buffer{};
        const auto length = recv(socket_, buffer.data(), buffer.size(), 0);
        return length < 0 ? "" : std::string(buffer.data(), static_cast<std::size_t>(length));
    }

  private:
    steplog::testing::TemporaryDirectory directory_;
    int socket_ = -1;
};

TEST(Watchdog, IsFedAgainAndAgainWhileTheServerLives) {
    Listener listener;
    const Watchdog watchdog(Ms(3), [] { return true; });
    for (int i = 0; i < 3; ++i) EXPECT_EQ(listener.next(), "WATCHDOG=1");
}

TEST(Watchdog, IsNotFedWhenTheServerDoesNotAnswer) {
    Listener listener;
    std::atomic<int> asked{0};
    {
        const Watchdog watchdog(Ms(3), [&] { return ++asked > 5; });
        EXPECT_EQ(listener.next(), "WATCHDOG=1");
    }
    EXPECT_GT(asked, 5) << "it was fed while the answer was no";
}

TEST(Watchdog, IsWantedOnlyByThisProcessesSupervisor) {
    unsetenv("WATCHDOG_USEC");
    EXPECT_FALSE(watchdog_wanted());
    setenv("WATCHDOG_USEC", "30000000", 1);
    EXPECT_EQ(watchdog_wanted(), Ms(30'000));
    setenv("WATCHDOG_PID", "1", 1);
    EXPECT_FALSE(watchdog_wanted());
    setenv("WATCHDOG_PID", std::to_string(getpid()).c_str(), 1);
    EXPECT_EQ(watchdog_wanted(), Ms(30'000));
    for (const char* nonsense : {"", "0", "-1", "soon"}) {
        setenv("WATCHDOG_USEC", nonsense, 1);
        EXPECT_FALSE(watchdog_wanted()) << nonsense;
    }
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
}

TEST(Watchdog, TakesTheWritersAnswerAsLife) {
    const steplog::testing::TemporaryDirectory directory;
    steplog::testing::ManualClock clock;
    const auto store = open_sqlite_store({.database = directory / "test.db"}, clock);
    EXPECT_TRUE(writer_answers(*store, Ms(60'000)));
}

}  // namespace
}  // namespace steplog::server
