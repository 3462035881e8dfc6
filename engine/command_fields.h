// How the fields of a command are read: each function says which one is wrong. Used by the
// commands' own files only. Pure functions.
#pragma once

#include <fmt/format.h>

#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "engine/store.h"

namespace steplog::fields {

inline constexpr std::int64_t ms_max = std::numeric_limits<std::int64_t>::max() / 2;
inline constexpr std::size_t reason_bytes_max = 1000;

[[noreturn]] inline void wrong(const std::string& field) {
    throw std::invalid_argument(
        fmt::format("the command's {} is wrong: use a program of the server's own release", field));
}

[[noreturn]] inline void unknown(const std::string& field) {
    constexpr std::size_t shown_max = 40;
    wrong("field " + field.substr(0, shown_max));
}

inline std::string text_of(const Json& value, const std::string& field) {
    if (!value.is_string()) wrong(field);
    return value.get<std::string>();
}

/// What a person gives as the reason, bounded: it goes into the audit.
inline std::string reason_of(const Json& value) {
    std::string reason = text_of(value, "reason");
    if (reason.size() > reason_bytes_max) wrong("reason");
    return reason;
}

inline std::int64_t count_of(const Json& value, const std::string& field, std::int64_t max) {
    if (!value.is_number_integer() || value < 0 || value > max) wrong(field);
    return value.get<std::int64_t>();
}

inline std::vector<std::string> texts_of(const Json& value, const std::string& field) {
    if (!value.is_array()) wrong(field);
    std::vector<std::string> texts;
    for (const Json& text : value) texts.push_back(text_of(text, field));
    return texts;
}

inline Json json_of_skipped(const std::vector<Resumed::Skipped>& skipped) {
    Json array = Json::array();
    for (const Resumed::Skipped& one : skipped)
        array.push_back({{"id", one.id}, {"reason", one.reason}});
    return array;
}

inline std::vector<Resumed::Skipped> parse_skipped(const Json& json) {
    if (!json.is_array()) wrong("skipped");
    std::vector<Resumed::Skipped> skipped;
    for (const Json& one : json) {
        if (!one.is_object() || !one.contains("id") || !one.contains("reason")) wrong("skipped");
        skipped.push_back({text_of(one.at("id"), "id"), text_of(one.at("reason"), "reason")});
    }
    return skipped;
}

}  // namespace steplog::fields
