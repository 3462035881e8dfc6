// The settings of the front's limits and deadlines: one table gives each its name, bounds and
// place. Used by settings.cc.
#pragma once

#include <string>
#include <vector>

#include "server/front_limits.h"
#include "server/settings_reader.h"

namespace steplog::server {

/// Reads and checks all of them, also against each other.
FrontLimits read_front_limits(SettingsReader& reader);

/// One "NAME=value" line for each.
std::vector<std::string> describe_front_limits(const FrontLimits& limits);

}  // namespace steplog::server
