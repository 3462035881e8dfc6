#include "engine/backup.h"

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <sqlite3.h>

#include "engine/backup_draft.h"
#include "engine/digest.h"
#include "engine/inspect_file.h"

namespace steplog {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t id_length = 16;  // of hex digits: to tell backups apart, not to keep a secret
constexpr int tries_max = 4;           // a database that keeps changing hands is tried so often

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
            if (tries == tries_max)
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
    BackupDraft draft(target);
    report.removed = draft.removed();
    report.left = draft.left();
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
    draft.publish();
    return report;
}

}  // namespace steplog
