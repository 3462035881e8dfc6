// Damage in a write-ahead log that SQLite passes over, told from the torn end that a crash leaves.
#include "engine/wal_file.h"

#include <SQLiteCpp/SQLiteCpp.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "tests/support/temporary_directory.h"

namespace steplog {
namespace {

constexpr std::size_t header = 32, frame = 24 + 4096;

std::string file_text(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

class WalFile : public ::testing::Test {
  protected:
    WalFile()
        : database_((directory_ / "t.db").string(), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE) {
        database_.exec("PRAGMA journal_mode=WAL");
        database_.exec("PRAGMA wal_autocheckpoint=0");
        database_.exec("CREATE TABLE t(x)");
        write(9);
    }
    void write(int commits) {
        for (int i = 0; i < commits; ++i) database_.exec("INSERT INTO t VALUES (randomblob(100))");
    }
    std::string wal() const { return file_text(directory_ / "t.db-wal"); }
    std::optional<WalDamage> damage_of(const std::string& bytes) const {
        std::ofstream(directory_ / "copy-wal", std::ios::binary) << bytes;
        return find_wal_damage(directory_ / "copy-wal");
    }
    static std::string flipped(std::string bytes, std::size_t at) {
        bytes.at(at) = static_cast<char>(bytes.at(at) ^ 4);
        return bytes;
    }

    testing::TemporaryDirectory directory_;
    SQLite::Database database_;
};

TEST_F(WalFile, HasNoDamageAsItWasWritten) {
    EXPECT_FALSE(damage_of(wal()));
    EXPECT_FALSE(damage_of(""));
    EXPECT_FALSE(damage_of(wal().substr(0, 10)));
    EXPECT_FALSE(find_wal_damage(directory_ / "none"));
}

TEST_F(WalFile, HidesCommitsBehindADamagedFrame) {
    const std::string whole = wal();
    const auto frames = static_cast<std::int64_t>((whole.size() - header) / frame);
    ASSERT_GE(frames, 10);
    for (std::int64_t n = 1; n < frames; ++n) {
        for (const std::size_t place : {4U, 16U, 24U, 2000U}) {
            const auto damage =
                damage_of(flipped(whole, header + static_cast<std::size_t>(n - 1) * frame + place));
            ASSERT_TRUE(damage) << "frame " << n << " at " << place;
            EXPECT_EQ(damage->frame, n);
            EXPECT_GE(damage->commits_behind, 2);
        }
    }
}

TEST_F(WalFile, IsLostWholeBehindADamagedHeader) {
    for (std::size_t at = 0; at < header; ++at) {
        const auto damage = damage_of(flipped(wal(), at));
        ASSERT_TRUE(damage) << at;
        EXPECT_EQ(damage->frame, 0);
        EXPECT_GE(damage->commits_behind, 10);
    }
}

TEST_F(WalFile, IsNotDamagedByATornEnd) {
    const std::string whole = wal();
    EXPECT_FALSE(damage_of(flipped(whole, whole.size() - 1000)));
    for (std::size_t size = whole.size() - frame; size < whole.size(); size += 97)
        EXPECT_FALSE(damage_of(whole.substr(0, size)));
    std::string torn = whole;
    torn.replace(torn.size() - 2048, 2048, 2048, '\0');
    EXPECT_FALSE(damage_of(torn));
}

TEST_F(WalFile, IsNotDamagedByWhatAnEarlierRoundLeft) {
    database_.exec("PRAGMA wal_checkpoint(RESTART)");
    write(2);
    EXPECT_FALSE(damage_of(wal()));
}

}  // namespace
}  // namespace steplog
