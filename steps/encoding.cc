// See encoding.h.
#include "steps/encoding.h"

#include <algorithm>

#include "steps/http_text.h"

namespace steplog::steps {

namespace {

constexpr std::size_t id_length_max = 255;

bool is_letter_or_digit(char c) { return is_letter(c) || is_digit(c); }

void append_escaped(std::string& out, char c) {
    constexpr std::string_view digits = "0123456789ABCDEF";
    const auto byte = static_cast<unsigned char>(c);
    out += '%';
    out += digits[byte >> 4];
    out += digits[byte & 0x0f];
}

void append_form_text(std::string& out, std::string_view text, std::string_view kept) {
    for (const char c : text) {
        if (is_letter_or_digit(c) || kept.find(c) != std::string_view::npos) {
            out += c;
        } else if (c == ' ') {
            out += '+';
        } else {
            append_escaped(out, c);
        }
    }
}

}  // namespace

std::string percent_encode(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    for (const char c : text) {
        if (is_letter_or_digit(c) || c == '-' || c == '.' || c == '_' || c == '~') {
            out += c;
        } else {
            append_escaped(out, c);
        }
    }
    return out;
}

std::string form_encode(const FormFields& fields) {
    std::string out;
    for (const auto& [name, value] : fields) {
        if (!out.empty()) out += '&';
        append_form_text(out, name, "*-._[]");
        out += '=';
        append_form_text(out, value, "*-._");
    }
    return out;
}

bool is_provider_id(std::string_view text) {
    return !text.empty() && text.size() <= id_length_max &&
           std::all_of(text.begin(), text.end(),
                       [](char c) { return is_letter_or_digit(c) || c == '_'; });
}

}  // namespace steplog::steps
