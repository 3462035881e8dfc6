// Real file systems for one test: a small tmpfs, an ext4 or XFS in a file on a loop device, or an
// ext4 on a device that can vanish. Gone with its destructor, whatever state it is in. Needs root
// and what missing_for() names. One thread at a time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "tests/storm/world.h"

namespace steplog::testing {

/// Runs a program that must succeed; throws std::runtime_error with what it said.
void must_run(const Command& command);

class Mounted {
  public:
    enum class Kind { tmpfs, ext4, xfs };

    /// Makes and mounts `bytes` of it at `point`, whose directory must exist. What backs it, if
    /// anything, is `point` + ".image". Throws std::runtime_error.
    Mounted(Kind kind, std::filesystem::path point, std::uint64_t bytes);
    ~Mounted();
    Mounted(const Mounted&) = delete;
    Mounted& operator=(const Mounted&) = delete;

    static Command programs(Kind kind);
    static const char* name(Kind kind);

    /// Other options for what is mounted: "size=8m", "abort".
    void remount(const std::string& options);
    /// The file system stops in this instant, like a machine without power: what its journal has
    /// not written is lost, and every operation fails from now on (EXT4_IOC_SHUTDOWN without a
    /// flush of the log; XFS has the same).
    void shut_down();
    /// Unmounts and mounts again, which recovers it. Nobody may have files open there.
    void recover();

    const std::filesystem::path& point() const { return point_; }

  private:
    void mount();

    const Kind kind_;
    const std::filesystem::path point_;
};

/// An ext4 on a block device that qemu-storage-daemon serves from a file: the daemon's death is the
/// device's.
class VanishingDisk {
  public:
    VanishingDisk(std::filesystem::path point, std::uint64_t bytes);
    ~VanishingDisk();
    VanishingDisk(const VanishingDisk&) = delete;
    VanishingDisk& operator=(const VanishingDisk&) = delete;

    static Command programs() {
        return {"qemu-storage-daemon", "mkfs.ext4", "losetup", "mount", "umount"};
    }

    void vanish();
    /// The device comes back with what had reached it, and is mounted again.
    void come_back();

  private:
    std::filesystem::path image() const { return point_.string() + ".image"; }
    std::filesystem::path served() const { return point_.string() + ".served"; }
    void attach();
    void detach() noexcept;

    const std::filesystem::path point_;
    std::optional<Process> daemon_;
    std::string device_;
};

}  // namespace steplog::testing
