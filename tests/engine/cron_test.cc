// Cron expressions: what is read, what is refused and in which words, and which instants are meant,
// on ordinary days and where the clock is changed.
#include "engine/cron.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <stdexcept>

#include "engine/rfc3339.h"
#include "tests/support/cron_reference.h"

namespace steplog {
namespace {

using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

std::int64_t instant(const std::string& text) { return parse_rfc3339(text).value(); }

std::string refusal(const std::string& expression, const std::string& zone = "UTC") {
    try {
        Cron cron(expression, zone);
    } catch (const std::invalid_argument& error) {
        return error.what();
    }
    return "accepted";
}

// --- reading

TEST(CronExpression, ReadsValuesListsRangesStepsAndNames) {
    const CronFields fields = parse_cron("*/20 1-3,22 1,15 feb-APR,12 MON-fri/2,7");
    EXPECT_EQ(fields.minutes, 1ull | 1ull << 20 | 1ull << 40);
    EXPECT_EQ(fields.hours, 1u << 1 | 1u << 2 | 1u << 3 | 1u << 22);
    EXPECT_EQ(fields.days, 1u << 1 | 1u << 15);
    EXPECT_EQ(fields.months, 1u << 2 | 1u << 3 | 1u << 4 | 1u << 12);
    EXPECT_EQ(fields.weekdays, 1u << 0 | 1u << 1 | 1u << 3 | 1u << 5);
    EXPECT_FALSE(fields.any_day);
    EXPECT_FALSE(fields.any_weekday);
    EXPECT_FALSE(fields.whenever_clock_shows);
}

TEST(CronExpression, KnowsTheUsualWords) {
    EXPECT_EQ(parse_cron("@daily"), parse_cron("0 0 * * *"));
    EXPECT_EQ(parse_cron("@Midnight"), parse_cron("0 0 * * *"));
    EXPECT_EQ(parse_cron("@hourly"), parse_cron("0 * * * *"));
    EXPECT_EQ(parse_cron("@weekly"), parse_cron("0 0 * * sun"));
    EXPECT_EQ(parse_cron("@monthly"), parse_cron("0 0 1 * *"));
    EXPECT_EQ(parse_cron("@yearly"), parse_cron("0 0 1 jan *"));
    EXPECT_EQ(parse_cron("@annually"), parse_cron("@yearly"));
}

TEST(CronExpression, TakesAnyBlanksBetweenTheFields) {
    EXPECT_EQ(parse_cron("  0\t9   * * 7 "), parse_cron("0 9 * * 0"));
}

struct Refused {
    const char* expression;
    const char* says;
};

class RefusedExpression : public ::testing::TestWithParam<Refused> {};

TEST_P(RefusedExpression, IsRefusedByTheFieldsName) {
    EXPECT_THAT(refusal(GetParam().expression), HasSubstr(GetParam().says));
}

INSTANTIATE_TEST_SUITE_P(
    Each, RefusedExpression,
    ::testing::Values(
        Refused{"60 * * * *",
                "minute: \"60\" is none of its values; allowed are 0 to 59, *, ranges"},
        Refused{"* 24 * * *", "hour: \"24\""}, Refused{"* * 0 * *", "day-of-month: \"0\""},
        Refused{"* * 32 * *", "day-of-month: \"32\""}, Refused{"* * * 13 *", "month: \"13\""},
        Refused{"* * * june *",
                "month: \"june\" is none of its values; allowed are 1 to 12 (or jan"},
        Refused{"* * * * 8", "day-of-week: \"8\""},
        Refused{"* * * * sat-sun", "day-of-week: \"sat-sun\" ends before it begins"},
        Refused{"5-1 * * * *", "minute: \"5-1\" ends before it begins"},
        Refused{"5/15 * * * *", "minute: \"5/15\" has a step and no range (write 5-59/15)"},
        Refused{"*/0 * * * *", "minute: the step of \"*/0\" is no number from 1 to 59"},
        Refused{"*/60 * * * *", "the step of"}, Refused{"*/ * * * *", "the step of"},
        Refused{"1,,2 * * * *", "minute: \"1,,2\" has an empty part"},
        Refused{"1, * * * *", "has an empty part"}, Refused{"-1 * * * *", "minute: \"\""},
        Refused{"+1 * * * *", "minute: \"+1\""}, Refused{"1- * * * *", "minute: \"\""},
        Refused{"? * * * *", "minute: \"?\""}, Refused{"0 0 L * *", "day-of-month: \"L\""},
        Refused{"* * * *", "has 4 fields where five are needed"},
        Refused{"0 0 9 * * *", "has 6 fields"}, Refused{"", "has 0 fields"},
        Refused{"@reboot", "\"@reboot\" is none of @hourly"},
        Refused{"0 0 30 2 *", "none of the months that are meant has a day 30"},
        Refused{"0 0 31 4,6,9,11 *", "has a day 31"}, Refused{"0 0 30 2 */2", "has a day 30"}));

TEST(CronExpression, IsShownWithinBoundsWhereItIsRefused) {
    EXPECT_THAT(refusal(std::string(200, '\n')), HasSubstr("\"" + std::string(40, '?') + "…\""));
    EXPECT_THAT(refusal(std::string(256, '*')), HasSubstr("at most 255 characters"));
}

TEST(CronExpression, IsRefusedInWordsThatATerminalCanShow) {
    const std::string said = refusal("5/\x01\x1b * * * *");
    EXPECT_THAT(said, HasSubstr("the step of \"5/??\""));
    for (const char c : said) EXPECT_GE(c, 0x20);
}

TEST(CronExpression, MayBeADayThatSomeMonthHas) {
    EXPECT_EQ(refusal("0 0 29 2 *"), "accepted");
    EXPECT_EQ(refusal("0 0 31 * *"), "accepted");
    EXPECT_EQ(refusal("0 0 30 2 mon"), "accepted") << "every Monday of February";
}

TEST(CronZone, IsNamedWhenThereIsNone) {
    EXPECT_EQ(refusal("@daily", "Europe/Berlin"), "accepted");
    EXPECT_EQ(refusal("@daily", "America/Argentina/Buenos_Aires"), "accepted");
    EXPECT_THAT(refusal("@daily", "Europe/Atlantis"),
                HasSubstr("there is no time zone \"Europe/Atlantis\": write an IANA name"));
    EXPECT_THAT(refusal("@daily", "../etc/passwd"), HasSubstr("there is no time zone"));
    EXPECT_THAT(refusal("@daily", ""), HasSubstr("there is no time zone \"\""));
}

// --- instants

struct Times {
    const char* expression;
    const char* zone;
    const char* after;
    std::vector<std::string> next;  // in UTC, without seconds
};

void PrintTo(const Times& times, std::ostream* out) {
    *out << times.expression << " in " << times.zone << " after " << times.after;
}

class CronTimes : public ::testing::TestWithParam<Times> {};

TEST_P(CronTimes, AreTheseInOrder) {
    const Times& times = GetParam();
    const Cron cron(times.expression, times.zone);
    std::int64_t at_ms = instant(times.after);
    std::vector<std::string> seen;
    while (seen.size() < times.next.size()) {
        at_ms = cron.next_after_ms(at_ms).value();
        seen.push_back(format_rfc3339(at_ms).substr(0, 16));
    }
    EXPECT_THAT(seen, ElementsAreArray(times.next));
}

INSTANTIATE_TEST_SUITE_P(
    OnOrdinaryDays, CronTimes,
    ::testing::Values(
        Times{"0 9 * * *", "UTC", "2026-01-01T09:00:00Z", {"2026-01-02T09:00", "2026-01-03T09:00"}},
        Times{"0 9 * * *", "UTC", "2026-01-01T08:59:59.999Z", {"2026-01-01T09:00"}},
        Times{"0 9 * * *", "Europe/Berlin", "2026-01-01T00:00:00Z", {"2026-01-01T08:00"}},
        Times{"0 9 * * *", "Asia/Kathmandu", "2026-01-01T00:00:00Z", {"2026-01-01T03:15"}},
        Times{"0 9 * * mon-fri", "UTC", "2026-01-02T12:00:00Z", {"2026-01-05T09:00"}},
        Times{"59 23 31 12 *",
              "UTC",
              "2026-01-01T00:00:00Z",
              {"2026-12-31T23:59", "2027-12-31T23:59"}},
        Times{
            "0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", {"2028-02-29T00:00", "2032-02-29T00:00"}},
        Times{"0 0 29 2 *", "UTC", "2096-03-01T00:00:00Z", {"2104-02-29T00:00"}},
        // Either of the two days where both are given …
        Times{"0 0 13 * fri",
              "UTC",
              "2026-03-01T00:00:00Z",
              {"2026-03-06T00:00", "2026-03-13T00:00", "2026-03-20T00:00"}},
        // … and both where one begins with a star: odd days that are Mondays.
        Times{"0 0 */2 * mon",
              "UTC",
              "2026-03-01T00:00:00Z",
              {"2026-03-09T00:00", "2026-03-23T00:00"}},
        Times{"*/25 */12 * * *",
              "UTC",
              "2026-01-01T00:10:00Z",
              {"2026-01-01T00:25", "2026-01-01T00:50", "2026-01-01T12:00"}}));

// Europe/Berlin: 2026-03-29 02:00 becomes 03:00 (01:00 UTC); 2026-10-25 03:00 becomes 02:00 (01:00
// UTC).
INSTANTIATE_TEST_SUITE_P(
    InBerlin, CronTimes,
    ::testing::Values(
        Times{"0 9 * * *",
              "Europe/Berlin",
              "2026-03-28T00:00:00Z",
              {"2026-03-28T08:00", "2026-03-29T07:00", "2026-03-30T07:00"}},
        Times{"30 2 * * *",
              "Europe/Berlin",
              "2026-03-28T00:00:00Z",
              {"2026-03-28T01:30", "2026-03-29T01:00", "2026-03-30T00:30"}},
        Times{"0,20,40 2 * * *",
              "Europe/Berlin",
              "2026-03-28T22:00:00Z",
              {"2026-03-29T01:00", "2026-03-30T00:00", "2026-03-30T00:20"}},
        Times{"0 2,3 * * *",
              "Europe/Berlin",
              "2026-03-28T22:00:00Z",
              {"2026-03-29T01:00", "2026-03-30T00:00", "2026-03-30T01:00"}},
        Times{"30 2 * * *",
              "Europe/Berlin",
              "2026-10-24T12:00:00Z",
              {"2026-10-25T00:30", "2026-10-26T01:30"}},
        // Asked in the second 02:45, with 02:50 behind it.
        Times{"50 2 * * *", "Europe/Berlin", "2026-10-25T01:45:00Z", {"2026-10-26T01:50"}},
        Times{"0 3 * * *", "Europe/Berlin", "2026-10-25T00:45:00Z", {"2026-10-25T02:00"}},
        Times{"0 * * * *",
              "Europe/Berlin",
              "2026-03-28T23:30:00Z",
              {"2026-03-29T00:00", "2026-03-29T01:00", "2026-03-29T02:00"}},
        Times{"0 * * * *",
              "Europe/Berlin",
              "2026-10-24T23:30:00Z",
              {"2026-10-25T00:00", "2026-10-25T01:00", "2026-10-25T02:00"}},
        Times{"0 0-23 * * *",
              "Europe/Berlin",
              "2026-10-24T23:30:00Z",
              {"2026-10-25T00:00", "2026-10-25T01:00", "2026-10-25T02:00"}},
        Times{"30 * * * *",
              "Europe/Berlin",
              "2026-03-29T00:10:00Z",
              {"2026-03-29T00:30", "2026-03-29T01:30"}},
        Times{"*/30 * * * *",
              "Europe/Berlin",
              "2026-10-25T00:20:00Z",
              {"2026-10-25T00:30", "2026-10-25T01:00", "2026-10-25T01:30", "2026-10-25T02:00"}}));

// America/New_York: 2026-03-08 02:00 becomes 03:00 (07:00 UTC); 2026-11-01 02:00 becomes 01:00
// (06:00 UTC).
INSTANTIATE_TEST_SUITE_P(InNewYork, CronTimes,
                         ::testing::Values(Times{"30 2 * * *",
                                                 "America/New_York",
                                                 "2026-03-07T12:00:00Z",
                                                 {"2026-03-08T07:00", "2026-03-09T06:30"}},
                                           Times{"30 1 * * *",
                                                 "America/New_York",
                                                 "2026-10-31T12:00:00Z",
                                                 {"2026-11-01T05:30", "2026-11-02T06:30"}},
                                           Times{"0 2 * * *",
                                                 "America/New_York",
                                                 "2026-10-31T12:00:00Z",
                                                 {"2026-11-01T07:00"}},
                                           Times{"0 0 * * *",
                                                 "America/New_York",
                                                 "2026-10-31T12:00:00Z",
                                                 {"2026-11-01T04:00", "2026-11-02T05:00"}}));

// Australia/Lord_Howe moves by half an hour: 2026-10-04 02:00 becomes 02:30 (2026-10-03 15:30 UTC);
// 2026-04-05 02:00 becomes 01:30 (2026-04-04 15:00 UTC).
INSTANTIATE_TEST_SUITE_P(
    OnLordHowe, CronTimes,
    ::testing::Values(
        Times{"15 2 * * *",
              "Australia/Lord_Howe",
              "2026-10-03T12:00:00Z",
              {"2026-10-03T15:30", "2026-10-04T15:15"}},
        Times{"45 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00:00Z", {"2026-10-03T15:45"}},
        Times{"45 1 * * *",
              "Australia/Lord_Howe",
              "2026-04-04T12:00:00Z",
              {"2026-04-04T14:45", "2026-04-05T15:15"}},
        Times{"*/30 * * * *",
              "Australia/Lord_Howe",
              "2026-04-04T14:10:00Z",
              {"2026-04-04T14:30", "2026-04-04T15:00", "2026-04-04T15:30"}},
        Times{"0 * * * *",
              "Australia/Lord_Howe",
              "2026-10-03T14:10:00Z",
              {"2026-10-03T14:30", "2026-10-03T16:00"}}));

// Pacific/Apia had no 2011-12-30: after 2011-12-29 24:00 (2011-12-30 10:00 UTC) came the 31st.
INSTANTIATE_TEST_SUITE_P(
    InApia, CronTimes,
    ::testing::Values(
        Times{"0 9 * * *",
              "Pacific/Apia",
              "2011-12-29T00:00:00Z",
              {"2011-12-29T19:00", "2011-12-30T10:00", "2011-12-30T19:00"}},
        Times{"0 0 30 12 *",
              "Pacific/Apia",
              "2011-12-01T00:00:00Z",
              {"2011-12-30T10:00", "2012-12-29T10:00"}},
        Times{"0 8,9,10 30 12 *",
              "Pacific/Apia",
              "2011-12-01T00:00:00Z",
              {"2011-12-30T10:00", "2012-12-29T18:00"}},
        Times{"0 * 30 12 *", "Pacific/Apia", "2011-12-01T00:00:00Z", {"2012-12-29T10:00"}}));

TEST(CronTimes, EndAtTheEndOfTime) {
    const Cron cron("@daily", "Europe/Berlin");
    EXPECT_FALSE(cron.next_after_ms(std::numeric_limits<std::int64_t>::max()));
    EXPECT_FALSE(cron.next_after_ms(std::numeric_limits<std::int64_t>::min()));
    EXPECT_TRUE(cron.next_after_ms(0));
    EXPECT_TRUE(cron.next_after_ms(-86'400'000));
}

TEST(CronTimes, AreThoseOfTheSlowWay) {
    constexpr std::uint64_t seed = 11;
    std::mt19937_64 random(seed);
    const std::vector<std::string> zones = {
        "Europe/Berlin",     "America/New_York", "Pacific/Apia",     "Australia/Lord_Howe",
        "Africa/Casablanca", "Asia/Kathmandu",   "America/St_Johns", "Antarctica/Troll"};
    const std::vector<std::string> expressions = {
        "30 2 * * *",   "*/7 * * * *", "15,45 1-3 * * *", "0 */2 * * *",
        "0 0-23 * * *", "59 23 * * 0", "0 0 */2 * mon",   "1 1 1,15 * fri"};
    for (int i = 0; i < 150; ++i) {
        const std::string& zone = zones[random() % zones.size()];
        const std::string& expression = expressions[random() % expressions.size()];
        // Close before a change of the clock, or anywhere.
        auto at = date::sys_seconds(std::chrono::seconds(200'000'000 + random() % 1'900'000'000));
        const auto info = date::locate_zone(zone)->get_info(at);
        if (random() % 4 != 0 && info.end < date::sys_days(date::year(2037) / 1 / 1))
            at = info.end - std::chrono::seconds(random() % 200'000);
        const std::int64_t at_ms = std::chrono::milliseconds(at.time_since_epoch()).count();
        const testing::CronReference reference(parse_cron(expression), zone);
        const auto expected = reference.next_after_ms(at_ms, 9);
        const auto computed = Cron(expression, zone).next_after_ms(at_ms).value();
        if (expected)
            EXPECT_EQ(format_rfc3339(computed), format_rfc3339(*expected))
                << expression << " in " << zone << " after " << format_rfc3339(at_ms) << ", seed "
                << seed;
        else
            EXPECT_GT(computed, at_ms + 9 * 86'400'000LL);
    }
}

}  // namespace
}  // namespace steplog
