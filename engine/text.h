// Durations and sizes as people write them: in settings, on command lines, in what programs print.
// Pure functions; any thread.
#pragma once

#include <cstddef>

#include "engine/types.h"

namespace steplog {

/// "500ms", "30s", "5m", "2h", "30d": a whole number and its unit, nothing between or around.
/// Nothing for anything else, and for more than 100 years.
std::optional<Ms> parse_duration(std::string_view text);

/// "0", "512B", "512KiB", "1MiB", "2GiB". A number needs its unit, but for 0.
std::optional<std::size_t> parse_size(std::string_view text);

/// A whole decimal number without sign or blanks, at most `max`.
std::optional<std::int64_t> parse_count(std::string_view text, std::int64_t max);

/// As parse_duration reads it, in the largest unit that holds it exactly: 90 s is "90s", 120 s
/// "2m".
std::string format_duration(Ms duration);

/// As parse_size reads it, in the largest unit that holds it exactly.
std::string format_size(std::size_t bytes);

}  // namespace steplog
