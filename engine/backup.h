// Taking a backup: a whole, checked and marked copy of a database, beside a live server, after a
// crash or at rest. Reads the database only (engine/inspect_file.h). One thread; as long as the
// copy is written, the server's write-ahead log cannot be emptied.
#pragma once

#include <filesystem>

#include "engine/cipher.h"
#include "engine/clock.h"
#include "engine/inspect.h"
#include "engine/restore.h"

namespace steplog {

/// A backup could not be taken, and nothing lies at its place. The message is one line for a person
/// and says what to do.
class BackupError : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

/// A backup that was taken.
struct BackupReport {
    BackupMark mark;
    std::int64_t bytes = 0;
    Ms copied_in{0};
    CheckReport check;           // of the copy
    std::int64_t wal_bytes = 0;  // of the database, once the copy was written
    /// Drafts of this target that killed backups had left, and those that lie beside it still: of
    /// other targets, killed or under way.
    std::vector<std::filesystem::path> removed, left;
};

/// Copies the database as it is at one moment into `target`, which must not exist: everything
/// acknowledged before the call is in it. On return it is whole, checked, synced, and readable by
/// this user only. Before, no file has that name: it is written as <target>.partial-<pid>. Payloads
/// stay encrypted; with `keys` the check opens them too. Throws BackupError, InspectError.
BackupReport back_up(const std::filesystem::path& database, const std::filesystem::path& target,
                     const Clock& clock, std::vector<MasterKey> keys = {});

/// The part of it that SQLite does: copies into the empty or missing file `copy`, and marks it.
/// What is there when this throws is no backup. `vfs`: a registered SQLite VFS, for tests.
BackupMark copy_and_mark(const std::filesystem::path& database, const std::filesystem::path& copy,
                         const Clock& clock, const std::string& vfs = {});

}  // namespace steplog
