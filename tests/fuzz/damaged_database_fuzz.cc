// Damages a database as the input says and looks at it, opens it, works on it. Input: a byte for
// the file (database, write-ahead log, a backup), then changes of four bytes each: a place, and
// what happens there. The place is a part of the file, so that it means the same whatever the
// file's size.
#include <memory>

#include "tests/fuzz/fuzz.h"
#include "tests/support/damage_rig.h"

namespace {

using namespace steplog;
using fuzz::hold;

constexpr std::size_t changes_max = 16;

void change(std::string& bytes, std::string_view& input) {
    if (bytes.empty()) return;
    std::size_t place = fuzz::take_byte(input) << 16U;
    place += fuzz::take_byte(input) << 8U;
    place += fuzz::take_byte(input);
    const std::size_t at = place * bytes.size() / (std::size_t{1} << 24U);
    const unsigned what = fuzz::take_byte(input);
    constexpr unsigned cut_off = 0xfe, zero_page = 0xff;
    if (what == cut_off) {
        bytes.resize(at);
    } else if (what == zero_page) {
        const std::size_t page = at / 4096 * 4096;
        const std::size_t length = std::min<std::size_t>(4096, bytes.size() - page);
        bytes.replace(page, length, length, '\0');
    } else {
        bytes[at] = static_cast<char>(bytes[at] ^ static_cast<int>(what + 1));
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static testing::DamageRig& rig = *new testing::DamageRig;
    std::string_view input = fuzz::view_of(data, size);
    const unsigned which = fuzz::take_byte(input) % 3;
    testing::DatabaseFiles files = which == 2 ? rig.backup() : rig.crashed();
    for (std::size_t i = 0; i < changes_max && !input.empty(); ++i)
        change(which == 1 ? files.wal : files.database, input);
    const testing::DamageVerdict verdict = rig.judge(files);
    hold(verdict.altered.empty());
    hold(!verdict.inspect_wrote);
    return 0;
}
