// See mail_header.h.
#include "steps/mail_header.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <ctime>

#include "steps/json_reading.h"

namespace steplog::steps {
namespace {

constexpr std::size_t plain_max = 200;         // a line may have 998 (RFC 5322, 2.1.1)
constexpr std::size_t encoded_bytes_max = 45;  // 60 characters of base64: a word of 72

bool is_printable_ascii(std::string_view text) {
    return std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
}

bool continues_character(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

std::string base64(std::string_view bytes) {
    constexpr std::string_view digits =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string text;
    for (std::size_t i = 0; i < bytes.size(); i += 3) {
        unsigned int group = 0;
        for (std::size_t j = 0; j < 3; ++j)
            group =
                group << 8 | (i + j < bytes.size() ? static_cast<unsigned char>(bytes[i + j]) : 0);
        for (std::size_t j = 0; j < 4; ++j)
            text += i + j <= bytes.size() ? digits[group >> (18 - 6 * j) & 63] : '=';
    }
    return text;
}

/// Bytes that are not UTF-8 are replaced, as they are in JSON.
std::string as_utf8(std::string_view text) {
    return Json::parse(dump_json(Json(std::string(text)))).get<std::string>();
}

std::string encoded_words(std::string_view text) {
    std::string words;
    while (!text.empty()) {
        std::size_t size = std::min(encoded_bytes_max, text.size());
        while (size < text.size() && size > 1 && continues_character(text[size])) --size;
        words += fmt::format("{}=?UTF-8?B?{}?=", words.empty() ? "" : "\r\n ",
                             base64(text.substr(0, size)));
        text.remove_prefix(size);
    }
    return words;
}

std::string_view without_edges(std::string_view text) {
    const std::size_t first = text.find_first_not_of(" \t");
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

std::string unquoted(std::string_view name) {
    if (name.size() < 2 || !name.starts_with('"') || !name.ends_with('"')) return std::string(name);
    std::string plain;
    name = name.substr(1, name.size() - 2);
    for (std::size_t i = 0; i < name.size(); ++i) {
        if (name[i] == '\\' && i + 1 < name.size()) ++i;
        plain += name[i];
    }
    return plain;
}

/// A display name (RFC 5322, 3.2.5): words, a quoted string, or encoded words.
std::string phrase(const std::string& name) {
    if (header_text(name) != name) return encoded_words(as_utf8(name));
    constexpr std::string_view specials = "()<>[]:;@\\,.\"";
    if (name.find_first_of(specials) == std::string::npos) return name;
    std::string quoted = "\"";
    for (const char c : name) {
        if (c == '"' || c == '\\') quoted += '\\';
        quoted += c;
    }
    return quoted + "\"";
}

}  // namespace

Mailbox parse_mailbox(std::string_view text) {
    text = without_edges(text);
    const std::size_t open = text.rfind('<');
    if (!text.ends_with('>') || open == std::string_view::npos) return {"", std::string(text)};
    return {unquoted(without_edges(text.substr(0, open))),
            std::string(text.substr(open + 1, text.size() - open - 2))};
}

std::string header_text(std::string_view text) {
    const bool plain = is_printable_ascii(text) && text.size() <= plain_max &&
                       text.find("=?") == std::string_view::npos && without_edges(text) == text;
    return plain ? std::string(text) : encoded_words(as_utf8(text));
}

std::string header_mailbox(const Mailbox& mailbox) {
    if (mailbox.name.empty()) return mailbox.address;
    const std::string name = phrase(mailbox.name);
    return fmt::format("{}{}<{}>", name, name.find('\n') == std::string::npos ? " " : "\r\n ",
                       mailbox.address);
}

std::string header_date(std::int64_t unix_ms) {
    constexpr std::array days = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    constexpr std::array months = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                   "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    const std::time_t seconds = unix_ms / 1000;
    std::tm parts{};
    gmtime_r(&seconds, &parts);
    return fmt::format("{}, {} {} {} {:02}:{:02}:{:02} +0000",
                       days.at(static_cast<std::size_t>(parts.tm_wday)), parts.tm_mday,
                       months.at(static_cast<std::size_t>(parts.tm_mon)), parts.tm_year + 1900,
                       parts.tm_hour, parts.tm_min, parts.tm_sec);
}

std::string with_crlf(std::string_view text) {
    std::string lines;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '\r' && i + 1 < text.size() && text[i + 1] == '\n') continue;
        lines += text[i] == '\n' || text[i] == '\r' ? "\r\n" : std::string(1, text[i]);
    }
    return lines;
}

}  // namespace steplog::steps
