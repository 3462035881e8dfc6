// What a look at the engine's promises prints for people, and sizes and spans as tools print them.
// Used by workflow-inspect check, workflow-admin verify and backup. Pure but for asking whether
// stdout is a terminal.
#pragma once

#include <string>

#include "engine/inspect.h"

namespace steplog::tools {

/// One line a promise, with examples of what is broken, and how long the look took.
std::string render_check(const CheckReport& report);

std::string rough_size(std::int64_t bytes);  // "312 B", "44 KiB", "234 MiB"
std::string exact_seconds(Ms span);          // "0.604 s"

}  // namespace steplog::tools
