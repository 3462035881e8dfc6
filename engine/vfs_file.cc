#include "engine/vfs_file.h"

#include <new>

namespace steplog {
namespace {

void require(int code) {
    if (code == SQLITE_NOMEM || code == SQLITE_IOERR_NOMEM) throw std::bad_alloc();
    if (code != SQLITE_OK) throw VfsError(code);
}

int flags_of(VfsFile::Kind kind) {
    switch (kind) {
        case VfsFile::Kind::database:
            return SQLITE_OPEN_READWRITE | SQLITE_OPEN_MAIN_DB;
        case VfsFile::Kind::log:
            return SQLITE_OPEN_READWRITE | SQLITE_OPEN_WAL;
        case VfsFile::Kind::new_log:
            return SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_WAL;
    }
    return 0;
}

}  // namespace

Vfs::Vfs(const std::string& name) {
    require(sqlite3_initialize());
    vfs_ = sqlite3_vfs_find(name.empty() ? nullptr : name.c_str());
    if (!vfs_) throw VfsError(SQLITE_ERROR);
}

std::string Vfs::full_path(const std::string& path) const {
    std::vector<char> full(static_cast<std::size_t>(vfs_->mxPathname) + 1);
    const int code = vfs_->xFullPathname(vfs_, path.c_str(), vfs_->mxPathname, full.data());
    if ((code & 0xff) != SQLITE_OK) throw VfsError(code);  // OK_SYMLINK: on the way there
    return full.data();
}

bool Vfs::exists(const std::string& path) const {
    int exists = 0;
    require(vfs_->xAccess(vfs_, path.c_str(), SQLITE_ACCESS_EXISTS, &exists));
    return exists != 0;
}

void Vfs::remove(const std::string& path) const {
    constexpr int sync_directory = 1;
    require(vfs_->xDelete(vfs_, path.c_str(), sync_directory));
}

VfsFile::VfsFile(const Vfs& vfs, const std::string& path, Kind kind)
    : name_(const_cast<char*>(sqlite3_create_filename(path.c_str(), "", "", 0, nullptr)),
            [](char* made) { sqlite3_free_filename(made); }),
      memory_(static_cast<std::size_t>(vfs.handle()->szOsFile)) {
    if (!name_) throw std::bad_alloc();
    int flags = flags_of(kind);
    const int code = vfs.handle()->xOpen(vfs.handle(), name_.get(), file(), flags, &flags);
    if (code != SQLITE_OK && file()->pMethods) file()->pMethods->xClose(file());
    require(code);
}

VfsFile::~VfsFile() { file()->pMethods->xClose(file()); }

std::int64_t VfsFile::size() {
    sqlite3_int64 size = 0;
    require(file()->pMethods->xFileSize(file(), &size));
    return size;
}

void VfsFile::read(unsigned char* to, std::size_t length, std::int64_t at) {
    require(file()->pMethods->xRead(file(), to, static_cast<int>(length), at));
}

void VfsFile::write(const unsigned char* from, std::size_t length, std::int64_t at) {
    require(file()->pMethods->xWrite(file(), from, static_cast<int>(length), at));
}

void VfsFile::sync() { require(file()->pMethods->xSync(file(), SQLITE_SYNC_NORMAL)); }

bool VfsFile::lock_out_others() {
    for (const int level : {SQLITE_LOCK_SHARED, SQLITE_LOCK_RESERVED, SQLITE_LOCK_EXCLUSIVE}) {
        const int code = file()->pMethods->xLock(file(), level);
        if ((code & 0xff) == SQLITE_BUSY) return false;
        require(code);
    }
    return true;
}

}  // namespace steplog
