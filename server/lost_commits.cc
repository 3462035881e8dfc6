// See lost_commits.h.
#include "server/lost_commits.h"

#include <system_error>

#include "engine/rfc3339.h"
#include "engine/wal_file.h"
#include "engine/wal_rewrite.h"

namespace steplog::server {

void tell_of_lost_commits(Log& log, const std::filesystem::path& database) {
    const std::string wal = database.string() + "-wal";
    const auto damage = find_wal_damage(wal);
    if (!damage || wal_is_torn(database.string(), "")) return;  // torn: opening it puts it back
    const std::string copy = kept_wal_path(database).string();
    std::error_code failed;
    std::filesystem::copy_file(wal, copy, std::filesystem::copy_options::overwrite_existing,
                               failed);
    log.error(
        "CRITICAL: the write-ahead log is damaged: what was acknowledged last is lost; have Stripe "
        "send the events of the last hours again",
        {{"frame", damage->frame},
         {"commits_lost", damage->commits_behind},
         {"copy", failed ? "none: " + failed.message() : copy}});
}

void tell_of_kept_wal(Log& log, const std::filesystem::path& database, Ms retention,
                      const Clock& clock) {
    const auto kept = find_kept_wal(database);
    if (!kept || clock.now_ms() - kept->kept_at_ms < retention.count()) return;
    log.warn(
        "a copy of a damaged write-ahead log is kept for longer than STEPLOG_RETENTION: it holds "
        "customers' data; delete it as soon as nobody needs it to find out what was lost",
        {{"copy", kept->path.string()}, {"kept_at", format_rfc3339(kept->kept_at_ms)}});
}

}  // namespace steplog::server
