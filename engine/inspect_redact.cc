#include "engine/inspect_redact.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace steplog {
namespace {

constexpr std::string_view hidden = "***";

bool is_alphanumeric(char character) {
    return (character >= '0' && character <= '9') || (character >= 'a' && character <= 'z') ||
           (character >= 'A' && character <= 'Z') || static_cast<unsigned char>(character) >= 0x80;
}

bool in_local_part(char character) {
    return is_alphanumeric(character) ||
           std::string_view(".!#$&'*+/=?^_`{|}~-%").find(character) != std::string_view::npos;
}

bool in_domain(char character) {
    return is_alphanumeric(character) || character == '.' || character == '-';
}

// The length of the UTF-8 character that begins here; 1 where none does.
std::size_t character_length(std::string_view text) {
    const auto lead = static_cast<unsigned char>(text.front());
    const std::size_t length = lead < 0x80    ? 1
                               : lead >= 0xf0 ? 4
                               : lead >= 0xe0 ? 3
                               : lead >= 0xc0 ? 2
                                              : 0;
    if (length == 0 || length > text.size()) return 0;
    for (std::size_t i = 1; i < length; ++i)
        if ((static_cast<unsigned char>(text[i]) & 0xc0) != 0x80) return 0;
    return length;
}

// A key as it counts: "firstName", "first_name" and "First-Name" are one.
std::string normalized(std::string_view key) {
    std::string plain;
    for (const char character : key) {
        if (character == '_' || character == '-' || character == ' ') continue;
        plain +=
            character >= 'A' && character <= 'Z' ? static_cast<char>(character + 32) : character;
    }
    return plain;
}

bool hides_value(std::string_view key) {
    static constexpr std::array personal = {"name",           "firstname",    "lastname",
                                            "middlename",     "fullname",     "givenname",
                                            "familyname",     "username",     "nickname",
                                            "phone",          "phonenumber",  "phonenumbers",
                                            "address",        "line1",        "line2",
                                            "city",           "postalcode",   "zip",
                                            "birthday",       "dob",          "ip",
                                            "ipaddress",      "taxid",        "taxids",
                                            "individualname", "businessname", "displayname",
                                            "cardholdername", "shipping",     "html",
                                            "text",           "password",     "authorization"};
    const std::string plain = normalized(key);
    return std::find(personal.begin(), personal.end(), plain) != personal.end() ||
           plain.find("secret") != std::string::npos || plain.ends_with("token") ||
           plain.ends_with("apikey");
}

// Every leaf hidden; the shape and what says nothing (null, booleans) stay.
Json hide(const Json& value) {
    if (value.is_object()) {
        Json object = Json::object();
        for (const auto& [key, member] : value.items()) object[redact_text(key)] = hide(member);
        return object;
    }
    if (value.is_array()) {
        Json array = Json::array();
        for (const Json& member : value) array.push_back(hide(member));
        return array;
    }
    if (value.is_string())
        return value.get_ref<const std::string&>().empty() ? Json("") : Json(hidden);
    return value.is_number() ? Json(hidden) : value;
}

}  // namespace

std::string redact_text(std::string_view text) {
    std::string result;
    std::size_t copied = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const bool plain = text[i] == '@';
        const bool encoded = text[i] == '%' && text.substr(i, 3) == "%40";
        if (!plain && !encoded) continue;
        const std::size_t behind = i + (plain ? 1 : 3);
        std::size_t begin = i;
        while (begin > copied && in_local_part(text[begin - 1])) --begin;
        std::size_t end = behind;
        while (end < text.size() && in_domain(text[end])) ++end;
        if (begin == i || end == behind) continue;
        result += text.substr(copied, begin - copied);
        const std::string_view local = text.substr(begin, i - begin);
        result += local.substr(0, character_length(local));
        result += hidden;
        result += text.substr(i, end - i);
        copied = end;
        i = end - 1;
    }
    result += text.substr(copied);
    return result;
}

Json redact(const Json& value, bool personal) {
    if (value.is_object()) {
        Json object = Json::object();
        for (const auto& [key, member] : value.items())
            object[redact_text(key)] =
                personal && hides_value(key) ? hide(member) : redact(member, personal);
        return object;
    }
    if (value.is_array()) {
        Json array = Json::array();
        for (const Json& member : value) array.push_back(redact(member, personal));
        return array;
    }
    if (value.is_string()) return redact_text(value.get_ref<const std::string&>());
    return value;
}

std::string printable(std::string_view text, std::size_t bytes_max) {
    std::string result;
    while (!text.empty()) {
        const std::size_t length = character_length(text);
        const auto lead = static_cast<unsigned char>(text.front());
        std::string piece;
        if (length == 0)
            piece = "\xef\xbf\xbd";
        else if (lead < 0x20 || lead == 0x7f)
            piece = fmt::format("\\x{:02x}", lead);
        else if (lead == 0xc2 && static_cast<unsigned char>(text[1]) < 0xa0)
            piece = fmt::format("\\x{:02x}", static_cast<unsigned char>(text[1]));
        else
            piece = std::string(text.substr(0, length));
        if (result.size() + piece.size() > bytes_max) return result + "…";
        result += piece;
        text.remove_prefix(std::max<std::size_t>(length, 1));
    }
    return result;
}

}  // namespace steplog
