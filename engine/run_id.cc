#include "engine/run_id.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace steplog {
namespace {

constexpr std::string_view mark = "/run:";
constexpr std::size_t digits = 8;
constexpr std::size_t suffix_length = mark.size() + digits;

// Whether the text begins like what stands behind a first run's id.
bool begins_as_run(std::string_view text) {
    if (text.size() < suffix_length || !text.starts_with(mark)) return false;
    const std::string_view number = text.substr(mark.size(), digits);
    return std::all_of(number.begin(), number.end(), [](char c) { return c >= '0' && c <= '9'; });
}

bool is_later_run(std::string_view id) {
    return id.size() > suffix_length && begins_as_run(id.substr(id.size() - suffix_length));
}

}  // namespace

std::string run_id(std::string_view first, int run) {
    if (run <= 1) return std::string(first);
    return fmt::format("{}{}{:0{}}", first, mark, run, digits);
}

std::string first_run(std::string_view id) {
    if (is_later_run(id)) id.remove_suffix(suffix_length);
    return std::string(id);
}

int run_of(std::string_view id) {
    int run = 1;
    if (is_later_run(id))
        std::from_chars(id.data() + id.size() - digits, id.data() + id.size(), run);
    return run;
}

std::string run_holding(std::string_view first, std::string_view id) {
    const bool holds = id.size() >= first.size() + suffix_length && id.starts_with(first) &&
                       begins_as_run(id.substr(first.size()));
    return std::string(holds ? id.substr(0, first.size() + suffix_length) : first);
}

bool may_be_given(std::string_view id) {
    if (is_later_run(id)) return false;
    for (auto at = id.find(mark); at != id.npos; at = id.find(mark, at + 1))
        if (!begins_as_run(id.substr(at))) return false;
    return true;
}

}  // namespace steplog
