// When a cron expression is due, found the slow way: minute by minute, with nothing but what the
// clock on the wall shows. What the engine computes is compared with it.
#pragma once

#include <date/date.h>
#include <date/tz.h>

#include <optional>

#include "engine/cron.h"

namespace steplog::testing {

class CronReference {
  public:
    /// Zones whose clocks differ from UTC by whole minutes only: all of them since 1975.
    CronReference(const CronFields& fields, const std::string& zone)
        : fields_(fields), zone_(date::locate_zone(zone)) {}

    /// The first time after `at_ms` within `days`, nothing when there is none.
    std::optional<std::int64_t> next_after_ms(std::int64_t at_ms, int days) const {
        const Minute at = floor_to_minute(at_ms);
        Wall highest = wall_at(at);
        for (Minute before = at - look_back; before < at; before += one_minute)
            highest = std::max(highest, wall_at(before));
        const Minute end = at + date::days(days);
        for (Minute now = at + one_minute; now <= end; now += one_minute) {
            const Wall wall = wall_at(now);
            bool due = false;
            if (fields_.whenever_clock_shows) {
                due = is_meant(wall);
            } else {
                for (; highest < wall && !due; highest += one_minute)
                    due = is_meant(highest + one_minute);
                highest = std::max(highest, wall);
            }
            if (due) return std::chrono::milliseconds(now.time_since_epoch()).count();
        }
        return std::nullopt;
    }

  private:
    using Minute = date::sys_time<std::chrono::minutes>;
    using Wall = date::local_time<std::chrono::minutes>;
    static constexpr std::chrono::minutes one_minute{1};
    static constexpr std::chrono::minutes look_back{26 * 60};

    static Minute floor_to_minute(std::int64_t at_ms) {
        return date::floor<std::chrono::minutes>(
            date::sys_time<std::chrono::milliseconds>(std::chrono::milliseconds(at_ms)));
    }
    Wall wall_at(Minute at) const { return date::floor<std::chrono::minutes>(zone_->to_local(at)); }
    bool is_meant(Wall wall) const {
        const auto day = date::floor<date::days>(wall);
        const date::year_month_day ymd(day);
        const auto minute = (wall - day).count();
        const auto has = [](std::uint64_t bits, unsigned bit) { return (bits >> bit & 1) != 0; };
        if (!has(fields_.minutes, static_cast<unsigned>(minute % 60)) ||
            !has(fields_.hours, static_cast<unsigned>(minute / 60)) ||
            !has(fields_.months, static_cast<unsigned>(ymd.month())))
            return false;
        const bool day_meant = has(fields_.days, static_cast<unsigned>(ymd.day()));
        const bool weekday_meant = has(fields_.weekdays, date::weekday(day).c_encoding());
        if (fields_.any_day || fields_.any_weekday) return day_meant && weekday_meant;
        return day_meant || weekday_meant;
    }

    const CronFields fields_;
    const date::time_zone* zone_;
};

}  // namespace steplog::testing
