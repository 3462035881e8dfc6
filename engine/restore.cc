#include "engine/restore.h"

#include <algorithm>

#include "engine/entries.h"

namespace steplog {
namespace {

// Reads "name" from an object; nothing when it is not of that type.
std::optional<std::string> optional_text(const Json& json, const char* name) {
    const auto found = json.find(name);
    if (found == json.end() || !found->is_string()) return std::nullopt;
    return found->get<std::string>();
}

std::optional<std::int64_t> time_in(const Json& json, const char* name) {
    const auto found = json.find(name);
    if (found == json.end() || !found->is_number_integer()) return std::nullopt;
    return found->get<std::int64_t>();
}

}  // namespace

std::string to_text(const BackupMark& mark) {
    return to_text(Json{{"id", mark.id}, {"taken_at_ms", mark.taken_at_ms}});
}

std::optional<BackupMark> parse_backup_mark(const std::string& text) {
    const Json json = parse_stored(text);
    if (!json.is_object()) return std::nullopt;
    const auto id = optional_text(json, "id");
    const auto taken_at_ms = time_in(json, "taken_at_ms");
    if (!id || !taken_at_ms) return std::nullopt;
    return BackupMark{*id, *taken_at_ms};
}

std::string to_text(const std::vector<Restore>& restores) {
    Json all = Json::array();
    for (const Restore& restore : restores)
        all.push_back({{"backup", restore.backup},
                       {"taken_at_ms", restore.taken_at_ms},
                       {"restored_at_ms", restore.restored_at_ms}});
    return to_text(all);
}

std::optional<std::vector<Restore>> parse_restores(const std::string& text) {
    const Json json = parse_stored(text);
    if (!json.is_array()) return std::nullopt;
    std::vector<Restore> restores;
    for (const Json& one : json) {
        if (!one.is_object()) return std::nullopt;
        const auto backup = optional_text(one, "backup");
        const auto taken_at_ms = time_in(one, "taken_at_ms");
        const auto restored_at_ms = time_in(one, "restored_at_ms");
        if (!backup || !taken_at_ms || !restored_at_ms) return std::nullopt;
        restores.push_back({*backup, *taken_at_ms, *restored_at_ms});
    }
    return restores;
}

std::optional<std::int64_t> lost_since(const std::vector<Restore>& restores,
                                       std::optional<std::int64_t> caused_at_ms,
                                       std::int64_t now_ms) {
    std::optional<std::int64_t> earliest;
    for (const Restore& restore : restores) {
        const bool older = caused_at_ms
                               ? *caused_at_ms < restore.restored_at_ms + clock_skew_max.count()
                               : now_ms < restore.restored_at_ms + undated_kept.count();
        if (!older) continue;
        const std::int64_t since =
            std::max(restore.taken_at_ms, caused_at_ms.value_or(0) - clock_skew_max.count());
        earliest = std::min(earliest.value_or(since), since);
    }
    return earliest;
}

NewEntry restored_entry(std::int64_t lost_since_ms, const Restore& restore) {
    return {.kind = EntryKind::recorded,
            .data = {{"restored", restore.backup}, {"lost_since_ms", lost_since_ms}}};
}

std::optional<std::int64_t> lost_since(const Entry& entry) {
    if (entry.kind != EntryKind::recorded || !entry.data.is_object() ||
        !optional_text(entry.data, "restored"))
        return std::nullopt;
    return time_in(entry.data, "lost_since_ms");
}

}  // namespace steplog
