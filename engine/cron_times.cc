// From wall-clock times to instants, across changes of the clock; see cron.h.
#include <date/date.h>
#include <date/tz.h>
#include <fmt/format.h>

#include <bit>
#include <filesystem>
#include <stdexcept>

#include "engine/cron.h"

namespace steplog {
namespace {

using date::days;
using date::local_days;
using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;
using LocalMinutes = date::local_time<minutes>;
using SysSeconds = date::sys_seconds;

constexpr days horizon{60 * 366};
constexpr std::int64_t farthest_ms = 253'402'300'799'000;  // the end of the year 9999

const date::time_zone* find_zone(const std::string& name) {
    if (name == "UTC") return nullptr;
    std::string shown;
    for (const char c : name.substr(0, 40)) shown += c >= 0x20 && c < 0x7f ? c : '?';
    try {
        return date::locate_zone(name);
    } catch (const std::exception&) {
        if (!std::filesystem::exists("/usr/share/zoneinfo/Europe"))
            throw std::invalid_argument(fmt::format(
                "the time zone \"{}\" cannot be read: this system has no time zones; install the "
                "package tzdata, or use UTC",
                shown));
        throw std::invalid_argument(fmt::format(
            "there is no time zone \"{}\": write an IANA name like Europe/Berlin, or UTC", shown));
    }
}

// How far the clock is ahead of UTC from `begin` to before `end`.
struct Period {
    SysSeconds begin, end;
    seconds offset;
};

Period period_at(const date::time_zone* zone, SysSeconds at) {
    if (!zone) return {SysSeconds::min(), SysSeconds::max(), seconds(0)};
    const date::sys_info info = zone->get_info(at);
    return {info.begin, info.end, info.offset};
}

date::local_seconds local_at(SysSeconds at, seconds offset) {
    return date::local_seconds(at.time_since_epoch() + offset);
}

// The first instant at which the clock shows `time` or more.
SysSeconds first_showing(const date::time_zone* zone, LocalMinutes time) {
    if (!zone) return SysSeconds(time.time_since_epoch());
    const date::local_info info = zone->get_info(time);
    if (info.result == date::local_info::nonexistent) return info.first.end;
    return SysSeconds(time.time_since_epoch() - info.first.offset);
}

bool matches(const CronFields& fields, const date::year_month_day& day, date::weekday weekday) {
    if ((fields.months >> static_cast<unsigned>(day.month()) & 1) == 0) return false;
    const bool by_day = (fields.days >> static_cast<unsigned>(day.day()) & 1) != 0;
    const bool by_weekday = (fields.weekdays >> weekday.c_encoding() & 1) != 0;
    return fields.any_day || fields.any_weekday ? by_day && by_weekday : by_day || by_weekday;
}

std::optional<minutes> first_time_of_day(const CronFields& fields, minutes from) {
    for (auto hour = static_cast<unsigned>(from / hours(1)); hour < 24; ++hour) {
        if ((fields.hours >> hour & 1) == 0) continue;
        const minutes begin = hours(hour);
        const auto skipped = from > begin ? static_cast<unsigned>((from - begin).count()) : 0u;
        const std::uint64_t rest = fields.minutes >> skipped;
        if (rest != 0) return begin + minutes(skipped + std::countr_zero(rest));
    }
    return std::nullopt;
}

// The first wall-clock time that matches, `from` or later.
std::optional<LocalMinutes> first_match(const CronFields& fields, LocalMinutes from) {
    auto day = date::floor<days>(from);
    minutes time_of_day = from - day;
    for (const auto last = day + horizon; day < last; day += days(1), time_of_day = minutes(0)) {
        const date::year_month_day ymd(day);
        if ((fields.months >> static_cast<unsigned>(ymd.month()) & 1) == 0) {
            day = local_days(ymd.year() / ymd.month() / date::last);
            continue;
        }
        if (!matches(fields, ymd, date::weekday(day))) continue;
        if (const auto time = first_time_of_day(fields, time_of_day)) return day + *time;
    }
    return std::nullopt;
}

LocalMinutes minute_after(date::local_seconds time) {
    return date::floor<minutes>(time) + minutes(1);
}

// Fixed hours: the first time that matches among those that the clock has not shown until now.
std::optional<SysSeconds> next_fixed(const CronFields& fields, const date::time_zone* zone,
                                     SysSeconds at) {
    const Period now = period_at(zone, at);
    LocalMinutes from = minute_after(local_at(at, now.offset));
    if (zone && now.begin > SysSeconds(seconds(0))) {
        // Put back, the clock shows again what it has shown before.
        const Period before = period_at(zone, now.begin - seconds(1));
        from = std::max(from, date::ceil<minutes>(local_at(now.begin, before.offset)));
    }
    const auto time = first_match(fields, from);
    return time ? std::optional(first_showing(zone, *time)) : std::nullopt;
}

// Every hour: the next time that the clock shows one that matches.
std::optional<SysSeconds> next_shown(const CronFields& fields, const date::time_zone* zone,
                                     SysSeconds at) {
    Period now = period_at(zone, at);
    LocalMinutes from = minute_after(local_at(at, now.offset));
    while (true) {
        const auto time = first_match(fields, from);
        if (!time) return std::nullopt;
        const SysSeconds shown(time->time_since_epoch() - now.offset);
        if (shown < now.end) return shown;
        now = period_at(zone, now.end);
        from = date::ceil<minutes>(local_at(now.begin, now.offset));
    }
}

}  // namespace

Cron::Cron(std::string_view expression, const std::string& zone)
    : fields_(parse_cron(expression)), zone_(find_zone(zone)) {}

std::optional<std::int64_t> Cron::next_after_ms(std::int64_t at_ms) const {
    if (at_ms < -farthest_ms || at_ms > farthest_ms) return std::nullopt;
    const auto at = date::floor<seconds>(
        date::sys_time<std::chrono::milliseconds>(std::chrono::milliseconds(at_ms)));
    const auto next = fields_.whenever_clock_shows ? next_shown(fields_, zone_, at)
                                                   : next_fixed(fields_, zone_, at);
    if (!next) return std::nullopt;
    return std::chrono::milliseconds(next->time_since_epoch()).count();
}

}  // namespace steplog
