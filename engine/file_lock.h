// The lock that makes one process the owner of a database: flock on <database>.lock, held for life
// and let go by the kernel however the process ends. Used by the store and by whoever wants to
// know.
#pragma once

#include <filesystem>

namespace steplog {

class FileLock {
  public:
    /// Takes the lock of this database at once. Throws LockedError naming the holder when another
    /// process has it, OpenError when the lock file cannot be made.
    explicit FileLock(const std::filesystem::path& database);
    ~FileLock();
    FileLock(const FileLock&) = delete;
    FileLock& operator=(const FileLock&) = delete;

    static std::filesystem::path path_of(const std::filesystem::path& database);

    /// True when some process holds the lock of this database. Takes nothing, creates nothing.
    static bool is_held(const std::filesystem::path& database);

  private:
    int descriptor_;
};

}  // namespace steplog
