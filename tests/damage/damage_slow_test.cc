// Disks that lie about what was written: bytes flipped, pages torn, swapped and zeroed, files cut,
// in the database, its write-ahead log and a backup. Whatever it is, it is found or has no effect,
// and nothing is ever called with input that nobody gave. STEPLOG_DAMAGES says how many at random;
// STEPLOG_DAMAGE_SEED repeats one, STEPLOG_SEED begins elsewhere.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/damage/unhashed.h"
#include "tests/support/damage_rig.h"

namespace steplog::testing {
namespace {

constexpr std::size_t page = 4096;

std::uint64_t number_in(const char* variable, std::uint64_t otherwise) {
    const char* text = std::getenv(variable);
    return text ? std::strtoull(text, nullptr, 10) : otherwise;
}

// At random, over database, write-ahead log and backup together.
int damages() { return static_cast<int>(number_in("STEPLOG_DAMAGES", 510)); }

struct Damage {
    std::string told;
    DatabaseFiles files;
};

/// Changes one of the files in one of the ways that disks have.
std::string damage(std::string& bytes, SeededRandom& random) {
    const auto at = static_cast<std::size_t>(random.below(bytes.size()));
    const auto page_at = at / page * page;
    const auto length = std::min(page, bytes.size() - page_at);
    switch (random.below(7)) {
        case 0: {
            const auto bit = static_cast<int>(random.below(8));
            bytes[at] = static_cast<char>(bytes[at] ^ (1 << bit));
            return fmt::format("bit {} of byte {} flipped", bit, at);
        }
        case 1:
            bytes[at] = static_cast<char>(random.next());
            return fmt::format("byte {} is another", at);
        case 2: {
            for (std::size_t i = at; i < std::min(at + 16, bytes.size()); ++i)
                bytes[i] = static_cast<char>(random.next());
            return fmt::format("16 bytes from {} are others", at);
        }
        case 3: {
            const auto sector = at / 512 * 512;
            bytes.replace(sector, std::min<std::size_t>(512, bytes.size() - sector),
                          std::min<std::size_t>(512, bytes.size() - sector), '\0');
            return fmt::format("the sector at {} is zeroed", sector);
        }
        case 4: {
            const auto other = random.below(bytes.size() / page + 1) * page;
            if (other + length <= bytes.size())
                bytes.replace(page_at, length, bytes.substr(other, length));
            return fmt::format("the page at {} is the one at {}", page_at, other);
        }
        case 5:
            for (std::size_t i = page_at; i < page_at + length; ++i)
                bytes[i] = static_cast<char>(random.next());
            return fmt::format("the page at {} is noise", page_at);
        default:
            bytes.resize(at);
            return fmt::format("cut off at {}", at);
    }
}

struct Tally {
    int cases = 0, noticed = 0, by_check = 0, refused = 0, without_effect = 0, earlier = 0;
    int broken = 0;  // promises
};

class DamagedDatabase : public ::testing::Test {
  protected:
    // A third of the cases; `which` chooses and damages a file.
    void run(const char* what, bool may_be_cut_short,
             const std::function<std::string(DatabaseFiles&, SeededRandom&)>& which) {
        const std::uint64_t one = number_in("STEPLOG_DAMAGE_SEED", 0);
        const std::uint64_t first = one ? one : number_in("STEPLOG_SEED", 13);
        const int cases = one ? 1 : damages() / 3;
        Tally tally;
        for (int i = 0; i < cases && !HasFailure(); ++i) {
            const std::uint64_t seed = first + static_cast<std::uint64_t>(i);
            SeededRandom random(seed);
            DatabaseFiles files = what == std::string("backup") ? rig_.backup() : rig_.crashed();
            const std::string told = which(files, random);
            EXPECT_EQ(judge(files, may_be_cut_short, tally), "")
                << what << ": " << told << "; STEPLOG_DAMAGE_SEED=" << seed << " repeats it";
        }
        fmt::print(
            "{}: {} damages from seed {}: {} noticed ({} by check, {} refused at start), {} "
            "without effect, {} like a crash before the last commit, {} promises broken\n",
            what, tally.cases, first, tally.noticed, tally.by_check, tally.refused,
            tally.without_effect, tally.earlier, tally.broken);
        EXPECT_GE(tally.noticed, cases / 10);
    }
    // The promise that was broken; "" when none was.
    std::string judge(const DatabaseFiles& files, bool may_be_cut_short, Tally& tally) {
        const DamageVerdict verdict = rig_.judge(files);
        const bool cut_short =
            may_be_cut_short && verdict.is_an_earlier_moment && verdict.altered.empty();
        const std::string broken = cut_short ? "" : verdict.broken_promise();
        ++tally.cases;
        tally.noticed += verdict.noticed();
        tally.refused += !verdict.refused.empty();
        tally.by_check += !verdict.found.empty();
        tally.without_effect += !verdict.noticed() && verdict.same_end;
        tally.earlier += cut_short && !verdict.noticed() && !verdict.same_end;
        tally.broken += !broken.empty();
        return broken;
    }
    // Random bytes rarely meet the few that matter most: what a call is made of.
    Tally strike_what_calls_are_made_of(bool expected_whole) {
        Tally tally;
        for (const std::string text :
             {"notify for ann", "\"to\":\"dan\"", "steplog:once:notify/dan", "order/doubt",
              "steplog:order/doubt:charge", "charge for dan", "\"who\":\"cid\"",
              "reserve for cid"}) {
            const std::string& whole = rig_.backup().database;
            for (std::size_t at = 0; (at = whole.find(text, at)) != std::string::npos; ++at) {
                DatabaseFiles files = rig_.backup();
                const std::size_t changed = at + text.size() - 1 - (text.ends_with('"') ? 1 : 0);
                files.database[changed] = static_cast<char>(files.database[changed] ^ 1);
                const std::string broken = judge(files, false, tally);
                EXPECT_TRUE(broken.empty() || !expected_whole) << text << " at " << at << broken;
            }
        }
        fmt::print("{} damages of what calls are made of: {} noticed, {} promises broken\n",
                   tally.cases, tally.noticed, tally.broken);
        return tally;
    }

    DamageRig rig_;
};

TEST_F(DamagedDatabase, IsNoticedOrWithoutEffect) {
    run("database", false,
        [](DatabaseFiles& files, SeededRandom& random) { return damage(files.database, random); });
}

TEST_F(DamagedDatabase, IsNoticedOrWithoutEffectInABackup) {
    run("backup", false,
        [](DatabaseFiles& files, SeededRandom& random) { return damage(files.database, random); });
}

// A log that was cut off, or whose last commit is damaged, is what a crash leaves: the database is
// as it was a moment before, and only Stripe knows what is missing.
TEST_F(DamagedDatabase, IsNoticedOrWithoutEffectInTheWriteAheadLog) {
    run("write-ahead log", true,
        [](DatabaseFiles& files, SeededRandom& random) { return damage(files.wal, random); });
}

TEST_F(DamagedDatabase, IsNoticedWhereverInputsResultsRequestsAndKeysLie) {
    EXPECT_GT(strike_what_calls_are_made_of(true).noticed, 15);
}

// The control: an engine that verifies nothing makes calls with altered input, and the same look at
// it says so.
class UnhashedDatabase : public Unhashed, public DamagedDatabase {};

TEST_F(UnhashedDatabase, IsCaughtMakingAlteredCalls) {
    EXPECT_GT(strike_what_calls_are_made_of(false).broken, 5);
}

}  // namespace
}  // namespace steplog::testing
