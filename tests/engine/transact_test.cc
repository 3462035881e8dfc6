// Changes of a program's own tables, in one transaction with the step that makes them.
#include <gmock/gmock.h>
#include <sqlite3.h>

#include <atomic>

#include "engine/inspect.h"
#include "engine/testing/workflow_test.h"
#include "tests/engine/house.h"

namespace steplog {
namespace {

using ::testing::HasSubstr;
using testing::House;

void make_tables(Engine& engine) {
    engine.write([](SQLite::Database& db) {
        db.exec(
            "CREATE TABLE IF NOT EXISTS app_accounts(name TEXT PRIMARY KEY, cents INTEGER NOT "
            "NULL CHECK (cents >= 0))");
        db.exec("INSERT OR IGNORE INTO app_accounts VALUES ('ada', 100), ('bob', 0)");
    });
}

void book(SQLite::Database& db, const std::string& name, int cents) {
    SQLite::Statement update(db, "UPDATE app_accounts SET cents=cents+? WHERE name=?");
    update.bind(1, cents);
    update.bind(2, name);
    update.exec();
}

int cents_of(House& house, const std::string& name) {
    return std::stoi(house.sql("SELECT cents FROM app_accounts WHERE name='" + name + "'"));
}

TEST(Transact, WritesTheTableAndTheCheckpointInOneCommit) {
    House house;
    std::string seen;
    house.add("w", [&](Context& ctx, const Json&) {
        const int left = ctx.transact("pay", [&](SQLite::Database& db) {
            book(db, "ada", -40);
            book(db, "bob", 40);
            seen = house.sql("SELECT cents FROM app_accounts WHERE name='bob'");  // others' view
            return db.execAndGet("SELECT cents FROM app_accounts WHERE name='ada'").getInt();
        });
        return Json(left);
    });
    make_tables(house.engine());
    house.start("o", "w");
    house.run_to_the_end();
    EXPECT_EQ(seen, "0") << "nothing is there before the commit";
    EXPECT_EQ(cents_of(house, "ada"), 60);
    EXPECT_EQ(cents_of(house, "bob"), 40);
    EXPECT_EQ(house.log("o"), "started pay, completed pay");
    EXPECT_EQ(
        house.sql("SELECT body FROM payloads WHERE id=(SELECT output_payload FROM instances)"),
        "60");
}

TEST(Transact, HappensOnceWhereverTheProcessDies) {
    testing::WorkflowTest test([](Context& ctx, const Json&) {
        ctx.transact("make", [](SQLite::Database& db) {
            db.exec("CREATE TABLE IF NOT EXISTS app_log(line TEXT)");
        });
        for (const char* name : {"a", "b"})
            ctx.transact(std::string("write ") + name, [&](SQLite::Database& db) {
                db.exec(std::string("INSERT INTO app_log VALUES ('") + name + "')");
            });
        ctx.step("mail", {.idempotency_window = std::chrono::hours(24)}, [](const Attempt&) {});
        return Json(ctx.transact("count", [](SQLite::Database& db) {
            db.exec("INSERT INTO app_log VALUES ('c')");
            return db.execAndGet("SELECT group_concat(line) FROM app_log").getString();
        }));
    });
    EXPECT_EQ(test.run().output, "a,b,c");
    const auto crashes = test.crash_everywhere();
    EXPECT_EQ(crashes.failure, "");
    EXPECT_GE(crashes.places, 20);
    std::cout << crashes.places << " crashes, each line written once\n";
}

TEST(Transact, LeavesNothingOfAChangeThatThrowsAndTriesAgain) {
    House house;
    int tries = 0;
    house.add("w", [&](Context& ctx, const Json&) {
        ctx.transact("pay", [&](SQLite::Database& db) {
            book(db, "bob", 40);
            if (++tries == 1) throw RetryableError("not now", {.code = "busy"});
            book(db, "ada", -40);
        });
        return Json();
    });
    make_tables(house.engine());
    house.start("o", "w");
    house.engine().run_until_idle();
    EXPECT_EQ(house.state("o"), "sleeping");
    EXPECT_EQ(cents_of(house, "bob"), 0);
    EXPECT_EQ(house.log("o"), "started pay, retried pay");
    EXPECT_EQ(house.sql("SELECT json_extract(data,'$.outcome') FROM entries WHERE n=2"), "refused");
    house.run_to_the_end();
    EXPECT_EQ(house.state("o"), "completed");
    EXPECT_EQ(cents_of(house, "bob"), 40);
    EXPECT_EQ(house.log("o"), "started pay, retried pay, started pay, completed pay");
    EXPECT_EQ(house.sql("SELECT attempt FROM entries WHERE n=4"), "2");
}

TEST(Transact, GivesUpAfterItsAttemptsAndGoesOnWhenResumed) {
    House house;
    bool works = false;
    house.add("w", [&](Context& ctx, const Json&) {
        ctx.transact("pay", {.attempts_max = 3}, [&](SQLite::Database& db) {
            book(db, "ada", works ? -40 : -400);  // more than there is
        });
        return Json();
    });
    make_tables(house.engine());
    house.start("o", "w");
    house.run_to_the_end();
    EXPECT_EQ(house.state("o"), "stuck");
    EXPECT_EQ(house.error_code("o"), "retries_exhausted");
    EXPECT_THAT(house.sql("SELECT error FROM instances"), HasSubstr("CHECK constraint failed"));
    EXPECT_EQ(house.sql("SELECT count(*) FROM entries WHERE kind='started'"), "3");
    works = true;
    house.resume("o");
    house.run_to_the_end();
    EXPECT_EQ(house.state("o"), "completed");
    EXPECT_EQ(cents_of(house, "ada"), 60);
}

TEST(Transact, FailsTheStepForGoodWhereTheChangeSaysSo) {
    House house;
    house.add("w", [&](Context& ctx, const Json&) {
        try {
            ctx.transact("pay", [&](SQLite::Database& db) {
                book(db, "ada", -40);
                throw PermanentError("closed", "the account is closed");
            });
        } catch (const StepFailed& failure) {
            return Json(failure.code());
        }
        return Json("paid");
    });
    make_tables(house.engine());
    house.start("o", "w");
    house.run_to_the_end();
    EXPECT_EQ(house.state("o"), "completed");
    EXPECT_EQ(house.log("o"), "started pay, failed pay");
    EXPECT_EQ(cents_of(house, "ada"), 100);
}

struct Forbidden {
    const char* name;
    const char* sql;
    const char* said;
};
std::ostream& operator<<(std::ostream& out, const Forbidden& forbidden) {
    return out << forbidden.name;
}

class NotForAChange : public ::testing::TestWithParam<Forbidden> {};

TEST_P(NotForAChange, IsRefusedAndWritesNothing) {
    House house;
    house.add("w", [&](Context& ctx, const Json&) {
        ctx.transact("pay", [&](SQLite::Database& db) {
            book(db, "ada", -40);
            db.exec(GetParam().sql);
        });
        return Json();
    });
    make_tables(house.engine());
    house.start("o", "w");
    house.run_to_the_end();
    EXPECT_EQ(house.state("o"), "stuck");
    EXPECT_EQ(house.error_code("o"), "change_refused");
    EXPECT_THAT(house.sql("SELECT error FROM instances"), HasSubstr(GetParam().said));
    EXPECT_EQ(cents_of(house, "ada"), 100);
    EXPECT_EQ(house.log("o"), "stuck pay");
    Inspector inspector(house.database(), house.clock);
    for (const Check& check : inspector.check().checks)
        EXPECT_EQ(check.broken, 0) << check.name << ": " << check.examples.front();
}

INSTANTIATE_TEST_SUITE_P(
    Forbidden, NotForAChange,
    ::testing::Values(
        Forbidden{"OurTable", "UPDATE instances SET state='completed'", "the table instances"},
        Forbidden{"OurTableRead", "SELECT body FROM payloads", "read the table payloads"},
        Forbidden{"OurTableThroughAView",
                  "CREATE VIEW app_v AS SELECT * FROM payloads; SELECT * FROM app_v",
                  "read the table payloads"},
        Forbidden{"OurTableThroughATrigger",
                  "CREATE TRIGGER app_t AFTER UPDATE ON app_accounts BEGIN DELETE FROM audit; END; "
                  "UPDATE app_accounts SET cents=1",
                  "the table audit"},
        Forbidden{"TriggerOnOurs", "CREATE TRIGGER app_t AFTER INSERT ON audit BEGIN SELECT 1; END",
                  "audit"},
        Forbidden{"IndexOnOurs", "CREATE INDEX app_i ON audit(actor)", "audit"},
        Forbidden{"DropOfOurs", "DROP TABLE audit", "audit"},
        Forbidden{"NameOfOurs", "CREATE TABLE orders(id)", "orders"},
        Forbidden{"RenamedToOurs", "ALTER TABLE app_accounts RENAME TO accounts", "app_"},
        Forbidden{"IndexWithAnotherName", "CREATE INDEX cents ON app_accounts(cents)", "app_"},
        Forbidden{"ForeignKeyToOurs", "CREATE TABLE app_of(i INTEGER REFERENCES instances(seq))",
                  "the table app_of refers"},
        Forbidden{"Commit", "COMMIT", "begin or end a transaction"},
        Forbidden{"Rollback", "ROLLBACK", "begin or end a transaction"},
        Forbidden{"Savepoint", "SAVEPOINT s", "begin or end a transaction"},
        Forbidden{"Release", "RELEASE item", "begin or end a transaction"},
        Forbidden{"Pragma", "PRAGMA foreign_keys=OFF", "PRAGMA"},
        Forbidden{"PragmaFunction", "SELECT * FROM pragma_table_info('audit')", "pragma"},
        Forbidden{"Attach", "ATTACH 'other.db' AS other", "ATTACH"},
        Forbidden{"Temporary", "CREATE TEMP TABLE app_t(x)", "temporary"},
        Forbidden{"Virtual", "CREATE VIRTUAL TABLE app_t USING rtree(id, x, y)", "virtual"},
        Forbidden{"Analyze", "ANALYZE", "ANALYZE"},
        Forbidden{"Extension", "SELECT load_extension('x')", "extensions"},
        Forbidden{"OrRollback", "INSERT OR ROLLBACK INTO app_accounts VALUES ('ada', 1)",
                  "rolled the whole transaction back"}),
    [](const auto& one) { return one.param.name; });

TEST(Transact, MayUseAllThatIsItsOwn) {
    House house;
    const auto made = house.engine().write([](SQLite::Database& db) {
        db.exec(
            "CREATE TABLE app_a(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, "
            "data TEXT) STRICT");
        db.exec(
            "CREATE TABLE app_b(a INTEGER REFERENCES app_a(id) ON DELETE CASCADE, k TEXT, "
            "PRIMARY KEY (k)) WITHOUT ROWID");
        db.exec("CREATE INDEX app_b_a ON app_b(a)");
        db.exec(
            "CREATE VIEW app_v AS WITH n AS (SELECT name, k FROM app_a JOIN app_b ON a=id) "
            "SELECT * FROM n");
        db.exec(
            "CREATE TRIGGER app_t AFTER INSERT ON app_a BEGIN INSERT INTO app_b VALUES (NEW.id, "
            "NEW.name); END");
        db.exec("INSERT INTO app_a(name, data) VALUES ('x', '[1,2]'), ('y', '[3]')");
        db.exec("INSERT INTO app_a(name) VALUES ('x') ON CONFLICT(name) DO UPDATE SET data='[]'");
        db.exec("ALTER TABLE app_a ADD COLUMN more INTEGER");
        db.exec("DELETE FROM app_a WHERE name='y'");
        db.exec("REINDEX app_b_a");
        db.exec("CREATE TABLE app_gone(x)");
        db.exec("DROP TABLE app_gone");
        return db
            .execAndGet(
                "SELECT group_concat(name||k) || (SELECT count(*) FROM json_each('[1,2]')) "
                "FROM app_v")
            .getString();
    });
    EXPECT_EQ(made, "xx2");
    house.restart();
    EXPECT_EQ(house.sql("SELECT name FROM app_v"), "x");
    EXPECT_EQ(house.engine().write([](SQLite::Database& db) {
        return db.execAndGet("SELECT count(*) FROM app_a").getInt();
    }),
              1);
    Inspector inspector(house.database(), house.clock);
    for (const Check& check : inspector.check().checks)
        EXPECT_EQ(check.broken, 0) << check.name << ": " << check.examples.front();
}

TEST(Transact, StopsAChangeThatHoldsAllOthersUp) {
    House house({.change_limit = Ms(1)});
    house.add("w", [&](Context& ctx, const Json&) {
        ctx.transact("count", [&](SQLite::Database& db) {
            return db
                .execAndGet(
                    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n) SELECT "
                    "max(i) FROM n")
                .getInt64();
        });
        return Json();
    });
    house.start("o", "w");
    house.run_to_the_end();
    EXPECT_EQ(house.error_code("o"), "change_refused");
    EXPECT_THAT(house.sql("SELECT error FROM instances"), HasSubstr("longer than the 1 ms"));
}

TEST(Transact, SuffersNoUseOfTheContext) {
    for (const bool writer_thread : {false, true}) {
        testing::TemporaryDirectory directory;
        testing::ManualClock clock;
        testing::SeededRandom random(1);
        const auto store = open_sqlite_store(
            {.database = directory / "test.db", .writer_thread = writer_thread}, clock);
        Registry registry;
        registry.add({.name = "w", .run = [](Context& ctx, const Json&) {
                          ctx.transact("outer", [&](SQLite::Database&) {
                              ctx.step("inner", [](const Attempt&) {});
                          });
                          return Json();
                      }});
        Engine engine(*store, clock, random, std::move(registry), {.workers = 0});
        engine.accept(std::nullopt, NewInstance{.id = "o", .workflow = "w", .input = "{}"});
        engine.run_until_idle();
        Inspector inspector(directory / "test.db", clock);
        EXPECT_EQ(inspector.find("o").error_code, "nested_step") << writer_thread;
    }
}

// What one item's SQL did to the transaction is not the others' loss.
TEST(Transact, OthersOfTheBatchAreWrittenWhenOneEndsTheTransaction) {
    testing::TemporaryDirectory directory;
    testing::ManualClock clock;
    const auto store = open_sqlite_store({.database = directory / "test.db"}, clock);
    store->write([](SQLite::Database& db) {
        db.exec("CREATE TABLE app_t(x INTEGER PRIMARY KEY)");
        return Json();
    });
    std::promise<void> go;
    auto held = store->write([&](SQLite::Database&) {
        go.get_future().wait();
        return Json();
    });
    std::vector<std::future<std::string>> good, bad;
    for (int i = 0; i < 20; ++i) {
        good.push_back(store->write([i](SQLite::Database& db) {
            db.exec("INSERT INTO app_t VALUES (" + std::to_string(i) + ")");
            return Json(i);
        }));
        if (i % 5 == 0)
            bad.push_back(store->write([i](SQLite::Database& db) {
                db.exec("INSERT OR ROLLBACK INTO app_t VALUES (" + std::to_string(i) + ")");
                return Json(i);
            }));
    }
    go.set_value();
    try {
        held.get();
    } catch (const ChangeThrew&) {
        // It took longer than it may.
    }
    for (int i = 0; i < 20; ++i)
        EXPECT_EQ(good[static_cast<std::size_t>(i)].get(), std::to_string(i));
    for (auto& refused : bad) EXPECT_THROW(refused.get(), ChangeThrew);
    EXPECT_EQ(store
                  ->write([](SQLite::Database& db) {
                      return Json(db.execAndGet("SELECT count(*) FROM app_t").getInt());
                  })
                  .get(),
              "20");
    EXPECT_EQ(store->health(), Store::Health::ok);
}

TEST(Transact, EngineWriteThrowsWhatTheChangeThrew) {
    House house;
    make_tables(house.engine());
    EXPECT_THROW(house.engine().write([](SQLite::Database& db) {
        book(db, "bob", 5);
        throw std::out_of_range("no");
    }),
                 std::out_of_range);
    EXPECT_THROW(house.engine().write([](SQLite::Database& db) { book(db, "ada", -500); }),
                 SQLite::Exception);
    EXPECT_THROW(house.engine().write([](SQLite::Database& db) { db.exec("DELETE FROM audit"); }),
                 ChangeRefused);
    EXPECT_EQ(cents_of(house, "bob"), 0);
    EXPECT_EQ(cents_of(house, "ada"), 100);
}

TEST(Transact, BeginsNothingForAnInstanceThatWasAskedToEnd) {
    House house;
    int changes = 0;
    house.add("w", [&](Context& ctx, const Json&) {
        ctx.step("first", [&](const Attempt&) { house.engine().cancel({.ids = {"o"}}); });
        ctx.transact("pay", [&](SQLite::Database&) { ++changes; });
        return Json();
    });
    house.start("o", "w");
    house.run_to_the_end();
    EXPECT_EQ(house.state("o"), "cancelled");
    EXPECT_EQ(changes, 0);
}

}  // namespace
}  // namespace steplog
