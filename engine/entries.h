// How the context and the worker spell what they write into a log.
#pragma once

#include "engine/store.h"

namespace steplog {

inline std::string to_text(const Json& json) {
    return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

/// What was stored by to_text; discarded when it is not JSON.
inline Json parse_stored(const std::string& text) { return Json::parse(text, nullptr, false); }

/// A message as it may stand in an entry or a row, whatever a library put into it: at most 1,000
/// bytes.
inline std::string bounded(const std::string& message) {
    constexpr std::size_t length_max = 1000;
    return message.size() <= length_max ? message : message.substr(0, length_max) + "…";
}

/// The code of an instance whose version this program does not have.
inline constexpr const char* unknown_version_code = "unknown_version";

/// Whether the entry brings the input that is in force from then on.
inline bool is_edited_input(const Entry& entry) {
    return entry.kind == EntryKind::recorded && entry.step.empty() &&
           entry.data.value("edited", Json()) == "input";
}

inline NewEntry stuck_entry(const std::string& step, const std::string& code,
                            const std::string& message) {
    return {.step = step,
            .kind = EntryKind::stuck,
            .data = {{"code", code}, {"error", bounded(message)}}};
}

}  // namespace steplog
