// The story: a database that was cut short to less than a page, or gone, beside the write-ahead log
// of a killed server was taken for a new one. SQLite deletes a WAL that belongs to nothing, even
// for a connection that only reads: an inspect destroyed it, and a start began anew without a word.
// Found by the fuzzer of damaged databases.
#include <SQLiteCpp/SQLiteCpp.h>
#include <gtest/gtest.h>

#include <fstream>

#include "engine/inspect.h"
#include "engine/sqlite_store.h"
#include "tests/support/manual_clock.h"
#include "tests/support/temporary_directory.h"

namespace steplog {
namespace {

namespace fs = std::filesystem;

class CutShort : public ::testing::Test {
  protected:
    // As a killed server leaves it.
    CutShort() {
        const fs::path live = directory_ / "live.db";
        const auto store = open(live);
        store->accept(std::nullopt, NewInstance{.id = "w/1", .workflow = "w", .input = "{}"}, false)
            .get();
        fs::copy_file(live, database_);
        fs::copy_file(live.string() + "-wal", wal());
        wal_bytes_ = fs::file_size(wal());
    }
    std::unique_ptr<Store> open(const fs::path& path) {
        return open_sqlite_store({.database = path, .writer_thread = false}, clock_);
    }
    fs::path wal() const { return database_.string() + "-wal"; }
    std::string refusal_to_open() {
        try {
            open(database_);
            return "";
        } catch (const OpenError& error) {
            return error.what();
        }
    }
    std::string refusal_to_look() {
        try {
            Inspector(database_, clock_).list({});
            return "";
        } catch (const InspectError& error) {
            return error.what();
        }
    }
    void expect_wal_kept() {
        ASSERT_TRUE(fs::exists(wal()));
        EXPECT_EQ(fs::file_size(wal()), wal_bytes_);
    }

    testing::TemporaryDirectory directory_;
    testing::ManualClock clock_;
    const fs::path database_ = directory_ / "steplog.db";
    std::uintmax_t wal_bytes_ = 0;
};

TEST_F(CutShort, IsNeitherOpenedNorLookedInto) {
    for (const std::uintmax_t left : {511, 100, 1}) {
        fs::resize_file(database_, left);
        EXPECT_NE(refusal_to_look().find("cut short"), std::string::npos) << left;
        expect_wal_kept();
        EXPECT_NE(refusal_to_open().find("cut short"), std::string::npos) << left;
        expect_wal_kept();
    }
}

TEST_F(CutShort, ToNothingOrGoneItIsNotBegunAnewBesideItsLog) {
    fs::resize_file(database_, 0);
    EXPECT_NE(refusal_to_look(), "");
    EXPECT_NE(refusal_to_open().find("put the file back"), std::string::npos);
    expect_wal_kept();
    fs::remove(database_);
    EXPECT_NE(refusal_to_open().find("put the file back"), std::string::npos);
    expect_wal_kept();
    EXPECT_FALSE(fs::exists(database_)) << "nothing was made in its place";
    fs::rename(wal(), directory_ / "away");
    EXPECT_EQ(refusal_to_open(), "") << "a new one, as somebody wants it";
}

TEST_F(CutShort, IsOpenedWhole) {
    EXPECT_EQ(refusal_to_look(), "");
    EXPECT_EQ(refusal_to_open(), "");
}

}  // namespace
}  // namespace steplog
