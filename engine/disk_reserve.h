// Room kept for the hour when the disk is full: SQLite needs space even to move its write-ahead log
// into the database or to delete, so a full disk would block its own clean-up. A file of real
// blocks beside the database is given back in that hour, and made again when there is room for it
// and for as much again. Used by the SQLite store, on its writer thread only.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>

namespace steplog {

struct DiskRoom {
    std::uint64_t total_bytes = 0;      // of the file system
    std::uint64_t available_bytes = 0;  // to a process without privileges
};

/// Of the file system that holds `path`; nothing when it cannot be asked.
std::optional<DiskRoom> disk_room(const std::filesystem::path& path);

class DiskReserve {
  public:
    using Look = std::function<std::optional<DiskRoom>(const std::filesystem::path&)>;

    /// Of min(bytes_max, 5 % of the file system), in `file`. Makes nothing yet.
    DiskReserve(std::filesystem::path file, std::uint64_t bytes_max, Look look = disk_room);

    /// True when the reserve is on the disk, made now if need be; false when there is no room for
    /// it and for as much again. Where a reserve cannot be kept for any other reason (a limit on
    /// file sizes, say), going without is no reason to stop: true.
    bool keep();

    /// Gives the room back. keep() would make it again.
    void release() noexcept;

    /// A disk so full that opening the database would fail: the reserve is due before that.
    bool is_needed_now() const;

  private:
    std::uint64_t bytes(const DiskRoom& room) const;
    bool is_whole(std::uint64_t bytes) const;

    const std::filesystem::path file_;
    const std::uint64_t bytes_max_;
    const Look look_;
};

}  // namespace steplog
