// What is lost behind a damaged write-ahead log, told before opening the database empties it. Used
// by serve; one thread.
#pragma once

#include <filesystem>

#include "server/log.h"

namespace steplog::server {

/// SQLite passes over such damage in silence. Says so in the log, and keeps the write-ahead log as
/// <database>-wal.damaged. Going on is all the same the best there is: a backup is older still.
void tell_of_lost_commits(Log& log, const std::filesystem::path& database);

}  // namespace steplog::server
