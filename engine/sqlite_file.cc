#include "engine/sqlite_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "engine/errors.h"
#include "migrations/migrations.h"

namespace steplog {
namespace {

namespace fs = std::filesystem;

constexpr int truncate_frames = 8192;  // 32 MiB: readers held it back; empty it when they are gone
constexpr int busy_ms =
    1000;  // only a reader that recovers a WAL beside us can make the writer wait
constexpr int wal_frame_bytes = 24 + 4096;
constexpr off_t database_bytes_min = 512;  // SQLite's smallest page
constexpr int length_max = 16 * 1024 * 1024;

// While the text of the schema may be changed, by a migration: never otherwise.
class SchemaWritable {
  public:
    explicit SchemaWritable(sqlite3* database) : database_(database) { defend(0); }
    ~SchemaWritable() { defend(1); }
    SchemaWritable(const SchemaWritable&) = delete;
    SchemaWritable& operator=(const SchemaWritable&) = delete;

  private:
    void defend(int on) { sqlite3_db_config(database_, SQLITE_DBCONFIG_DEFENSIVE, on, nullptr); }
    sqlite3* const database_;
};

void refuse_odd_files(const fs::path& path, bool create) {
    struct stat status {};
    if (lstat(path.c_str(), &status) != 0) {
        if (errno != ENOENT)
            throw OpenError(fmt::format("cannot open {}: {}", path.string(), std::strerror(errno)));
        if (!create)
            throw OpenError(
                fmt::format("there is no database at {}: name it with --database", path.string()));
        const int made = open(path.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
        if (made < 0)
            throw OpenError(fmt::format("cannot make {}: {}", path.string(), std::strerror(errno)));
        close(made);
        return;
    }
    if (!S_ISREG(status.st_mode))
        throw OpenError(
            fmt::format("{} is not a regular file: name the database itself, not a link, a "
                        "directory or a device",
                        path.string()));
    if (access(path.c_str(), R_OK | W_OK) != 0)
        throw OpenError(fmt::format("{} cannot be read and written by this user", path.string()));
    // SQLite would begin it anew.
    if (status.st_size > 0 && status.st_size < database_bytes_min)
        throw OpenError(fmt::format(
            "{} has {} bytes: it is not a Steplog database, or was cut short: restore a backup",
            path.string(), status.st_size));
}

// Without the file that it belongs to SQLite deletes a WAL, with all that is only in it.
void refuse_lone_wal(const fs::path& path) {
    struct stat status {};
    const std::string wal_path = path.string() + "-wal";
    if (lstat(wal_path.c_str(), &status) != 0 || status.st_size == 0) return;
    const bool missing = lstat(path.c_str(), &status) != 0 && errno == ENOENT;
    if (missing || (S_ISREG(status.st_mode) && status.st_size == 0))
        throw OpenError(fmt::format(
            "{} is {}, and beside it lies its write-ahead log: put the file back, or restore a "
            "backup; to begin anew all the same, move {} and {}-shm away",
            path.string(), missing ? "not there" : "empty", wal_path, path.string()));
}

// WAL needs shared memory and locks that network file systems do not give reliably.
void refuse_network_file_systems(const fs::path& path) {
    struct statfs system {};
    if (statfs(path.c_str(), &system) != 0) return;
    const auto magic = static_cast<std::uint32_t>(system.f_type);
    for (const std::uint32_t network : {0x6969u, 0x517bu, 0xff534d42u, 0xfe534d42u, 0x01021997u})
        if (magic == network)
            throw OpenError(
                fmt::format("{} lies on a network file system, where SQLite's WAL is not safe: "
                            "use a local disk",
                            path.string()));
}

// A database that we wrote says in its header that it has a WAL; a backup says that it has none. A
// WAL beside a backup belongs to the file that was there before, and SQLite would mix the two.
void refuse_foreign_wal(const fs::path& path) {
    struct stat wal {};
    const std::string wal_path = path.string() + "-wal";
    if (lstat(wal_path.c_str(), &wal) != 0 || wal.st_size == 0) return;
    constexpr std::size_t write_version = 18;  // sqlite.org/fileformat2.html, 1.3.3: 1 is no WAL
    std::array<char, write_version + 1> header{};
    const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    const ssize_t size = file < 0 ? -1 : pread(file, header.data(), header.size(), 0);
    if (file >= 0) close(file);
    if (size == static_cast<ssize_t>(header.size()) && header[write_version] == 1)
        throw OpenError(fmt::format(
            "{} is a restored backup, and beside it lies the write-ahead log of the database that "
            "was there before: move {} and {}-shm away (keep them with that database)",
            path.string(), wal_path, path.string()));
}

SQLite::Database open_writer(const fs::path& path, const std::string& vfs, bool create) {
    if (vfs.empty()) {
        refuse_lone_wal(path);
        refuse_odd_files(path, create);
        refuse_network_file_systems(path);
        refuse_foreign_wal(path);
    }
    finish_wal_rewrite(path.string(), vfs);
    const int flags = SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE | SQLite::OPEN_NOMUTEX |
                      (vfs.empty() ? SQLITE_OPEN_NOFOLLOW : 0) | SQLITE_OPEN_EXRESCODE;
    try {
        return SQLite::Database(path.string(), flags, busy_ms, vfs);
    } catch (const SQLite::Exception& error) {
        throw OpenError(fmt::format("cannot open {}: {}", path.string(), error.what()));
    }
}

std::int64_t pragma(SQLite::Database& database, const std::string& name) {
    return database.execAndGet("PRAGMA " + name).getInt64();
}

}  // namespace

std::string no_room_to_open(const fs::path& path) {
    return fmt::format(
        "there is no room on the disk of {}: free some space and start again; nothing is lost",
        path.string());
}

SqliteFile::SqliteFile(const fs::path& path, const std::string& vfs, const std::string& synchronous,
                       bool create, const std::vector<Migration>& migrations, WalTrust trust,
                       int log_room_bytes)
    : database_(open_writer(path, vfs, create)), log_room_bytes_(log_room_bytes) {
    try {
        move_wal_on_close(false);  // before it is known to be on the disk
        restrict();
        refuse_strangers(migrations.back().number);
        make_wal_durable(path.string(), vfs, trust);
        configure(synchronous);
        verify();
        migrate(migrations);
        load_payload_hash_key();
        // Whatever the last owner could not sync for certain is written and synced afresh, before
        // the first acknowledgement or claim.
        if (!checkpoint_all())
            throw OpenError(
                fmt::format("{} is being read by another program, and what its last owner left in "
                            "the write-ahead log cannot be made safe before that ends: wait for "
                            "the reader (a check, a backup) or end it, and start again",
                            path.string()));
        move_wal_on_close(true);
        make_log_room();
    } catch (const SQLite::Exception& error) {
        const int code = error.getErrorCode() & 0xff;
        if (code == SQLITE_NOTADB)
            throw OpenError(
                fmt::format("{} is not a Steplog database (or it is encrypted)", path.string()));
        if (code == SQLITE_CORRUPT)
            throw OpenError(
                fmt::format("{} is damaged ({}): restore a backup", path.string(), error.what()));
        if (code == SQLITE_FULL) throw OpenError(no_room_to_open(path));
        if (code == SQLITE_BUSY)
            throw OpenError(fmt::format(
                "{} is being written by another program, which holds no lock of ours (a "
                "database tool, or a server that was stopped in the middle of a write "
                "and whose .lock file was removed): end it, and start again; fuser {} "
                "says which it is",
                path.string(), path.string()));
        throw OpenError(fmt::format("cannot open {}: {} (SQLite code {})", path.string(),
                                    error.what(), error.getExtendedErrorCode()));
    }
}

// What a file that others may have written cannot make this connection do.
void SqliteFile::restrict() {
    sqlite3* handle = database_.getHandle();
    sqlite3_db_config(handle, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
    sqlite3_db_config(handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
    sqlite3_db_config(handle, SQLITE_DBCONFIG_DQS_DML, 0, nullptr);
    sqlite3_db_config(handle, SQLITE_DBCONFIG_DQS_DDL, 0, nullptr);
    sqlite3_db_config(handle, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0, nullptr);
    sqlite3_limit(handle, SQLITE_LIMIT_LENGTH, length_max);
    sqlite3_limit(handle, SQLITE_LIMIT_ATTACHED, 1);
    sqlite3_limit(handle, SQLITE_LIMIT_SQL_LENGTH, 64 * 1024);
}

// Before anything is written, the journal mode included: what is not ours stays as it is.
void SqliteFile::refuse_strangers(int newest) {
    const std::int64_t application = pragma(database_, "application_id");
    const std::int64_t tables =
        database_.execAndGet("SELECT count(*) FROM sqlite_schema").getInt64();
    if (application != sqlite_application_id && (application != 0 || tables != 0))
        throw OpenError(
            fmt::format("{} is a database of another program", database_.getFilename()));
    const std::int64_t applied = pragma(database_, "user_version");
    if (applied > newest)
        throw OpenError(
            fmt::format("{} has schema {}, this program knows {}: use the newer program",
                        database_.getFilename(), applied, newest));
}

void SqliteFile::make_wal_durable(const std::string& path, const std::string& vfs, WalTrust trust) {
    if (pragma(database_, "page_count") == 0) return;
    if (database_.execAndGet("PRAGMA journal_mode").getString() != "wal") return;
    // While this is held, nobody appends to the log or begins it anew.
    SQLite::Transaction writing(database_, SQLite::TransactionBehavior::IMMEDIATE);
    rewrite_wal(path, vfs, trust);
}

void SqliteFile::configure(const std::string& synchronous) {
    if (pragma(database_, "page_count") == 0) {
        database_.exec("PRAGMA page_size=4096");
        database_.exec("PRAGMA auto_vacuum=INCREMENTAL");
        database_.exec("PRAGMA encoding='UTF-8'");
    }
    const std::string mode = database_.execAndGet("PRAGMA journal_mode=WAL").getString();
    if (mode != "wal")
        throw OpenError(fmt::format("SQLite cannot use a WAL here (journal mode {})", mode));
    database_.exec("PRAGMA synchronous=" + synchronous);
    for (const char* setting :
         {"foreign_keys=ON", "wal_autocheckpoint=0", "journal_size_limit=16777216", "mmap_size=0",
          "temp_store=MEMORY", "cache_size=-16000", "cell_size_check=ON", "secure_delete=ON"})
        database_.exec(std::string("PRAGMA ") + setting);
    if (synchronous == "FULL" && pragma(database_, "synchronous") != 2)
        throw OpenError(
            "SQLite did not take synchronous=FULL: it was built without what the promises need");
    sqlite3_wal_hook(
        database_.getHandle(),
        [](void* frames, sqlite3*, const char*, int count) {
            *static_cast<int*>(frames) = count;
            return SQLITE_OK;
        },
        &wal_frames_);
}

void SqliteFile::verify() {
    const std::string verdict = database_.execAndGet("PRAGMA quick_check(1)").getString();
    if (verdict != "ok")
        throw OpenError(
            fmt::format("{} is damaged ({}): restore a backup", database_.getFilename(), verdict));
}

// Forwards only, one transaction a migration: a crash leaves the old schema whole.
void SqliteFile::migrate(const std::vector<Migration>& migrations) {
    const std::int64_t applied = pragma(database_, "user_version");
    if (migrations.back().number <= applied) return;
    const SchemaWritable writable(database_.getHandle());
    for (const Migration& migration : migrations) {
        if (migration.number <= applied) continue;
        SQLite::Transaction transaction(database_, SQLite::TransactionBehavior::IMMEDIATE);
        database_.exec(std::string(migration.sql));
        database_.exec(fmt::format("PRAGMA application_id={}", sqlite_application_id));
        database_.exec(fmt::format("PRAGMA user_version={}", migration.number));
        transaction.commit();
    }
}

void SqliteFile::load_payload_hash_key() {
    SQLite::Statement read(database_, "SELECT value FROM meta WHERE name='payload_hash_key'");
    if (read.executeStep()) {
        const SQLite::Column value = read.getColumn(0);
        if (value.getBytes() != static_cast<int>(payload_hash_key_.size()))
            throw OpenError(
                fmt::format("{} is damaged (its payload_hash_key has the wrong size): restore a "
                            "backup",
                            database_.getFilename()));
        std::memcpy(payload_hash_key_.data(), value.getBlob(), payload_hash_key_.size());
        return;
    }
    payload_hash_key_ = random_hash();
    SQLite::Statement write(database_,
                            "INSERT INTO meta(name, value) VALUES ('payload_hash_key', ?)");
    write.bind(1, payload_hash_key_.data(), static_cast<int>(payload_hash_key_.size()));
    write.exec();
}

void SqliteFile::checkpoint_every(int frames) {
    checkpoint_frames_ = frames;
    checkpoint_at_frames_ = wal_frames_ + frames;
}

void SqliteFile::checkpoint_if_due() {
    if (wal_frames_ < wal_frames_seen_) checkpoint_at_frames_ = checkpoint_frames_;
    wal_frames_seen_ = wal_frames_;
    if (wal_frames_ < checkpoint_at_frames_) return;
    checkpoint_at_frames_ = wal_frames_ + checkpoint_frames_;
    const int mode =
        wal_frames_ >= truncate_frames ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE;
    sqlite3* handle = database_.getHandle();
    // Readers may hold a part of it back (BUSY), and a full disk cannot grow the database: both are
    // no reason to stop, the WAL holds everything and a later commit tries again.
    sqlite3_busy_timeout(handle, 0);
    const int code = sqlite3_wal_checkpoint_v2(handle, "main", mode, nullptr, nullptr) & 0xff;
    sqlite3_busy_timeout(handle, busy_ms);
    if (code != SQLITE_OK && code != SQLITE_BUSY && code != SQLITE_FULL)
        throw SQLite::Exception(handle, code);
}

void SqliteFile::make_log_room() {
    // A batch may be twice as large as the last one.
    const int last_batch = std::clamp(wal_frames_ - wal_frames_with_room_, 0, checkpoint_frames_);
    wal_frames_with_room_ = wal_frames_;
    sqlite3_file* wal = nullptr;
    sqlite3_file_control(database_.getHandle(), "main", SQLITE_FCNTL_JOURNAL_POINTER, &wal);
    if (log_room_bytes_ == 0 || !wal || !wal->pMethods) return;
    const auto must = [](int code) {
        if (code != SQLITE_OK) throw SQLite::Exception(sqlite3_errstr(code), code);
    };
    sqlite3_int64 size = 0;
    must(wal->pMethods->xFileSize(wal, &size));
    const sqlite3_int64 needed =
        (sqlite3_int64{wal_frames_} + sqlite3_int64{2} * last_batch) * wal_frame_bytes;
    if (size >= needed + log_room_bytes_ / 2) return;
    const sqlite3_int64 wanted = needed + log_room_bytes_;
    // Just emptied: before that is on the disk, zeros would make the first part of the old log out
    // of it, whose pages are older than those that were moved into the database.
    if (size == 0) must(wal->pMethods->xSync(wal, SQLITE_SYNC_NORMAL));
    static constexpr std::array<char, 64 * 1024> zeros{};
    for (sqlite3_int64 at = size; at < wanted; at += zeros.size()) {
        const auto length = std::min<sqlite3_int64>(zeros.size(), wanted - at);
        const int code = wal->pMethods->xWrite(wal, zeros.data(), static_cast<int>(length), at);
        if ((code & 0xff) == SQLITE_FULL) return must(wal->pMethods->xTruncate(wal, size));
        must(code);
    }
    must(wal->pMethods->xSync(wal, SQLITE_SYNC_NORMAL));
}

bool SqliteFile::checkpoint_all() {
    int frames = -1, moved = -1;
    const int code = sqlite3_wal_checkpoint_v2(database_.getHandle(), "main",
                                               SQLITE_CHECKPOINT_TRUNCATE, &frames, &moved);
    if (code != SQLITE_OK && (code & 0xff) != SQLITE_BUSY)
        throw SQLite::Exception(database_.getHandle(), code);
    if (code == SQLITE_OK) wal_frames_ = 0;
    // Busy with everything moved and synced: only the emptying had to wait for a reader.
    return code == SQLITE_OK || (frames >= 0 && moved == frames);
}

void SqliteFile::rewrite() {
    // Its temporary copy is as large as the database: too large for memory.
    database_.exec("PRAGMA temp_store=FILE");
    try {
        database_.exec("VACUUM");
    } catch (const SQLite::Exception&) {
        database_.exec("PRAGMA temp_store=MEMORY");
        throw;
    }
    database_.exec("PRAGMA temp_store=MEMORY");
}

void SqliteFile::move_wal_on_close(bool move) {
    sqlite3_db_config(database_.getHandle(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, move ? 0 : 1,
                      nullptr);
}

}  // namespace steplog
