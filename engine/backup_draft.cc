#include "engine/backup_draft.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "engine/backup.h"

namespace steplog {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view partial = ".partial-";
constexpr std::string_view journal = "-journal";  // SQLite's, while it writes the draft

[[noreturn]] void fail(const std::string& what, const fs::path& path) {
    throw BackupError(fmt::format("{} {}: {}", what, path.string(), std::strerror(errno)));
}

fs::path directory_of(const fs::path& target) {
    return target.has_parent_path() ? target.parent_path() : fs::path(".");
}

void sync(const fs::path& path, int flags) {
    const int descriptor = open(path.c_str(), flags | O_CLOEXEC);
    const bool synced = descriptor >= 0 && fsync(descriptor) == 0;
    const int error = errno;
    if (descriptor >= 0) close(descriptor);
    errno = error;
    if (!synced) fail("cannot sync", path);
}

// Whoever held the lock before may have removed the file, and a third have made it again.
bool is_at(int descriptor, const fs::path& path) {
    struct stat opened {
    }, there{};
    return fstat(descriptor, &opened) == 0 && lstat(path.c_str(), &there) == 0 &&
           opened.st_dev == there.st_dev && opened.st_ino == there.st_ino;
}

// The target's name, where the file is called as a draft or its journal is; else empty.
std::string target_of(const fs::directory_entry& file) {
    std::error_code error;
    std::string name = file.path().filename().string();
    if (name.ends_with(journal)) name.resize(name.size() - journal.size());
    const auto at = name.rfind(partial);
    if (at == name.npos || file.symlink_status(error).type() != fs::file_type::regular) return {};
    const std::string pid = name.substr(at + partial.size());
    const bool numbered = pid.find_first_not_of("0123456789") == pid.npos;
    return pid.empty() || !numbered ? std::string() : name.substr(0, at);
}

}  // namespace

BackupLock::BackupLock(const fs::path& target) : path_(target.string() + ".partial-lock") {
    while (!held_) {
        descriptor_ = open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (descriptor_ < 0) fail("cannot make", path_);
        if (flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
            if (errno != EWOULDBLOCK) return;
            close(descriptor_);
            throw BackupError(
                fmt::format("another backup to {} is under way: wait for it, or choose another "
                            "name",
                            target.string()));
        }
        held_ = is_at(descriptor_, path_);
        if (!held_) close(descriptor_);
    }
}

BackupLock::~BackupLock() {
    unlink(path_.c_str());
    close(descriptor_);
}

BackupDraft::BackupDraft(const fs::path& target)
    : target_(target),
      path_(target.string() + fmt::format("{}{}", partial, getpid())),
      lock_(target) {
    remove_drafts_of_killed_backups();
    // Not kept open: closing it would drop the locks that SQLite takes on it.
    const int made = open(path_.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
    if (made < 0) fail("cannot make", path_);
    close(made);
}

BackupDraft::~BackupDraft() {
    if (!published_) unlink(path_.c_str());
}

void BackupDraft::remove_drafts_of_killed_backups() {
    std::error_code error;
    for (const auto& file : fs::directory_iterator(directory_of(target_), error)) {
        const std::string target = target_of(file);
        if (target.empty()) continue;
        const bool nobodys = lock_.held() && target == target_.filename();
        (nobodys && unlink(file.path().c_str()) == 0 ? removed_ : left_).push_back(file.path());
    }
    std::sort(removed_.begin(), removed_.end());
    std::sort(left_.begin(), left_.end());
}

void BackupDraft::publish() {
    // Synced first, so that the name never stands for less than the whole.
    sync(path_, O_RDONLY);
    if (renameat2(AT_FDCWD, path_.c_str(), AT_FDCWD, target_.c_str(), RENAME_NOREPLACE) != 0) {
        // Some file systems cannot promise not to replace: a hard link can.
        if (errno != EINVAL || link(path_.c_str(), target_.c_str()) != 0)
            fail("cannot name the backup", target_);
        unlink(path_.c_str());
    }
    published_ = true;
    sync(directory_of(target_), O_RDONLY | O_DIRECTORY);
}

}  // namespace steplog
