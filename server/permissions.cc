#include "server/permissions.h"

#include <fmt/format.h>
#include <sys/stat.h>

namespace steplog::server {

std::vector<std::string> loose_permissions(const std::filesystem::path& database) {
    std::vector<std::string> warnings;
    for (const char* part : {"", "-wal", "-shm"}) {
        const std::string file = database.string() + part;
        struct stat status {};
        if (lstat(file.c_str(), &status) == 0 && S_ISREG(status.st_mode) &&
            (status.st_mode & 077) != 0)
            warnings.push_back(
                fmt::format("{} can be opened by other users (mode {:03o}): chmod 600 it", file,
                            status.st_mode & 0777));
    }
    const auto directory =
        database.has_parent_path() ? database.parent_path() : std::filesystem::path(".");
    struct stat status {};
    // In a sticky directory, like /tmp, others can add files and not replace these.
    if (stat(directory.c_str(), &status) == 0 && (status.st_mode & 022) != 0 &&
        (status.st_mode & S_ISVTX) == 0)
        warnings.push_back(fmt::format(
            "in the directory {} other users can replace the database (mode {:03o}): chmod 700 it, "
            "or use one of its own",
            directory.string(), status.st_mode & 0777));
    return warnings;
}

}  // namespace steplog::server
