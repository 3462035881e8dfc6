// The schema goes forwards: a database of every released schema is opened by the present program,
// which finishes what was in flight; a migration that fails or is interrupted leaves the old schema
// whole; a newer schema is refused and left as it is.
//
// tests/data/schema/NNNN.db are those databases. A new migration adds its own, made by this program
// with STEPLOG_WRITE_APPROVED=1; older files are never written again.
#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "engine/inspect.h"
#include "engine/sqlite_file.h"
#include "migrations/migrations.h"
#include "tests/engine/house.h"
#include "tests/support/crash_vfs.h"

namespace steplog {
namespace {

namespace fs = std::filesystem;
using testing::CrashVfs;
using ::testing::HasSubstr;
using testing::House;
using testing::Survival;

int present() { return sqlite_migrations().back().number; }

// --- databases of released schemas

fs::path released(int number) {
    return fs::path(STEPLOG_SOURCE_DIR) / "tests/data/schema" / fmt::format("{:04}.db", number);
}

// A shop that was served before the upgrade and is served after it.
struct Orders {
    Orders() {
        house.add("order", [this](Context& ctx, const Json& input) {
            const std::string what = input.value("what", "");
            ctx.step("reserve", [&](const Attempt& attempt) { return call(attempt, "reserve"); });
            if (what == "odd" && closed) ctx.stuck("odd_order", "a thousand left shoes");
            ctx.step("pay", {.provider = "bank"}, [&](const Attempt& attempt) {
                if (what == "dying" && closed) house.remember();
                if (what == "down" && closed)
                    throw RetryableError("closed", {.outcome = Outcome::refused,
                                                    .retry_after = std::chrono::hours(1)});
                return call(attempt, "pay");
            });
            ctx.step("mail", {.once = "mail/" + what, .request = {{"to", what}}},
                     [&](const Attempt& attempt) { return call(attempt, "mail"); });
            return Json{{"done", true}};
        });
    }
    int call(const Attempt& attempt, const std::string& step) {
        keys.push_back(attempt.idempotency_key);
        return ++calls[attempt.instance_id + " " + step];
    }

    House house;
    bool closed = true;                // before the upgrade
    std::map<std::string, int> calls;  // "order/odd pay"
    std::vector<std::string> keys;
};

// How a released file is made: something of everything, and a death in the middle of a step.
void make_released(const fs::path& file) {
    Orders shop;
    for (const char* what : {"done", "odd", "down"})
        shop.house.start(fmt::format("order/{}", what), "order", {{"what", what}}, what);
    shop.house.engine().run_until_idle();
    shop.house.start("order/behind", "order", {{"what", "behind"}}, "odd");
    shop.house.start("order/dying", "order", {{"what", "dying"}}, "dying");
    shop.house.engine().run_until_idle();
    shop.house.die_as_remembered();
    shop.house.start("order/pending", "order", {{"what", "pending"}});
    shop.house.store().flush();
    fs::create_directories(file.parent_path());
    SQLite::Database(shop.house.database(), SQLite::OPEN_READONLY)
        .exec(fmt::format("VACUUM INTO '{}'", file.string()));
}

class Released : public ::testing::TestWithParam<int> {
  protected:
    static void SetUpTestSuite() {
        if (std::getenv("STEPLOG_WRITE_APPROVED") && !fs::exists(released(present())))
            make_released(released(present()));
    }
};
std::vector<int> numbers() {
    std::vector<int> all;
    for (const Migration& migration : sqlite_migrations()) all.push_back(migration.number);
    return all;
}
INSTANTIATE_TEST_SUITE_P(Schema, Released, ::testing::ValuesIn(numbers()));

TEST_P(Released, IsOpenedAndItsInstancesAreFinished) {
    Orders shop;
    shop.closed = false;
    ASSERT_TRUE(fs::exists(released(GetParam()))) << "run this with STEPLOG_WRITE_APPROVED=1";
    fs::copy_file(released(GetParam()), shop.house.database());
    shop.house.clock.advance(std::chrono::hours(24));
    EXPECT_EQ(shop.house.sql("PRAGMA user_version"), std::to_string(present()));
    EXPECT_EQ(shop.house.sql("SELECT count(*) || ', ' || count(hash) FROM once_keys"), "1, 1")
        << "what once keys remember is sealed";
    EXPECT_EQ(shop.house.state("order/odd"), "stuck");
    EXPECT_EQ(shop.house.state("order/behind"), "queued");
    EXPECT_TRUE(Inspector(shop.house.database(), shop.house.clock).check().holds());
    shop.house.run_to_the_end();
    shop.house.resume("order/odd");
    shop.house.run_to_the_end();
    EXPECT_EQ(shop.house.sql("SELECT count(*) FROM instances WHERE state='completed'"), "6");
    EXPECT_EQ(shop.calls.count("order/done pay"), 0u) << "it was finished before the upgrade";
    for (const char* what : {"odd", "down", "dying"}) {
        EXPECT_EQ(shop.calls.count(fmt::format("order/{} reserve", what)), 0u) << what;
        EXPECT_EQ(shop.calls[fmt::format("order/{} pay", what)], 1) << what;
        EXPECT_EQ(shop.calls[fmt::format("order/{} mail", what)], 1) << what;
    }
    EXPECT_THAT(shop.keys, ::testing::Contains("steplog:order/dying:pay"))
        << "what was in doubt is asked again under its old key";
    EXPECT_TRUE(Inspector(shop.house.database(), shop.house.clock).check().holds());
}

// Each row that a step writes is checked, and SQLite would build a table for each CHECK … IN (…) of
// more than two words (migration 0007).
TEST(Checks, NeedNoTablesOfTheirOwn) {
    House house;
    house.store().flush();
    SQLite::Database database(house.database(), SQLite::OPEN_READONLY);
    for (const char* sql :
         {"INSERT INTO instances(id,workflow,version,state,due_at_ms,owner,epoch,log_hash,"
          "input_hash,created_at_ms,updated_at_ms) VALUES (?1,?1,1,'running',?2,1,1,?3,?3,?2,?2)",
          "INSERT INTO entries(instance,n,step,kind,at_ms,data,hash) VALUES (?1,1,?2,?2,?1,?2,?3)",
          "INSERT INTO events(source,id,type,disposition,instance,body_hash,received_at_ms) "
          "VALUES (?1,?1,?1,?1,?2,?3,?2)",
          "UPDATE instances SET step=?1,log_length=?2,log_hash=?3 WHERE seq=?2"}) {
        SQLite::Statement program(database, fmt::format("EXPLAIN {}", sql));
        int instructions = 0;
        for (; program.executeStep(); ++instructions)
            EXPECT_NE(program.getColumn(1).getString(), "OpenEphemeral") << sql;
        EXPECT_GT(instructions, 10) << sql;
    }
}

// --- the machinery, under migrations that are made up

constexpr const char* good =
    "ALTER TABLE instances ADD COLUMN made_up INTEGER NOT NULL DEFAULT 7;"
    "CREATE TABLE made_up(name TEXT PRIMARY KEY, value INTEGER) STRICT;"
    "INSERT INTO made_up SELECT id, seq FROM instances;";
constexpr const char* failing_half_way =
    "ALTER TABLE instances ADD COLUMN worse INTEGER; DELETE FROM once_keys;"
    "INSERT INTO nowhere VALUES (1);";

std::vector<Migration> and_then(std::initializer_list<const char*> made_up) {
    std::vector<Migration> all = sqlite_migrations();
    for (const char* sql : made_up) all.push_back({all.back().number + 1, "made_up", sql});
    return all;
}

std::string bytes_of(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

// The schema as text, and what is in the rows that a migration of ours could harm.
std::string told(const std::string& path, const std::string& vfs = "") {
    SQLite::Database reader(path, SQLite::OPEN_READONLY, 0, vfs);
    std::string text = reader.execAndGet("PRAGMA user_version").getString();
    for (const char* query : {"SELECT coalesce(sql,'') FROM sqlite_schema ORDER BY name",
                              "SELECT id||state FROM instances ORDER BY seq",
                              "SELECT key||state FROM once_keys ORDER BY key"}) {
        SQLite::Statement rows(reader, query);
        while (rows.executeStep()) text += "\n" + rows.getColumn(0).getString();
    }
    return text;
}

class Upgrade : public ::testing::Test {
  protected:
    Upgrade() : path_(directory_ / "steplog.db") {
        fs::copy_file(released(present()), path_);
        SqliteFile(path_, "", "FULL", false);
    }
    std::string refusal(const std::vector<Migration>& migrations) {
        try {
            SqliteFile(path_, "", "FULL", false, migrations);
            return "";
        } catch (const OpenError& error) {
            return error.what();
        }
    }
    testing::TemporaryDirectory directory_;
    const fs::path path_;
};

TEST_F(Upgrade, AppliesEachMigrationOnce) {
    for (int opened = 0; opened < 2; ++opened) {
        SqliteFile file(path_, "", "FULL", false, and_then({good}));
        EXPECT_EQ(file.database().execAndGet("PRAGMA user_version").getInt(), present() + 1);
        EXPECT_EQ(file.database().execAndGet("SELECT count(*) FROM made_up").getInt(), 6);
        EXPECT_EQ(file.database().execAndGet("SELECT sum(made_up) FROM instances").getInt(), 42);
    }
}

TEST_F(Upgrade, LeavesTheOldSchemaWholeWhenAMigrationFails) {
    const std::string before = told(path_);
    EXPECT_THAT(refusal(and_then({failing_half_way})), HasSubstr("nowhere"));
    EXPECT_EQ(told(path_), before);
    EXPECT_EQ(refusal(sqlite_migrations()), "") << "the old program goes on with it";
    EXPECT_NE(refusal(and_then({good, failing_half_way})), "");
    EXPECT_EQ(SQLite::Database(path_.string()).execAndGet("PRAGMA user_version").getInt(),
              present() + 1)
        << "those before it are done";
    EXPECT_EQ(refusal(and_then({good})), "");
}

TEST_F(Upgrade, RefusesANewerSchemaAndLeavesItUntouched) {
    { SqliteFile(path_, "", "FULL", false, and_then({good})); }
    SQLite::Database(path_.string(), SQLite::OPEN_READWRITE).exec("PRAGMA journal_mode=DELETE");
    const std::string before = bytes_of(path_);
    EXPECT_THAT(refusal(sqlite_migrations()), HasSubstr("use the newer program"));
    EXPECT_EQ(bytes_of(path_), before);
    EXPECT_FALSE(fs::exists(path_.string() + "-wal"));
}

// --- the power goes

TEST(UpgradeUnderPowerLoss, AtEveryOperationEndsWithOneSchemaOrTheOther) {
    const std::string path = "/steplog.db";
    CrashVfs vfs("upgrade");
    {
        testing::ManualClock clock;
        const auto store =
            open_sqlite_store({.database = path, .writer_thread = false, .vfs = vfs.name()}, clock);
        for (const char* id : {"w/1", "w/2"}) {
            auto accepted = store->accept(
                std::nullopt, NewInstance{.id = id, .workflow = "w", .input = "{}"}, false);
            store->flush();
            accepted.get();
        }
    }
    vfs.crash(Survival::everything, 0);
    const auto disk = vfs.image();
    const std::string old_schema = told(path, vfs.name());
    const auto upgrade = [&] { SqliteFile(path, vfs.name(), "FULL", false, and_then({good})); };
    upgrade();
    const std::string new_schema = told(path, vfs.name());
    ASSERT_NE(old_schema, new_schema);

    int cuts = 0, old_ones = 0, new_ones = 0;
    // One life from this disk, cut at the n-th operation; false when it was through before that.
    const auto live = [&](const CrashVfs::Image& from, std::int64_t n, Survival survival) {
        vfs.restore(from);
        vfs.cut_after(n);
        try {
            upgrade();
        } catch (const OpenError&) {
            EXPECT_TRUE(vfs.is_cut());
        }
        if (!vfs.is_cut()) return false;
        ++cuts;
        vfs.crash(survival, static_cast<std::uint64_t>(n));
        const auto left = vfs.image();
        const std::string found = told(path, vfs.name());
        EXPECT_TRUE(found == old_schema || found == new_schema) << found;
        ++(found == old_schema ? old_ones : new_ones);
        vfs.restore(left);
        return true;
    };
    for (const Survival survival : {Survival::synced, Survival::everything, Survival::torn}) {
        for (std::int64_t n = 1; live(disk, n, survival); ++n) {
            const auto left = vfs.image();
            for (std::int64_t m = 1 + n % 5; live(left, m, survival); m += 5) {
            }
            vfs.restore(left);
            upgrade();
            EXPECT_EQ(told(path, vfs.name()), new_schema) << "cut at " << n;
        }
    }
    fmt::print("{} cuts while migrating, {} of them left the old schema\n", cuts, old_ones);
    EXPECT_GT(cuts, 100);
    EXPECT_GT(old_ones, 0);
    EXPECT_GT(new_ones, 0);
}

}  // namespace
}  // namespace steplog
