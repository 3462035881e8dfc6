// The reserve for a full disk, and what group commit makes of a disk that is full for a while.
#include "engine/disk_reserve.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "engine/group_commit.h"
#include "tests/support/temporary_directory.h"

namespace steplog {
namespace {

constexpr std::uint64_t mebibyte = 1024 * 1024;

class Reserve : public ::testing::Test {
  protected:
    DiskReserve reserve(std::uint64_t bytes_max = mebibyte) {
        return {file_, bytes_max, [this](const std::filesystem::path&) { return room_; }};
    }
    std::uint64_t blocks_bytes() const {
        struct stat status {};
        return lstat(file_.c_str(), &status) == 0
                   ? static_cast<std::uint64_t>(status.st_blocks) * 512
                   : 0;
    }

    testing::TemporaryDirectory directory_;
    const std::filesystem::path file_ = directory_ / "steplog.db.reserve";
    std::optional<DiskRoom> room_ = DiskRoom{1000 * mebibyte, 900 * mebibyte};
};

TEST_F(Reserve, IsMadeOfRealBlocksThatOthersCannotRead) {
    EXPECT_TRUE(reserve().keep());
    EXPECT_GE(blocks_bytes(), mebibyte);
    struct stat status {};
    ASSERT_EQ(stat(file_.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600U);
}

TEST_F(Reserve, IsAtMostATwentiethOfTheFileSystem) {
    room_ = DiskRoom{2 * mebibyte, 2 * mebibyte};
    EXPECT_TRUE(reserve().keep());
    EXPECT_GE(blocks_bytes(), 2 * mebibyte / 20);
    EXPECT_LT(blocks_bytes(), mebibyte / 2);
}

TEST_F(Reserve, IsNotMadeWithoutRoomForItAndForAsMuchAgain) {
    room_->available_bytes = 2 * mebibyte - 1;
    EXPECT_FALSE(reserve().keep());
    EXPECT_EQ(blocks_bytes(), 0u);
    room_->available_bytes = 2 * mebibyte;
    EXPECT_TRUE(reserve().keep());
}

TEST_F(Reserve, OnceThereIsKeptHoweverFullTheDiskIs) {
    EXPECT_TRUE(reserve().keep());
    room_->available_bytes = 0;
    EXPECT_TRUE(reserve().keep());
    reserve().release();
    EXPECT_EQ(blocks_bytes(), 0u);
    EXPECT_FALSE(reserve().keep());
}

TEST_F(Reserve, IsNoReasonToStopWhereItCannotBeKept) {
    room_.reset();
    EXPECT_TRUE(reserve().keep());
    room_ = DiskRoom{1000 * mebibyte, 900 * mebibyte};
    std::filesystem::create_directory(file_);
    EXPECT_TRUE(reserve().keep());
}

TEST_F(Reserve, IsNeededBeforeOpeningWhenNothingElseIsLeft) {
    EXPECT_FALSE(reserve().is_needed_now());
    room_->available_bytes = mebibyte - 1;
    EXPECT_TRUE(reserve().is_needed_now());
}

// A database that may not grow is a full disk to whoever writes to it.
TEST(FullDisk, CountsAsFullUntilThereIsRoomForMoreThanOneSmallCommit) {
    SQLite::Database database(":memory:", SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
    database.exec("CREATE TABLE t(x)");
    database.exec("PRAGMA max_page_count=4");
    int made_room = 0;
    bool room = true;
    GroupCommit commits(database, {.writer_thread = false,
                                   .on_full = [&] { ++made_room; },
                                   .has_room = [&] { return room; }});
    const auto write = [&](int bytes) {
        auto written = commits.submit<void>(
            [&database, bytes] {
                database.exec("INSERT INTO t VALUES (zeroblob(" + std::to_string(bytes) + "))");
            },
            1);
        try {
            written.get();
        } catch (const StoreError& error) {
            return error.kind() == StoreError::Kind::full ? "full" : "failed";
        }
        return "written";
    };
    EXPECT_STREQ(write(10), "written");
    EXPECT_STREQ(write(100'000), "full");
    EXPECT_EQ(made_room, 1);
    EXPECT_EQ(commits.health(), GroupCommit::Health::full);
    room = false;
    EXPECT_STREQ(write(10), "written");
    EXPECT_EQ(commits.health(), GroupCommit::Health::full) << "a small commit proves nothing";
    room = true;
    EXPECT_STREQ(write(10), "written");
    EXPECT_EQ(commits.health(), GroupCommit::Health::ok);
}

TEST(FullDisk, IsLookedAtAgainThoughNobodyWrites) {
    SQLite::Database database(":memory:", SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
    std::promise<void> looked;
    int looks = 0;
    GroupCommit commits(database, {.has_room =
                                       [&] {
                                           if (++looks < 3) return false;
                                           if (looks == 3) looked.set_value();
                                           return true;
                                       },
                                   .room_pause = std::chrono::milliseconds(1),
                                   .begins_full = true});
    ASSERT_EQ(looked.get_future().wait_for(std::chrono::seconds(20)), std::future_status::ready);
    commits.submit<void>([] {}, 1).get();
    EXPECT_EQ(commits.health(), GroupCommit::Health::ok);
    EXPECT_EQ(looks, 3);
}

}  // namespace
}  // namespace steplog
