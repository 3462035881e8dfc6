// The server's wall clock jumps a day, there and back, while it works and while it is down
// (libfaketime), and its monotonic clock starts anew (a time namespace). Stripe's clock stays
// right. No timer fires before the time that was promised by the clock it was promised in, what is
// overdue fires, nobody loses a lease or does anything twice, and a signature is judged by the
// clock there is: 400 while
// it is ahead, so that Stripe comes again.
#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/core.h>
#include <gmock/gmock.h>

#include <csignal>
#include <fstream>
#include <thread>

#include "tests/storm/world.h"

namespace steplog::testing {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using ::testing::HasSubstr;

constexpr int day_s = 86'400;
const std::string unfinished = "SELECT count(*) FROM instances WHERE state<>'completed'";
const std::string faketime_library = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

class Clocks : public StormWorld {
  protected:
    // Nothing to be done where this is not there.
    std::string missing_library() const {
        if (fs::exists(faketime_library)) return "";
        fmt::print(stderr, "*** SKIPPED: there is no {} (package faketime)\n", faketime_library);
        return "there is no libfaketime";
    }

    // Only the wall clock: with a faked monotonic one libfaketime lets condition variables hang.
    void fake_the_clock() {
        set_clock(0);
        set("LD_PRELOAD", faketime_library);
        set("FAKETIME_TIMESTAMP_FILE", offset_file());
        set("FAKETIME_NO_CACHE", "1");
        set("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    }
    void set_clock(int offset_s) {
        {
            std::ofstream file(directory_ / "offset.new");
            file << fmt::format("{:+d}", offset_s) << "\n";
        }
        fs::rename(directory_ / "offset.new", offset_file());
    }
    std::string offset_file() const { return directory_ / "offset"; }

    // Clerk asks every customer to come again in so many seconds.
    void let_all_sleep(int buyers, int seconds) {
        world().add_fault({.kind = sandbox::FaultKind::rate_limited,
                           .provider = sandbox::Provider::clerk,
                           .route = "POST /v1/users",
                           .retry_after_s = seconds});
        buy(buyers);
        ASSERT_TRUE(sender().wait_until_idle(20s)) << log();
        ASSERT_TRUE(becomes("SELECT count(*) FROM instances WHERE state='sleeping'", buyers, 20s))
            << log();
        ASSERT_TRUE(
            becomes("SELECT count(*) FROM instances WHERE state IN ('pending','running')", 0, 20s))
            << log();
        world().clear_faults();
    }
    std::int64_t completed() const {
        return count("SELECT count(*) FROM instances WHERE state='completed'");
    }
    std::int64_t calls_for_accounts() {
        const auto all = world().requests();
        const auto found = all.find("POST /v1/users");
        return found == all.end() ? 0 : found->second;
    }

    // Attempts that began before the time that the one before was told to wait for. A server that
    // died in between has no such promise to keep.
    std::int64_t early_timers() const {
        return count(
            "SELECT count(*) FROM entries AS told JOIN entries AS next ON "
            "next.instance=told.instance AND next.n=(SELECT min(later.n) FROM entries AS later "
            "WHERE later.instance=told.instance AND later.step=told.step AND later.n>told.n AND "
            "later.kind='started') "
            "WHERE told.kind='retried' AND json_extract(told.data,'$.delay_ms') IS NOT NULL AND "
            "next.at_ms < told.at_ms + json_extract(told.data,'$.delay_ms')");
    }
    std::int64_t timers() const {
        return count(
            "SELECT count(*) FROM entries WHERE kind='retried' AND "
            "json_extract(data,'$.delay_ms') IS NOT NULL");
    }

    // As Stripe's own libraries judge: too old is too old, and from the future is no objection.
    void expect_signatures_judged(int offset_s) {
        EXPECT_THAT(deliver_unwanted(fmt::format("evt_clock{}", offset_s)),
                    HasSubstr(offset_s > 0 ? "HTTP/1.1 400" : "HTTP/1.1 200"));
    }
    void expect_all_well(const std::string& what) {
        EXPECT_THAT(deliver_unwanted("evt_right_clock"), HasSubstr("HTTP/1.1 200"));
        settle(40s);
        EXPECT_EQ(early_timers(), 0);
        EXPECT_EQ(count("SELECT count(*) FROM instances WHERE deaths>0"), 0);
        const auto all_timers = timers();
        const auto sum = expect_nothing_lost_or_repeated();
        fmt::print("{}: {} timers, 0 early; {} acknowledged, {} lost, {} effects repeated\n", what,
                   all_timers, sum.acknowledged, sum.lost, sum.repeated_effects);
    }
};

TEST_F(Clocks, ADayAheadFireWhatIsDueByThem) {
    if (const auto why = missing_library(); !why.empty()) GTEST_SKIP() << why;
    fake_the_clock();
    restart();
    let_all_sleep(5, 600);
    set_clock(day_s);
    // Ten minutes were promised, and a day is over.
    EXPECT_TRUE(becomes(unfinished, 0, 10s)) << log();
    expect_signatures_judged(day_s);
    set_clock(0);
    expect_all_well("a day ahead");
}

TEST_F(Clocks, ADayBehindFireNothingBeforeItsTime) {
    if (const auto why = missing_library(); !why.empty()) GTEST_SKIP() << why;
    fake_the_clock();
    restart();
    let_all_sleep(5, 2);
    set_clock(-day_s);
    std::this_thread::sleep_for(3s);
    EXPECT_EQ(completed(), 0) << "a timer fired a day too early";
    expect_signatures_judged(-day_s);
    set_clock(0);
    EXPECT_TRUE(becomes("SELECT count(*) FROM instances WHERE state='sleeping'", 0, 5s)) << log();
    expect_all_well("a day behind");
}

TEST_F(Clocks, ThatJumpToAndFroFireNothingTwice) {
    if (const auto why = missing_library(); !why.empty()) GTEST_SKIP() << why;
    fake_the_clock();
    restart();
    let_all_sleep(5, 2);
    for (int jump = 0; jump < 20; ++jump) {
        set_clock(jump % 3 == 0 ? day_s : jump % 3 == 1 ? -day_s : 0);
        // What is due a day ahead is begun by that clock, on a busy machine too: one that jumps
        // back between the claim and the intent makes any attempt look early.
        if (jump == 0) EXPECT_TRUE(becomes(unfinished, 0, 20s)) << log();
        if (jump % 4 == 0) buy(1);
        std::this_thread::sleep_for(150ms);
    }
    set_clock(0);
    expect_all_well("to and fro");
}

// A step at work while the clock jumps: its lease is over, or lasts for a day, by the wall clock.
class ClocksUnderALease : public Clocks, public ::testing::WithParamInterface<int> {};

TEST_P(ClocksUnderALease, TakeNobodysWorkAway) {
    if (const auto why = missing_library(); !why.empty()) GTEST_SKIP() << why;
    fake_the_clock();
    set("STEPLOG_LEASE", "2s");
    world().add_fault({.kind = sandbox::FaultKind::slow,
                       .provider = sandbox::Provider::clerk,
                       .route = "POST /v1/users",
                       .delay = 3000ms});
    restart();
    buy(5);
    const auto deadline = SteadyClock::now() + 20s;
    while (calls_for_accounts() < 5 && SteadyClock::now() < deadline) ASSERT_TRUE(lives(5ms));
    ASSERT_EQ(calls_for_accounts(), 5);
    std::vector<int> jumps{GetParam() * day_s};
    if (GetParam() == 0) jumps = {day_s, -day_s, day_s, 0, -day_s};
    for (const int jump : jumps) {
        set_clock(jump);
        std::this_thread::sleep_for(Ms(2400) / static_cast<int>(jumps.size()));
    }
    set_clock(0);
    EXPECT_TRUE(becomes(unfinished, 0, 20s)) << log();
    EXPECT_EQ(calls_for_accounts(), 5) << "a call was made while another server thread was at it";
    world().clear_faults();
    expect_all_well(fmt::format("{} jumps under a lease", jumps.size()));
}

INSTANTIATE_TEST_SUITE_P(ADay, ClocksUnderALease, ::testing::Values(1, -1, 0),
                         [](const auto& days) {
                             return days.param > 0   ? "Ahead"
                                    : days.param < 0 ? "Behind"
                                                     : "ToAndFro";
                         });

class ClocksOfALaterLife : public Clocks, public ::testing::WithParamInterface<int> {};

TEST_P(ClocksOfALaterLife, KeepEveryPromiseOfTheOneBefore) {
    if (const auto why = missing_library(); !why.empty()) GTEST_SKIP() << why;
    fake_the_clock();
    restart();
    let_all_sleep(5, GetParam() > 0 ? 600 : 2);
    kill_server();
    set_clock(GetParam() * day_s);
    restart();
    expect_signatures_judged(GetParam());
    if (GetParam() > 0) {
        EXPECT_TRUE(becomes(unfinished, 0, 10s)) << log();
    } else {
        std::this_thread::sleep_for(3s);
        EXPECT_EQ(completed(), 0) << "a timer fired a day too early";
    }
    kill_server();
    set_clock(0);
    restart();
    expect_all_well(fmt::format("{:+d} day at a restart", GetParam()));
}

INSTANTIATE_TEST_SUITE_P(ADay, ClocksOfALaterLife, ::testing::Values(1, -1),
                         [](const auto& days) { return days.param > 0 ? "Ahead" : "Behind"; });

// Another monotonic clock, as after a reboot: what was promised in the one before must not count.
class MonotonicClocks : public Clocks, public ::testing::WithParamInterface<int> {};

TEST_P(MonotonicClocks, MeanNothingToALaterLife) {
    if (const auto why = missing(true, {"unshare"}); !why.empty()) GTEST_SKIP() << why;
    const auto offset = fmt::format("{}", GetParam());
    const Command in_a_namespace{"/usr/bin/unshare", "--time", "--monotonic", offset,
                                 "--boottime",       offset};
    if (run({"/usr/bin/unshare", "--time", "--monotonic", offset, "/bin/true"}).exit.code != 0) {
        fmt::print(stderr, "*** SKIPPED: time namespaces do not work here\n");
        GTEST_SKIP() << "time namespaces do not work here";
    }
    start(in_a_namespace);
    ASSERT_TRUE(becomes_ready()) << log();
    let_all_sleep(5, 2);
    kill_server();
    restart();
    EXPECT_TRUE(becomes(unfinished, 0, 20s)) << log();
    let_all_sleep(5, 2);
    kill_server();
    start(in_a_namespace);
    ASSERT_TRUE(becomes_ready()) << log();
    EXPECT_TRUE(becomes(unfinished, 0, 20s)) << log();
    expect_all_well(fmt::format("a monotonic clock {:+d} s apart", GetParam()));
}

INSTANTIATE_TEST_SUITE_P(Seconds, MonotonicClocks, ::testing::Values(day_s, -60),
                         [](const auto& seconds) {
                             return seconds.param > 0 ? "ADayAhead" : "AMinuteBehind";
                         });

TEST_F(Clocks, ThatFiredTooEarlyWouldBeSeen) {
    if (const auto why = missing_library(); !why.empty()) GTEST_SKIP() << why;
    fake_the_clock();
    restart();
    let_all_sleep(2, 60);
    // The same timers, hastened by a person, by a clock that says that it is too early.
    set_clock(-day_s);
    Command resume{STEPLOG_BIN_DIR "/workflow-resume"};
    {
        SQLite::Database reader(database_.string(), SQLite::OPEN_READONLY, 5000);
        SQLite::Statement asleep(reader, "SELECT id FROM instances WHERE state='sleeping'");
        while (asleep.executeStep()) resume.push_back(asleep.getColumn(0).getString());
    }
    const auto resumed = run(resume, {{"STEPLOG_DATABASE", database_.string()}}, 20s);
    EXPECT_EQ(resumed.exit.code, 0) << resumed.errors;
    EXPECT_TRUE(becomes("SELECT count(*) FROM instances WHERE state='sleeping'", 0, 5s)) << log();
    set_clock(0);
    settle();
    EXPECT_EQ(early_timers(), 2) << "an early timer went unnoticed";
}

}  // namespace
}  // namespace steplog::testing
