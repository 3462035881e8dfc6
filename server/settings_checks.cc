// Checks of single values; see settings_checks.h.
#include "server/settings_checks.h"

#include <algorithm>
#include <numeric>

namespace steplog::server {
namespace {

constexpr std::string_view blanks = " \t\r\n";

std::size_t edit_distance(std::string_view a, std::string_view b) {
    std::vector<std::size_t> row(b.size() + 1);
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t i = 1; i <= a.size(); ++i) {
        std::size_t diagonal = row[0];
        row[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const auto replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
            diagonal = row[j];
            row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
        }
    }
    return row.back();
}

}  // namespace

std::vector<std::string> split_list(std::string_view text) {
    std::vector<std::string> parts;
    if (text.find_first_not_of(blanks) == std::string_view::npos) return parts;
    while (true) {
        const auto comma = text.find(',');
        auto part = text.substr(0, comma);
        const auto begin = std::min(part.find_first_not_of(blanks), part.size());
        part.remove_prefix(begin);
        part = part.substr(0, part.find_last_not_of(blanks) + 1);
        parts.emplace_back(part);
        if (comma == std::string_view::npos) return parts;
        text.remove_prefix(comma + 1);
    }
}

bool is_mailbox(std::string_view text) {
    for (const char c : text) {
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return false;
    }
    if (!text.empty() && text.back() == '>') {
        const auto open = text.find('<');
        if (open == std::string_view::npos) return false;
        text = text.substr(open + 1, text.size() - open - 2);
    }
    const auto at = text.find('@');
    return at != std::string_view::npos && at > 0 && at + 1 < text.size() &&
           text.rfind('@') == at && text.size() <= 254 &&
           text.find_first_of(" <>,;\"") == std::string_view::npos;
}

bool is_plain_ascii(std::string_view text) {
    return std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7f; });
}

std::string last_four(const std::string& key) {
    constexpr std::size_t shown = 4;
    return key.size() > 4 * shown ? "…" + key.substr(key.size() - shown) : "set";
}

std::optional<std::string_view> nearest(std::string_view name,
                                        const std::vector<std::string_view>& candidates) {
    constexpr std::size_t edits_max = 3;
    std::optional<std::string_view> best;
    std::size_t best_distance = edits_max + 1;
    for (const auto candidate : candidates) {
        const auto distance = edit_distance(name, candidate);
        if (distance < best_distance) {
            best = candidate;
            best_distance = distance;
        }
    }
    return best;
}

}  // namespace steplog::server
