// What a failed sync leaves behind, mended at start-up. Used by SqliteFile before SQLite looks at
// the database; the caller holds the FileLock.
#pragma once

#include <string>

namespace steplog {

/// Writes the database's WAL once more, byte for byte, and syncs it. When a sync fails, the
/// operating system goes on showing what was written, calls it clean, and answers the next sync
/// with OK although nothing is on the disk. Whoever then moves the WAL into the database stands on
/// nothing: a power loss in between leaves half of a transaction. Does nothing without a WAL.
/// `vfs` "" is SQLite's default. Throws OpenError.
void rewrite_wal(const std::string& database, const std::string& vfs);

}  // namespace steplog
