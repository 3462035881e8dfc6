#include "engine/file_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <thread>

#include "engine/errors.h"

namespace steplog {
namespace {

std::string lock_path(const std::filesystem::path& database) {
    return FileLock::path_of(database).string();
}

std::string holder_of(int descriptor) {
    std::array<char, 32> text{};
    const ssize_t size = pread(descriptor, text.data(), text.size() - 1, 0);
    const std::string pid(text.data(), size > 0 ? static_cast<std::size_t>(size) : 0);
    return pid.empty() ? "another process" : fmt::format("process {}", pid);
}

// Whoever only asks whether it is held has it for an instant; an owner keeps it for life.
bool taken(int descriptor) {
    constexpr int tries = 10;
    for (int attempt = 1; flock(descriptor, LOCK_EX | LOCK_NB) != 0; ++attempt) {
        if (attempt == tries) return false;
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return true;
}

}  // namespace

std::filesystem::path FileLock::path_of(const std::filesystem::path& database) {
    return database.string() + ".lock";
}

FileLock::FileLock(const std::filesystem::path& database)
    : descriptor_(
          open(lock_path(database).c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)) {
    if (descriptor_ < 0)
        throw OpenError(
            fmt::format("cannot make the lock file {}: {}; the directory must exist and be "
                        "writable for this user",
                        lock_path(database), std::strerror(errno)));
    if (!taken(descriptor_)) {
        const std::string holder = holder_of(descriptor_);
        close(descriptor_);
        throw LockedError(
            fmt::format("{} is in use by {}: one server owns a database; stop that one first",
                        database.string(), holder));
    }
    const std::string pid = std::to_string(getpid());
    if (ftruncate(descriptor_, 0) != 0 ||
        pwrite(descriptor_, pid.data(), pid.size(), 0) != static_cast<ssize_t>(pid.size())) {
        // Only the holder's number in a message is lost, for example on a full disk.
        errno = 0;
    }
}

FileLock::~FileLock() { close(descriptor_); }

bool FileLock::is_held(const std::filesystem::path& database) {
    const int descriptor =
        open(lock_path(database).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (descriptor < 0) return false;
    const bool held = flock(descriptor, LOCK_SH | LOCK_NB) != 0;
    close(descriptor);
    return held;
}

}  // namespace steplog
