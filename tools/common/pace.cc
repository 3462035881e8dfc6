#include "tools/common/pace.h"

#include "engine/text.h"

namespace steplog::tools {

std::optional<Pace> parse_pace(std::string_view text) {
    constexpr std::int64_t rate_max = 1'000'000;
    Ms unit = std::chrono::seconds(1);
    if (const std::size_t slash = text.find('/'); slash != std::string_view::npos) {
        const std::string_view name = text.substr(slash + 1);
        if (name == "m" || name == "min")
            unit = std::chrono::minutes(1);
        else if (name == "h")
            unit = std::chrono::hours(1);
        else if (name != "s")
            return std::nullopt;
        text = text.substr(0, slash);
    }
    const auto count = parse_count(text, rate_max);
    if (!count || *count == 0) return std::nullopt;
    // A batch a second where there is at least one a second; one by one where there are fewer.
    const std::int64_t seconds = unit.count() / 1000;
    if (*count >= seconds) return Pace{static_cast<int>(*count / seconds), std::chrono::seconds(1)};
    return Pace{1, Ms(unit.count() / *count)};
}

}  // namespace steplog::tools
