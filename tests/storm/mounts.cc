#include "tests/storm/mounts.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <stdexcept>
#include <thread>

namespace steplog::testing {
namespace {

using namespace std::chrono_literals;

// EXT4_IOC_SHUTDOWN of Linux's fs/ext4/ext4.h, XFS_IOC_GOINGDOWN of fs/xfs/libxfs/xfs_fs.h: the
// same number and the same meaning.
constexpr unsigned long ioctl_shutdown = _IOR('X', 125, std::uint32_t);
constexpr std::uint32_t no_log_flush = 2;

const std::string root_path = "PATH=$PATH:/usr/sbin:/sbin; exec \"$0\" \"$@\"";

std::string told(const Command& command) {
    Command shell{"/bin/sh", "-c", root_path};
    shell.insert(shell.end(), command.begin(), command.end());
    const auto finished = run(shell, {}, 60s);
    if (finished.exit.code == 0) return finished.output;
    throw std::runtime_error(fmt::format("{}: {}{}", fmt::format("{}", command.front()),
                                         finished.output, finished.errors));
}

void make_image(const std::filesystem::path& path, std::uint64_t bytes) {
    { const std::ofstream file(path); }
    std::filesystem::resize_file(path, bytes);
}

}  // namespace

void must_run(const Command& command) { told(command); }

Mounted::Mounted(Kind kind, std::filesystem::path point, std::uint64_t bytes)
    : kind_(kind), point_(std::move(point)) {
    if (kind == Kind::tmpfs) {
        must_run({"mount", "-t", "tmpfs", "-o", fmt::format("size={}", bytes), "tmpfs", point_});
        return;
    }
    const std::string image = point_.string() + ".image";
    make_image(image, bytes);
    if (kind == Kind::ext4) {
        must_run({"mkfs.ext4", "-q", "-F", image});
    } else {
        must_run({"mkfs.xfs", "-q", "-f", image});
    }
    mount();
}

// Lazily: whoever still has files open there keeps it until they are closed.
Mounted::~Mounted() {
    umount2(point_.c_str(), MNT_DETACH);
    std::error_code ignored;
    std::filesystem::remove(point_.string() + ".image", ignored);
}

Command Mounted::programs(Kind kind) {
    Command needed{"mount", "umount"};
    if (kind == Kind::ext4) needed.push_back("mkfs.ext4");
    if (kind == Kind::xfs) needed.push_back("mkfs.xfs");
    return needed;
}

const char* Mounted::name(Kind kind) {
    return kind == Kind::tmpfs ? "tmpfs" : kind == Kind::ext4 ? "ext4" : "XFS";
}

void Mounted::mount() { must_run({"mount", "-o", "loop", point_.string() + ".image", point_}); }

void Mounted::remount(const std::string& options) {
    must_run({"mount", "-o", "remount," + options, point_});
}

void Mounted::shut_down() {
    const int descriptor = open(point_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    std::uint32_t flags = no_log_flush;
    const int failed = ioctl(descriptor, ioctl_shutdown, &flags);
    const int error = errno;
    close(descriptor);
    if (failed != 0) throw std::system_error(error, std::generic_category(), "shutdown ioctl");
}

void Mounted::recover() {
    must_run({"umount", point_});
    mount();
}

VanishingDisk::VanishingDisk(std::filesystem::path point, std::uint64_t bytes)
    : point_(std::move(point)) {
    make_image(image(), bytes);
    must_run({"mkfs.ext4", "-q", "-F", image()});
    attach();
}

VanishingDisk::~VanishingDisk() {
    detach();
    std::error_code ignored;
    for (const auto& file : {image(), served()}) std::filesystem::remove(file, ignored);
}

void VanishingDisk::attach() {
    { const std::ofstream file(served()); }
    const auto bytes = std::filesystem::file_size(image());
    daemon_.reset();
    daemon_.emplace(
        Command{"/bin/sh", "-c", root_path, "qemu-storage-daemon", "--blockdev",
                "driver=file,node-name=disk,filename=" + image().string(), "--export",
                "type=fuse,id=export,node-name=disk,writable=on,mountpoint=" + served().string()});
    const auto deadline = SteadyClock::now() + 10s;
    while (std::filesystem::file_size(served()) != bytes) {
        if (SteadyClock::now() > deadline || daemon_->wait(10ms))
            throw std::runtime_error("qemu-storage-daemon serves nothing: " + daemon_->errors());
    }
    device_ = told({"losetup", "--find", "--show", served()});
    device_.erase(device_.find_last_not_of('\n') + 1);
    must_run({"mount", device_, point_});
}

void VanishingDisk::detach() noexcept {
    umount2(point_.c_str(), MNT_DETACH);
    if (!device_.empty()) {
        try {
            run({"/bin/sh", "-c", root_path, "losetup", "--detach", device_}, {}, 20s);
        } catch (const std::exception& error) {
            fmt::print(stderr, "{}\n", error.what());
        }
    }
    device_.clear();
    umount2(served().c_str(), MNT_DETACH);
    daemon_.reset();
}

void VanishingDisk::vanish() {
    daemon_->signal(SIGKILL);
    daemon_->wait();
}

void VanishingDisk::come_back() {
    detach();
    attach();
}

}  // namespace steplog::testing
