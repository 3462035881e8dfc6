#include "engine/file_identity.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>

#include "engine/errors.h"

namespace steplog {

FileIdentity::FileIdentity(std::filesystem::path path) : path_(std::move(path)) {
    struct stat status {};
    if (lstat(path_.c_str(), &status) != 0)
        throw OpenError(fmt::format("{} is gone already: {}; start again", path_.string(),
                                    std::strerror(errno)));
    device_ = status.st_dev;
    inode_ = status.st_ino;
}

bool FileIdentity::is_still_there() const noexcept {
    struct stat status {};
    return lstat(path_.c_str(), &status) == 0 && status.st_dev == device_ &&
           status.st_ino == inode_;
}

}  // namespace steplog
