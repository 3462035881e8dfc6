// Looks into a write-ahead log as SQLite wrote it, for damage that SQLite passes over in silence:
// it takes the first frame that does not verify for the end, and forgets the commits behind it.
// Used when a database is opened and by who checks one. Pure but for reading the file; any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>

namespace steplog {

/// Follows a log from its header, frame by frame, as SQLite's recovery does.
class WalChain {
  public:
    static constexpr std::size_t header_bytes = 32;
    static constexpr std::size_t frame_header_bytes = 24;

    explicit WalChain(const std::array<unsigned char, header_bytes>& header);

    /// Whether the header and all frames so far verify: what comes after one that does not is not
    /// part of the log.
    bool whole() const { return whole_; }
    std::size_t page_bytes() const { return page_bytes_; }
    std::size_t frame_bytes() const { return frame_header_bytes + page_bytes_; }
    /// Takes the next frame, frame_bytes() long.
    void add(const unsigned char* frame);
    /// Older frames that lie behind the log's end are of another one.
    bool is_of_this_log(const unsigned char* frame) const;
    static bool commits(const unsigned char* frame);

  private:
    void sum(const unsigned char* bytes, std::size_t size);
    bool sum_is(const unsigned char* stored) const;

    std::array<unsigned char, 8> salts_{};
    std::uint32_t first_ = 0, second_ = 0;  // SQLite's running checksum over pairs of words
    std::size_t page_bytes_ = 0;
    bool big_endian_ = false;  // the checksum's words
    bool whole_ = false;
    bool salts_known_ = false;  // a damaged header says nothing of them: the first frame does
};

struct WalDamage {
    std::int64_t frame = 0;           // the first that does not verify, from 1; 0: the header
    std::int64_t commits_behind = 0;  // that cannot be read because of it, as far as it shows
};

/// Nothing when every commit of the log can be read; a crash in the middle of one leaves a torn end
/// and is no damage. Each commit is synced before the next begins, so that more than one behind a
/// frame that does not verify means that the frame was whole once. What was cut off, or lies in the
/// last commit, cannot be told from a crash. Safe beside a writer: what looks like damage is looked
/// at again. Nothing, too, when there is no such file or it cannot be read.
std::optional<WalDamage> find_wal_damage(const std::filesystem::path& wal);

/// Where the server keeps a damaged log when it goes on without what cannot be read.
std::filesystem::path kept_wal_path(const std::filesystem::path& database);

/// A log that was kept there, if one was. It holds payloads of customers, also of those who were
/// forgotten since, until a person deletes it: they may still need it to find out what was lost.
struct KeptWal {
    std::filesystem::path path;
    std::int64_t kept_at_ms = 0;
};
std::optional<KeptWal> find_kept_wal(const std::filesystem::path& database);

}  // namespace steplog
