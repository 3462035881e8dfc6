// The format: sqlite.org/fileformat2.html, section 4.
#include "engine/wal_file.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <vector>

namespace steplog {
namespace {

constexpr std::uint32_t magic = 0x377f0682;  // its lowest bit set: checksums of big-endian words

std::uint32_t big_endian(const unsigned char* at) {
    return static_cast<std::uint32_t>(at[0]) << 24U | static_cast<std::uint32_t>(at[1]) << 16U |
           static_cast<std::uint32_t>(at[2]) << 8U | at[3];
}

std::uint32_t little_endian(const unsigned char* at) {
    return static_cast<std::uint32_t>(at[3]) << 24U | static_cast<std::uint32_t>(at[2]) << 16U |
           static_cast<std::uint32_t>(at[1]) << 8U | at[0];
}

bool is_page_size(std::uint32_t size) {
    return size >= 512 && size <= 65'536 && (size & (size - 1)) == 0;
}

std::optional<WalDamage> look_once(const std::filesystem::path& wal) {
    std::ifstream file(wal, std::ios::binary);
    std::array<unsigned char, WalChain::header_bytes> header{};
    if (!file.read(reinterpret_cast<char*>(header.data()), header.size())) return std::nullopt;
    WalChain chain(header);
    WalDamage damage;
    std::vector<unsigned char> frame(chain.frame_bytes());
    for (std::int64_t n = 1; file.read(reinterpret_cast<char*>(frame.data()),
                                       static_cast<std::streamsize>(frame.size()));
         ++n) {
        const bool whole_so_far = chain.whole();
        chain.add(frame.data());
        if (whole_so_far && !chain.whole()) damage.frame = n;
        const bool behind = !chain.whole() && chain.is_of_this_log(frame.data());
        if (behind && WalChain::commits(frame.data())) ++damage.commits_behind;
    }
    if (damage.commits_behind < 2) return std::nullopt;
    return damage;
}

}  // namespace

WalChain::WalChain(const std::array<unsigned char, header_bytes>& header)
    : page_bytes_(big_endian(header.data() + 8)), big_endian_((header[3] & 1U) != 0) {
    sum(header.data(), 24);
    whole_ = (big_endian(header.data()) | 1U) == (magic | 1U) && sum_is(header.data() + 24);
    if (!is_page_size(static_cast<std::uint32_t>(page_bytes_))) page_bytes_ = 4096;  // ours
    std::copy_n(header.data() + 16, salts_.size(), salts_.begin());
    salts_known_ = whole_;
}

void WalChain::add(const unsigned char* frame) {
    if (!salts_known_) std::copy_n(frame + 8, salts_.size(), salts_.begin());
    salts_known_ = true;
    if (!whole_) return;
    sum(frame, 8);
    sum(frame + frame_header_bytes, page_bytes_);
    whole_ = is_of_this_log(frame) && sum_is(frame + 16);
}

bool WalChain::is_of_this_log(const unsigned char* frame) const {
    return std::equal(salts_.begin(), salts_.end(), frame + 8);
}

bool WalChain::commits(const unsigned char* frame) { return big_endian(frame + 4) != 0; }

void WalChain::sum(const unsigned char* bytes, std::size_t size) {
    const auto word = [this](const unsigned char* at) {
        return big_endian_ ? big_endian(at) : little_endian(at);
    };
    for (std::size_t i = 0; i + 8 <= size; i += 8) {
        first_ += word(bytes + i) + second_;
        second_ += word(bytes + i + 4) + first_;
    }
}

bool WalChain::sum_is(const unsigned char* stored) const {
    return big_endian(stored) == first_ && big_endian(stored + 4) == second_;
}

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

std::filesystem::path kept_wal_path(const std::filesystem::path& database) {
    return database.string() + "-wal.damaged";
}

std::optional<KeptWal> find_kept_wal(const std::filesystem::path& database) {
    KeptWal kept{.path = kept_wal_path(database)};
    struct stat status {};
    if (lstat(kept.path.c_str(), &status) != 0) return std::nullopt;
    kept.kept_at_ms = status.st_mtim.tv_sec * 1000 + status.st_mtim.tv_nsec / 1'000'000;
    return kept;
}

}  // namespace steplog
