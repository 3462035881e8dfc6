#include "engine/text.h"

#include <gtest/gtest.h>

namespace steplog {
namespace {

TEST(Durations, AreReadWithTheirUnit) {
    EXPECT_EQ(parse_duration("500ms"), Ms(500));
    EXPECT_EQ(parse_duration("30s"), Ms(30'000));
    EXPECT_EQ(parse_duration("5m"), Ms(300'000));
    EXPECT_EQ(parse_duration("2h"), Ms(7'200'000));
    EXPECT_EQ(parse_duration("30d"), Ms(2'592'000'000));
    EXPECT_EQ(parse_duration("0s"), Ms(0));
}

TEST(Durations, AreNothingInAnyOtherForm) {
    for (const auto* text :
         {"", "5", "s", "-5s", "+5s", "5 s", " 5s", "5s ", "5S", "1.5h", "5sec", "1h30m", "5smx",
          "9223372036854775807d", "99999999999999999999s", "36501d"}) {
        EXPECT_EQ(parse_duration(text), std::nullopt) << text;
    }
}

TEST(Durations, AreWrittenAsTheyAreRead) {
    for (const auto* text : {"1ms", "90s", "2m", "90m", "1h", "30d", "0ms"}) {
        EXPECT_EQ(format_duration(*parse_duration(text)), text);
    }
    EXPECT_EQ(format_duration(Ms(120'000)), "2m");
}

TEST(Sizes, AreReadWithTheirUnit) {
    EXPECT_EQ(parse_size("0"), 0U);
    EXPECT_EQ(parse_size("17B"), 17U);
    EXPECT_EQ(parse_size("512KiB"), 512U * 1024);
    EXPECT_EQ(parse_size("1MiB"), 1024U * 1024);
    EXPECT_EQ(parse_size("3GiB"), std::size_t{3} << 30);
    for (const auto* text :
         {"", "1", "1MB", "1M", "1 MiB", "-1MiB", "KiB", "1.5MiB", "99999999999GiB"}) {
        EXPECT_EQ(parse_size(text), std::nullopt) << text;
    }
    EXPECT_EQ(format_size(1536 * 1024), "1536KiB");
}

TEST(Counts, AreWholeAndBounded) {
    EXPECT_EQ(parse_count("0", 10), 0);
    EXPECT_EQ(parse_count("10", 10), 10);
    for (const auto* text :
         {"", "11", "-1", "+1", "1.0", "1e1", " 1", "0x1", "99999999999999999999"}) {
        EXPECT_EQ(parse_count(text, 10), std::nullopt) << text;
    }
}

}  // namespace
}  // namespace steplog
