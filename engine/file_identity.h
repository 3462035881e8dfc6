// Which file a path led to: a store that holds a file open must notice when somebody removes it or
// puts another in its place, since from then on its commits would vanish with the last descriptor.
// Used by the SQLite store only; immutable, any thread.
#pragma once

#include <sys/types.h>

#include <filesystem>

namespace steplog {

class FileIdentity {
  public:
    /// Remembers the file that lies at `path` now. Throws OpenError when there is none.
    explicit FileIdentity(std::filesystem::path path);

    /// Whether the path still leads to that file. One system call.
    bool is_still_there() const noexcept;
    const std::filesystem::path& path() const { return path_; }

  private:
    std::filesystem::path path_;
    dev_t device_ = 0;
    ino_t inode_ = 0;
};

}  // namespace steplog
