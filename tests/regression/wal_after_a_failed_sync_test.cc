// The story: a sync of the WAL fails, the store ends for good, and the next process begins. Linux
// goes on showing it what was written, but calls it clean: the sync with which SQLite's checkpoint
// begins answers OK and makes nothing durable. The checkpoint then moved frames into the database
// that a power loss took from the WAL; when that came in the middle, half of a transaction was
// left, and the database was damaged for ever. Writing the WAL once more mended that, and took
// durable frames on disks that tear neighbouring sectors. Since then the WAL is copied first.
#include <gtest/gtest.h>
#include <sqlite3.h>

#include "engine/sqlite_store.h"
#include "tests/engine/house.h"
#include "tests/support/crash_vfs.h"
#include "tests/support/manual_clock.h"

namespace steplog::testing {
namespace {

class WalAfterAFailedSync : public ::testing::Test {
  protected:
    std::unique_ptr<Store> open() {
        SqliteOptions options{.database = "steplog.db", .writer_thread = false};
        options.vfs = vfs.name();
        return open_sqlite_store(options, clock);
    }

    // Whether it was there already.
    bool accept(Store& store, int number) {
        const std::string id = "evt_" + std::to_string(number);
        return store
            .accept(NewEvent{.source = "test",
                             .id = id,
                             .type = "",
                             .subject = "",
                             .reason = "",
                             .body = std::string(6000, 'x')},
                    NewInstance{.id = "w/" + id, .workflow = "w", .key = "", .input = {}}, false)
            .get()
            .duplicate;
    }

    // A process whose last commit was written and could not be synced.
    void leave_an_unsynced_commit() {
        vfs.restore({});
        auto store = open();
        for (int number = 1; number <= 8; ++number) accept(*store, number);
        vfs.fail(Operation::sync, 1, SQLITE_IOERR_FSYNC);
        EXPECT_THROW(accept(*store, 9), StoreError);
        store.reset();
        vfs.clear_faults();
        vfs.crash(Survival::page_cache, 0);
    }

    CrashVfs vfs{"regression-wal", {.powersafe_overwrite = false}};
    ManualClock clock;
};

TEST_F(WalAfterAFailedSync, IsWrittenOnceMoreBeforeItIsReliedOn) {
    int opened = 0;
    for (const Survival survival : {Survival::synced, Survival::torn}) {
        for (std::int64_t after = 1;; ++after) {
            leave_an_unsynced_commit();
            vfs.cut_after(after);
            bool through = true;
            try {
                open();
            } catch (const std::runtime_error&) {
                through = false;
            }
            through = through && !vfs.is_cut();
            vfs.crash(survival, static_cast<std::uint64_t>(after));
            ASSERT_NO_THROW(accept(*open(), 10)) << "the power went at operation " << after;
            ASSERT_TRUE(accept(*open(), 8)) << "the power went at operation " << after;
            ++opened;
            if (through) break;
        }
    }
    EXPECT_GT(opened, 40);
}

// SQLite's own VFS takes less than 128 KiB at once, and says that the disk is full otherwise.
TEST(WalOfManyPages, IsWrittenOnceMoreInPieces) {
    House house;
    house.add("w", [](Context&, const Json& input) { return input; });
    house.start("1", "w", {{"long", std::string(700'000, 'x')}});
    house.remember();
    house.die_as_remembered();
    house.run_to_the_end();
    EXPECT_EQ(house.state("1"), "completed");
}

}  // namespace
}  // namespace steplog::testing
