// The one writing connection: opened with the settings that the promises need, checked, migrated.
// Used by the SQLite store only; after construction it belongs to the writer.
#pragma once

#include <SQLiteCpp/SQLiteCpp.h>

#include <filesystem>
#include <memory>
#include <string>

#include "engine/digest.h"
#include "engine/wal_rewrite.h"
#include "migrations/migrations.h"

namespace steplog {

inline constexpr std::int64_t sqlite_application_id = 0x53544c47;  // "STLG"
/// 4 MiB of WAL: a small WAL bounds what rot can take.
inline constexpr int checkpoint_frames_default = 1000;

/// What is said when a full disk keeps a database from being opened.
std::string no_room_to_open(const std::filesystem::path& path);

class SqliteFile {
  public:
    /// Opens or creates, verifies and migrates. The caller holds the FileLock.
    /// Throws OpenError: not a file, not a Steplog database or of a newer schema (both are left as
    /// they are), damaged, a migration that failed, a network file system. `migrations`: others
    /// than the present ones, and `trust`, for tests; `log_room_bytes`: for make_log_room.
    SqliteFile(const std::filesystem::path& path, const std::string& vfs,
               const std::string& synchronous, bool create,
               const std::vector<Migration>& migrations = sqlite_migrations(),
               WalTrust trust = WalTrust::none, int log_room_bytes = 0);

    SQLite::Database& database() { return database_; }
    const Hash& payload_hash_key() const { return payload_hash_key_; }

    /// How large the WAL grows before checkpoint_if_due moves it, in pages.
    void checkpoint_every(int frames);
    /// After a commit: moves the WAL into the database when it has grown. Never blocks on readers.
    void checkpoint_if_due();
    /// Before a commit: has the WAL's next bytes written, as zeros, and synced, so that the commit
    /// overwrites what the file system has long allocated. To sync that is faster and safer: Linux
    /// 6.18 calls a sync into new blocks done that a forced end of the file system catches half
    /// way, and forgets the blocks. Without room on the disk it does nothing.
    void make_log_room();
    /// Moves everything, syncs the database and empties the WAL. False when readers kept a part of
    /// it back for longer than a second.
    bool checkpoint_all();
    /// Writes the whole database anew, into the WAL: no page keeps what was deleted or moved.
    void rewrite();
    /// Whether the last checkpoint_all has emptied the WAL too.
    bool wal_is_empty() const { return wal_frames_ == 0; }
    /// After a failure: closing writes nothing, not even what SQLite would move from the WAL.
    void leave_as_it_is() { move_wal_on_close(false); }

  private:
    void move_wal_on_close(bool move);
    void restrict();
    void refuse_strangers(int newest);
    void make_wal_durable(const std::string& path, const std::string& vfs, WalTrust trust);
    void configure(const std::string& synchronous);
    void verify();
    void migrate(const std::vector<Migration>& migrations);
    void load_payload_hash_key();

    SQLite::Database database_;
    int wal_frames_ = 0;            // in the WAL after the last commit
    int wal_frames_seen_ = 0;       // at the last look: fewer now means that the WAL began anew
    int wal_frames_with_room_ = 0;  // at the last make_log_room
    const int log_room_bytes_;
    int checkpoint_frames_ = checkpoint_frames_default;
    int checkpoint_at_frames_ = checkpoint_frames_default;
    Hash payload_hash_key_{};
};

}  // namespace steplog
