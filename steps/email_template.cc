// See email_template.h.
#include "steps/email_template.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/types.h"

namespace steplog::steps {
namespace {

constexpr std::string_view opening = "{{";
constexpr std::string_view closing = "}}";
constexpr std::size_t shown_max = 40;

std::string_view without_blanks(std::string_view text) {
    const std::size_t first = text.find_first_not_of(" \t");
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

int lines_in(std::string_view text) {
    return static_cast<int>(std::count(text.begin(), text.end(), '\n'));
}

bool is_utf8(std::string_view text) {
    try {
        static_cast<void>(Json(std::string(text)).dump());
        return true;
    } catch (const Json::type_error&) {
        return false;
    }
}

void require_utf8(std::string_view text) {
    if (is_utf8(text)) return;
    int line = 1;
    for (std::size_t begin = 0; begin < text.size(); ++line) {
        const std::size_t end = std::min(text.find('\n', begin), text.size());
        if (!is_utf8(text.substr(begin, end - begin))) break;
        begin = end + 1;
    }
    throw TemplateError(line, "holds bytes that are not UTF-8; save the file as UTF-8");
}

}  // namespace

std::string escape_html(std::string_view text) {
    std::string escaped;
    for (const char c : text) {
        switch (c) {
            case '&':
                escaped += "&amp;";
                break;
            case '<':
                escaped += "&lt;";
                break;
            case '>':
                escaped += "&gt;";
                break;
            case '"':
                escaped += "&quot;";
                break;
            case '\'':
                escaped += "&#39;";
                break;
            default:
                escaped += c;
        }
    }
    return escaped;
}

EmailTemplate::EmailTemplate(std::string_view text, Form form,
                             const std::vector<std::string_view>& known)
    : form_(form) {
    require_utf8(text);
    int line = 1;
    while (!text.empty()) {
        const std::size_t begin = std::min(text.find(opening), text.size());
        if (begin > 0) pieces_.push_back({.words = std::string(text.substr(0, begin)), .name = ""});
        line += lines_in(text.substr(0, begin));
        if (begin == text.size()) return;
        text.remove_prefix(begin + opening.size());
        const std::size_t end = text.find(closing);
        if (end == std::string_view::npos || text.substr(0, end).find('\n') < end)
            throw TemplateError(line,
                                "a placeholder begins with {{ and does not end with }} in "
                                "the same line");
        pieces_.push_back(placeholder(text.substr(0, end), line, known));
        text.remove_prefix(end + closing.size());
    }
}

EmailTemplate::Piece EmailTemplate::placeholder(std::string_view inside, int line,
                                                const std::vector<std::string_view>& known) {
    const std::size_t bar = std::min(inside.find('|'), inside.size());
    const std::string_view name = without_blanks(inside.substr(0, bar));
    if (std::find(known.begin(), known.end(), name) == known.end())
        throw TemplateError(line, fmt::format("{{{{{}}}}} is no placeholder; there are: {}",
                                              name.substr(0, shown_max), fmt::join(known, ", ")));
    Piece piece{.words = "", .name = std::string(name), .has_fallback = bar < inside.size()};
    if (piece.has_fallback) piece.words = without_blanks(inside.substr(bar + 1));
    return piece;
}

std::string EmailTemplate::fill(const Values& values) const {
    std::string filled;
    for (const Piece& piece : pieces_) {
        const auto value = piece.name.empty() ? values.end() : values.find(piece.name);
        if (value == values.end() || value->second.empty())
            filled += piece.words;
        else
            filled += form_ == Form::html ? escape_html(value->second) : value->second;
    }
    return filled;
}

bool EmailTemplate::needs(std::string_view name) const {
    return std::any_of(pieces_.begin(), pieces_.end(), [&](const Piece& piece) {
        return piece.name == name && !piece.has_fallback;
    });
}

}  // namespace steplog::steps
