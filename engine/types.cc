#include "engine/types.h"

#include <array>

namespace steplog {
namespace {

constexpr std::array state_names = {"pending", "queued",    "running", "sleeping", "waiting",
                                    "stuck",   "completed", "failed",  "cancelled"};
constexpr std::array waits_for_names = {"retry", "circuit", "timer", "signal",
                                        "child", "key",     "once",  "pause"};
constexpr std::array entry_kind_names = {
    "started", "completed", "retried",   "failed", "resumed", "stuck",     "key",   "timer",
    "signal",  "child",     "published", "undone", "skipped", "cancelled", "moved", "recorded"};
constexpr std::array outcome_names = {"refused", "unknown"};
constexpr std::array on_stuck_names = {"keep_key", "release_key"};
constexpr std::array id_conflict_names = {"join", "reject", "replace"};
constexpr std::array key_conflict_names = {"queue", "reject", "join", "replace"};
constexpr std::array on_parent_close_names = {"cancel", "abandon", "await"};

template <class E, std::size_t n>
std::optional<E> parse(const std::array<const char*, n>& names, std::string_view word) {
    for (std::size_t i = 0; i < n; ++i)
        if (word == names[i]) return static_cast<E>(i);
    return std::nullopt;
}

}  // namespace

std::string_view to_string(State v) { return state_names.at(static_cast<std::size_t>(v)); }
std::string_view to_string(WaitsFor v) { return waits_for_names.at(static_cast<std::size_t>(v)); }
std::string_view to_string(EntryKind v) { return entry_kind_names.at(static_cast<std::size_t>(v)); }
std::string_view to_string(Outcome v) { return outcome_names.at(static_cast<std::size_t>(v)); }
std::string_view to_string(OnStuck v) { return on_stuck_names.at(static_cast<std::size_t>(v)); }
std::string_view to_string(OnParentClose v) {
    return on_parent_close_names.at(static_cast<std::size_t>(v));
}

std::string_view to_string(IdConflict v) {
    return id_conflict_names.at(static_cast<std::size_t>(v));
}
std::string_view to_string(KeyConflict v) {
    return key_conflict_names.at(static_cast<std::size_t>(v));
}

std::optional<State> parse_state(std::string_view w) { return parse<State>(state_names, w); }
std::optional<WaitsFor> parse_waits_for(std::string_view w) {
    return parse<WaitsFor>(waits_for_names, w);
}
std::optional<EntryKind> parse_entry_kind(std::string_view w) {
    return parse<EntryKind>(entry_kind_names, w);
}
std::optional<Outcome> parse_outcome(std::string_view w) {
    return parse<Outcome>(outcome_names, w);
}
std::optional<IdConflict> parse_id_conflict(std::string_view w) {
    return parse<IdConflict>(id_conflict_names, w);
}
std::optional<KeyConflict> parse_key_conflict(std::string_view w) {
    return parse<KeyConflict>(key_conflict_names, w);
}
std::optional<OnStuck> parse_on_stuck(std::string_view w) {
    return parse<OnStuck>(on_stuck_names, w);
}

}  // namespace steplog
