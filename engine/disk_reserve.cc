#include "engine/disk_reserve.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace steplog {
namespace {

constexpr std::uint64_t share = 20;  // at most one part in so many of the file system

}  // namespace

std::optional<DiskRoom> disk_room(const std::filesystem::path& path) {
    struct statvfs system {};
    if (statvfs(path.c_str(), &system) != 0) return std::nullopt;
    return DiskRoom{static_cast<std::uint64_t>(system.f_blocks) * system.f_frsize,
                    static_cast<std::uint64_t>(system.f_bavail) * system.f_frsize};
}

DiskReserve::DiskReserve(std::filesystem::path file, std::uint64_t bytes_max, Look look)
    : file_(std::move(file)), bytes_max_(bytes_max), look_(std::move(look)) {}

bool DiskReserve::keep() {
    const auto room = look_(file_.parent_path());
    if (!room) return true;
    const std::uint64_t wanted = bytes(*room);
    if (is_whole(wanted)) return true;
    if (room->available_bytes < 2 * wanted) return false;
    const int descriptor =
        open(file_.c_str(), O_CREAT | O_RDWR | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR);
    if (descriptor < 0) return errno != ENOSPC && errno != EDQUOT;
    const int failed = posix_fallocate(descriptor, 0, static_cast<off_t>(wanted));
    close(descriptor);
    if (failed == 0) return true;
    release();
    return failed != ENOSPC && failed != EDQUOT;
}

void DiskReserve::release() noexcept { unlink(file_.c_str()); }

bool DiskReserve::is_needed_now() const {
    const auto room = look_(file_.parent_path());
    return room && room->available_bytes < bytes(*room);
}

std::uint64_t DiskReserve::bytes(const DiskRoom& room) const {
    return std::min(bytes_max_, room.total_bytes / share);
}

bool DiskReserve::is_whole(std::uint64_t bytes) const {
    constexpr std::uint64_t block = 512;  // what st_blocks counts, whatever the file system
    struct stat status {};
    return lstat(file_.c_str(), &status) == 0 && S_ISREG(status.st_mode) &&
           static_cast<std::uint64_t>(status.st_blocks) * block >= bytes;
}

}  // namespace steplog
