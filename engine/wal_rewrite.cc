#include "engine/wal_rewrite.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <new>
#include <vector>

#include "engine/errors.h"

namespace steplog {
namespace {

constexpr sqlite3_int64 chunk_bytes = 64 * 1024;  // SQLite's VFS writes less than 128 KiB at once

void require(int code, const std::string& database) {
    if (code != SQLITE_OK)
        throw OpenError(fmt::format(
            "cannot write the WAL of {} once more: {} (SQLite code {}): see to the disk", database,
            sqlite3_errstr(code), code));
}

// A file opened through a VFS, closed at the end.
class VfsFile {
  public:
    VfsFile(sqlite3_vfs* vfs, const char* name, const std::string& database)
        : memory_(static_cast<std::size_t>(vfs->szOsFile)), database_(database) {
        int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_WAL;
        require(vfs->xOpen(vfs, name, file(), flags, &flags), database);
    }
    ~VfsFile() {
        if (file()->pMethods) file()->pMethods->xClose(file());
    }
    VfsFile(const VfsFile&) = delete;
    VfsFile& operator=(const VfsFile&) = delete;

    void rewrite() {
        sqlite3_int64 size = 0;
        require(file()->pMethods->xFileSize(file(), &size), database_);
        if (size == 0) return;
        std::vector<unsigned char> bytes(static_cast<std::size_t>(std::min(size, chunk_bytes)));
        for (sqlite3_int64 at = 0; at < size; at += chunk_bytes) {
            const int length = static_cast<int>(std::min(size - at, chunk_bytes));
            require(file()->pMethods->xRead(file(), bytes.data(), length, at), database_);
            require(file()->pMethods->xWrite(file(), bytes.data(), length, at), database_);
        }
        require(file()->pMethods->xSync(file(), SQLITE_SYNC_NORMAL), database_);
    }

  private:
    sqlite3_file* file() { return reinterpret_cast<sqlite3_file*>(memory_.data()); }

    std::vector<std::max_align_t> memory_;  // more than enough of them
    const std::string& database_;
};

}  // namespace

void rewrite_wal(const std::string& database, const std::string& vfs_name) {
    sqlite3_initialize();
    sqlite3_vfs* vfs = sqlite3_vfs_find(vfs_name.empty() ? nullptr : vfs_name.c_str());
    if (!vfs) throw OpenError(fmt::format("SQLite has no VFS named {}", vfs_name));
    std::vector<char> full(static_cast<std::size_t>(vfs->mxPathname) + 1);
    require(vfs->xFullPathname(vfs, database.c_str(), vfs->mxPathname, full.data()), database);
    const std::string path = full.data();
    const std::unique_ptr<char, void (*)(char*)> name(
        const_cast<char*>(sqlite3_create_filename(path.c_str(), (path + "-journal").c_str(),
                                                  (path + "-wal").c_str(), 0, nullptr)),
        [](char* made) { sqlite3_free_filename(made); });
    if (!name) throw std::bad_alloc();
    const char* wal = sqlite3_filename_wal(name.get());
    int exists = 0;
    require(vfs->xAccess(vfs, wal, SQLITE_ACCESS_EXISTS, &exists), database);
    if (exists) VfsFile(vfs, wal, database).rewrite();
}

}  // namespace steplog
