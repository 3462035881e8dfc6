// What is done to processes and files while they work: a stop for longer than a lease, two servers
// on one file, SIGTERM under load, files removed, replaced, damaged and cut short.
#include <fcntl.h>
#include <fmt/core.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <thread>

#include "tests/storm/world.h"

namespace steplog::testing {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class Processes : public StormWorld {
  protected:
    fs::path part(const std::string& suffix) const { return database_.string() + suffix; }

    void start_loaded(int buyers) {
        start();
        ASSERT_TRUE(becomes_ready()) << log();
        buy(buyers);
    }
    void wait_for_requests(int more) {
        const int until = requests() + more;
        const auto deadline = SteadyClock::now() + 20s;
        while (requests() < until && SteadyClock::now() < deadline)
            ASSERT_TRUE(lives(2ms)) << log();
    }
    bool is_stopped() const {
        std::ifstream stat(fmt::format("/proc/{}/stat", pid()));
        std::string text;
        std::getline(stat, text);
        return text.find(") T ") != text.npos;
    }
    // Whether somebody has a transaction of the write-ahead log open, for reading or writing, or
    // is emptying it: its locks are bytes 120 to 127 of the index.
    bool is_in_a_transaction() const {
        const int index = ::open(part("-shm").c_str(), O_RDONLY | O_CLOEXEC);
        struct flock wanted {
            .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 120, .l_len = 8, .l_pid = 0
        };
        EXPECT_EQ(fcntl(index, F_GETLK, &wanted), 0);
        ::close(index);
        return wanted.l_type != F_UNLCK;
    }
    // Nobody can write while it is stopped in the middle of a transaction, so: not there.
    void stop_between_transactions() {
        const auto deadline = SteadyClock::now() + 20s;
        for (;;) {
            server_->signal(SIGSTOP);
            while (!is_stopped()) std::this_thread::sleep_for(100us);
            if (!is_in_a_transaction()) return;
            ASSERT_LT(SteadyClock::now(), deadline) << "always in a transaction";
            server_->signal(SIGCONT);
            std::this_thread::sleep_for(500us);
        }
    }
    // Another server for the same database, at another address, to its end.
    Finished start_second() {
        auto environment = environment_;
        environment["STEPLOG_LISTEN"] = "127.0.0.1:0";
        return run({server_program}, environment, 20s);
    }
};

TEST_F(Processes, StoppedForLongerThanALeaseGoOnAndRepeatNothing) {
    const int rounds = wanted("STEPLOG_STOPS", 3);
    set("STEPLOG_LEASE", "1s");
    start();
    ASSERT_TRUE(becomes_ready()) << log();
    for (int round = 0; round < rounds; ++round) {
        buy(10);
        wait_for_requests(10 + 5 * round);
        server_->signal(SIGSTOP);
        std::this_thread::sleep_for(1500ms);
        server_->signal(SIGCONT);
    }
    settle();
    const auto sum = expect_nothing_lost_or_repeated();
    fmt::print("{} stops for longer than a lease: {} acknowledged, {} lost, {} effects repeated\n",
               rounds, sum.acknowledged, sum.lost, sum.repeated_effects);
}

TEST_F(Processes, StoppedAndSucceededAsAZombieWriteNothingMore) {
    set("STEPLOG_LEASE", "1s");
    start_loaded(10);
    wait_for_requests(10);
    stop_between_transactions();
    // While it lives, stopped or not, nobody can take its place …
    const auto begin = SteadyClock::now();
    EXPECT_EQ(start_second().exit.code, 1);
    EXPECT_LT(SteadyClock::now() - begin, 3s);
    // … unless somebody removes its lock.
    fs::remove(part(".lock"));
    Process zombie = std::move(*server_);
    const auto listen = environment_["STEPLOG_LISTEN"];
    set("STEPLOG_LISTEN", "127.0.0.1:0");
    start();
    ASSERT_TRUE(becomes("SELECT count(*) FROM owners", 2, 20s)) << log();
    ASSERT_TRUE(
        becomes("SELECT count(*) FROM instances WHERE state='running' AND owner=1", 0, 20s));
    zombie.signal(SIGCONT);
    const auto end = zombie.wait(5s);
    ASSERT_TRUE(end) << "the zombie lives on";
    EXPECT_EQ(end->code, 74) << log();
    EXPECT_THAT(log(), HasSubstr("was removed or replaced"));
    stop_server();
    set("STEPLOG_LISTEN", listen);
    restart();
    settle();
    expect_nothing_lost_or_repeated();
}

TEST_F(Processes, SecondOnOneFileEndWithinASecondHavingWrittenNothing) {
    start_loaded(20);
    int seconds_ones = 0;
    Ms slowest{0};
    while (sender().pending() > 0 || seconds_ones < 5) {
        const auto owners = count("SELECT count(*) FROM owners");
        const auto begin = SteadyClock::now();
        const auto second = start_second();
        slowest = std::max(slowest, std::chrono::duration_cast<Ms>(SteadyClock::now() - begin));
        EXPECT_EQ(second.exit.code, 1);
        EXPECT_THAT(second.errors, StartsWith("workflow-server: "));
        EXPECT_THAT(second.errors, HasSubstr(fmt::format("is in use by process {}", pid())));
        EXPECT_EQ(second.output, "");
        EXPECT_EQ(count("SELECT count(*) FROM owners"), owners);
        ++seconds_ones;
    }
    // Within a second; with room for a machine that is busy with other tests.
    EXPECT_LT(slowest, 3s);
    settle();
    expect_nothing_lost_or_repeated();
    fmt::print("{} second servers refused, the slowest after {} ms\n", seconds_ones,
               slowest.count());
}

TEST_F(Processes, AskedToStopUnderLoadAnswerWhatTheyBeganAndCountNoAttempt) {
    const int rounds = wanted("STEPLOG_TERMS", 10);
    set("STEPLOG_LEASE", "3s");
    // Every creation of an account takes so long that a stop meets it half way.
    world().add_fault({.kind = sandbox::FaultKind::slow,
                       .provider = sandbox::Provider::clerk,
                       .route = "POST /v1/users",
                       .delay = 100ms});
    Ms slowest{0};
    for (int round = 0; round < rounds; ++round) {
        start_loaded(5);
        wait_for_requests(3 + 4 * round);
        slowest = std::max(slowest, stop_server());
    }
    world().clear_faults();
    EXPECT_LE(slowest, 2s + 500ms) << "longer than two thirds of the lease";
    for (const auto& told : sender().acknowledgements())
        EXPECT_TRUE(told.status == 0 || told.status == 200 || told.status == 503) << told.status;
    restart();
    settle();
    const auto sum = expect_nothing_lost_or_repeated();
    EXPECT_EQ(count("SELECT count(*) FROM instances WHERE deaths>0"), 0);
    fmt::print("{} stops under load, the slowest after {} ms: {} acknowledged, {} lost\n", rounds,
               slowest.count(), sum.acknowledged, sum.lost);
}

TEST_F(Processes, AskedToStopInTheMiddleOfAHangingCallCountNoAttempt) {
    set("STEPLOG_LEASE", "3s");
    world().add_fault({.kind = sandbox::FaultKind::hang,
                       .provider = sandbox::Provider::clerk,
                       .route = "POST /v1/users",
                       .times = 1});
    start_loaded(1);
    ASSERT_TRUE(
        becomes("SELECT count(*) FROM entries WHERE kind='started' AND "
                "step='create_clerk_user'",
                1));
    const auto deadline = SteadyClock::now() + 20s;
    while (!world().faults().empty() && SteadyClock::now() < deadline) ASSERT_TRUE(lives(5ms));
    EXPECT_LE(stop_server(), 2s + 500ms) << "longer than two thirds of the lease";
    EXPECT_EQ(count("SELECT count(*) FROM entries WHERE kind='retried' AND data LIKE '%delay_ms%'"),
              0)
        << "an interruption was counted as a failed attempt";
    restart();
    settle();
    expect_nothing_lost_or_repeated();
}

TEST_F(Processes, WhoseDatabaseIsTakenAwayEndAndGoOnWhenItIsBack) {
    for (const std::string suffix : {"", "-wal", ".lock"}) {
        start_loaded(5);
        wait_for_requests(10);
        fs::rename(part(suffix), directory_ / "away");
        const auto begin = SteadyClock::now();
        const auto end = exited(10s);
        ASSERT_TRUE(end) << "it works on without its " << suffix;
        EXPECT_EQ(end->code, 74);
        // It looks at least once a second, and ends within one more.
        EXPECT_LT(SteadyClock::now() - begin, 4s);
        EXPECT_THAT(log(), HasSubstr("was removed or replaced"));
        fs::rename(directory_ / "away", part(suffix));
    }
    restart();
    settle();
    expect_nothing_lost_or_repeated();
}

TEST_F(Processes, WithADatabaseThatMayNotBeWrittenSayWhatToDo) {
    start_loaded(2);
    settle();
    stop_server();
    fs::permissions(database_, fs::perms::owner_read);
    if (geteuid() == 0 || access(database_.c_str(), W_OK) == 0) {
        // Root may write anything; what a file system mounted read-only does is shown beside the
        // full disks.
        fs::permissions(database_, fs::perms::owner_read | fs::perms::owner_write);
    } else {
        const auto refused = start_second();
        EXPECT_EQ(refused.exit.code, 1);
        EXPECT_THAT(refused.errors, HasSubstr("cannot be read and written by this user"));
        fs::permissions(database_, fs::perms::owner_read | fs::perms::owner_write);
    }
    restart();
    expect_nothing_lost_or_repeated();
}

TEST_F(Processes, KilledWithTheirWalCutShortGoOnWithWhatIsWhole) {
    const int rounds = wanted("STEPLOG_CUTS", 5);
    SeededRandom random(20261125);
    int forgotten = 0;
    for (int round = 0; round < rounds; ++round) {
        start_loaded(5);
        wait_for_requests(20);
        kill_server();
        const auto size = fs::file_size(part("-wal"));
        fs::resize_file(part("-wal"), random.below(size + 1));
        start();
        ASSERT_TRUE(becomes_ready()) << log();
        const auto check = run({STEPLOG_BIN_DIR "/workflow-inspect", "check"},
                               {{"STEPLOG_DATABASE", database_.string()}}, 60s);
        EXPECT_EQ(check.exit.code, 0) << check.output;
        stop_server();
        forgotten += lost();
    }
    // Nothing on this machine can know what the cuts took away; Stripe does, and delivers again.
    forgive_lost_echoes();
    restart();
    deliver_again();
    settle();
    expect_nothing_lost_or_repeated();
    fmt::print(
        "{} WALs cut short: {} acknowledged events forgotten, no promise broken by the rest\n",
        rounds, forgotten);
}

TEST_F(Processes, WithADamagedPageRefuseToStartOrEndBeforeTheyLie) {
    start_loaded(20);
    settle();
    stop_server();
    const auto size = fs::file_size(database_);
    constexpr std::uintmax_t page = 4096;
    int refused = 0, ended = 0, survived = 0;
    for (std::uintmax_t at = page; at + page <= size; at += page * 7) {
        fs::copy_file(database_, directory_ / "whole.db", fs::copy_options::overwrite_existing);
        {
            std::fstream file(database_, std::ios::in | std::ios::out | std::ios::binary);
            file.seekp(static_cast<std::streamoff>(at));
            file << std::string(256, '\xa5');
        }
        start();
        if (becomes_ready()) {
            // What quick_check does not see may lie in pages that nobody needs; what is needed and
            // damaged ends the process or makes an instance stuck, never a wrong call.
            server_->signal(SIGTERM);
            const auto end = exited(20s);
            ASSERT_TRUE(end);
            EXPECT_TRUE(end->code == 0 || end->code == 74) << end->code;
            (end->code == 0 ? survived : ended) += 1;
        } else {
            const auto end = exited(5s);
            ASSERT_TRUE(end) << "neither ready nor ended";
            EXPECT_EQ(end->code, 1) << log();
            EXPECT_THAT(log(), HasSubstr("restore a backup"));
            ++refused;
        }
        for (const char* suffix : {"-wal", "-shm"}) fs::remove(part(suffix));
        fs::rename(directory_ / "whole.db", database_);
    }
    EXPECT_GT(refused, 0);
    restart();
    settle();
    expect_nothing_lost_or_repeated();
    fmt::print("{} databases with a damaged page: {} refused, {} ended, {} untouched by it\n",
               refused + ended + survived, refused, ended, survived);
}

}  // namespace
}  // namespace steplog::testing
