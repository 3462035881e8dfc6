// Cron expressions in a time zone: which wall-clock times are meant, and which instants those are,
// also where the clock is put forward or back. Used by schedules and by whoever shows their next
// times. Pure but for reading the system's time zone files (tzdata); any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace date {
class time_zone;
}

namespace steplog {

/// What an expression says: a bit for each value that matches.
struct CronFields {
    std::uint64_t minutes = 0;   // 0 to 59
    std::uint32_t hours = 0;     // 0 to 23
    std::uint32_t days = 0;      // 1 to 31
    std::uint32_t months = 0;    // 1 to 12
    std::uint32_t weekdays = 0;  // 0 (Sunday) to 6
    bool any_day = false;        // the field begins with *: then days and weekdays must both
    bool any_weekday = false;    // match; with neither, one of them is enough, as in every cron
    bool whenever_clock_shows = false;  // by the hour: hours begin with *, or are all 24

    bool operator==(const CronFields&) const = default;
};

/// Reads "minute hour day-of-month month day-of-week": values, lists 1,5, ranges 1-5, steps */5 and
/// 1-30/5, months and weekdays also by their English names (jan, mon), Sunday as 0 or 7; or one of
/// @hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually. Throws std::invalid_argument
/// with a sentence that names the field and what it may be; also for a day that no month has.
CronFields parse_cron(std::string_view expression);

/// An expression together with the time zone in which it is meant.
class Cron {
  public:
    /// `zone` is an IANA name ("Europe/Berlin"), or UTC. Throws std::invalid_argument with a
    /// sentence for a person.
    Cron(std::string_view expression, const std::string& zone);

    /// The first time after `at_ms` (Unix milliseconds); nothing when the next 60 years have none.
    ///
    /// Fixed hours (30 2 * * *) happen once for each wall-clock time: one that the clock skips
    /// happens at the first moment after the gap (together with whatever else is due there), one
    /// that the clock shows twice happens the first time. With every hour (*/15 * * * *: the hour
    /// begins with * or is all of them) it happens whenever the clock shows the time: nothing for a
    /// time that is skipped, twice for one that is shown twice, so that real hours stay apart.
    std::optional<std::int64_t> next_after_ms(std::int64_t at_ms) const;

  private:
    CronFields fields_;
    const date::time_zone* zone_ = nullptr;  // null: UTC
};

}  // namespace steplog
