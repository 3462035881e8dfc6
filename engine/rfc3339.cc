#include "engine/rfc3339.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

namespace steplog {
namespace {

namespace chrono = std::chrono;

constexpr std::int64_t year_0_ms = -62'167'219'200'000;
constexpr std::int64_t year_10000_ms = 253'402'300'800'000;

// Reads exactly `digits` decimal digits from the front of `text`.
std::optional<int> take_number(std::string_view& text, std::size_t digits) {
    if (text.size() < digits) return std::nullopt;
    int value = 0;
    for (const char digit : text.substr(0, digits)) {
        if (digit < '0' || digit > '9') return std::nullopt;
        value = value * 10 + (digit - '0');
    }
    text.remove_prefix(digits);
    return value;
}

bool take_character(std::string_view& text, char upper) {
    if (text.empty() || (text.front() != upper && text.front() != upper - 'A' + 'a')) return false;
    text.remove_prefix(1);
    return true;
}

bool take_exactly(std::string_view& text, char wanted) {
    if (text.empty() || text.front() != wanted) return false;
    text.remove_prefix(1);
    return true;
}

std::optional<int> take_fraction_ms(std::string_view& text) {
    int value = 0, digits = 0;
    while (!text.empty() && text.front() >= '0' && text.front() <= '9') {
        if (digits < 3) value = value * 10 + (text.front() - '0');
        ++digits;
        text.remove_prefix(1);
    }
    if (digits == 0) return std::nullopt;
    for (; digits < 3; ++digits) value *= 10;
    return value;
}

// Minutes east of UTC; consumes the rest.
std::optional<int> take_offset_minutes(std::string_view& text) {
    if (take_character(text, 'Z')) return 0;
    if (text.empty() || (text.front() != '+' && text.front() != '-')) return std::nullopt;
    const int sign = text.front() == '-' ? -1 : 1;
    text.remove_prefix(1);
    const auto hours = take_number(text, 2);
    if (!hours || *hours > 23 || !take_exactly(text, ':')) return std::nullopt;
    const auto minutes = take_number(text, 2);
    if (!minutes || *minutes > 59) return std::nullopt;
    return sign * (*hours * 60 + *minutes);
}

}  // namespace

std::string format_rfc3339(std::int64_t unix_ms) {
    const std::int64_t clamped = std::clamp(unix_ms, year_0_ms, year_10000_ms - 1);
    const chrono::sys_time<chrono::milliseconds> instant{chrono::milliseconds(clamped)};
    const auto day = chrono::floor<chrono::days>(instant);
    const chrono::year_month_day date(day);
    const chrono::hh_mm_ss time(instant - day);
    return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", static_cast<int>(date.year()),
                       static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                       time.hours().count(), time.minutes().count(), time.seconds().count(),
                       time.subseconds().count());
}

std::optional<std::int64_t> parse_rfc3339(std::string_view text) {
    const auto year = take_number(text, 4);
    if (!year || !take_exactly(text, '-')) return std::nullopt;
    const auto month = take_number(text, 2);
    if (!month || !take_exactly(text, '-')) return std::nullopt;
    const auto day = take_number(text, 2);
    if (!day || !take_character(text, 'T')) return std::nullopt;
    const auto hour = take_number(text, 2);
    if (!hour || *hour > 23 || !take_exactly(text, ':')) return std::nullopt;
    const auto minute = take_number(text, 2);
    if (!minute || *minute > 59 || !take_exactly(text, ':')) return std::nullopt;
    const auto second = take_number(text, 2);
    if (!second || *second > 60) return std::nullopt;
    int fraction_ms = 0;
    if (take_exactly(text, '.')) {
        const auto fraction = take_fraction_ms(text);
        if (!fraction) return std::nullopt;
        fraction_ms = *fraction;
    }
    const auto offset_minutes = take_offset_minutes(text);
    if (!offset_minutes || !text.empty()) return std::nullopt;

    const chrono::year_month_day date{chrono::year(*year),
                                      chrono::month(static_cast<unsigned>(*month)),
                                      chrono::day(static_cast<unsigned>(*day))};
    if (!date.ok()) return std::nullopt;
    const bool leap = *second == 60;
    const auto instant =
        chrono::sys_days(date) + chrono::hours(*hour) + chrono::minutes(*minute - *offset_minutes) +
        chrono::seconds(leap ? 59 : *second) + chrono::milliseconds(leap ? 999 : fraction_ms);
    return chrono::duration_cast<chrono::milliseconds>(instant.time_since_epoch()).count();
}

std::string rough_span(std::int64_t span_ms) {
    const std::uint64_t seconds = (span_ms < 0 ? 0 - static_cast<std::uint64_t>(span_ms)
                                               : static_cast<std::uint64_t>(span_ms)) /
                                  1000;
    if (seconds < 90) return fmt::format("{} s", seconds);
    if (seconds < 90 * 60) return fmt::format("{} min", seconds / 60);
    if (seconds < 48 * 3600) return fmt::format("{} h", seconds / 3600);
    return fmt::format("{} d", seconds / 86400);
}

}  // namespace steplog
