// Files beside the database, through the SQLite VFS that holds the database: what the simulated
// disk of the tests sees is what the real one gets. Used by wal_rewrite. One thread each.
#pragma once

#include <sqlite3.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace steplog {

/// What the VFS answered: a SQLite result code.
class VfsError : public std::runtime_error {
  public:
    explicit VfsError(int code) : std::runtime_error(sqlite3_errstr(code)), code_(code) {}
    int code() const { return code_; }

  private:
    int code_;
};

class Vfs {
  public:
    /// "": SQLite's default. Throws VfsError when there is none of this name.
    explicit Vfs(const std::string& name);

    sqlite3_vfs* handle() const { return vfs_; }
    std::string full_path(const std::string& path) const;
    bool exists(const std::string& path) const;
    /// Removes the file; on return its directory is synced.
    void remove(const std::string& path) const;

  private:
    sqlite3_vfs* vfs_;
};

class VfsFile {
  public:
    enum class Kind { database, log, new_log };

    /// `path`: as full_path gave it. Opened for reading and writing; `new_log` is made if need be,
    /// with the rights of the file whose name it extends by "-…", and its first sync makes its name
    /// durable too. Throws VfsError, std::bad_alloc.
    VfsFile(const Vfs& vfs, const std::string& path, Kind kind);
    ~VfsFile();
    VfsFile(const VfsFile&) = delete;
    VfsFile& operator=(const VfsFile&) = delete;

    std::int64_t size();
    /// Exactly these bytes. Throws VfsError when there are fewer.
    void read(unsigned char* to, std::size_t length, std::int64_t at);
    void write(const unsigned char* from, std::size_t length, std::int64_t at);
    void sync();
    /// Of a database: false while any other connection is open. Until the file is closed.
    bool lock_out_others();

  private:
    sqlite3_file* file() { return reinterpret_cast<sqlite3_file*>(memory_.data()); }

    std::unique_ptr<char, void (*)(char*)> name_;  // the VFS keeps pointing to it
    std::vector<std::max_align_t> memory_;         // more than enough of them
};

}  // namespace steplog
