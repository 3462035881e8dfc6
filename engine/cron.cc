// Reading cron expressions; see cron.h.
#include "engine/cron.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <span>
#include <stdexcept>
#include <vector>

#include "engine/text.h"

namespace steplog {
namespace {

constexpr std::size_t expression_bytes_max = 255;

struct Field {
    std::string_view name;
    int min, max;
    std::span<const std::string_view> names = {};  // of min, min + 1, …
};

constexpr std::array<std::string_view, 12> month_names = {"jan", "feb", "mar", "apr", "may", "jun",
                                                          "jul", "aug", "sep", "oct", "nov", "dec"};
constexpr std::array<std::string_view, 7> weekday_names = {"sun", "mon", "tue", "wed",
                                                           "thu", "fri", "sat"};
const std::array<Field, 5> cron_fields = {{{"minute", 0, 59},
                                           {"hour", 0, 23},
                                           {"day-of-month", 1, 31},
                                           {"month", 1, 12, month_names},
                                           {"day-of-week", 0, 7, weekday_names}}};

struct Word {
    std::string_view word, expression;
};
constexpr std::array<Word, 7> words = {{{"@hourly", "0 * * * *"},
                                        {"@daily", "0 0 * * *"},
                                        {"@midnight", "0 0 * * *"},
                                        {"@weekly", "0 0 * * 0"},
                                        {"@monthly", "0 0 1 * *"},
                                        {"@yearly", "0 0 1 1 *"},
                                        {"@annually", "0 0 1 1 *"}}};

// What a person wrote, fit for one line.
std::string quoted(std::string_view text) {
    constexpr std::size_t shown_max = 40;
    std::string shown = "\"";
    for (const char c : text.substr(0, shown_max)) shown += c >= 0x20 && c < 0x7f ? c : '?';
    return shown + (text.size() > shown_max ? "…\"" : "\"");
}

[[noreturn]] void wrong(const Field& field, const std::string& what) {
    const std::string_view named = field.names.empty()            ? ""
                                   : field.names.front() == "jan" ? " (or jan to dec)"
                                                                  : " (or sun to sat; 7 is sunday)";
    throw std::invalid_argument(
        fmt::format("{}: {}; allowed are {} to {}{}, *, ranges like {}-{}, steps like */2, and "
                    "lists of these with commas",
                    field.name, what, field.min, field.max, named, field.min + 1, field.min + 3));
}

std::string lower_case(std::string_view text) {
    std::string lower(text);
    for (char& c : lower)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return lower;
}

int value_of(const Field& field, std::string_view text) {
    const auto named = std::find(field.names.begin(), field.names.end(), lower_case(text));
    if (named != field.names.end())
        return field.min + static_cast<int>(named - field.names.begin());
    const auto number = parse_count(text, field.max);
    if (!number || *number < field.min) wrong(field, quoted(text) + " is none of its values");
    return static_cast<int>(*number);
}

// One part of a list: *, 5, 1-5, each of the ranges with /step.
std::uint64_t bits_of_part(const Field& field, std::string_view part) {
    const auto slash = part.find('/');
    const std::string_view range = part.substr(0, slash);
    int first = field.min, last = field.max, step = 1;
    if (slash != std::string_view::npos) {
        const auto parsed = parse_count(part.substr(slash + 1), field.max);
        if (!parsed || *parsed < 1)
            wrong(field,
                  fmt::format("the step of {} is no number from 1 to {}", quoted(part), field.max));
        step = static_cast<int>(*parsed);
    }
    if (range != "*") {
        const auto dash = range.find('-');
        first = last = value_of(field, range.substr(0, dash));
        if (dash != std::string_view::npos) last = value_of(field, range.substr(dash + 1));
        if (last < first)
            wrong(field, quoted(range) + " ends before it begins (write it as two ranges)");
        if (slash != std::string_view::npos && dash == std::string_view::npos)
            wrong(field, fmt::format("{} has a step and no range (write {}-{}/{})", quoted(part),
                                     first, field.max, step));
    }
    std::uint64_t bits = 0;
    for (int value = first; value <= last; value += step) bits |= std::uint64_t{1} << value;
    return bits;
}

std::uint64_t bits_of(const Field& field, std::string_view text) {
    std::uint64_t bits = 0;
    for (std::size_t at = 0; at <= text.size();) {
        const std::size_t comma = std::min(text.find(',', at), text.size());
        if (comma == at) wrong(field, quoted(text) + " has an empty part");
        bits |= bits_of_part(field, text.substr(at, comma - at));
        at = comma + 1;
    }
    return bits;
}

std::vector<std::string_view> split_at_blanks(std::string_view text) {
    constexpr std::string_view blanks = " \t";
    std::vector<std::string_view> parts;
    for (std::size_t at = text.find_first_not_of(blanks); at != std::string_view::npos;) {
        const std::size_t end = std::min(text.find_first_of(blanks, at), text.size());
        parts.push_back(text.substr(at, end - at));
        at = text.find_first_not_of(blanks, end);
    }
    return parts;
}

void refuse_days_that_never_come(const CronFields& parsed) {
    constexpr std::array<int, 13> longest = {0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (!parsed.any_day && !parsed.any_weekday) return;  // a weekday is enough
    const int first_day = std::countr_zero(parsed.days);
    for (int month = 1; month <= 12; ++month)
        if ((parsed.months >> month & 1) != 0 &&
            first_day <= longest.at(static_cast<size_t>(month)))
            return;
    throw std::invalid_argument(fmt::format(
        "day-of-month: none of the months that are meant has a day {}, so that it would "
        "never happen",
        first_day));
}

}  // namespace

CronFields parse_cron(std::string_view expression) {
    if (expression.size() > expression_bytes_max)
        throw std::invalid_argument(
            fmt::format("a cron expression has at most {} characters", expression_bytes_max));
    auto parts = split_at_blanks(expression);
    if (parts.size() == 1 && parts.front().front() == '@') {
        const std::string word = lower_case(parts.front());
        const auto known = std::find_if(words.begin(), words.end(),
                                        [&](const Word& one) { return one.word == word; });
        if (known == words.end())
            throw std::invalid_argument(
                fmt::format("{} is none of @hourly, @daily, @midnight, @weekly, @monthly, @yearly "
                            "and @annually",
                            quoted(parts.front())));
        parts = split_at_blanks(known->expression);
    }
    if (parts.size() != cron_fields.size())
        throw std::invalid_argument(
            fmt::format("{} has {} fields where five are needed: minute hour day-of-month month "
                        "day-of-week, like 0 9 * * mon-fri",
                        quoted(expression), parts.size()));
    CronFields parsed;
    parsed.minutes = bits_of(cron_fields[0], parts[0]);
    parsed.hours = static_cast<std::uint32_t>(bits_of(cron_fields[1], parts[1]));
    parsed.days = static_cast<std::uint32_t>(bits_of(cron_fields[2], parts[2]));
    parsed.months = static_cast<std::uint32_t>(bits_of(cron_fields[3], parts[3]));
    const auto weekdays = bits_of(cron_fields[4], parts[4]);
    parsed.weekdays = static_cast<std::uint32_t>((weekdays | weekdays >> 7) & 0x7f);
    parsed.any_day = parts[2].front() == '*';
    parsed.any_weekday = parts[4].front() == '*';
    parsed.whenever_clock_shows = parts[1].front() == '*' || parsed.hours == (1u << 24) - 1;
    refuse_days_that_never_come(parsed);
    return parsed;
}

}  // namespace steplog
