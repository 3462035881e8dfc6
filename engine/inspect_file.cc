#include "engine/inspect_file.h"

#include <fmt/format.h>
#include <sqlite3.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "engine/file_lock.h"
#include "engine/sqlite_file.h"
#include "engine/wal_rewrite.h"
#include "migrations/migrations.h"

namespace steplog {
namespace {

namespace fs = std::filesystem;

constexpr int reader_busy_ms = 2000;
constexpr int reader_length_max = 16 * 1024 * 1024;
constexpr int instructions_between_looks_at_the_clock = 2000;

[[noreturn]] void refuse(const std::string& message) {
    throw InspectError(InspectError::Kind::unreadable, message);
}

std::string describe_kind(mode_t mode) {
    if (S_ISDIR(mode)) return "a directory";
    if (S_ISLNK(mode)) return "a symbolic link";
    if (S_ISFIFO(mode)) return "a pipe";
    if (S_ISSOCK(mode)) return "a socket";
    return "a device";
}

// SQLite's NOFOLLOW refuses a link anywhere in the path; only the file itself matters here, so the
// directory is resolved first.
fs::path with_real_directory(const fs::path& path) {
    std::error_code error;
    const fs::path directory = path.has_parent_path() ? path.parent_path() : fs::path(".");
    const fs::path real = fs::canonical(directory, error);
    if (error || path.filename().empty()) return path;
    return real / path.filename();
}

// Never opens the file: in the process that also writes it, closing a descriptor would drop the
// locks that SQLite holds.
struct stat look_at(const fs::path& path) {
    struct stat status {};
    if (lstat(path.c_str(), &status) != 0) {
        if (errno == ENOENT || errno == ENOTDIR)
            refuse(fmt::format(
                "there is no database at {}: name it with --database FILE or STEPLOG_DATABASE",
                path.string()));
        refuse(fmt::format("cannot look at {}: {}", path.string(), std::strerror(errno)));
    }
    if (!S_ISREG(status.st_mode))
        refuse(fmt::format("{} is {}, not a database: name the file itself", path.string(),
                           describe_kind(status.st_mode)));
    if (access(path.c_str(), R_OK) != 0)
        refuse(fmt::format("{} cannot be read by this user: run this as the service's user",
                           path.string()));
    if (status.st_size == 0)
        refuse(fmt::format("{} is empty: no workflow-server has written to it yet", path.string()));
    // Even reading SQLite would take it for a new one, and delete the write-ahead log beside it.
    constexpr off_t smallest_page = 512;
    if (status.st_size < smallest_page)
        refuse(fmt::format(
            "{} has {} bytes: it is not a Steplog database, or was cut short: restore a backup",
            path.string(), status.st_size));
    return status;
}

std::string as_uri(const fs::path& path, bool immutable) {
    std::string uri = "file:";
    for (const char character : path.string()) {
        if (character == '?' || character == '#' || character == '%')
            uri += fmt::format("%{:02X}", static_cast<unsigned char>(character));
        else
            uri += character;
    }
    return uri + (immutable ? "?mode=ro&immutable=1" : "?mode=ro");
}

bool same_file(const struct stat& a, const struct stat& b) {
    return a.st_ino == b.st_ino && a.st_dev == b.st_dev && a.st_size == b.st_size &&
           a.st_mtim.tv_sec == b.st_mtim.tv_sec && a.st_mtim.tv_nsec == b.st_mtim.tv_nsec;
}

int over_time(void* deadline) {
    const auto& at =
        *static_cast<const std::optional<std::chrono::steady_clock::time_point>*>(deadline);
    return at && std::chrono::steady_clock::now() > *at ? 1 : 0;
}

}  // namespace

ReadOnlyDatabase::ReadOnlyDatabase(fs::path path, std::string vfs, Schemas schemas)
    : path_(vfs.empty() ? with_real_directory(path) : std::move(path)),
      vfs_(std::move(vfs)),
      schemas_(schemas) {
    read([](Statements&) { return true; });
}

// A WAL with frames in it belongs to a living server or to a crash: both need SQLite's own way in.
bool ReadOnlyDatabase::nobody_writes() const {
    struct stat wal {};
    const std::string wal_path = path_.string() + "-wal";
    if (lstat(wal_path.c_str(), &wal) == 0 && wal.st_size > 0) return false;
    return !FileLock::is_held(path_);
}

void ReadOnlyDatabase::open_if_closed() {
    if (database_) return;
    if (vfs_.empty()) {
        as_opened_ = look_at(path_);
        immutable_ = nobody_writes();
        if (wal_is_torn(path_.string(), vfs_) && !FileLock::is_held(path_))
            refuse(
                fmt::format("the power went while the write-ahead log of {} was being made "
                            "safe, and it would show less than there is: start "
                            "workflow-server once, which puts it back",
                            path_.string()));
    }
    const int flags = SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX |
                      (vfs_.empty() ? SQLITE_OPEN_NOFOLLOW : 0) | SQLITE_OPEN_EXRESCODE;
    database_ =
        std::make_unique<SQLite::Database>(as_uri(path_, immutable_), flags, reader_busy_ms, vfs_);
    statements_ = std::make_unique<SqliteStatements>(*database_);
    sqlite3* handle = database_->getHandle();
    sqlite3_db_config(handle, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
    sqlite3_db_config(handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
    sqlite3_db_config(handle, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0, nullptr);
    sqlite3_limit(handle, SQLITE_LIMIT_LENGTH, reader_length_max);
    sqlite3_limit(handle, SQLITE_LIMIT_ATTACHED, 0);
    sqlite3_progress_handler(handle, instructions_between_looks_at_the_clock, over_time,
                             &deadline_);
    check_identity();
    for (const char* setting : {"mmap_size=0", "temp_store=MEMORY", "cache_size=-4000"})
        database_->exec(std::string("PRAGMA ") + setting);
}

void ReadOnlyDatabase::check_identity() {
    const auto pragma = [this](const char* name) {
        return database_->execAndGet(std::string("PRAGMA ") + name).getInt64();
    };
    try {
        if (pragma("application_id") != sqlite_application_id)
            refuse(fmt::format("{} is not a Steplog database: another program made it",
                               path_.string()));
        const std::int64_t schema = pragma("user_version");
        const std::int64_t known = sqlite_migrations().back().number;
        if (schema > known)
            refuse(
                fmt::format("{} has schema {}, newer than the {} that this program knows: use the "
                            "newer program",
                            path_.string(), schema, known));
        const std::int64_t oldest = schemas_ == Schemas::older_too ? 1 : known;
        if (schema < oldest)
            refuse(
                fmt::format("{} has schema {}, older than the {} that this program reads: start "
                            "workflow-server on it once, or use the older program",
                            path_.string(), schema, known));
    } catch (const InspectError&) {
        close();
        throw;
    }
}

void ReadOnlyDatabase::close() {
    statements_.reset();
    database_.reset();
    immutable_ = false;
}

bool ReadOnlyDatabase::copy_into(const fs::path& target) {
    open_if_closed();
    deadline_.reset();
    sqlite3* handle = database_->getHandle();
    sqlite3_limit(handle, SQLITE_LIMIT_ATTACHED, 1);
    SQLite::Statement copy(*database_, "VACUUM INTO ?");
    copy.bind(1, target.string());
    try {
        copy.exec();
    } catch (const SQLite::Exception&) {
        if (still_stands()) throw;
    }
    copy.tryReset();
    sqlite3_limit(handle, SQLITE_LIMIT_ATTACHED, 0);
    if (still_stands()) return true;
    close();
    return false;
}

bool ReadOnlyDatabase::still_stands() const {
    if (!immutable_) return true;
    struct stat now {};
    return nobody_writes() && lstat(path_.c_str(), &now) == 0 && same_file(as_opened_, now);
}

void ReadOnlyDatabase::throw_unsettled() const {
    refuse(fmt::format("{} is just changing hands: try again", path_.string()));
}

void ReadOnlyDatabase::throw_explained(const SQLite::Exception& error) const {
    const int code = error.getErrorCode() & 0xff;
    if (code == SQLITE_NOTADB)
        refuse(fmt::format("{} is not a Steplog database: it is another kind of file, or encrypted",
                           path_.string()));
    if (code == SQLITE_CORRUPT)
        refuse(fmt::format("{} is damaged ({}): run workflow-inspect check, then restore a backup",
                           path_.string(), error.what()));
    if (code == SQLITE_NOMEM)
        refuse(
            fmt::format("there is not enough memory to read {}: end something else, or look on "
                        "another machine at a copy",
                        path_.string()));
    if (code == SQLITE_INTERRUPT)
        throw InspectError(InspectError::Kind::too_slow,
                           fmt::format("reading {} takes longer than 1 s, and a longer look would "
                                       "hold up the server: ask for less, or look at a backup",
                                       path_.string()));
    if (code == SQLITE_BUSY || code == SQLITE_LOCKED)
        refuse(fmt::format("{} is just being recovered by another program: try again",
                           path_.string()));
    if (code == SQLITE_CANTOPEN || code == SQLITE_READONLY || code == SQLITE_PERM)
        refuse(fmt::format(
            "cannot open {} ({}): beside it lies a write-ahead log, and reading that needs {}-shm, "
            "which this user cannot make there; run this as the service's user, or copy the "
            "database and its -wal file together and inspect the copy",
            path_.string(), error.what(), path_.filename().string()));
    refuse(fmt::format("cannot read {}: {} (SQLite code {})", path_.string(), error.what(),
                       error.getExtendedErrorCode()));
}

ReadOnlyDatabase::Transaction::Transaction(ReadOnlyDatabase& database, std::optional<Ms> limit)
    : database_(database) {
    database_.deadline_.reset();
    if (limit) database_.deadline_ = std::chrono::steady_clock::now() + *limit;
    database_.database_->exec("BEGIN");
}

ReadOnlyDatabase::Transaction::~Transaction() {
    database_.deadline_.reset();
    // Nothing was written, so nothing is lost when this fails: the connection is then closed.
    sqlite3_exec(database_.database_->getHandle(), "ROLLBACK", nullptr, nullptr, nullptr);
}

}  // namespace steplog
