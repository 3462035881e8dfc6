#include "engine/backup.h"

#include <SQLiteCpp/SQLiteCpp.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "engine/digest.h"

namespace steplog {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t id_length = 16;  // of hex digits: to tell backups apart, not to keep a secret
constexpr int copies_max = 4;          // a database that keeps changing hands is tried so often

[[noreturn]] void fail(const std::string& what, const fs::path& path) {
    throw BackupError(fmt::format("{} {}: {}", what, path.string(), std::strerror(errno)));
}

// The file that becomes the backup: made by us, ours alone, gone unless it is published.
class Draft {
  public:
    explicit Draft(const fs::path& target)
        : path_(target.string() + fmt::format(".partial-{}", getpid())) {
        const int made = open(path_.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
        if (made < 0) fail("cannot make", path_);
        close(made);
    }
    ~Draft() {
        if (!published_) unlink(path_.c_str());
    }
    Draft(const Draft&) = delete;
    Draft& operator=(const Draft&) = delete;

    const fs::path& path() const { return path_; }

    /// Synced first, so that the name never stands for less than the whole.
    void publish(const fs::path& target) {
        sync(path_, O_RDONLY);
        if (renameat2(AT_FDCWD, path_.c_str(), AT_FDCWD, target.c_str(), RENAME_NOREPLACE) != 0) {
            // Some file systems cannot promise not to replace: a hard link can.
            if (errno != EINVAL || link(path_.c_str(), target.c_str()) != 0)
                fail("cannot name the backup", target);
            unlink(path_.c_str());
        }
        published_ = true;
        sync(target.has_parent_path() ? target.parent_path() : fs::path("."),
             O_RDONLY | O_DIRECTORY);
    }

  private:
    static void sync(const fs::path& path, int flags) {
        const int descriptor = open(path.c_str(), flags | O_CLOEXEC);
        const bool synced = descriptor >= 0 && fsync(descriptor) == 0;
        if (!synced) {
            const int error = errno;
            if (descriptor >= 0) close(descriptor);
            errno = error;
            fail("cannot sync", path);
        }
        close(descriptor);
    }

    const fs::path path_;
    bool published_ = false;
};

void refuse_what_is_there(const fs::path& target) {
    std::error_code error;
    if (fs::symlink_status(target, error).type() != fs::file_type::not_found)
        throw BackupError(
            fmt::format("{} is there already: a backup overwrites nothing, choose another name",
                        target.string()));
}

}  // namespace

BackupMark copy_and_mark(const fs::path& database, const fs::path& copy, const Clock& clock,
                         const std::string& vfs) {
    // Earlier rather than later: what was done in between then counts as in doubt, not as new.
    const BackupMark mark{to_hex(random_hash()).substr(0, id_length), clock.now_ms()};
    try {
        ReadOnlyDatabase reader(database, vfs);
        for (int tries = 1; !reader.copy_into(copy); ++tries) {
            if (tries == copies_max)
                throw BackupError(
                    fmt::format("{} keeps changing hands: try again", database.string()));
            fs::resize_file(copy, 0);
        }
        SQLite::Database writer(copy.string(), SQLite::OPEN_READWRITE, 0, vfs);
        writer.exec("PRAGMA journal_mode=MEMORY");  // nothing beside it; a torn copy is thrown away
        SQLite::Statement write(writer, "INSERT OR REPLACE INTO meta(name,value) VALUES (?,?)");
        write.bind(1, "backup");
        write.bind(2, to_text(mark));
        write.exec();
    } catch (const SQLite::Exception& error) {
        if ((error.getErrorCode() & 0xff) == SQLITE_FULL)
            throw BackupError(
                fmt::format("there is no room for a copy at {}: free some, or choose another disk",
                            copy.parent_path().string()));
        throw BackupError(fmt::format("cannot copy {} to {}: {} (SQLite code {})",
                                      database.string(), copy.string(), error.what(),
                                      error.getExtendedErrorCode()));
    }
    return mark;
}

BackupReport back_up(const fs::path& database, const fs::path& target, const Clock& clock,
                     std::vector<MasterKey> keys) {
    refuse_what_is_there(target);
    const auto begun = std::chrono::steady_clock::now();
    BackupReport report;
    Draft draft(target);
    report.mark = copy_and_mark(database, draft.path(), clock);
    report.copied_in = std::chrono::duration_cast<Ms>(std::chrono::steady_clock::now() - begun);
    std::error_code error;
    const auto wal = fs::file_size(database.string() + "-wal", error);
    if (!error) report.wal_bytes = static_cast<std::int64_t>(wal);
    report.check = Inspector(draft.path(), clock, "", std::move(keys)).check();
    if (!report.check.holds()) {
        std::string broken;
        for (const Check& check : report.check.checks)
            if (check.broken > 0) broken += (broken.empty() ? "" : ", ") + check.name;
        throw BackupError(
            fmt::format("the copy is not whole ({}), and was thrown away: run workflow-inspect "
                        "--database {} check, and keep older backups",
                        broken, database.string()));
    }
    report.bytes = static_cast<std::int64_t>(fs::file_size(draft.path()));
    draft.publish(target);
    return report;
}

}  // namespace steplog
