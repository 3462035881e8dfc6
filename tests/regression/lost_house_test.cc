// The story: a server whose database was removed, moved away or replaced under it went on answering
// 200, since its descriptors still led to the file without a name; at the next start all of that
// was gone. And one whose lock file was removed did not notice that another server had taken the
// database over while it was stopped (SIGSTOP): its claims were fenced, but not what it accepted.
// Now every commit asks first whether files and ownership are still its own.
#include <SQLiteCpp/SQLiteCpp.h>
#include <gtest/gtest.h>

#include <fstream>

#include "engine/sqlite_store.h"
#include "tests/support/manual_clock.h"
#include "tests/support/temporary_directory.h"

namespace steplog {
namespace {

namespace fs = std::filesystem;

class LostHouse : public ::testing::Test {
  protected:
    std::unique_ptr<Store> open() {
        return open_sqlite_store({.database = database_,
                                  .writer_thread = false,
                                  .on_fatal = [this](const std::string& why) { fatal_ = why; }},
                                 clock_);
    }
    // What became of an event: "accepted", or why not.
    static std::string accept(Store& store, const std::string& id) {
        try {
            store
                .accept(NewEvent{.source = "test",
                                 .id = id,
                                 .type = "t",
                                 .disposition = NewEvent::Disposition::ignored,
                                 .reason = "test",
                                 .body = "{}"},
                        std::nullopt, false)
                .get();
        } catch (const StoreError& error) {
            EXPECT_EQ(error.kind(), StoreError::Kind::failed);
            return error.what();
        }
        return "accepted";
    }
    fs::path part(const std::string& suffix) const { return database_.string() + suffix; }

    testing::TemporaryDirectory directory_;
    testing::ManualClock clock_;
    const fs::path database_ = directory_ / "steplog.db";
    std::string fatal_;
};

TEST_F(LostHouse, AcknowledgesNothingOnceAFileOfItIsGone) {
    for (const std::string suffix : {"", "-wal", ".lock"}) {
        auto store = open();
        EXPECT_EQ(accept(*store, "before" + suffix), "accepted");
        fs::rename(part(suffix), directory_ / "away");
        const std::string why = accept(*store, "after" + suffix);
        EXPECT_NE(why.find(part(suffix).string() + " was removed or replaced"), std::string::npos)
            << why;
        EXPECT_EQ(fatal_, why);
        EXPECT_EQ(store->health(), Store::Health::failed);
        fs::rename(directory_ / "away", part(suffix));
        EXPECT_EQ(accept(*store, "too late"), why) << "it trusted a file that came back";
        store.reset();

        // With the right file in its place again nothing that was acknowledged is missing.
        SQLite::Database left(database_, SQLite::OPEN_READONLY);
        EXPECT_EQ(
            left.execAndGet("SELECT count(*) FROM events WHERE id='before" + suffix + "'").getInt(),
            1);
        EXPECT_EQ(left.execAndGet("SELECT count(*) FROM events WHERE id LIKE 'after%'").getInt(),
                  0);
    }
}

TEST_F(LostHouse, LeavesAReplacementAloneWhenItCloses) {
    auto store = open();
    EXPECT_EQ(accept(*store, "evt_1"), "accepted");
    for (const std::string suffix : {"", "-wal"}) {
        fs::remove(part(suffix));
        std::ofstream(part(suffix)) << "another file";
    }
    store.reset();
    for (const std::string suffix : {"", "-wal"})
        EXPECT_EQ(fs::file_size(part(suffix)), 12u) << "what was put there: " << suffix;
}

TEST_F(LostHouse, WritesNothingMoreOnceAnotherOwnerCame) {
    auto zombie = open();
    EXPECT_EQ(accept(*zombie, "evt_1"), "accepted");
    {
        SQLite::Database other(database_, SQLite::OPEN_READWRITE);
        other.exec("INSERT INTO owners(started_at_ms, program, pid) VALUES (1,'other',1)");
    }
    const std::string why = accept(*zombie, "evt_2");
    EXPECT_NE(why.find("taken over by another process"), std::string::npos) << why;
    zombie.reset();
    SQLite::Database left(database_, SQLite::OPEN_READONLY);
    EXPECT_EQ(left.execAndGet("SELECT count(*) FROM events").getInt(), 1);
    EXPECT_EQ(left.execAndGet("SELECT count(*) FROM owners WHERE ended_at_ms IS NOT NULL").getInt(),
              0)
        << "it closed the other one's life";
}

// The second story: what an owner left in the WAL is moved and synced before the next one
// acknowledges anything, because a failed sync may have left pages that only look written. With a
// reader in the way SQLite says BUSY, and that was not looked at.
TEST_F(LostHouse, IsNotOpenedWhileAReaderKeepsTheOldWalFromBeingMadeSafe) {
    open().reset();
    SQLite::Database reader(database_, SQLite::OPEN_READONLY, 5000);
    {
        SQLite::Database last(database_, SQLite::OPEN_READWRITE);
        last.exec("PRAGMA wal_autocheckpoint=0");
        last.exec("INSERT INTO owners(started_at_ms, program, pid) VALUES (1,'last',1)");
        reader.exec("BEGIN");
        EXPECT_EQ(reader.execAndGet("SELECT count(*) FROM owners").getInt(), 2);
        last.exec("INSERT INTO owners(started_at_ms, program, pid) VALUES (2,'last',1)");
    }
    try {
        open();
        ADD_FAILURE() << "it was opened all the same";
    } catch (const OpenError& error) {
        EXPECT_NE(std::string(error.what()).find("is being read by another program"),
                  std::string::npos)
            << error.what();
    }
    reader.exec("COMMIT");
    EXPECT_EQ(accept(*open(), "evt_1"), "accepted");
}

// The third story: a server was stopped (SIGSTOP) in the middle of a write and its lock file
// removed; the next one could not have the file, and said only that it was locked.
TEST_F(LostHouse, IsNotOpenedInTheMiddleOfAnothersWriteAndSaysWhatToDo) {
    open().reset();
    SQLite::Database writer(database_, SQLite::OPEN_READWRITE);
    writer.exec("BEGIN IMMEDIATE");
    try {
        open();
        ADD_FAILURE() << "it was opened all the same";
    } catch (const OpenError& error) {
        const std::string what = error.what();
        EXPECT_NE(what.find("is being written by another program"), std::string::npos) << what;
        EXPECT_NE(what.find("end it, and start again"), std::string::npos) << what;
    }
    writer.exec("ROLLBACK");
    EXPECT_EQ(accept(*open(), "evt_1"), "accepted");
}

}  // namespace
}  // namespace steplog
