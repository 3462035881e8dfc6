// Feeds texts to what reads instants: RFC 3339 (command lines, thin events) and Retry-After
// (seconds or an HTTP date). What was read is within its bounds and is written as it is read.
#include <cctype>

#include "engine/rfc3339.h"
#include "steps/provider.h"
#include "tests/fuzz/fuzz.h"

using namespace steplog;
using fuzz::hold;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string text(fuzz::view_of(data, size));
    if (const auto at_ms = parse_rfc3339(text)) {
        hold(text.size() >= 20);
        const std::string written = format_rfc3339(*at_ms);
        hold(written.size() == 24 && written.back() == 'Z' && written[10] == 'T');
        const auto again = parse_rfc3339(written);
        // Offsets reach beyond the years that can be written; there the nearest instant is.
        constexpr std::int64_t day_ms = 86'400'000;
        hold(again && (*again == *at_ms || (*at_ms - *again < day_ms && *again - *at_ms < day_ms &&
                                            (written[0] == '0' || written[0] == '9'))));
    }
    constexpr std::int64_t now_ms = 1'793'520'000'000;
    if (const auto pause = steps::parse_retry_after(text, now_ms)) {
        hold(*pause >= Ms(0) && *pause <= std::chrono::hours(1));
        hold(!text.empty());
    }
    std::uint64_t bits = 0;
    for (const unsigned char c : text.substr(0, 8)) bits = bits << 8 | c;
    const auto number = static_cast<std::int64_t>(bits);
    hold(format_rfc3339(number).size() == 24);
    hold(!rough_span(number).empty());
    return 0;
}
