// The disk that loses its power, under plain SQLite: it must keep what was synced, lose the rest,
// and show the mistakes that it exists to show.
#include "tests/support/crash_vfs.h"

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/core.h>
#include <gtest/gtest.h>
#include <sqlite3.h>

#include "tests/support/manual_clock.h"

namespace steplog::testing {
namespace {

constexpr int read_write = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_EXRESCODE;

SQLite::Database open(CrashVfs& vfs, int flags = read_write) {
    return SQLite::Database(std::string("test.db"), flags, 0, vfs.name());
}

SQLite::Database open_configured(CrashVfs& vfs, const std::string& synchronous,
                                 const std::string& journal) {
    auto database = open(vfs);
    database.exec("PRAGMA journal_mode=" + journal);
    database.exec("PRAGMA synchronous=" + synchronous);
    database.exec("PRAGMA wal_autocheckpoint=12");
    return database;
}

CrashVfs::Image empty_table(CrashVfs& vfs, const std::string& journal) {
    vfs.restore({});
    {
        auto database = open_configured(vfs, "FULL", journal);
        database.exec(
            "CREATE TABLE t(n INTEGER PRIMARY KEY, text TEXT); CREATE INDEX i ON t(text)");
    }
    vfs.crash(Survival::everything, 0);
    return vfs.image();
}

struct Losses {
    int cuts = 0;
    int lost = 0;     // acknowledged rows that are gone
    int corrupt = 0;  // databases that are damaged or cannot be opened
};

// Inserts rows 1, 2, … in one transaction each until the power goes.
void insert_until_the_end(CrashVfs& vfs, const std::string& synchronous, const std::string& journal,
                          int& acknowledged, int& attempted) {
    try {
        auto database = open_configured(vfs, synchronous, journal);
        SQLite::Statement insert(database, "INSERT INTO t VALUES (?, ?)");
        while (attempted < acknowledged + 40) {
            insert.bind(1, ++attempted);
            insert.bind(2, fmt::format("{:0>700}", attempted * 7919 % 1000));
            insert.exec();
            insert.reset();
            acknowledged = attempted;
        }
    } catch (const SQLite::Exception&) {
        EXPECT_TRUE(vfs.is_cut());
    }
}

void count_losses(CrashVfs& vfs, int acknowledged, int attempted, Losses& losses) {
    try {
        auto database = open(vfs);
        if (database.execAndGet("PRAGMA integrity_check").getString() != "ok") {
            ++losses.corrupt;
            return;
        }
        const int rows = database.execAndGet("SELECT count(*) FROM t").getInt();
        EXPECT_LE(rows, attempted);
        losses.lost += std::max(0, acknowledged - rows);
    } catch (const SQLite::Exception&) {
        ++losses.corrupt;
    }
}

Losses cut_often(int cuts, CrashVfs::Options options, const std::string& synchronous,
                 const std::string& journal = "WAL") {
    CrashVfs vfs("crash-plain", {.powersafe_overwrite = options.powersafe_overwrite});
    const auto base = empty_table(vfs, journal);
    vfs.set_options(options);
    Losses losses;
    for (int cut = 0; cut < cuts; ++cut) {
        SeededRandom random(static_cast<std::uint64_t>(cut));
        vfs.restore(base);
        int acknowledged = 0, attempted = 0;
        vfs.cut_after(1 + static_cast<std::int64_t>(random.below(150)));
        insert_until_the_end(vfs, synchronous, journal, acknowledged, attempted);
        const auto survival = static_cast<Survival>(random.below(3));
        vfs.crash(survival, random.next());
        if (random.below(2)) {
            // The power goes again while SQLite recovers.
            vfs.cut_after(1 + static_cast<std::int64_t>(random.below(20)));
            try {
                open(vfs).execAndGet("SELECT count(*) FROM t");
            } catch (const SQLite::Exception&) {
                EXPECT_TRUE(vfs.is_cut() || options.lying_sync);
            }
            vfs.crash(static_cast<Survival>(random.below(3)), random.next());
        }
        count_losses(vfs, acknowledged, attempted, losses);
        ++losses.cuts;
    }
    fmt::print("{} {} lying={} psow={}: {} cuts, {} acknowledged rows lost, {} databases damaged\n",
               journal, synchronous, options.lying_sync, options.powersafe_overwrite, losses.cuts,
               losses.lost, losses.corrupt);
    return losses;
}

TEST(CrashVfs, LosesNothingThatAFullSyncAcknowledged) {
    for (const bool powersafe : {true, false}) {
        const auto losses = cut_often(500, {.powersafe_overwrite = powersafe}, "FULL");
        EXPECT_EQ(losses.lost, 0);
        EXPECT_EQ(losses.corrupt, 0);
    }
}

TEST(CrashVfs, LosesNothingUnderARollbackJournal) {
    const auto losses = cut_often(300, {}, "EXTRA", "DELETE");
    EXPECT_EQ(losses.lost, 0);
    EXPECT_EQ(losses.corrupt, 0);
}

TEST(CrashVfs, ShowsThatNormalLosesWhatItAcknowledged) {
    const auto losses = cut_often(200, {}, "NORMAL");
    EXPECT_GT(losses.lost, 0);
    EXPECT_EQ(losses.corrupt, 0);
}

TEST(CrashVfs, ShowsThatALyingDiskDamagesTheDatabase) {
    const auto losses = cut_often(300, {.lying_sync = true}, "FULL");
    EXPECT_GT(losses.lost, 0);
    EXPECT_GT(losses.corrupt, 0);
}

TEST(CrashVfs, FailsEverythingOnceThePowerIsGone) {
    CrashVfs vfs("crash-plain");
    vfs.restore(empty_table(vfs, "WAL"));
    auto database = open_configured(vfs, "FULL", "WAL");
    vfs.cut_after(2);
    EXPECT_THROW(database.exec("INSERT INTO t VALUES (1, 'one')"), SQLite::Exception);
    EXPECT_TRUE(vfs.is_cut());
    EXPECT_EQ(vfs.operations(), 2);
    EXPECT_NE(vfs.cut_at().find("test.db-wal"), std::string::npos) << vfs.cut_at();
    EXPECT_THROW(database.execAndGet("SELECT count(*) FROM t"), SQLite::Exception);
    EXPECT_FALSE(vfs.outside_operation("request"));
    EXPECT_THROW(open(vfs).execAndGet("SELECT count(*) FROM t"), SQLite::Exception);

    vfs.crash(Survival::synced, 1);
    EXPECT_THROW(database.exec("INSERT INTO t VALUES (1, 'one')"), SQLite::Exception)
        << "a connection of before the power loss must not write to the disk of after";
    EXPECT_EQ(open(vfs).execAndGet("SELECT count(*) FROM t").getInt(), 0);
}

TEST(CrashVfs, KeepsThePageCacheWhenOnlyTheProcessDies) {
    CrashVfs vfs("crash-plain");
    vfs.restore(empty_table(vfs, "WAL"));
    auto database = open_configured(vfs, "NORMAL", "WAL");
    database.exec("INSERT INTO t VALUES (1, 'one')");
    vfs.crash(Survival::page_cache, 0);
    auto second = open_configured(vfs, "NORMAL", "WAL");
    EXPECT_EQ(second.execAndGet("SELECT count(*) FROM t").getInt(), 1);
    vfs.crash(Survival::synced, 0);
    EXPECT_EQ(open(vfs).execAndGet("SELECT count(*) FROM t").getInt(), 0);
}

TEST(CrashVfs, ShowsWritersToReadersAndLetsOnlyOneWrite) {
    CrashVfs vfs("crash-plain");
    vfs.restore(empty_table(vfs, "WAL"));
    auto writer = open(vfs);
    auto reader = open(vfs, SQLITE_OPEN_READONLY);
    writer.exec("INSERT INTO t VALUES (1, 'one')");
    EXPECT_EQ(reader.execAndGet("SELECT count(*) FROM t").getInt(), 1);
    SQLite::Transaction reading(reader);
    EXPECT_EQ(reader.execAndGet("SELECT count(*) FROM t").getInt(), 1);
    writer.exec("BEGIN IMMEDIATE; INSERT INTO t VALUES (2, 'two')");
    auto rival = open(vfs);
    try {
        rival.exec("BEGIN IMMEDIATE");
        FAIL() << "two writers at once";
    } catch (const SQLite::Exception& error) {
        EXPECT_EQ(error.getErrorCode(), SQLITE_BUSY);
    }
    writer.exec("COMMIT");
    EXPECT_EQ(reader.execAndGet("SELECT count(*) FROM t").getInt(), 1) << "a snapshot stands still";
    reading.commit();
    EXPECT_EQ(reader.execAndGet("SELECT count(*) FROM t").getInt(), 2);
    EXPECT_THROW(reader.exec("INSERT INTO t VALUES (3, 'three')"), SQLite::Exception);
}

TEST(CrashVfs, ReportsInjectedFaultsAsTheDiskWould) {
    CrashVfs vfs("crash-plain");
    vfs.restore(empty_table(vfs, "WAL"));
    auto database = open_configured(vfs, "FULL", "WAL");
    vfs.fail(Operation::write, 2, SQLITE_IOERR_WRITE);
    try {
        database.exec("INSERT INTO t VALUES (1, 'one')");
        FAIL() << "the write was to fail";
    } catch (const SQLite::Exception& error) {
        EXPECT_EQ(error.getExtendedErrorCode(), SQLITE_IOERR_WRITE);
    }
    database.exec("INSERT INTO t VALUES (1, 'one')");
    vfs.fail(Operation::sync, 1, SQLITE_IOERR_FSYNC);
    EXPECT_THROW(database.exec("INSERT INTO t VALUES (2, 'two')"), SQLite::Exception);
    database.exec("INSERT INTO t VALUES (3, 'three')");
    vfs.fail(Operation::read, 1, SQLITE_IOERR_READ, true);
    EXPECT_THROW(open(vfs).execAndGet("SELECT count(*) FROM t"), SQLite::Exception);
}

TEST(CrashVfs, NeverMakesDurableWhatAFailedSyncLeftBehind) {
    CrashVfs vfs("crash-plain");
    vfs.restore({});
    sqlite3_vfs* raw = sqlite3_vfs_find(vfs.name().c_str());
    std::vector<unsigned char> memory(static_cast<std::size_t>(raw->szOsFile));
    auto* file = reinterpret_cast<sqlite3_file*>(memory.data());
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_MAIN_DB;
    ASSERT_EQ(raw->xOpen(raw, "test.db", file, flags, &flags), SQLITE_OK);
    ASSERT_EQ(file->pMethods->xSync(file, SQLITE_SYNC_NORMAL), SQLITE_OK);
    ASSERT_EQ(file->pMethods->xWrite(file, "a", 1, 0), SQLITE_OK);
    vfs.fail(Operation::sync, 1, SQLITE_IOERR_FSYNC);
    ASSERT_EQ(file->pMethods->xSync(file, SQLITE_SYNC_NORMAL), SQLITE_IOERR_FSYNC);
    ASSERT_EQ(file->pMethods->xWrite(file, "b", 1, 1), SQLITE_OK);
    ASSERT_EQ(file->pMethods->xSync(file, SQLITE_SYNC_NORMAL), SQLITE_OK);
    char seen[2] = {};
    EXPECT_EQ(file->pMethods->xRead(file, seen, 2, 0), SQLITE_OK);
    EXPECT_EQ(std::string(seen, 2), "ab");
    file->pMethods->xClose(file);
    vfs.crash(Survival::synced, 0);
    EXPECT_EQ(*vfs.image().at("test.db"), (std::vector<unsigned char>{0, 'b'}));
}

TEST(CrashVfs, ForgetsNamesThatWereNotSynced) {
    CrashVfs vfs("crash-plain");
    vfs.restore({{"old", std::make_shared<const std::vector<unsigned char>>(3)}});
    sqlite3_vfs* raw = sqlite3_vfs_find(vfs.name().c_str());
    ASSERT_EQ(raw->xDelete(raw, "old", 0), SQLITE_OK);
    EXPECT_EQ(vfs.image().size(), 0u);
    vfs.crash(Survival::synced, 0);
    EXPECT_EQ(vfs.image().count("old"), 1u);
    ASSERT_EQ(raw->xDelete(raw, "old", 1), SQLITE_OK);
    vfs.crash(Survival::synced, 0);
    EXPECT_EQ(vfs.image().size(), 0u);
    EXPECT_EQ(raw->xDelete(raw, "old", 1), SQLITE_IOERR_DELETE_NOENT);
}

TEST(CrashVfs, IsFullAtItsCapacityAndWorksAgainWithRoom) {
    CrashVfs vfs("crash-plain");
    vfs.restore(empty_table(vfs, "WAL"));
    auto database = open_configured(vfs, "FULL", "WAL");
    database.exec("INSERT INTO t VALUES (1, 'one')");
    vfs.set_capacity(vfs.used() + 4096);
    try {
        database.exec("INSERT INTO t VALUES (2, 'two')");
        FAIL() << "the disk was to be full";
    } catch (const SQLite::Exception& error) {
        EXPECT_EQ(error.getErrorCode(), SQLITE_FULL);
    }
    EXPECT_EQ(database.execAndGet("SELECT count(*) FROM t").getInt(), 1);
    vfs.set_capacity(0);
    database.exec("INSERT INTO t VALUES (2, 'two')");
    EXPECT_EQ(database.execAndGet("SELECT count(*) FROM t").getInt(), 2);
}

}  // namespace
}  // namespace steplog::testing
