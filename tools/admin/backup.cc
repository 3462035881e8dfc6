// workflow-admin backup FILE: a whole, checked copy of the database, with the server up or down.
// Restoring is copying it to the database's place while no server runs.
#include "engine/backup.h"

#include <fmt/format.h>

#include <memory>

#include "engine/inspect_json.h"
#include "engine/rfc3339.h"
#include "tools/admin/verb.h"
#include "tools/common/check_report.h"

namespace steplog::tools {
namespace {

Json names_of(const std::vector<std::filesystem::path>& files) {
    Json names = Json::array();
    for (const auto& file : files) names.push_back(file.string());
    return names;
}

void tell_of_drafts(const BackupReport& report) {
    for (const auto& file : report.removed)
        complain(admin_program,
                 fmt::format("removed {}, left by a backup that was killed", file.string()));
    for (const auto& file : report.left)
        complain(
            admin_program,
            fmt::format("{} is of a backup that is under way or was killed: if none is, delete "
                        "it, it holds customers' data",
                        file.string()));
}

int backup(const std::string& file, const Admin& admin) {
    const BackupReport report =
        back_up(admin.common.database, file, admin.clock, encryption_keys());
    tell_of_drafts(report);
    if (admin.common.json) {
        print_line(dump({{"file", file},
                         {"removed", names_of(report.removed)},
                         {"left", names_of(report.left)},
                         {"id", report.mark.id},
                         {"taken_at", format_rfc3339(report.mark.taken_at_ms)},
                         {"bytes", report.bytes},
                         {"copied_in_ms", report.copied_in.count()},
                         {"checked_in_ms", report.check.took.count()},
                         {"wal_bytes", report.wal_bytes}}));
        return exit_done;
    }
    print_line(fmt::format("backed up to {}: {}, copied in {}, checked in {}", file,
                           rough_size(report.bytes), exact_seconds(report.copied_in),
                           exact_seconds(report.check.took)));
    if (report.wal_bytes > 0)
        complain(admin_program, fmt::format("meanwhile the write-ahead log grew to {}",
                                            rough_size(report.wal_bytes)));
    return exit_done;
}

}  // namespace

void add_backup(CLI::App& app, Admin& admin) {
    const auto file = std::make_shared<std::string>();
    CLI::App* verb =
        add_verb(app, admin, "backup", "copies the database whole, and checks the copy",
                 [&admin, file] { return backup(*file, admin); });
    verb->add_option("FILE", *file, "the backup; nothing is overwritten")->required();
    verb->footer(
        "To restore: stop the server, move the database and its -wal and -shm files away, copy the "
        "backup to the database's name, start the server. What was done after the backup is then "
        "in doubt, and looked up before anything is repeated.");
}

}  // namespace steplog::tools
