// The power goes while a restored backup is opened: either the backup's mark is still there, or
// every unfinished instance knows that it was restored. Never neither, or its effects would be
// repeated.
#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "engine/backup.h"
#include "engine/sqlite_store.h"
#include "tests/support/crash_vfs.h"
#include "tests/support/manual_clock.h"

namespace steplog::testing {
namespace {

const std::string path = "/steplog.db";
constexpr int unfinished = 3;

class PowerLossWhileRestoring : public ::testing::Test {
  protected:
    PowerLossWhileRestoring() {
        {
            const auto store = open();
            for (int i = 0; i < unfinished; ++i) {
                auto accepted = store->accept(
                    std::nullopt,
                    NewInstance{.id = fmt::format("w/{}", i), .workflow = "w", .input = "{}"},
                    false);
                store->flush();
                accepted.get();
            }
        }
        copy_and_mark(path, "/copy.db", clock_, vfs_.name());
        vfs_.crash(Survival::everything, 0);
        auto disk = vfs_.image();
        restored_ = {{path, disk.at("/copy.db")}};
    }
    std::unique_ptr<Store> open() {
        return open_sqlite_store({.database = path, .writer_thread = false, .vfs = vfs_.name()},
                                 clock_);
    }
    std::int64_t count(const char* query) {
        // Not read-only: the journal of the switch to a WAL may be hot.
        SQLite::Database reader(path, SQLite::OPEN_READWRITE, 0, vfs_.name());
        return reader.execAndGet(query).getInt64();
    }
    // Either the mark or the record, and with the record all entries.
    void expect_known() {
        const auto marks = count("SELECT count(*) FROM meta WHERE name='backup'");
        const auto records = count("SELECT count(*) FROM meta WHERE name='restores'");
        EXPECT_EQ(marks + records, 1);
        EXPECT_EQ(count("SELECT count(*) FROM entries WHERE kind='recorded'"),
                  records * unfinished);
        ++(marks == 1 ? before_ : after_);
    }
    // One life on this disk, cut at the n-th operation; false when it was through before that.
    bool live(const CrashVfs::Image& from, std::int64_t n, Survival survival) {
        vfs_.restore(from);
        vfs_.cut_after(n);
        try {
            open();
        } catch (const std::runtime_error&) {
            EXPECT_TRUE(vfs_.is_cut());
        }
        if (!vfs_.is_cut()) return false;
        vfs_.crash(survival, static_cast<std::uint64_t>(n));
        const auto left = vfs_.image();
        expect_known();
        vfs_.restore(left);
        return true;
    }

    ManualClock clock_;
    CrashVfs vfs_{"restoring"};
    CrashVfs::Image restored_;
    int before_ = 0, after_ = 0;
};

TEST_F(PowerLossWhileRestoring, NeverForgetsThatItWasRestored) {
    for (const Survival survival : {Survival::synced, Survival::everything, Survival::torn}) {
        for (std::int64_t n = 1; live(restored_, n, survival); ++n) {
            const auto left = vfs_.image();
            for (std::int64_t m = 1 + n % 11; live(left, m, survival); m += 11) {
            }
            vfs_.restore(left);
            open();
            EXPECT_EQ(count("SELECT count(*) FROM entries WHERE kind='recorded'"), unfinished)
                << "cut at " << n;
        }
    }
    fmt::print("{} cuts while opening a restored backup, {} of them before it was noted\n",
               before_ + after_, before_);
    EXPECT_GT(before_, 50);
    EXPECT_GT(after_, 50);
}

}  // namespace
}  // namespace steplog::testing
