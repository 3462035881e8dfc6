// The embedded default store: one SQLite file, one writing connection in the whole system, group
// commit. Opening it takes the lock on the file for life.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>

#include "engine/cipher.h"
#include "engine/clock.h"
#include "engine/store.h"
#include "engine/wal_rewrite.h"

namespace steplog {

/// How a database is opened. The defaults are those for production.
struct SqliteOptions {
    std::filesystem::path database = "steplog.db";
    std::string program = "steplog";  // for the owners table
    Ms lease = std::chrono::seconds(30);
    bool writer_thread = true;  // false: each call commits in the caller's thread
    Ms change_limit{50};        // how long a program's change of its own tables may take
    bool create = true;         // false: refuse a file that is not there
    // Kept free beside the database for clean-up on a full disk, at most 5 % of the file system; 0:
    // none. While it is given back, nothing new is accepted or claimed. Kept by the writer thread.
    std::uint64_t reserve_bytes = 32 * 1024 * 1024;
    /// Payloads are sealed with data keys that the first of these wraps; none: written in clear.
    std::vector<MasterKey> encryption_keys = {};
    std::function<void(const std::string&)> on_fatal =
        {};  // once, from any thread, when the store fails for good
    std::function<void(std::size_t items, std::chrono::microseconds took)> on_commit =
        {};  // on the writer, after each synced commit and the waking of its waiters
    std::function<void(const std::string&)> on_restored =
        {};  // at most once, before open returns: the file is a restored backup, in a sentence
    std::function<bool()> on_full =
        {};  // without a writer thread: make room, or say that there is none
    // For tests: the rest of the world.
    std::string vfs = {};              // a registered SQLite VFS; the file lock is then not taken
    std::string synchronous = "FULL";  // negative controls only
    bool acknowledge_before_commit = false;  // negative control only
    int checkpoint_frames = 0;  // pages of WAL between checkpoints, for tests; 0: as always
    WalTrust wal_trust = WalTrust::none;
    int log_room_bytes = 256 * 1024;  // written in advance, SqliteFile::make_log_room; 0: none
};

/// Opens, locks, checks and migrates the database, and makes this process its owner: instances that
/// ran under the last owner are due at once. Throws OpenError with a sentence for a person:
/// also when the file holds payloads that `encryption_keys` cannot open.
std::unique_ptr<Store> open_sqlite_store(SqliteOptions options, Clock& clock);

}  // namespace steplog
