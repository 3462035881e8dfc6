// See settings_front.h. Defaults and meanings stand with all other settings in settings_table.cc.
#include "server/settings_front.h"

#include <fmt/format.h>

#include <array>

#include "engine/text.h"

namespace steplog::server {
namespace {

constexpr std::size_t kib = 1024;
constexpr std::size_t mib = 1024 * kib;
constexpr Ms deadline_min{10};
constexpr Ms deadline_max = std::chrono::minutes(10);

struct SizeSetting {
    std::string_view name;
    std::size_t FrontLimits::*place;
    std::size_t min, max;
};
constexpr std::array<SizeSetting, 6> sizes = {
    {{"STEPLOG_MAX_BODY", &FrontLimits::body_max, kib, 16 * mib},
     {"STEPLOG_MAX_HEADER", &FrontLimits::header_bytes_max, kib, mib},
     {"STEPLOG_MAX_LINE", &FrontLimits::line_max, 256, mib},
     {"STEPLOG_MAX_TARGET", &FrontLimits::target_max, 64, 64 * kib},
     {"STEPLOG_MAX_BUFFERED", &FrontLimits::buffered_bytes_max, mib, 4096 * mib},
     {"STEPLOG_MAX_DISCARDED", &FrontLimits::discarded_bytes_max, kib, 1024 * mib}}};

struct DeadlineSetting {
    std::string_view name;
    Ms FrontLimits::*place;
};
constexpr std::array<DeadlineSetting, 6> deadlines = {
    {{"STEPLOG_HEADER_TIMEOUT", &FrontLimits::header_deadline},
     {"STEPLOG_REQUEST_TIMEOUT", &FrontLimits::request_deadline},
     {"STEPLOG_ANSWER_TIMEOUT", &FrontLimits::answer_deadline},
     {"STEPLOG_WRITE_TIMEOUT", &FrontLimits::write_deadline},
     {"STEPLOG_IDLE_TIMEOUT", &FrontLimits::idle_deadline},
     {"STEPLOG_LINGER_TIMEOUT", &FrontLimits::linger_deadline}}};

struct CountSetting {
    std::string_view name;
    int FrontLimits::*place;
    int max;
};
constexpr std::array<CountSetting, 5> counts = {
    {{"STEPLOG_MAX_CONNECTIONS", &FrontLimits::connections_max, 1'000'000},
     {"STEPLOG_MAX_CONNECTIONS_PER_ADDRESS", &FrontLimits::connections_per_address_max, 1'000'000},
     {"STEPLOG_MAX_REQUESTS_PER_CONNECTION", &FrontLimits::requests_per_connection_max, 1'000'000},
     {"STEPLOG_REQUEST_WORKERS", &FrontLimits::workers, 1024},
     {"STEPLOG_MAX_QUEUE", &FrontLimits::queue_max, 100'000}}};

/// Limits that would make each other pointless are a mistake of whoever wrote them.
void compare(SettingsReader& reader, const FrontLimits& limits) {
    if (limits.request_deadline < limits.header_deadline) {
        reader.problem("STEPLOG_REQUEST_TIMEOUT",
                       "is shorter than STEPLOG_HEADER_TIMEOUT; make it at least as long");
    }
    if (limits.target_max >= limits.line_max) {
        reader.problem("STEPLOG_MAX_LINE",
                       "has no room for STEPLOG_MAX_TARGET; make it larger than that");
    }
    if (limits.line_max > limits.header_bytes_max) {
        reader.problem("STEPLOG_MAX_HEADER",
                       "has no room for STEPLOG_MAX_LINE; make it at least as large");
    }
    if (limits.buffered_bytes_max < 4 * limits.body_max) {
        reader.problem(
            "STEPLOG_MAX_BUFFERED",
            "has no room for a few bodies; make it at least four times STEPLOG_MAX_BODY");
    }
}

}  // namespace

FrontLimits read_front_limits(SettingsReader& reader) {
    FrontLimits limits;
    const std::size_t problems = reader.problems();
    for (const auto& [name, place, min, max] : sizes) limits.*place = reader.size(name, min, max);
    limits.header_lines_max =
        static_cast<std::size_t>(reader.count("STEPLOG_MAX_HEADER_COUNT", 10'000));
    for (const auto& [name, place] : deadlines)
        limits.*place = reader.duration(name, deadline_min, deadline_max);
    for (const auto& [name, place, max] : counts) limits.*place = reader.count(name, max);
    if (reader.problems() == problems) compare(reader, limits);
    return limits;
}

std::vector<std::string> describe_front_limits(const FrontLimits& limits) {
    std::vector<std::string> lines;
    for (const auto& setting : sizes)
        lines.push_back(fmt::format("{}={}", setting.name, format_size(limits.*setting.place)));
    lines.push_back(fmt::format("STEPLOG_MAX_HEADER_COUNT={}", limits.header_lines_max));
    for (const auto& setting : deadlines)
        lines.push_back(fmt::format("{}={}", setting.name, format_duration(limits.*setting.place)));
    for (const auto& setting : counts)
        lines.push_back(fmt::format("{}={}", setting.name, limits.*setting.place));
    return lines;
}

}  // namespace steplog::server
