// What workflow-inspect prints for people. Everything stored is redacted and made safe for a
// terminal on the way. Pure but for asking whether stdout is a terminal.
#pragma once

#include <string>

#include "engine/inspect.h"

namespace steplog::tools {

std::string render_list(const std::vector<InstanceRow>& rows, std::int64_t now_ms);
std::string render_stuck(const std::vector<Inspector::Stuck>& stuck, std::int64_t now_ms);
std::string render_show(const InstanceDetail& detail, std::int64_t now_ms);
std::string render_stats(const Stats& stats, std::int64_t now_ms);
std::string render_customer(const CustomerView& view, std::int64_t now_ms);
std::string render_versions(const std::vector<VersionView>& versions, std::int64_t now_ms);
std::string render_schedules(const std::vector<ScheduleView>& schedules, std::int64_t now_ms);
std::string render_events(const std::vector<EventRow>& events);

}  // namespace steplog::tools
