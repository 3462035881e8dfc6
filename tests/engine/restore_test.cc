// A backup is restored after work went on: what was done since is in no log, and nothing of it may
// be repeated that can be looked up, nor anything that may happen at most once.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "engine/inspect.h"
#include "tests/engine/house.h"

namespace steplog {
namespace {

using std::chrono::hours;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::House;
using ::testing::Not;

constexpr std::int64_t start_ms = 1'767'225'600'000;  // 2026-01-01T00:00:00Z, where clocks begin

// A workflow of one step with these options, over a world that counts what happened to it.
class RestoreTest : public ::testing::Test {
  protected:
    void with(const StepOptions& options) {
        house.add("w", [this, options](Context& ctx, const Json&) {
            StepOptions chosen = options;
            if (looks)
                chosen.probe = probe([&](const Attempt& attempt) -> std::optional<int> {
                    const auto found = done.find(attempt.instance_id);
                    return found == done.end() ? std::nullopt : std::optional(found->second);
                });
            return Json(ctx.step("effect", chosen, [&](const Attempt& attempt) {
                keys.push_back(attempt.idempotency_key);
                if (!folds || known.insert(attempt.idempotency_key).second)
                    ++done[attempt.instance_id];
                return done[attempt.instance_id];
            }));
        });
    }
    // An event of the provider's, as it was dated there.
    void deliver(const std::string& id, std::int64_t caused_at_ms) {
        house.engine().accept(
            NewEvent{.source = "test", .id = id, .type = "t", .body = "{}"},
            NewInstance{.id = "w/" + id, .workflow = "w", .caused_at_ms = caused_at_ms});
    }
    // It arrives after the backup, is worked on, and arrives again after the restore.
    void lose_and_redeliver(Ms until_restored) {
        const auto backup = house.back_up();
        const std::int64_t caused_at_ms = house.clock.now_ms();
        deliver("e", caused_at_ms);
        house.run_to_the_end();
        ASSERT_EQ(done["w/e"], 1);
        house.clock.advance(until_restored);
        house.restore(backup);
        EXPECT_EQ(house.state("w/e"), "");
        deliver("e", caused_at_ms);
        house.run_to_the_end();
    }
    CheckReport check() { return Inspector(house.database(), house.clock).check(); }

    House house;
    bool looks = false, folds = false;
    std::map<std::string, int> done;  // by instance: how often the effect happened
    std::set<std::string> known;      // idempotency keys that the provider has seen
    std::vector<std::string> keys;    // of every call
};

TEST_F(RestoreTest, LooksUpWhatWasDoneAndAdoptsIt) {
    looks = true;
    with({.provider = "bank", .repeat = Repeat::at_most_once});
    lose_and_redeliver(hours(100));
    EXPECT_EQ(done["w/e"], 1);
    EXPECT_EQ(house.state("w/e"), "completed");
    EXPECT_EQ(house.log("w/e"), "recorded, completed effect");
    EXPECT_TRUE(check().holds());
}

TEST_F(RestoreTest, SendsTheSameKeyAgainWhileTheProviderMustKnowIt) {
    folds = true;
    with({.repeat = Repeat::at_most_once, .idempotency_window = hours(23)});
    lose_and_redeliver(hours(22));
    EXPECT_EQ(done["w/e"], 1);
    EXPECT_EQ(house.state("w/e"), "completed");
    EXPECT_THAT(keys, ElementsAre("steplog:w/e:effect", "steplog:w/e:effect"));
}

TEST_F(RestoreTest, CountsTheKeysAgeFromTheEarliestTimeOfItsFirstUse) {
    folds = true;
    with({.repeat = Repeat::at_most_once, .idempotency_window = hours(23)});
    lose_and_redeliver(hours(23));
    EXPECT_EQ(keys.size(), 1u) << "the provider may have forgotten the key";
    EXPECT_EQ(house.error_code("w/e"), "in_doubt");
    EXPECT_THAT(house.sql("SELECT error FROM instances"), HasSubstr("restored from a backup"));
}

TEST_F(RestoreTest, LeavesWhatMayHappenOnlyOnceToAPerson) {
    with({.repeat = Repeat::at_most_once});
    lose_and_redeliver(hours(1));
    EXPECT_EQ(done["w/e"], 1);
    EXPECT_EQ(house.error_code("w/e"), "in_doubt");
    EXPECT_EQ(house.engine().resume({.actor = "test"}).ids.size(), 0u) << "a bulk decides nothing";
    house.resume("w/e");
    house.run_to_the_end();
    EXPECT_EQ(done["w/e"], 2) << "a person said: repeat it";
    EXPECT_EQ(house.state("w/e"), "completed");
}

TEST_F(RestoreTest, RepeatsWhatMayBeRepeated) {
    with({});
    lose_and_redeliver(hours(1));
    EXPECT_EQ(done["w/e"], 2);
    EXPECT_EQ(house.state("w/e"), "completed");
}

TEST_F(RestoreTest, DoubtsWhatWasUnfinishedInTheBackup) {
    with({.repeat = Repeat::at_most_once});
    deliver("old", start_ms);
    deliver("older", start_ms - 1);
    const auto backup = house.back_up();
    house.run_to_the_end();
    EXPECT_EQ(done["w/old"] + done["w/older"], 2);
    house.clock.advance(Ms(1));
    house.restore(backup);
    ASSERT_EQ(house.restored.size(), 1u);
    EXPECT_THAT(house.restored.front(),
                AllOf(HasSubstr("2026-01-01T00:00:00.000Z"), HasSubstr("2 unfinished")));
    Inspector inspector(house.database(), house.clock);
    EXPECT_THAT(inspector.why("w/old").explanation.sentence,
                HasSubstr("restored from a backup: what its next step may have done since "
                          "2026-01-01T00:00:00.000Z"));
    house.run_to_the_end();
    EXPECT_EQ(done["w/old"] + done["w/older"], 2);
    EXPECT_EQ(house.error_code("w/old"), "in_doubt");
    EXPECT_EQ(house.error_code("w/older"), "in_doubt");
}

TEST_F(RestoreTest, DoubtsNothingThatIsYoungerThanTheRestore) {
    with({.repeat = Repeat::at_most_once});
    const auto backup = house.back_up();
    house.clock.advance(hours(1));
    house.restore(backup);
    house.clock.advance(hours(24));
    const std::int64_t restored_ms = start_ms + Ms(hours(1)).count();
    deliver("younger", restored_ms + clock_skew_max.count());
    deliver("about_then", restored_ms + clock_skew_max.count() - 1);
    house.run_to_the_end();
    EXPECT_EQ(house.state("w/younger"), "completed");
    EXPECT_EQ(house.error_code("w/about_then"), "in_doubt") << "clocks differ";
}

TEST_F(RestoreTest, TakesWhatHasNoDateForOldWhileEventsMayComeAgain) {
    with({.repeat = Repeat::at_most_once});
    house.restore(house.back_up());
    house.start("w/soon", "w");
    house.clock.advance(undated_kept);
    house.start("w/late", "w");
    house.run_to_the_end();
    EXPECT_EQ(house.error_code("w/soon"), "in_doubt");
    EXPECT_EQ(house.state("w/late"), "completed");
}

TEST_F(RestoreTest, KeepsItsDoubtThroughDeathsAndFurtherBackups) {
    looks = true;
    with({.repeat = Repeat::at_most_once});
    deliver("e", start_ms);
    const auto first = house.back_up();
    house.run_to_the_end();
    house.restore(first);
    const auto second = house.back_up("second.db");
    EXPECT_EQ(check().restores.size(), 1u);
    house.restart();
    EXPECT_EQ(house.restored.size(), 1u) << "the mark is noticed once";
    EXPECT_EQ(house.log("w/e"), "recorded");
    house.restore(second);
    EXPECT_EQ(house.log("w/e"), "recorded, recorded");
    EXPECT_EQ(check().restores.size(), 2u);
    house.run_to_the_end();
    EXPECT_EQ(done["w/e"], 1);
    EXPECT_EQ(house.log("w/e"), "recorded, recorded, completed effect");
    EXPECT_TRUE(check().holds());
    house.restore(first);
    house.run_to_the_end();
    EXPECT_EQ(done["w/e"], 1) << "a backup may be restored again";
}

TEST_F(RestoreTest, IsInDoubtOfAttemptsThatWereRefusedBeforeIt) {
    bool open = false;
    int calls = 0;
    house.add("w", [&](Context& ctx, const Json&) {
        ctx.step("pay", {.repeat = Repeat::at_most_once}, [&](const Attempt&) {
            ++calls;
            if (!open)
                throw RetryableError("closed",
                                     {.outcome = Outcome::refused, .retry_after = hours(1)});
        });
        return Json();
    });
    house.start("w/1", "w");
    house.engine().run_until_idle();
    const auto backup = house.back_up();
    open = true;
    house.run_to_the_end();
    EXPECT_EQ(calls, 2);
    house.restore(backup);
    house.run_to_the_end();
    EXPECT_EQ(calls, 2) << "the refused attempt may have been followed by one that was not";
    EXPECT_EQ(house.error_code("w/1"), "in_doubt");
}

// What the mark is worth: a plain copy of a database at rest has none.
TEST_F(RestoreTest, KnowsNothingOfAPlainCopy) {
    looks = true;
    with({.repeat = Repeat::at_most_once});
    const auto copy = house.back_up();
    SQLite::Database(copy.string(), SQLite::OPEN_READWRITE)
        .exec("DELETE FROM meta WHERE name='backup'");
    deliver("e", start_ms);
    house.run_to_the_end();
    house.restore(copy);
    EXPECT_TRUE(house.restored.empty());
    deliver("e", start_ms);
    house.run_to_the_end();
    EXPECT_EQ(done["w/e"], 2) << "nobody looked";
}

// --- once keys

class LostOnceKey : public ::testing::Test {
  protected:
    LostOnceKey() {
        house.add("w", [this](Context& ctx, const Json& input) {
            const StepOptions options{.repeat = Repeat::at_most_once,
                                      .idempotency_window = hours(23),
                                      .once = "mail/1",
                                      .request = {{"text", input.value("text", "")}}};
            return Json(ctx.step("mail", options, [&](const Attempt& attempt) {
                sent.push_back(attempt.idempotency_key);
                return 1;
            }));
        });
    }
    void start(const std::string& id, std::int64_t caused_at_ms) {
        house.engine().accept(std::nullopt, NewInstance{.id = id,
                                                        .workflow = "w",
                                                        .input = R"({"text":"hello"})",
                                                        .caused_at_ms = caused_at_ms});
        house.run_to_the_end();
    }
    House house;
    std::vector<std::string> sent;
};

TEST_F(LostOnceKey, IsInDoubtForWhoeverAsksFirst) {
    const auto backup = house.back_up();
    start("w/1", start_ms);
    EXPECT_EQ(sent.size(), 1u);
    house.clock.advance(hours(24));
    house.restore(backup);
    start("w/2", start_ms);
    EXPECT_EQ(house.error_code("w/2"), "in_doubt");
    start("w/3", house.clock.now_ms() + Ms(hours(1)).count());
    EXPECT_EQ(house.state("w/3"), "waiting") << "the doubt stays with the key, not with its asker";
    EXPECT_EQ(sent.size(), 1u);
    house.resume("w/2");
    house.run_to_the_end();
    EXPECT_EQ(sent.size(), 2u) << "a person said: send it";
    EXPECT_EQ(house.state("w/3"), "completed");
}

TEST_F(LostOnceKey, IsAskedAgainUnderTheSameKeyWhileThatIsSafe) {
    const auto backup = house.back_up();
    start("w/1", start_ms);
    house.clock.advance(hours(22));
    house.restore(backup);
    start("w/2", start_ms);
    EXPECT_EQ(house.state("w/2"), "completed");
    EXPECT_THAT(sent, ElementsAre("steplog:once:mail/1", "steplog:once:mail/1"));
}

TEST_F(LostOnceKey, IsAdoptedWhereTheBackupKnowsItsResult) {
    start("w/1", start_ms);
    const auto backup = house.back_up();
    house.clock.advance(hours(48));
    house.restore(backup);
    start("w/2", start_ms);
    EXPECT_EQ(house.state("w/2"), "completed");
    EXPECT_EQ(sent.size(), 1u);
}

// --- the file

TEST_F(RestoreTest, FindsTheMarkHoweverTheCopyWasMade) {
    with({});
    const auto backup = house.back_up();
    const auto elsewhere = backup.parent_path() / "elsewhere.db";
    std::filesystem::rename(backup, elsewhere);
    std::string said;
    const auto open = [&](const std::filesystem::path& path) {
        open_sqlite_store({.database = path,
                           .writer_thread = false,
                           .on_restored = [&](const std::string& what) { said = what; }},
                          house.clock);
        return SQLite::Database(path.string()).execAndGet("PRAGMA journal_mode").getString();
    };
    EXPECT_EQ(open(elsewhere), "wal");
    EXPECT_THAT(said, HasSubstr("restored from a backup"));
    said.clear();
    open(elsewhere);
    EXPECT_EQ(said, "") << "once";
}

TEST_F(RestoreTest, RefusesABackupBesideTheWalOfAnotherFile) {
    with({});
    house.start("w/1", "w");
    const auto backup = house.back_up();
    house.start("w/2", "w");
    house.remember();  // the file's WAL as a death would leave it
    const auto place = backup.parent_path() / "place.db";
    std::filesystem::copy_file(backup, place);
    std::filesystem::copy_file(backup.parent_path() / "moment.db-wal", place.string() + "-wal");
    ASSERT_GT(std::filesystem::file_size(place.string() + "-wal"), 0u);
    const auto open = [&] {
        open_sqlite_store({.database = place, .writer_thread = false}, house.clock);
    };
    try {
        open();
        FAIL() << "two files were mixed";
    } catch (const OpenError& error) {
        EXPECT_THAT(error.what(), HasSubstr("place.db-wal"));
    }
    std::filesystem::remove(place.string() + "-wal");
    EXPECT_NO_THROW(open());
}

TEST_F(RestoreTest, StartsFromNothingItCannotRead) {
    with({});
    house.engine();
    house.damage("INSERT INTO meta(name,value) VALUES ('backup','{}')");
    EXPECT_THROW(house.engine(), OpenError);
}

TEST(Backup, IsPrivateAndOverwritesNothing) {
    House house;
    const auto backup = house.back_up();
    struct stat status {};
    ASSERT_EQ(stat(backup.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600u);
    EXPECT_THROW(house.back_up(), BackupError);
    EXPECT_THROW(house.back_up("none/such.db"), BackupError);
    std::filesystem::create_symlink("nowhere", backup.parent_path() / "link.db");
    EXPECT_THROW(house.back_up("link.db"), BackupError);
    for (const auto& file : std::filesystem::directory_iterator(backup.parent_path()))
        EXPECT_THAT(file.path().string(), Not(HasSubstr("partial")));
}

TEST(Backup, IsNotTakenOfADamagedFile) {
    House house;
    house.add("w", [](Context&, const Json&) { return Json(); });
    house.start("w/1", "w");
    house.damage("UPDATE instances SET log_length=7");
    EXPECT_THROW(house.back_up(), BackupError);
}

}  // namespace
}  // namespace steplog
