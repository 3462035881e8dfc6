// The machine behind a CrashVfs: its disk, its power and its faults. Shared by crash_vfs.cc (what
// tests call) and crash_calls.cc (what SQLite calls). Not for tests to include.
#pragma once

#include <sqlite3.h>

#include <mutex>

#include "tests/support/crash_disk.h"

namespace steplog::testing {

struct Fault {
    Operation operation;
    std::int64_t remaining;
    int result;
    bool for_good;
};

struct CrashVfs::Impl {
    /// What becomes of an operation: the change may be made although the program is told that it
    /// failed.
    struct Decision {
        int result = SQLITE_OK;
        bool happens = true;
    };

    std::string name;
    Options options;
    sqlite3_vfs vfs{};
    sqlite3_vfs* system = nullptr;

    mutable std::mutex mutex;  // guards what follows
    CrashDisk disk;
    std::int64_t operations = 0;
    std::int64_t until_cut = 0;         // operations left; 0 or less: never
    std::optional<Operation> cut_only;  // which of them count; absent: all
    bool cut = false;
    std::string cut_at;
    std::vector<Fault> faults;
    bool has_failed = false;  // one of the faults has come about
    std::int64_t capacity = 0;

    /// Counts the operation and says what becomes of it; `failure` is what a machine that is off
    /// answers.
    Decision decide(Operation operation, int failure, const File& file, const std::string& what);
    bool dead(const Handle& handle) const { return cut || handle.life != disk.life(); }
    void count_anew() {
        operations = 0;
        until_cut = 0;
        cut_only.reset();
        cut = false;
        cut_at.clear();
    }
};

/// Puts SQLite's calls into the machine's VFS.
void install_calls(CrashVfs::Impl& machine);

}  // namespace steplog::testing
