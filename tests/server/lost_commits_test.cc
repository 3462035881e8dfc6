#include "server/lost_commits.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "tests/support/manual_clock.h"
#include "tests/support/temporary_directory.h"

namespace steplog::server {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(KeptWal, IsToldOfOnceItIsOlderThanWhatRetentionDeletes) {
    const steplog::testing::TemporaryDirectory directory;
    const std::string database = directory / "steplog.db";
    std::vector<std::string> lines;
    Log log(
        {.format = LogFormat::text, .capture = [&](const auto& line) { lines.push_back(line); }});
    constexpr Ms retention = std::chrono::hours(24);
    SystemClock today;
    tell_of_kept_wal(log, database, retention, today);
    std::ofstream(database + "-wal.damaged") << "what was lost";
    tell_of_kept_wal(log, database, retention, today);
    EXPECT_THAT(lines, IsEmpty());
    steplog::testing::ManualClock tomorrow;
    tomorrow.advance(Ms(today.now_ms() - tomorrow.now_ms()) + retention + Ms(1000));
    tell_of_kept_wal(log, database, retention, tomorrow);
    ASSERT_EQ(lines.size(), 1U);
    EXPECT_THAT(lines[0], HasSubstr("steplog.db-wal.damaged"));
    EXPECT_THAT(lines[0], HasSubstr("delete it"));
    EXPECT_TRUE(std::filesystem::exists(database + "-wal.damaged"));
}

}  // namespace
}  // namespace steplog::server
