// What a power loss leaves while the WAL is copied and written once more, and who meets that next:
// the next start, a reader, a full disk, another program's database.
#include "engine/wal_rewrite.h"

#include <SQLiteCpp/SQLiteCpp.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include <fstream>

#include "engine/inspect_file.h"
#include "engine/sqlite_store.h"
#include "engine/vfs_file.h"
#include "tests/support/crash_vfs.h"
#include "tests/support/manual_clock.h"
#include "tests/support/temporary_directory.h"

namespace steplog::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

const std::string database = "steplog.db";
constexpr int events = 8;

class WalRewrite : public ::testing::Test {
  protected:
    WalRewrite() {
        auto store = open();
        for (int number = 1; number <= events; ++number) accept(*store, number);
        vfs_.crash(Survival::page_cache, 0);  // a killed process: its WAL lies there
        unclean_ = vfs_.image();
    }

    std::unique_ptr<Store> open(const fs::path& path = database) {
        SqliteOptions options{.database = path, .writer_thread = false};
        if (path == database) options.vfs = vfs_.name();
        return open_sqlite_store(options, clock_);
    }
    std::string refusal(const fs::path& path = database) {
        try {
            open(path);
            return "";
        } catch (const OpenError& error) {
            return error.what();
        }
    }
    // Whether it was there already.
    static bool accept(Store& store, int number) {
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
    void expect_all_events(const fs::path& path = database) {
        const auto store = open(path);
        for (int number = 1; number <= events; ++number)
            EXPECT_TRUE(accept(*store, number)) << number;
    }
    bool has_copy() {
        const auto image = vfs_.image();
        return std::any_of(image.begin(), image.end(), [](const auto& file) {
            return file.first.find("-wal-copy") != file.first.npos;
        });
    }
    // Power losses during the rewriting, until one tears the WAL.
    CrashVfs::Image torn() {
        for (std::int64_t after = 1;; ++after)
            for (std::uint64_t seed = 1; seed < 20; ++seed) {
                vfs_.restore(unclean_);
                vfs_.cut_after(after);
                if (refusal().empty()) {
                    ADD_FAILURE() << "no power loss tore the WAL";
                    return {};
                }
                vfs_.crash(Survival::torn, seed);
                if (wal_is_torn(database, vfs_.name())) return vfs_.image();
            }
    }
    static void put(const CrashVfs::Image& image, const fs::path& directory) {
        for (const auto& [name, bytes] : image)
            std::ofstream(directory / name, std::ios::binary)
                .write(reinterpret_cast<const char*>(bytes->data()),
                       static_cast<std::streamsize>(bytes->size()));
    }

    CrashVfs vfs_{"wal-rewrite", {.powersafe_overwrite = false}};
    ManualClock clock_;
    CrashVfs::Image unclean_;
};

TEST_F(WalRewrite, LeavesNoCopyAndChangesNothingThatIsShown) {
    vfs_.restore(unclean_);
    rewrite_wal(database, vfs_.name(), WalTrust::none);
    const auto image = vfs_.image();
    EXPECT_EQ(image.size(), unclean_.size());
    for (const auto& [name, bytes] : image) EXPECT_EQ(*bytes, *unclean_.at(name)) << name;
    expect_all_events();
}

TEST_F(WalRewrite, PutsBackWhatAPowerLossTore) {
    torn();
    EXPECT_TRUE(has_copy());
    expect_all_events();
    EXPECT_FALSE(has_copy());
    EXPECT_FALSE(wal_is_torn(database, vfs_.name()));
}

TEST_F(WalRewrite, DoesNotPutBackUnderAReaderOfTheTornLog) {
    torn();
    {
        SQLite::Database reader(database, SQLite::OPEN_READONLY, 0, vfs_.name());
        EXPECT_GE(reader.execAndGet("SELECT count(*) FROM events").getInt(), 0);
        EXPECT_THAT(refusal(), HasSubstr("being read by another program"));
        EXPECT_TRUE(has_copy());
    }
    expect_all_events();
}

TEST_F(WalRewrite, ShowsNobodyATornLog) {
    TemporaryDirectory directory;
    const fs::path path = directory / database;
    put(torn(), path.parent_path());
    try {
        ReadOnlyDatabase reader(path, "");
        ADD_FAILURE() << "a torn log was shown";
    } catch (const InspectError& error) {
        EXPECT_THAT(error.what(), HasSubstr("start workflow-server once"));
    }
    expect_all_events(path);
    EXPECT_NO_THROW(ReadOnlyDatabase(path, ""));
    for (const auto& file : fs::directory_iterator(path.parent_path()))
        EXPECT_EQ(file.path().string().find("-copy"), std::string::npos) << file.path();
}

TEST_F(WalRewrite, RemovesACopyThatIsNotWhole) {
    auto image = torn();
    for (auto& [name, bytes] : image) {
        if (name.find("-wal-copy") == name.npos) continue;
        auto broken = *bytes;
        broken.at(broken.size() / 2) ^= 1U;
        bytes = std::make_shared<const std::vector<unsigned char>>(broken);
    }
    vfs_.restore(image);
    EXPECT_FALSE(wal_is_torn(database, vfs_.name()));
    open();
    EXPECT_FALSE(has_copy());
}

TEST_F(WalRewrite, RemovesACopyWhoseLogIsGone) {
    auto image = torn();
    image.erase(database + "-wal");
    vfs_.restore(image);
    open();
    EXPECT_FALSE(has_copy());
}

TEST_F(WalRewrite, GoesOnWithoutRoomForACopy) {
    vfs_.restore(unclean_);
    vfs_.set_capacity(vfs_.used() + 2000);
    EXPECT_NO_THROW(rewrite_wal(database, vfs_.name(), WalTrust::none));
    EXPECT_FALSE(has_copy());
    vfs_.set_capacity(0);
    expect_all_events();
}

TEST_F(WalRewrite, EndsWithASentenceWhenTheDiskFails) {
    for (std::int64_t n = 1; n <= 2; ++n) {
        vfs_.restore(unclean_);
        vfs_.fail(Operation::sync, n, SQLITE_IOERR_FSYNC);
        EXPECT_THAT(refusal(), HasSubstr("see to the disk")) << n;
        vfs_.clear_faults();
        expect_all_events();
        EXPECT_FALSE(has_copy());
    }
}

TEST_F(WalRewrite, KeepsACopyAsPrivateAsTheLog) {
    TemporaryDirectory directory;
    const fs::path path = directory / database;
    put(unclean_, path.parent_path());
    for (const auto& file : fs::directory_iterator(path.parent_path()))
        chmod(file.path().c_str(), 0600);
    const std::string copy = path.string() + "-wal-copy1";
    { VfsFile made(Vfs(""), copy, VfsFile::Kind::new_log); }
    struct stat status {};
    ASSERT_EQ(stat(copy.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600u);
}

TEST_F(WalRewrite, LeavesTheLogOfAnotherProgramAlone) {
    TemporaryDirectory directory;
    const fs::path path = directory / "other.db";
    SQLite::Database other(path.string(), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
    other.exec("PRAGMA journal_mode=WAL");
    other.exec("CREATE TABLE t(x)");
    struct stat before {
    }, after{};
    ASSERT_EQ(stat((path.string() + "-wal").c_str(), &before), 0);
    EXPECT_THAT(refusal(path), HasSubstr("of another program"));
    ASSERT_EQ(stat((path.string() + "-wal").c_str(), &after), 0);
    EXPECT_EQ(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
    EXPECT_EQ(before.st_size, after.st_size);
}

}  // namespace
}  // namespace steplog::testing
