// The settings of the welcome e-mail: which way out, from whom, in which words. Used by settings.cc
// and by --preview-email; one thread.
#pragma once

#include <string>
#include <vector>

#include "server/settings.h"
#include "server/settings_reader.h"

namespace steplog::server {

void read_email(SettingsReader& reader, Settings& settings);

/// One "NAME=value" line for each; of a secret only that it is set.
std::vector<std::string> describe_email(const Settings& settings);

}  // namespace steplog::server
