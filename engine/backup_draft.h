// The file in which a backup is written before it has its name, and what becomes of those that
// killed backups left: they hold customers' data, and nobody else removes them. Used by back_up;
// one thread.
#pragma once

#include <filesystem>
#include <vector>

namespace steplog {

/// The lock <target>.partial-lock, held as long as this lives: who has it is the only one who
/// writes drafts of this target. The kernel lets it go however the process ends; the empty file
/// then stays, and the next one uses it.
class BackupLock {
  public:
    /// Throws BackupError when another backup to this target is under way, or the file cannot be
    /// made.
    explicit BackupLock(const std::filesystem::path& target);
    ~BackupLock();
    BackupLock(const BackupLock&) = delete;
    BackupLock& operator=(const BackupLock&) = delete;

    /// False where the file system has no locks: then nobody knows whose a draft is.
    bool held() const { return held_; }

  private:
    const std::filesystem::path path_;
    int descriptor_ = -1;
    bool held_ = false;
};

class BackupDraft {
  public:
    /// Removes the drafts of this target whose backups were killed, and makes an empty one that
    /// only this user can read. Throws BackupError.
    explicit BackupDraft(const std::filesystem::path& target);
    ~BackupDraft();  // it is gone unless it was published
    BackupDraft(const BackupDraft&) = delete;
    BackupDraft& operator=(const BackupDraft&) = delete;

    const std::filesystem::path& path() const { return path_; }
    const std::vector<std::filesystem::path>& removed() const { return removed_; }
    /// Those that lie in the target's directory all the same: of other targets, under way or
    /// killed.
    const std::vector<std::filesystem::path>& left() const { return left_; }

    /// Gives it the target's name, which nothing must have; durable on return. Throws BackupError.
    void publish();

  private:
    void remove_drafts_of_killed_backups();

    const std::filesystem::path target_, path_;
    const BackupLock lock_;
    std::vector<std::filesystem::path> removed_, left_;
    bool published_ = false;
};

}  // namespace steplog
