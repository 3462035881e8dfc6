// Schedules as values; see schedule.h.
#include "engine/schedule.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <stdexcept>

#include "engine/digest.h"
#include "engine/rfc3339.h"

namespace steplog {
namespace {

constexpr std::array overlap_names = {"skip", "queue", "allow", "cancel_other"};
constexpr std::array decision_names = {"started", "skipped", "missed"};
constexpr std::array change_names = {"pause", "unpause", "trigger"};
constexpr Ms span_max = std::chrono::hours(24 * 366);

bool is_name(const std::string& name) {
    return !name.empty() && name.size() <= schedule_name_length_max &&
           std::all_of(name.begin(), name.end(), [](unsigned char c) {
               return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      c == '.' || c == '_' || c == '-';
           });
}

}  // namespace

std::string_view to_string(Overlap v) { return overlap_names.at(static_cast<std::size_t>(v)); }
std::string_view to_string(ScheduleDecision::Outcome v) {
    return decision_names.at(static_cast<std::size_t>(v));
}
std::string_view to_string(ScheduleChange::Kind v) {
    return change_names.at(static_cast<std::size_t>(v));
}

std::optional<Overlap> parse_overlap(std::string_view word) {
    for (std::size_t i = 0; i < overlap_names.size(); ++i)
        if (word == overlap_names[i]) return static_cast<Overlap>(i);
    return std::nullopt;
}

void require_valid(const Schedule& schedule) {
    const auto wrong = [&](const std::string& what) {
        throw std::invalid_argument(fmt::format(
            "schedule {}: {}", schedule.name.substr(0, schedule_name_length_max), what));
    };
    if (!is_name(schedule.name))
        wrong("a schedule's name has 1 to 100 letters, digits, dots, dashes and underscores");
    if (schedule.workflow.empty()) wrong("it names no workflow");
    if (!schedule.input.is_object()) wrong("its input must be a JSON object");
    for (const Ms span : {schedule.catch_up, schedule.jitter})
        if (span < Ms(0) || span > span_max) wrong("catch_up and jitter are 0 to 366 days");
    try {
        const Cron cron(schedule.cron, schedule.time_zone);
    } catch (const std::invalid_argument& error) {
        wrong(error.what());
    }
}

std::string key_of(const Schedule& schedule) {
    if (!schedule.key.empty() || schedule.overlap == Overlap::allow) return schedule.key;
    return "schedule:" + schedule.name;
}

std::string scheduled_instance_id(const std::string& workflow, const std::string& name,
                                  std::int64_t at_ms, bool triggered) {
    constexpr std::size_t to_the_second = 19;  // 2026-03-29T07:00:00
    std::string at = format_rfc3339(at_ms);
    if (!triggered) at = at.substr(0, to_the_second) + "Z";
    return fmt::format("{}/schedule/{}/{}{}", workflow, name, at, triggered ? "/triggered" : "");
}

std::int64_t due_with_jitter(const std::string& name, std::int64_t at_ms, Ms jitter) {
    if (jitter <= Ms(0)) return at_ms;
    const Hash hash = sha256(fmt::format("{} {}", name, at_ms));
    std::uint64_t bits = 0;
    for (std::size_t i = 0; i < sizeof bits; ++i) bits = bits << 8 | hash.at(i);
    return at_ms + static_cast<std::int64_t>(bits % static_cast<std::uint64_t>(jitter.count() + 1));
}

}  // namespace steplog
