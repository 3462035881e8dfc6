// How many instances there are, by workflow, version and state. Private to engine/inspect*.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <tuple>

#include "engine/inspect_file.h"
#include "engine/types.h"

namespace steplog::rows {

struct Count {
    std::int64_t instances = 0, entries = 0;
    std::optional<std::int64_t> oldest_at_ms;  // when the first of those that go on was created
};

/// By workflow, version and state; without those that there are none of.
using Tally = std::map<std::tuple<std::string, int, State>, Count>;

/// What has ended is not read: it is counted where it ends. What goes on is, in parts where it is
/// much: those are counts of different moments.
Tally tally(ReadOnlyDatabase& file);

}  // namespace steplog::rows
