// What is lost behind a damaged write-ahead log, told before opening the database empties it, and
// that the log was kept. Used by serve and by retention; any thread.
#pragma once

#include <filesystem>

#include "engine/clock.h"
#include "engine/types.h"
#include "server/log.h"

namespace steplog::server {

/// SQLite passes over such damage in silence. Says so in the log, and keeps the write-ahead log as
/// <database>-wal.damaged. Going on is all the same the best there is: a backup is older still.
void tell_of_lost_commits(Log& log, const std::filesystem::path& database);

/// Warns of a log that was kept so and is older than `retention`. Deletes nothing: a person may
/// need it.
void tell_of_kept_wal(Log& log, const std::filesystem::path& database, Ms retention,
                      const Clock& clock);

}  // namespace steplog::server
