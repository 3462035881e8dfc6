// See lost_commits.h.
#include "server/lost_commits.h"

#include <system_error>

#include "engine/wal_file.h"
#include "engine/wal_rewrite.h"

namespace steplog::server {

void tell_of_lost_commits(Log& log, const std::filesystem::path& database) {
    const std::string wal = database.string() + "-wal";
    const auto damage = find_wal_damage(wal);
    if (!damage || wal_is_torn(database.string(), "")) return;  // torn: opening it puts it back
    const std::string copy = wal + ".damaged";
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

}  // namespace steplog::server
