// The table of settings as a file to fill in: what --example-config prints, and a package installs.
#pragma once

#include <string>

namespace steplog::server {

/// NAME=value lines for systemd's EnvironmentFile= and Docker's --env-file, all commented out, each
/// below its meaning. Of secrets it says where to put them.
std::string example_settings();

}  // namespace steplog::server
