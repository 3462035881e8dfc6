// Instants as text, there and back.
#include "engine/rfc3339.h"

#include <gtest/gtest.h>

namespace steplog {
namespace {

TEST(Rfc3339, WritesUtcWithMilliseconds) {
    EXPECT_EQ(format_rfc3339(0), "1970-01-01T00:00:00.000Z");
    EXPECT_EQ(format_rfc3339(1'767'225'600'123), "2026-01-01T00:00:00.123Z");
    EXPECT_EQ(format_rfc3339(1'709'210'096'007), "2024-02-29T12:34:56.007Z");
    EXPECT_EQ(format_rfc3339(-1), "1969-12-31T23:59:59.999Z");
}

TEST(Rfc3339, StaysWithinFourDigitYears) {
    EXPECT_EQ(format_rfc3339(INT64_MAX), "9999-12-31T23:59:59.999Z");
    EXPECT_EQ(format_rfc3339(INT64_MIN), "0000-01-01T00:00:00.000Z");
}

TEST(Rfc3339, ReadsWhatItWrites) {
    for (const std::int64_t at : {0LL, 1'767'225'600'123LL, -1LL, 253'402'300'799'999LL})
        EXPECT_EQ(parse_rfc3339(format_rfc3339(at)), at);
}

TEST(Rfc3339, ReadsOffsetsAndFractions) {
    EXPECT_EQ(parse_rfc3339("2026-01-01T01:00:00+01:00"), 1'767'225'600'000);
    EXPECT_EQ(parse_rfc3339("2025-12-31T18:30:00-05:30"), 1'767'225'600'000);
    EXPECT_EQ(parse_rfc3339("2026-01-01t00:00:00.5z"), 1'767'225'600'500);
    EXPECT_EQ(parse_rfc3339("2026-01-01T00:00:00.123456789Z"), 1'767'225'600'123);
    EXPECT_EQ(parse_rfc3339("2016-12-31T23:59:60Z"), 1'483'228'799'999);
}

TEST(Rfc3339, RefusesEverythingElse) {
    for (const char* wrong :
         {"", "now", "2026-01-01", "2026-01-01T00:00:00", "2026-13-01T00:00:00Z",
          "2026-02-29T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:60:00Z",
          "2026-01-01T00:00:61Z", "2026-01-01T00:00:00.Z", "2026-01-01T00:00:00Zx",
          "2026-01-01 00:00:00Z", "+026-01-01T00:00:00Z", "2026-01-01T00:00:00+1:00"})
        EXPECT_FALSE(parse_rfc3339(wrong)) << wrong;
}

TEST(Rfc3339, SaysSpansInOneUnit) {
    EXPECT_EQ(rough_span(999), "0 s");
    EXPECT_EQ(rough_span(-45'000), "45 s");
    EXPECT_EQ(rough_span(300'000), "5 min");
    EXPECT_EQ(rough_span(3 * 3'600'000), "3 h");
    EXPECT_EQ(rough_span(3 * 86'400'000LL), "3 d");
    EXPECT_FALSE(rough_span(INT64_MIN).empty());
}

}  // namespace
}  // namespace steplog
