// Feeds texts to the reader of cron expressions, and compares what is computed from those that it
// takes with the slow way, minute by minute: <zone and instant, 6 bytes> <expression>.
#include <stdexcept>

#include "tests/fuzz/fuzz.h"
#include "tests/support/cron_reference.h"

using namespace steplog;
using fuzz::hold;

namespace {

constexpr const char* zones[] = {"Europe/Berlin",       "America/New_York",  "Pacific/Apia",
                                 "Australia/Lord_Howe", "Africa/Casablanca", "Asia/Kathmandu",
                                 "America/St_Johns",    "Antarctica/Troll"};
constexpr int days_compared = 3;

// From 1975 to 2037, three times out of four within two days before a change of the clock.
std::int64_t instant_from(std::string_view& text, const char* zone) {
    const unsigned near_change = fuzz::take_byte(text) % 4;
    std::uint64_t bits = 0;
    for (int i = 0; i < 4; ++i) bits = bits << 8 | fuzz::take_byte(text);
    auto at = date::sys_seconds(std::chrono::seconds(160'000'000 + bits % 1'960'000'000));
    const auto info = date::locate_zone(zone)->get_info(at);
    if (near_change != 0 && info.end < date::sys_days(date::year(2037) / 1 / 1))
        at = info.end - std::chrono::seconds(bits % (2 * 86'400));
    return std::chrono::milliseconds(at.time_since_epoch()).count();
}

void check_fields(const CronFields& fields) {
    hold(fields.minutes != 0 && fields.minutes >> 60 == 0);
    hold(fields.hours != 0 && fields.hours >> 24 == 0);
    hold(fields.days > 1 && (fields.days & 1) == 0);
    hold(fields.months > 1 && (fields.months & 1) == 0 && fields.months >> 13 == 0);
    hold(fields.weekdays != 0 && fields.weekdays >> 7 == 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::string_view text = fuzz::view_of(data, size);
    const char* zone = zones[fuzz::take_byte(text) % std::size(zones)];
    const std::int64_t at_ms = instant_from(text, zone);
    try {
        const CronFields fields = parse_cron(text);
        check_fields(fields);
        const auto next = Cron(text, zone).next_after_ms(at_ms);
        hold(next && *next > at_ms && *next % 1000 == 0);
        const auto slow = testing::CronReference(fields, zone).next_after_ms(at_ms, days_compared);
        hold(slow ? *slow == *next : *next > at_ms + days_compared * 86'400'000LL - 60'000);
    } catch (const std::invalid_argument& error) {
        const std::string_view said = error.what();
        hold(!said.empty() && said.size() < 400);
        for (const char c : said) hold(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f);
    }
    return 0;
}
