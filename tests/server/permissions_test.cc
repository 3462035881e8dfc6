#include "server/permissions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "tests/support/temporary_directory.h"

namespace steplog::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(Permissions, AreQuietAboutWhatIsTheOwnersAlone) {
    const steplog::testing::TemporaryDirectory directory;
    const auto database = directory / "steplog.db";
    EXPECT_THAT(loose_permissions(database), IsEmpty());
    std::ofstream(database) << "x";
    chmod(database.c_str(), 0600);
    EXPECT_THAT(loose_permissions(database), IsEmpty());
}

TEST(Permissions, NameWhatOthersCanReadOrReplace) {
    const steplog::testing::TemporaryDirectory directory;
    const auto database = directory / "steplog.db";
    std::ofstream(database) << "x";
    chmod(database.c_str(), 0640);
    EXPECT_THAT(loose_permissions(database), ElementsAre(HasSubstr("(mode 640): chmod 600")));
    chmod(database.c_str(), 0600);
    chmod(directory.path().c_str(), 0775);
    EXPECT_THAT(loose_permissions(database), ElementsAre(HasSubstr("(mode 775): chmod 700")));
    chmod(directory.path().c_str(), 01777);
    EXPECT_THAT(loose_permissions(database), IsEmpty());
    chmod(directory.path().c_str(), 0700);
}

}  // namespace
}  // namespace steplog::server
