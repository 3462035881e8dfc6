// The running server: all parts made, joined and started in order, and ended in the opposite one.
// The only place that knows them all. Called by main, once, on the main thread.
#pragma once

#include <string>
#include <vector>

#include "server/settings.h"

namespace steplog::server {

/// Serves until SIGTERM or SIGINT, and returns the process's exit code: 0 after an orderly end, 74
/// when the store failed. Prints the address it listens on to standard output. `warnings` go to the
/// log. Throws OpenError (the database) and std::runtime_error (the address, a certificate) with a
/// sentence for a person before anything has begun.
int serve(const Settings& settings, const std::vector<std::string>& warnings);

}  // namespace steplog::server
