// How many instances go back to work at a time, and how long to wait in between: so that providers
// which have just come back are not run over. Pure.
#pragma once

#include <optional>
#include <string_view>

#include "engine/types.h"

namespace steplog::tools {

struct Pace {
    int batch = 1;
    Ms pause{0};
};

/// "10/s", "100/m", "2000/h" or "10" (a second). Nothing for anything else, and for none at all.
std::optional<Pace> parse_pace(std::string_view text);

}  // namespace steplog::tools
