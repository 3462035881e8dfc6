// Killed by strace at chosen system calls, one after the other: a server that makes or migrates its
// database, and workflow-admin that writes a backup. STEPLOG_INTERRUPTIONS asks for more than the
// usual 60 of each.
#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/core.h>

#include <csignal>
#include <fstream>

#include "migrations/migrations.h"
#include "tests/storm/world.h"

namespace steplog::testing {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

const std::string admin_program = STEPLOG_BIN_DIR "/workflow-admin";
const std::string inspect_program = STEPLOG_BIN_DIR "/workflow-inspect";

class Interrupted : public StormWorld {
  protected:
    static Command strace_to_kill(const std::string& call, int n) {
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

    // --- migrations

    void begin_from(const fs::path& released) {
        for (const char* suffix : {"", "-wal", "-shm", "-journal", ".reserve"})
            fs::remove(database_.string() + suffix);
        if (!released.empty()) fs::copy_file(released, database_);
    }
    // On a copy: looking at a database that was left by a kill recovers it.
    struct Left {
        int schema = 0;
        int instances = 0;  // unfinished: what has ended is old enough for retention
        std::string integrity;
    };
    Left look() const {
        const fs::path copy = directory_ / "left.db";
        for (const char* suffix : {"", "-wal", "-journal"}) {
            fs::remove(copy.string() + suffix);
            if (fs::exists(database_.string() + suffix))
                fs::copy_file(database_.string() + suffix, copy.string() + suffix);
        }
        fs::remove(copy.string() + "-shm");
        SQLite::Database reader(copy.string(), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
        Left left{.schema = reader.execAndGet("PRAGMA user_version").getInt(),
                  .integrity = reader.execAndGet("PRAGMA integrity_check").getString()};
        if (left.schema > 0)
            left.instances =
                reader.execAndGet("SELECT count(*) FROM instances WHERE finished_at_ms IS NULL")
                    .getInt();
        return left;
    }
    // Whether it was killed before it was ready.
    bool killed_while_starting(const std::string& call, int n) {
        start(strace_to_kill(call, n));
        if (becomes_ready(20s)) {
            kill_server();
            return false;
        }
        const auto end = exited(20s);
        EXPECT_TRUE(end && end->signal == SIGKILL) << call << " " << n << log();
        return true;
    }
    void expect_the_next_start_completes(int instances, const std::string& when) {
        start();
        ASSERT_TRUE(becomes_ready()) << when << log();
        stop_server();
        const Left now = look();
        EXPECT_EQ(now.schema, present) << when;
        EXPECT_EQ(now.instances, instances) << when;
        const auto check = run({inspect_program, "--database", database_, "check"});
        EXPECT_EQ(check.exit.code, 0) << when << check.output << check.errors;
    }

    const int present = sqlite_migrations().back().number;
};

TEST_F(Interrupted, MigrationsLeaveOneSchemaOrTheOtherAndTheNextStartCompletesThem) {
    if (const auto why = missing(false, {"strace"}); !why.empty()) GTEST_SKIP() << why;
    std::map<int, fs::path> beginnings = {{0, {}}};
    for (int number = 1; number < present; ++number)
        beginnings[number] =
            fs::path(STEPLOG_SOURCE_DIR) / "tests/data/schema" / fmt::format("{:04}.db", number);
    const int points = wanted("STEPLOG_INTERRUPTIONS", 60);
    for (const auto& [schema, released] : beginnings) {
        int struck = 0, old_ones = 0;
        const int instances = schema == 0 ? 0 : 5;
        for (const auto& [call, stride] :
             {std::pair<std::string, int>("fdatasync", 1), {"ftruncate", 1}, {"pwrite64", 4}}) {
            bool killed = true;
            for (int n = 1; killed && n <= points * stride / 3; n += stride) {
                const auto when = fmt::format("from schema {}, {} {}", schema, call, n);
                begin_from(released);
                killed = killed_while_starting(call, n);
                if (!killed) break;
                ++struck;
                const Left left = look();
                old_ones += left.schema == schema;
                EXPECT_TRUE(left.schema >= schema && left.schema <= present) << when;
                EXPECT_EQ(left.integrity, "ok") << when;
                EXPECT_EQ(left.instances, left.schema == 0 ? 0 : instances) << when;
                expect_the_next_start_completes(instances, when);
                ASSERT_FALSE(HasFailure()) << when;
            }
        }
        fmt::print("killed {} times while schema {} became {}: {} left the old one\n", struck,
                   schema, present, old_ones);
        EXPECT_GT(struck, 8);
        EXPECT_GT(old_ones, 0);
    }
    begin_from({});
    killed_while_starting("fdatasync", 2);
    start();
    ASSERT_TRUE(becomes_ready()) << log();
    buy(2);
    settle();
    expect_nothing_lost_or_repeated();
}

TEST_F(Interrupted, AnOlderProgramRefusesTheNewerSchemaAndChangesNothing) {
    start();
    ASSERT_TRUE(becomes_ready()) << log();
    stop_server();
    SQLite::Database(database_.string(), SQLite::OPEN_READWRITE)
        .exec(fmt::format("PRAGMA user_version={}", present + 1));
    const auto bytes = [&] {
        std::ifstream file(database_, std::ios::binary);
        return std::string(std::istreambuf_iterator<char>(file), {});
    };
    const std::string before = bytes();
    start();
    const auto end = exited(20s);
    ASSERT_TRUE(end);
    EXPECT_EQ(end->code, 1);
    EXPECT_NE(log().find("use the newer program"), std::string::npos) << log();
    EXPECT_EQ(bytes(), before);
}

TEST_F(Interrupted, BackupsAreWholeOrNotThere) {
    if (const auto why = missing(false, {"strace"}); !why.empty()) GTEST_SKIP() << why;
    start();
    ASSERT_TRUE(becomes_ready()) << log();
    buy(10);
    settle();
    const fs::path target = directory_ / "backups" / "whole.db";
    fs::create_directories(target.parent_path());
    const Command order = {admin_program, "--database", database_, "backup", target};
    const Command verify = {admin_program, "--database", database_, "verify", target};
    const int points = wanted("STEPLOG_INTERRUPTIONS", 60);
    int tried = 0, struck = 0, whole = 0;
    std::ptrdiff_t drafts = 0;
    const auto files_of = [](const fs::path& directory) {
        return std::distance(fs::directory_iterator(directory), fs::directory_iterator());
    };
    for (const auto& [call, stride] : {std::pair<std::string, int>("renameat2", 1),
                                       {"fsync", 1},
                                       {"fdatasync", 1},
                                       {"unlink", 1},
                                       {"ftruncate", 1},
                                       {"pwrite64", 5}}) {
        bool killed = true;
        for (int n = 1; killed && tried < points; n += stride, ++tried) {
            Command traced = strace_to_kill(call, n);
            traced.insert(traced.end(), order.begin(), order.end());
            const Exit end = run(traced).exit;
            killed = end.signal == SIGKILL;
            EXPECT_TRUE(killed || end.code == 0) << call << " " << n;
            struck += killed;
            if (fs::exists(target)) {
                ++whole;
                const auto verdict = run(verify);
                EXPECT_EQ(verdict.exit.code, 0) << call << " " << n << verdict.errors;
            } else {
                EXPECT_TRUE(killed) << call << " " << n;
            }
            // Another one leaves nothing of it.
            fs::remove(target);
            drafts += files_of(target.parent_path());
            EXPECT_EQ(run(order).exit.code, 0) << call << " " << n;
            EXPECT_EQ(files_of(target.parent_path()), 1) << call << " " << n;
            fs::remove(target);
        }
    }
    EXPECT_GT(struck, 10);
    EXPECT_GT(drafts, 10);
    EXPECT_GT(whole, 0);
    EXPECT_EQ(run(order).exit.code, 0);
    // The control: a copy that was cut short under that name would have been noticed.
    fs::resize_file(target, fs::file_size(target) / 2);
    EXPECT_NE(run(verify).exit.code, 0);
    expect_nothing_lost_or_repeated();
    fmt::print(
        "workflow-admin backup killed at {} of {} chosen system calls beside a live server: "
        "{} whole backups, none by halves; {} files left, all removed by the next\n",
        struck, tried, whole, drafts);
}

}  // namespace
}  // namespace steplog::testing
