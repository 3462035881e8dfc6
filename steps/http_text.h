// Small questions about the text of HTTP messages, independent of the locale. Used by this room's
// HTTP files. Any thread.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

namespace steplog::steps {

inline bool is_digit(char c) { return c >= '0' && c <= '9'; }

inline bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

/// A tab is none: header values may contain it.
inline bool is_control(char c) {
    return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f;
}

inline std::string lower_case(std::string_view text) {
    std::string lower(text);
    std::transform(lower.begin(), lower.end(), lower.begin(), [](char c) {
        return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    });
    return lower;
}

/// A token (RFC 9110, 5.6.2).
inline bool is_header_name(std::string_view name) {
    constexpr std::string_view marks = "!#$%&'*+-.^_`|~";
    return !name.empty() && std::all_of(name.begin(), name.end(), [&](char c) {
        return is_digit(c) || is_letter(c) || marks.find(c) != std::string_view::npos;
    });
}

}  // namespace steplog::steps
