// Looks into a write-ahead log as SQLite wrote it, for damage that SQLite passes over in silence:
// it takes the first frame that does not verify for the end, and forgets the commits behind it.
// Used when a database is opened and by who checks one. Pure but for reading the file; any thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace steplog {

struct WalDamage {
    std::int64_t frame = 0;           // the first that does not verify, from 1; 0: the header
    std::int64_t commits_behind = 0;  // that cannot be read because of it, as far as it shows
};

/// Nothing when every commit of the log can be read; a crash in the middle of one leaves a torn end
/// and is no damage. Each commit is synced before the next begins, so that more than one behind a
/// frame that does not verify means that the frame was whole once. What was cut off, or lies in the
/// last commit, cannot be told from a crash. Safe beside a writer: what looks like damage is looked
/// at again. Nothing, too, when there is no such file or it cannot be read.
std::optional<WalDamage> find_wal_damage(const std::filesystem::path& wal);

}  // namespace steplog
