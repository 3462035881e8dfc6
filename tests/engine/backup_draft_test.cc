// What a killed backup leaves behind holds customers' data: the next one to the same target removes
// it, and never what another one is writing.
#include "engine/backup_draft.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <fstream>
#include <set>

#include "engine/backup.h"
#include "tests/engine/house.h"

namespace steplog {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::House;
using ::testing::IsEmpty;
using testing::TemporaryDirectory;

namespace fs = std::filesystem;

class Draft : public ::testing::Test {
  protected:
    void leave(const fs::path& name) const { std::ofstream(directory / name) << "left"; }
    std::set<std::string> files() const {
        std::set<std::string> names;
        for (const auto& file : fs::directory_iterator(directory.path()))
            names.insert(file.path().filename().string());
        return names;
    }
    BackupReport back_up() { return steplog::back_up(house.database(), target, house.clock); }

    House house;
    TemporaryDirectory directory;
    const fs::path target = directory / "daily.db";
};

TEST_F(Draft, OfAKilledBackupIsRemovedByTheNext) {
    house.engine();
    EXPECT_EXIT(
        {
            BackupDraft draft(target);
            copy_and_mark(house.database(), draft.path(), house.clock);
            raise(SIGKILL);
        },
        ::testing::KilledBySignal(SIGKILL), "");
    ASSERT_EQ(files().size(), 2U) << "the draft and its lock";
    EXPECT_EQ(back_up().removed.size(), 1U);
    EXPECT_THAT(files(), ElementsAre("daily.db"));
}

TEST_F(Draft, OfAnotherProcessThatHadTheSameNumberIsRemoved) {
    house.engine();
    const std::string name = "daily.db.partial-" + std::to_string(getpid());
    leave(name);
    leave(name + "-journal");
    EXPECT_THAT(back_up().removed, ElementsAre(directory / name, directory / (name + "-journal")));
    EXPECT_THAT(files(), ElementsAre("daily.db"));
}

TEST_F(Draft, OfABackupUnderWayIsLeftAloneAndTheSecondRefused) {
    house.engine();
    BackupDraft living(target);
    try {
        back_up();
        ADD_FAILURE() << "two backups write the same target";
    } catch (const BackupError& error) {
        EXPECT_THAT(error.what(), HasSubstr("another backup to"));
        EXPECT_THAT(error.what(), HasSubstr("is under way"));
    }
    EXPECT_TRUE(fs::exists(living.path()));
    living.publish();
    EXPECT_TRUE(fs::exists(target));
}

TEST_F(Draft, OfAnotherTargetIsLeftAndTold) {
    house.engine();
    BackupDraft living(directory / "weekly.db");
    leave("monthly.db.partial-7");
    const BackupReport report = back_up();
    EXPECT_THAT(report.removed, IsEmpty());
    EXPECT_THAT(report.left, ElementsAre(directory / "monthly.db.partial-7", living.path()));
}

TEST_F(Draft, IsOnlyWhatIsCalledLikeOne) {
    house.engine();
    const std::set<std::string> others = {"daily.db.partial-", "daily.db.partial-7a",
                                          "daily.db.partial", "daily.db-journal", "daily"};
    for (const std::string& name : others) leave(name);
    fs::create_symlink("/etc/hostname", directory / "daily.db.partial-8");
    fs::create_directory(directory / "daily.db.partial-9");
    const BackupReport report = back_up();
    EXPECT_THAT(report.removed, IsEmpty());
    EXPECT_THAT(report.left, IsEmpty());
    auto expected = others;
    expected.insert({"daily.db", "daily.db.partial-8", "daily.db.partial-9"});
    EXPECT_EQ(files(), expected);
}

TEST_F(Draft, LeavesNothingWhenItFails) {
    { BackupDraft draft(target); }
    EXPECT_THAT(files(), IsEmpty());
    leave("daily.db");
    BackupDraft draft(target);
    EXPECT_THROW(draft.publish(), BackupError);
}

}  // namespace
}  // namespace steplog
