// The format: sqlite.org/fileformat2.html, section 4.
#include "engine/wal_file.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <vector>

namespace steplog {
namespace {

constexpr std::size_t header_bytes = 32;
constexpr std::size_t frame_header_bytes = 24;
constexpr std::uint32_t magic = 0x377f0682;  // its lowest bit set: checksums of big-endian words

std::uint32_t big_endian(const unsigned char* at) {
    return static_cast<std::uint32_t>(at[0]) << 24U | static_cast<std::uint32_t>(at[1]) << 16U |
           static_cast<std::uint32_t>(at[2]) << 8U | at[3];
}

std::uint32_t little_endian(const unsigned char* at) {
    return static_cast<std::uint32_t>(at[3]) << 24U | static_cast<std::uint32_t>(at[2]) << 16U |
           static_cast<std::uint32_t>(at[1]) << 8U | at[0];
}

/// SQLite's running checksum over pairs of words.
struct Checksum {
    std::uint32_t first = 0, second = 0;

    void add(const unsigned char* bytes, std::size_t size, bool big) {
        const auto word = [big](const unsigned char* at) {
            return big ? big_endian(at) : little_endian(at);
        };
        for (std::size_t i = 0; i + 8 <= size; i += 8) {
            first += word(bytes + i) + second;
            second += word(bytes + i + 4) + first;
        }
    }
    bool is(const unsigned char* stored) const {
        return big_endian(stored) == first && big_endian(stored + 4) == second;
    }
};

bool is_page_size(std::uint32_t size) {
    return size >= 512 && size <= 65'536 && (size & (size - 1)) == 0;
}

std::optional<WalDamage> look_once(const std::filesystem::path& wal) {
    std::ifstream file(wal, std::ios::binary);
    std::array<unsigned char, header_bytes> header{};
    if (!file.read(reinterpret_cast<char*>(header.data()), header_bytes)) return std::nullopt;
    const bool known = (big_endian(header.data()) | 1U) == (magic | 1U);
    const bool big = (header[3] & 1U) != 0;
    Checksum checksum;
    checksum.add(header.data(), 24, big);
    bool whole = known && checksum.is(header.data() + 24);
    std::uint32_t page_bytes = big_endian(header.data() + 8);
    if (!is_page_size(page_bytes)) page_bytes = 4096;  // ours

    // The salts of this log: older frames that lie behind its end have others.
    std::array<unsigned char, 8> salts{};
    std::copy_n(header.data() + 16, salts.size(), salts.begin());
    WalDamage damage;
    std::vector<unsigned char> frame(frame_header_bytes + page_bytes);
    for (std::int64_t n = 1; file.read(reinterpret_cast<char*>(frame.data()),
                                       static_cast<std::streamsize>(frame.size()));
         ++n) {
        // A damaged header says nothing of salts: the first frame does.
        if (n == 1 && !whole) std::copy_n(frame.data() + 8, salts.size(), salts.begin());
        const bool of_this_log = std::equal(salts.begin(), salts.end(), frame.data() + 8);
        if (whole) {
            checksum.add(frame.data(), 8, big);
            checksum.add(frame.data() + frame_header_bytes, page_bytes, big);
            whole = of_this_log && checksum.is(frame.data() + 16);
            if (!whole) damage.frame = n;
        }
        const bool commits = big_endian(frame.data() + 4) != 0;
        if (!whole && of_this_log && commits) ++damage.commits_behind;
    }
    if (damage.commits_behind < 2) return std::nullopt;
    return damage;
}

}  // namespace

std::optional<WalDamage> find_wal_damage(const std::filesystem::path& wal) {
    // A writer may have been at work just there; two commits later it no longer is.
    std::optional<WalDamage> seen = look_once(wal);
    for (int again = 0; again < 3 && seen; ++again) {
        const auto now = look_once(wal);
        if (!now) return std::nullopt;
        if (now->frame == seen->frame) return now;
        seen = now;
    }
    return seen;
}

}  // namespace steplog
