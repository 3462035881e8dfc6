// workflow-server --check-replay: would this program's workflows go on with what is unfinished in a
// database? Asked before a deploy, of the live database or a copy. Called by main, once.
#pragma once

#include "server/settings.h"

namespace steplog::server {

inline constexpr int exit_would_break = 1;
inline constexpr int exit_could_not_look = 2;

/// Prints what would break to standard output. Of the settings only the database and its encryption
/// keys must be right. Returns 0 when nothing would break, else one of the above.
int check_replay(const SettingsRead& read, bool json);

}  // namespace steplog::server
