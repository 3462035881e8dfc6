// Instants as people and programs exchange them: RFC 3339 in UTC with milliseconds. Used by
// whatever prints or reads a time. Pure functions; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace steplog {

/// Unix milliseconds as "2026-11-23T16:43:44.123Z". Years beyond 0000 to 9999 become the nearest
/// instant that the form can hold.
std::string format_rfc3339(std::int64_t unix_ms);

/// Unix milliseconds of "2026-11-23T16:43:44Z", with or without a fraction (beyond milliseconds cut
/// off) and with Z or an offset such as +01:00. Nothing for anything else; a leap second counts as
/// the last millisecond before it ends.
std::optional<std::int64_t> parse_rfc3339(std::string_view text);

/// How long, for people, in one unit: "0 s", "45 s", "5 min", "3 h", "2 d". The sign is dropped.
std::string rough_span(std::int64_t span_ms);

}  // namespace steplog
