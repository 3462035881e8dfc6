// A disk in memory that can lose its power: a SQLite VFS whose files remember what was synced and
// what was only written. Used by tests/crash. A test cuts the power at the n-th operation; from
// then on everything fails, as for a machine that is off; then it decides what of the unsynced
// writes survived and opens the files again. Also disks that fail, fill up, or lie about syncing.
// One mutex guards everything: any thread may call anything, several connections may be open.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace steplog::testing {

/// What a power loss leaves of the changes that were not synced.
enum class Survival {
    synced,      // nothing of them
    everything,  // all of them, in order
    torn,        // a random part: some writes are missing, the last kept one is torn at 512 bytes
    page_cache   // the process died, the machine did not: all are there, and still not synced
};

/// What a disk is asked. Cuts count all but `read`.
enum class Operation { read, write, truncate, sync, create, remove, outside };

class CrashVfs {
  public:
    struct Options {
        bool lying_sync = false;  // syncs answer OK and make nothing durable
        /// A torn write leaves the bytes beside it in its sector alone, as SQLite assumes of disks
        /// by default. False: SQLite pads its commits to whole sectors, and a torn sector is
        /// garbage.
        bool powersafe_overwrite = true;
    };

    /// The contents of a whole disk, everything synced. Cheap to copy.
    using Image = std::map<std::string, std::shared_ptr<const std::vector<unsigned char>>>;

    /// Registers itself with SQLite under `name`, not as the default.
    explicit CrashVfs(std::string name, Options options);
    explicit CrashVfs(std::string name) : CrashVfs(std::move(name), Options{}) {}
    /// No connection may be open any more.
    ~CrashVfs();
    CrashVfs(const CrashVfs&) = delete;
    CrashVfs& operator=(const CrashVfs&) = delete;

    const std::string& name() const;
    void set_options(Options options);

    /// What every program sees now, synced or not.
    Image image();
    /// Makes the disk hold exactly this, all of it synced, with power. Connections that are still
    /// open are dead: their operations fail and change nothing. Clears cuts, faults and the count.
    void restore(const Image& image);

    /// Cuts the power at the n-th operation from now (1: the next one), or with `only` at the n-th
    /// of that kind: that operation is under way, so its change may survive, but it fails, and so
    /// does everything after it.
    void cut_after(std::int64_t n, std::optional<Operation> only = {});
    bool is_cut() const;
    /// Operations since the last restore, crash or cut_after; the one at which the power went
    /// included.
    std::int64_t operations() const;
    /// "write steplog.db-wal 4120 bytes at 32": the operation at which the power went, or the last
    /// that failed; "" before.
    std::string cut_at() const;

    /// An operation of the world outside the disk (a request that leaves the machine): counted as
    /// the disk's own. False: the power is gone, the machine does nothing any more.
    bool outside_operation(const std::string& what);

    /// Loses what `survival` and `seed` say, kills all open connections, and gives the power back.
    /// May be called without a cut before: the power goes now.
    void crash(Survival survival, std::uint64_t seed);

    /// Makes the n-th operation of this kind from now (1: the next one) return this SQLite result,
    /// and with `for_good` all later ones of the kind. A failed write changes nothing; what a
    /// failed sync should have made durable never is, though programs go on seeing it (as Linux
    /// does it).
    void fail(Operation operation, std::int64_t n, int result, bool for_good = false);
    /// Whether one of them has come about since they were cleared.
    bool has_failed() const;
    void clear_faults();
    /// Writes that would make the files together larger than this return SQLITE_FULL. 0: no limit.
    void set_capacity(std::int64_t bytes);
    /// Size of all files together, as programs see them.
    std::int64_t used() const;

    struct Impl;

  private:
    std::unique_ptr<Impl> impl_;
};

}  // namespace steplog::testing
