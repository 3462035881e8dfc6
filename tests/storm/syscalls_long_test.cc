// Killed or failed at a chosen system call, by strace: SIGKILL at every n-th pwrite64, fdatasync,
// ftruncate, unlink and sendto; EIO from every n-th fdatasync, pwrite64 and pread64. n counts
// within a thread, so small ones strike at the start and larger ones the writer at work. And the
// control: a server that acknowledges before the commit is caught. STEPLOG_KILL_POINTS and
// STEPLOG_ERROR_POINTS ask for more than the usual 100 and 60.
#include <fmt/core.h>

#include <csignal>
#include <fstream>

#include "tests/storm/world.h"

namespace steplog::testing {
namespace {

using namespace std::chrono_literals;

class Syscalls : public StormWorld {
  protected:
    std::filesystem::path trace() const { return directory_ / "trace"; }

    // -D: the server stays our child, and strace its tracer beside it. (With --seccomp-bpf strace
    // 6.1 forgets to send signals; errors it gives.)
    Command strace_to_kill(const std::string& call, int n) const {
        return {"/usr/bin/strace",
                "-D",
                "-f",
                "-qq",
                "-o",
                "/dev/null",
                "-e",
                "trace=" + call,
                "-e",
                fmt::format("inject={}:signal=KILL:when={}", call, n)};
    }
    Command strace_to_fail(const std::string& call, int n) const {
        Command command{"/usr/bin/strace",
                        "-D",
                        "-f",
                        "-qq",
                        "--seccomp-bpf",
                        "-ttt",
                        "-s",
                        "200",
                        "-o",
                        trace(),
                        "-e",
                        fmt::format("inject={}:error=EIO:when={}", call, n)};
        const bool reads = call == "pread64";  // the loader's own are not meant
        const Command rest =
            reads
                ? Command{"-e", "trace=" + call, "-P", database_, "-P", database_.string() + "-wal"}
                : Command{"-e", "trace=" + call + ",sendto"};
        command.insert(command.end(), rest.begin(), rest.end());
        return command;
    }

    // One life that meets its fault, sooner or later or never. Returns how it ended; nothing when
    // it was still alive after its customers were served (and then it is asked to stop).
    Exit live_with(const Command& fault, const std::string& program = server_program) {
        start(fault, program);
        const auto deadline = SteadyClock::now() + 10s;
        if (becomes_ready(10s)) {
            buy(1);
            while (SteadyClock::now() < deadline && lives(2ms) && unfinished() > 0) {
            }
            if (lives()) server_->signal(SIGTERM);
        }
        const auto end = exited(30s);
        EXPECT_TRUE(end) << "still running\n" << log();
        return end.value_or(Exit{});
    }
    std::int64_t unfinished() {
        return static_cast<std::int64_t>(sender().pending()) +
               count("SELECT count(*) FROM instances WHERE finished_at_ms IS NULL");
    }
    void make_the_file() {
        start();
        ASSERT_TRUE(becomes_ready()) << log();
        stop_server();
    }
};

// What strace saw: when the fault was injected, what was answered 200 later than the answers that
// were under way, when the process ended.
struct Trace {
    bool struck = false;
    double injected_s = 0, ended_s = 0;
    int answered_later = 0;
};

Trace read_trace(const std::filesystem::path& path) {
    // An answer whose commit was over before the fault may leave shortly after it.
    constexpr double under_way_s = 0.05;
    Trace seen;
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) {
        const auto blank = line.find(' ');
        if (blank == std::string::npos) continue;
        const double at_s = std::atof(line.c_str() + blank);
        if (line.find("(INJECTED)") != std::string::npos) {
            // The last one counts: the first may have been the holder's number in the lock file,
            // which nobody needs, and another thread's n-th call the one that hurt.
            seen = {.struck = true, .injected_s = at_s};
        }
        seen.ended_s = std::max(seen.ended_s, at_s);
        seen.answered_later += seen.struck && at_s > seen.injected_s + under_way_s &&
                               line.find("sendto(") != std::string::npos &&
                               line.find("HTTP/1.1 200") != std::string::npos &&
                               line.find("received") != std::string::npos;
    }
    return seen;
}

TEST_F(Syscalls, KilledAtAnyLoseAndRepeatNothing) {
    if (const auto why = missing(false, {"strace"}); !why.empty()) GTEST_SKIP() << why;
    const int points = wanted("STEPLOG_KILL_POINTS", 100);
    make_the_file();
    int tried = 0, struck = 0;
    const auto begin = SteadyClock::now();
    std::map<std::string, int> struck_at;
    for (int n = 1; tried < points; ++n) {
        for (const std::string call : {"pwrite64", "fdatasync", "ftruncate", "unlink", "sendto"}) {
            // There are few of these in a life.
            if ((call == "unlink" && n > 4) || (call == "ftruncate" && n > 4)) continue;
            if (++tried > points) break;
            const Exit end = live_with(strace_to_kill(call, n));
            EXPECT_TRUE(end.signal == SIGKILL || end.code == 0)
                << call << " " << n << ": exit " << end.code << " signal " << end.signal << log();
            struck += end.signal == SIGKILL;
            struck_at[call] += end.signal == SIGKILL;
        }
    }
    restart();
    const int poisoned = settle_resuming("poison");
    const auto sum = expect_nothing_lost_or_repeated();
    EXPECT_GE(struck, points / 2);
    fmt::print("killed at {} of {} chosen system calls in {:.0f} s", struck, points,
               std::chrono::duration<double>(SteadyClock::now() - begin).count());
    for (const auto& [call, times] : struck_at) fmt::print(", {} {}", call, times);
    fmt::print(": {} acknowledged, {} lost, {} effects repeated; {} taken for poison\n",
               sum.acknowledged, sum.lost, sum.repeated_effects, poisoned);
}

TEST_F(Syscalls, FailedWithAnIoErrorEndTheProcessWithinASecond) {
    if (const auto why = missing(false, {"strace"}); !why.empty()) GTEST_SKIP() << why;
    const int points = wanted("STEPLOG_ERROR_POINTS", 60);
    make_the_file();
    int struck = 0, at_start = 0, answered_later = 0;
    double slowest_s = 0;
    for (int point = 0; point < points; ++point) {
        const std::string call =
            std::vector<std::string>{"fdatasync", "pwrite64", "pread64"}[point % 3];
        const int n = point / 3 + 1;
        const auto before = count("SELECT max(id) FROM owners");
        std::filesystem::remove(trace());
        const Exit end = live_with(strace_to_fail(call, n));
        const Trace seen = read_trace(trace());
        if (!seen.struck) {
            EXPECT_EQ(end.code, 0) << call << " " << n << log();
            continue;
        }
        ++struck;
        answered_later += seen.answered_later;
        // Before it has become the owner it refuses to start, afterwards it ends as failed.
        const bool started = count("SELECT max(id) FROM owners") > before;
        at_start += end.code == 1;
        EXPECT_TRUE(end.code == 74 || end.code == 1 || end.signal == SIGALRM || end.code == 0)
            << call << " " << n << ": exit " << end.code << " signal " << end.signal << log();
        if (end.code == 0)
            EXPECT_FALSE(started && call != "pread64") << call << " " << n << " went unnoticed";
        else
            slowest_s = std::max(slowest_s, seen.ended_s - seen.injected_s);
    }
    EXPECT_EQ(answered_later, 0);
    EXPECT_LT(slowest_s, 2.0) << "one second is promised; a busy machine may add to it";
    restart();
    const int poisoned = settle_resuming("poison");
    const auto sum = expect_nothing_lost_or_repeated();
    EXPECT_GE(struck, points / 2);
    fmt::print(
        "I/O errors at {} of {} chosen system calls ({} while starting): the slowest end {:.2f} s "
        "later, {} answered after it; {} acknowledged, {} lost, {} effects repeated; {} taken "
        "for poison\n",
        struck, points, at_start, slowest_s, answered_later, sum.acknowledged, sum.lost,
        sum.repeated_effects, poisoned);
}

TEST_F(Syscalls, KilledCatchAServerThatAcknowledgesBeforeTheCommit) {
    if (const auto why = missing(false, {"strace"}); !why.empty()) GTEST_SKIP() << why;
    make_the_file();
    set("BROKEN_PROMISE", "early");
    int lives_led = 0;
    for (int n = 3; n <= 60 && lost() == 0; ++n, ++lives_led)
        live_with(strace_to_kill("pwrite64", n), broken_server_program);
    EXPECT_GT(lost(), 0) << "a broken promise went unnoticed";
    fmt::print("control: acknowledging before the commit is caught after {} lives\n", lives_led);
}

}  // namespace
}  // namespace steplog::testing
