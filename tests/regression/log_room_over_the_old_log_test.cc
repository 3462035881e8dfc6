// The story: a start moved the write-ahead log into the database, emptied it, and wrote zeros ahead
// into it, of which a power loss left a part and the emptying not: what was then found was the
// first part of the old log. Its pages were older than those in the database and took their place,
// so what was acknowledged was gone. Found by the simulation.
#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "engine/sqlite_store.h"
#include "tests/support/crash_vfs.h"
#include "tests/support/manual_clock.h"

namespace steplog::testing {
namespace {

const std::string path = "/steplog.db";
constexpr int accepted = 8;

class LogRoom : public ::testing::Test {
  protected:
    std::unique_ptr<Store> open() {
        return open_sqlite_store({.database = path, .writer_thread = false, .vfs = vfs_.name()},
                                 clock_);
    }
    // Every row changed twice, all of it acknowledged, most of it in the write-ahead log only.
    void live_and_die() {
        auto store = open();
        std::vector<std::string> ids;
        for (int i = 0; i < accepted; ++i) ids.push_back(fmt::format("w/{}", i));
        for (const std::string& id : ids)
            store
                ->accept(std::nullopt, NewInstance{.id = id, .workflow = "w", .input = "{}"}, false)
                .get();
        for (const std::string& id : ids) store->cancel({.ids = {id}}).get();
        vfs_.crash(Survival::page_cache, 0);
        store.reset();
        vfs_.restore(vfs_.image());
    }
    // False when the start came to its end before the n-th operation.
    bool start_cut_short_at(std::int64_t n) {
        vfs_.cut_after(n);
        try {
            open();
        } catch (const std::runtime_error&) {
            EXPECT_TRUE(vfs_.is_cut());
        }
        return vfs_.is_cut();
    }
    std::string found() {
        open();
        SQLite::Database reader(path, SQLite::OPEN_READONLY, 0, vfs_.name());
        return reader.execAndGet("PRAGMA integrity_check").getString() + ", cancelled: " +
               reader.execAndGet("SELECT count(*) FROM instances WHERE state='cancelled'")
                   .getString();
    }
    ManualClock clock_;
    CrashVfs vfs_{"log_room"};
};

TEST_F(LogRoom, NeverMakesAnOlderLogOfTheOneThatWasEmptied) {
    live_and_die();
    const auto left = vfs_.image();
    constexpr std::uint64_t seeds = 40;
    int cuts = 0;
    for (std::int64_t n = 1; start_cut_short_at(n); ++n) {
        const std::string at = vfs_.cut_at();
        const bool writes_ahead = at.find("-wal 65536 bytes") != at.npos;
        for (std::uint64_t seed = 0; writes_ahead && seed < seeds; ++seed, ++cuts) {
            vfs_.restore(left);
            ASSERT_TRUE(start_cut_short_at(n));
            vfs_.crash(Survival::torn, seed);
            ASSERT_EQ(found(), fmt::format("ok, cancelled: {}", accepted)) << "cut at " << at;
        }
        vfs_.restore(left);
    }
    EXPECT_GT(cuts, 100);
}

}  // namespace
}  // namespace steplog::testing
