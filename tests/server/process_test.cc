#include "server/process.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>

#include "tests/support/temporary_directory.h"

namespace steplog::server {
namespace {

/// Leaves this program's signals as they were.
class SignalsWaited : public ::testing::Test {
  protected:
    SignalsWaited() { pthread_sigmask(SIG_SETMASK, nullptr, &before_); }
    ~SignalsWaited() override {
        alarm(0);
        sigset_t pending;
        sigemptyset(&pending);
        sigaddset(&pending, SIGHUP);
        const timespec at_once{};
        while (sigtimedwait(&pending, nullptr, &at_once) >
               0) {  // it would end this program once let through
        }
        pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    }
    sigset_t before_;
};

TEST_F(SignalsWaited, TellWhatWasAskedFor) {
    Signals signals;
    kill(getpid(), SIGTERM);
    EXPECT_EQ(signals.wait(), Signals::Kind::stop);
    kill(getpid(), SIGINT);
    EXPECT_EQ(signals.wait(), Signals::Kind::stop);
    kill(getpid(), SIGHUP);
    EXPECT_EQ(signals.wait(), Signals::Kind::reload);
    EXPECT_FALSE(signals.has_failed());
}

TEST_F(SignalsWaited, TellOfAFailureBeforeAllElse) {
    Signals signals;
    kill(getpid(), SIGHUP);
    std::jthread other([&] {
        signals.fail();
        signals.fail();
    });
    other.join();
    EXPECT_EQ(signals.wait(), Signals::Kind::failed);
    EXPECT_EQ(signals.wait(), Signals::Kind::failed);
    EXPECT_TRUE(signals.has_failed());
    EXPECT_GT(alarm(0), 0U) << "nobody ends the process should main hang";
}

TEST(Supervisor, IsToldWhereItListens) {
    const steplog::testing::TemporaryDirectory directory;
    const std::string path = (directory / "notify").string();
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.c_str(), path.size());
    const int listener = socket(AF_UNIX, SOCK_DGRAM, 0);
    ASSERT_EQ(bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);

    notify_supervisor("READY=1");  // not asked for: says nothing
    setenv("NOTIFY_SOCKET", path.c_str(), 1);
    notify_supervisor("STOPPING=1");
    std::array<char, 64> buffer{};
    const auto length = recv(listener, buffer.data(), buffer.size(), 0);
    EXPECT_EQ(std::string(buffer.data(), static_cast<std::size_t>(length)), "STOPPING=1");

    close(listener);
    notify_supervisor("READY=1");  // nobody listens any more
    unsetenv("NOTIFY_SOCKET");
}

}  // namespace
}  // namespace steplog::server
