// No room, no right to write, no file descriptors, on real file systems: a tmpfs that fills up
// while customers buy, a limit on the size of files, an ext4 that turns read-only under the server,
// a process with 64 descriptors. A full disk is answered with 503 and gone on from by itself; what
// looks like a broken disk ends the process, and a restart loses nothing. STEPLOG_FULL_DISKS asks
// for more than one round of each.
#include <fmt/core.h>
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <thread>

#include "tests/storm/mounts.h"
#include "tools/sandbox/http_call.h"

namespace steplog::testing {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::uint64_t mebibyte = 1024 * 1024;

class FullDisks : public StormWorld {
  protected:
    int connect_to_server() const {
        const int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        address.sin_port = htons(static_cast<std::uint16_t>(port()));
        connect(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof address);
        return descriptor;
    }

    // The database's directory becomes a mount point of its own.
    fs::path disk() {
        const fs::path point = directory_ / "disk";
        fs::create_directories(point);
        database_ = point / "steplog.db";
        return point;
    }

    int ready_status() const {
        return sandbox::http_call("GET", url("/readyz"), {}, "", 2s).status;
    }
    bool is_ready(bool expected, Ms limit = 20s) {
        const auto deadline = SteadyClock::now() + limit;
        while ((ready_status() == 200) != expected && SteadyClock::now() < deadline) {
            if (!lives(5ms)) return false;
        }
        return (ready_status() == 200) == expected;
    }

    // Takes all the room that is left, to the last block.
    void fill(const fs::path& file) {
        std::ofstream out(file, std::ios::binary | std::ios::app);
        for (const std::size_t block : {65536UL, 4096UL})
            while (out.write(std::string(block, 'x').data(), static_cast<std::streamsize>(block))
                       .flush()) {
            }
        out.clear();
    }

    static std::uint64_t stored(const fs::path& disk) {
        std::uint64_t sum = 0;
        for (const auto& file : fs::directory_iterator(disk))
            if (file.is_regular_file()) sum += file.file_size();
        return sum;
    }

    // A server whose disk is full: it lives, says so, and can be looked at. A checkpoint may give
    // it some room once more: that is taken, too.
    void expect_to_wait_for_room(const std::string& id, const fs::path& filler) {
        std::string last, answer;
        for (int look = 0; look < 50; ++look) {
            fill(filler);
            last = fmt::format("{}_{}", id, look);
            answer = deliver_unwanted(last);
            if (answer.find("HTTP/1.1 503") != std::string::npos && ready_status() == 503) break;
            buy(1);
        }
        EXPECT_THAT(answer, HasSubstr("HTTP/1.1 503"));
        EXPECT_THAT(answer, HasSubstr("Retry-After: "));
        EXPECT_EQ(count("SELECT count(*) FROM events WHERE id='" + last + "'"), 0);
        EXPECT_EQ(sandbox::http_call("GET", url("/healthz"), {}, "", 2s).status, 200);
        const auto looked = run({STEPLOG_BIN_DIR "/workflow-inspect", "list", "--json"},
                                {{"STEPLOG_DATABASE", database_.string()}});
        EXPECT_EQ(looked.exit.code, 0) << looked.errors;
    }

    // Killed and started again without room: it may refuse to start, in clear words, and does
    // nothing else.
    void start_without_room() {
        kill_server();
        start();
        const auto end = exited(3s);
        if (!end) return;
        EXPECT_EQ(end->code, 1) << log();
        EXPECT_THAT(log(), HasSubstr("no room")) << log();
    }
};

class FileLimits : public FullDisks {};
class Descriptors : public FullDisks {
  protected:
    int open_now() const {
        const auto all = fs::directory_iterator(fmt::format("/proc/{}/fd", pid()));
        return static_cast<int>(std::distance(begin(all), end(all)));
    }
};

class FullDisksOf : public FullDisks, public ::testing::WithParamInterface<int> {};

TEST_P(FullDisksOf, AreAnswered503AndGoneOnFromAlone) {
    if (const auto why = missing(true, Mounted::programs(Mounted::Kind::tmpfs)); !why.empty())
        GTEST_SKIP() << why;
    const int rounds = wanted("STEPLOG_FULL_DISKS", 1);
    SeededRandom random(static_cast<std::uint64_t>(wanted("STEPLOG_SEED", 20261126)));
    const std::uint64_t bytes = static_cast<std::uint64_t>(GetParam()) * mebibyte;
    Mounted mounted(Mounted::Kind::tmpfs, disk(), bytes);
    const fs::path filler = mounted.point() / "filler";
    start();
    ASSERT_TRUE(becomes_ready()) << log();
    for (int round = 0; round < rounds; ++round) {
        buy(3);
        // In the middle of the work, nobody knows where: no room any more.
        std::this_thread::sleep_for(Ms(random.below(150)));
        fill(filler);
        const auto full = SteadyClock::now() + 20s;
        while (ready_status() != 503 && SteadyClock::now() < full) {
            buy(1);
            fill(filler);  // what the reserve gave back, too
            ASSERT_TRUE(lives(20ms)) << log();
        }
        expect_to_wait_for_room(fmt::format("evt_full{}", round), filler);
        buy(2);
        std::this_thread::sleep_for(100ms);
        ASSERT_TRUE(lives()) << log();
        if (random.below(2) == 0) start_without_room();
        fs::remove(filler);
        // The disk grows: enough for what waits, a write-ahead log and a larger reserve.
        mounted.remount(fmt::format(
            "size={}", std::max(bytes, 8 * mebibyte) + stored(mounted.point()) * 5 / 4));
        if (!lives()) start();
        EXPECT_TRUE(is_ready(true)) << "room came, and it did not go on\n" << log();
    }
    settle();
    const auto sum = expect_nothing_lost_or_repeated();
    fmt::print(
        "tmpfs of {} MiB, {} times full: {} acknowledged, {} lost; {} customers, {} effects "
        "repeated\n",
        GetParam(), rounds, sum.acknowledged, sum.lost, customers(), sum.repeated_effects);
}

// Writing beyond the limit fails, and SIGXFSZ, which would kill, is ignored: to SQLite that is an
// I/O error, so the process ends rather than guess what is on the disk.
TEST_F(FileLimits, EndTheServerAndItGoesOnWithoutThem) {
    if (const auto why = missing(false, {"prlimit"}); !why.empty()) GTEST_SKIP() << why;
    const int rounds = wanted("STEPLOG_FULL_DISKS", 1);
    for (int round = 0; round < rounds; ++round) {
        disk();
        const auto now = fs::exists(database_) ? fs::file_size(database_) : 0;
        start({"/usr/bin/prlimit", fmt::format("--fsize={}", now + mebibyte)});
        ASSERT_TRUE(becomes_ready()) << log();
        const auto deadline = SteadyClock::now() + 60s;
        while (lives(5ms) && SteadyClock::now() < deadline)
            if (sender().pending() < 100) buy(1);
        const auto end = exited(0ms);
        ASSERT_TRUE(end) << "it did not meet its limit";
        EXPECT_EQ(end->code, 74) << "signal " << end->signal << log();
        restart();
        settle_resuming("poison");
        stop_server();
    }
    const auto sum = expect_nothing_lost_or_repeated();
    fmt::print("{} times beyond a limit on files: {} acknowledged, {} lost, {} effects repeated\n",
               rounds, sum.acknowledged, sum.lost, sum.repeated_effects);
}

// What Linux does to an ext4 whose journal has failed: every write says "read-only file system".
TEST_F(FullDisks, ThatTurnReadOnlyEndTheServerAndAreGoneOnFromWhenMended) {
    if (const auto why = missing(true, Mounted::programs(Mounted::Kind::ext4)); !why.empty())
        GTEST_SKIP() << why;
    const int rounds = wanted("STEPLOG_FULL_DISKS", 1);
    Mounted mounted(Mounted::Kind::ext4, disk(), 64 * mebibyte);
    for (int round = 0; round < rounds; ++round) {
        restart();
        buy(3);
        if (round % 3 == 2) settle_resuming("poison");  // nothing is under way
        mounted.remount("abort");
        buy(1);
        const auto begin = SteadyClock::now();
        EXPECT_THAT(deliver_unwanted(fmt::format("evt_aborted{}", round)),
                    Not(HasSubstr("HTTP/1.1 200")));
        const auto end = exited(10s);
        ASSERT_TRUE(end) << "it works on\n" << log();
        EXPECT_EQ(end->code, 74) << log();
        EXPECT_LT(SteadyClock::now() - begin, 3s);
        start();  // nothing can be written yet
        const auto refused = exited(10s);
        ASSERT_TRUE(refused);
        EXPECT_EQ(refused->code, 1) << log();
        EXPECT_THAT(log(), HasSubstr("Read-only file system"));
        mounted.recover();
        restart();
        settle_resuming("poison");
        stop_server();
    }
    const auto sum = expect_nothing_lost_or_repeated();
    fmt::print("{} file systems turned read-only: {} acknowledged, {} lost, {} effects repeated\n",
               rounds, sum.acknowledged, sum.lost, sum.repeated_effects);
}

// 64 descriptors, and more connections than that, which say nothing.
TEST_F(Descriptors, ThatRunOutStopNothingForGood) {
    if (const auto why = missing(false, {"prlimit"}); !why.empty()) GTEST_SKIP() << why;
    const int rounds = wanted("STEPLOG_FULL_DISKS", 1);
    start({"/usr/bin/prlimit", "--nofile=64"});
    ASSERT_TRUE(becomes_ready()) << log();
    constexpr int crowded = 48;  // far beyond what it opens for itself
    int most = 0;
    for (int round = 0; round < rounds; ++round) {
        std::vector<int> idle;
        int most_now = 0;
        buy(5);
        for (int i = 0; i < 200; ++i) idle.push_back(connect_to_server());
        buy(5);
        for (int look = 0; look < 100 || (most_now < crowded && look < 3000); ++look) {
            most_now = std::max(most_now, open_now());
            ASSERT_TRUE(lives(3ms)) << log();
        }
        EXPECT_GE(most_now, crowded) << "it was never short of descriptors";
        most = std::max(most, most_now);
        for (const int descriptor : idle) close(descriptor);
        EXPECT_TRUE(is_ready(true)) << log();
        settle();
    }
    const auto sum = expect_nothing_lost_or_repeated();
    fmt::print(
        "{} times without descriptors ({} of 64 open): {} acknowledged, {} lost, {} effects "
        "repeated\n",
        rounds, most, sum.acknowledged, sum.lost, sum.repeated_effects);
}

INSTANTIATE_TEST_SUITE_P(MiB, FullDisksOf, ::testing::Values(1, 4, 16));

}  // namespace
}  // namespace steplog::testing
