// What a failed sync leaves behind, mended at start-up. When a sync of the WAL fails, the operating
// system goes on showing what was written, calls it clean, and answers the next sync with OK though
// nothing is on the disk. Whoever then moves that WAL into the database stands on nothing: a power
// loss in between leaves half of a transaction. So its committed part is written once more, and for
// a disk that harms the neighbours of what it writes when the power goes, copied first to
// <database>-wal-copyN. Used by SqliteFile, whose caller holds the FileLock.
//
// Whoever rewrites has made and synced a copy of his own before: a copy that lies there may itself
// be one that only seems to be on the disk. While a whole copy lies there nobody has written to the
// database since, so that putting it back is always right.
#pragma once

#include <string>

namespace steplog {

/// How far a start trusts the WAL that it finds. All but the first are negative controls.
enum class WalTrust {
    none,          // copied, then written once more
    neighbours,    // written once more in place, without a copy
    what_is_shown  // left as it is
};

/// Before SQLite looks at the database: completes what the power loss of an earlier start left half
/// done, and removes copies that are not whole. `vfs` "" is SQLite's default. Throws OpenError:
/// also while another program has the database open that read the torn log.
void finish_wal_rewrite(const std::string& database, const std::string& vfs);

/// The same for who only looks: whether the log is torn until the next start has put it back.
bool wal_is_torn(const std::string& database, const std::string& vfs);

/// Makes what the WAL shows durable: on return its committed part is on the disk for certain, and
/// no copy is left. Programs that read it notice nothing. The caller holds SQLite's write lock.
/// On a disk without room for a copy the log stays as it is. Throws OpenError.
void rewrite_wal(const std::string& database, const std::string& vfs, WalTrust trust);

}  // namespace steplog
