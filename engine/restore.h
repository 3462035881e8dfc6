// What a database knows of having been restored from a backup. A backup carries a mark; whoever
// opens a copy of it to write finds the mark, however the copy was made, and from then on knows
// that it may be older than what was done: what was begun since the backup was taken is in no log.
// So every step that this lost history may have run is in doubt (engine/README.md). Pure functions;
// used by the store, the step log and whoever explains them.
#pragma once

#include <optional>
#include <vector>

#include "engine/store.h"

namespace steplog {

/// Row "backup" of meta, in backups only.
struct BackupMark {
    std::string id;  // of this backup: hex
    std::int64_t taken_at_ms = 0;
};

/// One restore, in row "restores" of meta: an array, oldest first.
struct Restore {
    std::string backup;
    std::int64_t taken_at_ms = 0;     // what was done since then may be in no log
    std::int64_t restored_at_ms = 0;  // nothing was lost after that
};

/// As they stand in meta, and the inverse: nothing for a text that is none of ours.
std::string to_text(const BackupMark& mark);
std::optional<BackupMark> parse_backup_mark(const std::string& text);
std::string to_text(const std::vector<Restore>& restores);
std::optional<std::vector<Restore>> parse_restores(const std::string& text);

/// Clocks differ: what a provider dates so shortly after a restore may have been there before it.
inline constexpr Ms clock_skew_max = std::chrono::minutes(5);
/// How long after a restore an instance whose cause has no date may be one that ran before it.
inline constexpr Ms undated_kept = events_kept_min;

/// Since when an instance that is accepted now may have run in a history that a restore lost: no
/// earlier than its cause. Nothing: it cannot have.
std::optional<std::int64_t> lost_since(const std::vector<Restore>& restores,
                                       std::optional<std::int64_t> caused_at_ms,
                                       std::int64_t now_ms);

/// What is written into the log of such an instance.
NewEntry restored_entry(std::int64_t lost_since_ms, const Restore& restore);
/// The inverse: since when its steps may have run; nothing for any other entry.
std::optional<std::int64_t> lost_since(const Entry& entry);

}  // namespace steplog
