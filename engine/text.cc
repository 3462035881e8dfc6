// Reading and writing numbers with units; see text.h.
#include "engine/text.h"

#include <fmt/core.h>

#include <array>
#include <charconv>
#include <limits>

namespace steplog {
namespace {

struct Unit {
    std::string_view name;
    std::int64_t worth;
};

constexpr std::array<Unit, 5> time_units = {
    {{"d", 86'400'000}, {"h", 3'600'000}, {"m", 60'000}, {"s", 1000}, {"ms", 1}}};
constexpr std::array<Unit, 4> size_units = {
    {{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}};

constexpr std::int64_t duration_ms_max = 100LL * 365 * 86'400'000;

/// The number before the unit times what the unit is worth.
template <std::size_t N>
std::optional<std::int64_t> parse_with_unit(std::string_view text, const std::array<Unit, N>& units,
                                            std::int64_t max) {
    const auto digits = text.substr(0, text.find_first_not_of("0123456789"));
    const auto unit_name = text.substr(digits.size());
    for (const auto& unit : units) {
        if (unit.name != unit_name) continue;
        const auto count = parse_count(digits, max / unit.worth);
        if (!count) return std::nullopt;
        return *count * unit.worth;
    }
    return std::nullopt;
}

template <std::size_t N>
std::string format_with_unit(std::int64_t value, const std::array<Unit, N>& units) {
    for (const auto& unit : units) {
        if (value != 0 && value % unit.worth == 0)
            return fmt::format("{}{}", value / unit.worth, unit.name);
    }
    return fmt::format("0{}", units.back().name);
}

}  // namespace

std::optional<std::int64_t> parse_count(std::string_view text, std::int64_t max) {
    if (text.empty() || text.find_first_not_of("0123456789") != std::string_view::npos)
        return std::nullopt;
    std::int64_t value = 0;
    const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
    if (result.ec != std::errc{} || value > max) return std::nullopt;
    return value;
}

std::optional<Ms> parse_duration(std::string_view text) {
    const auto value = parse_with_unit(text, time_units, duration_ms_max);
    return value ? std::optional(Ms(*value)) : std::nullopt;
}

std::optional<std::size_t> parse_size(std::string_view text) {
    if (text == "0") return 0;
    const auto value = parse_with_unit(text, size_units, std::numeric_limits<std::int64_t>::max());
    return value ? std::optional(static_cast<std::size_t>(*value)) : std::nullopt;
}

std::string format_duration(Ms duration) { return format_with_unit(duration.count(), time_units); }

std::string format_size(std::size_t bytes) {
    return format_with_unit(static_cast<std::int64_t>(bytes), size_units);
}

}  // namespace steplog
