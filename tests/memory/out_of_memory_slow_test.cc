// Memory runs out at every request for it in turn, once or for good, while a process takes events,
// runs steps, takes over after a crash or looks at a file. Whatever then becomes of that process,
// the next one finds everything it acknowledged, repeats no finished step, and comes to the end.
#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/core.h>
#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <exception>
#include <fstream>
#include <functional>
#include <iterator>

#include "engine/engine.h"
#include "engine/inspect.h"
#include "engine/inspect_json.h"
#include "engine/sqlite_connection.h"
#include "engine/sqlite_store.h"
#include "server/signature.h"
#include "server/webhook.h"
#include "tests/memory/failing_allocator.h"
#include "tests/support/manual_clock.h"
#include "tests/support/temporary_directory.h"

namespace steplog::testing {
namespace {

namespace fs = std::filesystem;

constexpr int events = 3;
constexpr std::array steps = {"create", "link", "mail"};
constexpr int exit_restart = 70;  // as the server ends when nobody handles an error
const std::string secret = "whsec_NotARealSecret0000";

/// What a child leaves behind although it dies: shared with its parent.
struct World {
    std::array<std::atomic<int>, events> acknowledged;
    std::array<std::array<std::atomic<int>, steps.size()>, events> effects;
    std::atomic<int> ran_out;
};

std::string body_of(int event) {
    return fmt::format(
        R"({{"id":"evt_{0}","object":"event","created":1793520000,"livemode":false,)"
        R"("type":"invoice.paid","data":{{"object":{{"id":"in_{0}","object":"invoice",)"
        R"("customer":"cus_{1}","note":"{2}"}}}}}})",
        event, event % 2, std::string(400, 'n'));
}

std::string file_text(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

/// One life of a process over a database: store, engine and webhook in one thread, or with the
/// writer's thread and workers.
class Life {
  public:
    Life(const fs::path& database, World& world, bool threads)
        : world_(world),
          store_(open_sqlite_store({.database = database, .writer_thread = threads}, clock_)),
          engine_(*store_, clock_, random_, registry(), engine_options(threads)),
          log_({LogLevel::debug, LogFormat::json, [](const std::string&) {}}),
          webhook_(engine_, clock_, log_, webhook_options()) {}

    void deliver(int event) {
        const std::string body = body_of(event);
        const auto answer =
            webhook_.answer(server::stripe_signature_header(body, secret, clock_.now_ms() / 1000),
                            body, "192.0.2.1");
        if (answer.status == 200) world_.acknowledged[event] = 1;
    }

    void work() {
        engine_.run_until_idle();
        while (const auto due = engine_.next_due_ms()) {
            clock_.set_ms(std::max(*due, clock_.now_ms()));
            engine_.run_until_idle();
        }
    }

    /// With threads: until all has ended, or the store has.
    void work_in_threads() {
        engine_.start();
        for (int event = 0; event < events; ++event) deliver(event);
        store_->flush();
        engine_.stop(Ms(1000));
    }

  private:
    using Log = server::Log;
    using LogLevel = server::LogLevel;
    using LogFormat = server::LogFormat;

    Registry registry() {
        Registry registry;
        registry.add({.name = "provision_customer", .run = [this](Context& ctx, const Json& input) {
                          const int event = input.at("id").get<std::string>().back() - '0';
                          Json results = Json::array();
                          for (std::size_t step = 0; step < steps.size(); ++step)
                              results.push_back(ctx.step(steps[step], options_of(step, event),
                                                         [&](const Attempt&) {
                                                             ++world_.effects[event][step];
                                                             return Json{{"step", step}};
                                                         }));
                          return results;
                      }});
        return registry;
    }
    static StepOptions options_of(std::size_t step, int event) {
        StepOptions options{.provider = "stripe", .idempotency_window = std::chrono::hours(24)};
        if (step == steps.size() - 1) {
            options.once = fmt::format("mail/{}", event);
            options.request = {{"to", event}};
        }
        return options;
    }
    static EngineOptions engine_options(bool threads) {
        EngineOptions options;
        options.workers = threads ? 2 : 0;
        options.on_fatal = [](const std::string&) { _exit(exit_restart); };
        return options;
    }
    static server::StripeWebhookOptions webhook_options() {
        server::StripeWebhookOptions options;
        options.secrets = {secret};
        return options;
    }

    World& world_;
    ManualClock clock_;
    SeededRandom random_{1};
    std::unique_ptr<Store> store_;
    Engine engine_;
    Log log_;
    server::StripeWebhook webhook_;
};

class OutOfMemory : public ::testing::Test {
  protected:
    static void SetUpTestSuite() { make_sqlite_run_out_too(); }

    OutOfMemory()
        : world_(static_cast<World*>(mmap(nullptr, sizeof(World), PROT_READ | PROT_WRITE,
                                          MAP_SHARED | MAP_ANONYMOUS, -1, 0))) {}
    ~OutOfMemory() override { munmap(world_, sizeof(World)); }

    fs::path database() const { return directory_ / "steplog.db"; }

    /// Does `what` in a child whose memory runs out, and returns how it ended.
    int in_a_child(const std::function<void()>& what, std::int64_t n, bool for_good) {
        const pid_t child = fork();
        if (child == 0) {
            std::set_terminate([] { _exit(exit_restart); });
            int code = 0;
            try {
                run_out_after(n, for_good);
                what();
            } catch (const std::exception&) {
                code = 1;
            }
            there_is_memory_again();
            world_->ran_out = has_run_out ? 1 : 0;
            _exit(code);
        }
        int status = 0;
        waitpid(child, &status, 0);
        EXPECT_TRUE(WIFEXITED(status)) << "ended by signal " << WTERMSIG(status) << " at n=" << n;
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    }

    void begin_with(const std::string& files) {
        std::memset(static_cast<void*>(world_), 0, sizeof(World));
        world_->ran_out = 1;  // unless the child says otherwise
        for (const char* part : {"", "-wal", "-shm", ".lock"})
            fs::remove(database().string() + part);
        if (files.empty()) return;
        fs::copy_file(files, database());
        if (fs::exists(files + "-wal")) fs::copy_file(files + "-wal", database().string() + "-wal");
    }

    /// What the child left, seen by the next life.
    void expect_recovered(std::int64_t n, bool for_good) {
        SCOPED_TRACE(fmt::format("memory ran out at request {}{}", n, for_good ? " for good" : ""));
        std::array<std::array<int, steps.size()>, events> finished{};
        if (fs::exists(database()) && fs::file_size(database()) > 0) note_finished(finished);
        for (int event = 0; event < events; ++event) {
            if (world_->acknowledged[event] == 0) continue;
            EXPECT_EQ(one(fmt::format("SELECT count(*) FROM events JOIN instances ON "
                                      "instances.seq=events.instance WHERE events.id='evt_{}'",
                                      event)),
                      1)
                << "acknowledged and absent";
        }
        Life next(database(), *world_, false);
        for (int event = 0; event < events; ++event) next.deliver(event);
        next.work();
        EXPECT_EQ(one("SELECT count(*) FROM instances WHERE state='completed'"), events);
        EXPECT_EQ(one("SELECT count(*) FROM entries WHERE kind='completed'"),
                  events * static_cast<int>(steps.size()));
        for (int event = 0; event < events; ++event)
            for (std::size_t step = 0; step < steps.size(); ++step)
                if (finished[event][step] > 0) {
                    EXPECT_EQ(world_->effects[event][step], finished[event][step])
                        << "a finished step ran again";
                }
        ManualClock clock;
        EXPECT_TRUE(Inspector(database(), clock).check().holds());
    }

    /// Effects so far of the steps whose checkpoint is on the disk.
    void note_finished(std::array<std::array<int, steps.size()>, events>& finished) {
        SQLite::Database reader(database().string());
        if (reader.execAndGet("SELECT count(*) FROM sqlite_schema WHERE name='entries'").getInt() ==
            0)
            return;
        SQLite::Statement read(
            reader,
            "SELECT id, entries.step FROM entries JOIN instances ON instances.seq="
            "entries.instance WHERE kind='completed'");
        while (read.executeStep()) {
            const int event = read.getColumn(0).getString().back() - '0';
            for (std::size_t step = 0; step < steps.size(); ++step)
                if (read.getColumn(1).getString() == steps[step])
                    finished[event][step] = world_->effects[event][step];
        }
    }

    int one(const std::string& query) {
        SQLite::Database reader(database().string());
        return reader.execAndGet(query).getInt();
    }

    /// Request after request, ever farther apart, until a run gets all that it asks for. With
    /// STEPLOG_MEMORY_SPREAD=1000000 it is every single one.
    void at_every_request(const char* path, const std::string& files,
                          const std::function<void()>& what,
                          const std::function<void(std::int64_t, bool)>& expect) {
        int cases = 0, restarts = 0;
        std::int64_t requests = 0;
        const char* spread_text = std::getenv("STEPLOG_MEMORY_SPREAD");
        const std::int64_t spread = spread_text ? std::atoll(spread_text) : 60;
        for (const bool for_good : {false, true}) {
            for (std::int64_t n = 1; n < 20'000 && !HasFailure(); n += 1 + n / spread) {
                begin_with(files);
                restarts += in_a_child(what, n, for_good) == exit_restart;
                ++cases;
                expect(n, for_good);
                requests = n;
                if (world_->ran_out == 0) break;
            }
        }
        fmt::print("{}: {} cases over about {} requests for memory, {} ended for a restart\n", path,
                   cases, requests, restarts);
        EXPECT_GT(cases, 100);
    }

    /// A database as a death in the middle of all instances leaves it.
    std::string crashed() {
        const std::string files = directory_ / "crashed.db";
        begin_with("");
        {
            Life life(database(), *world_, false);
            for (int event = 0; event < events; ++event) life.deliver(event);
            for (const char* part : {"", "-wal"})
                fs::copy_file(database().string() + part, files + part);
        }
        return files;
    }

    TemporaryDirectory directory_;
    World* world_;
};

// The story: reading a number as text needs memory. Without it SQLite gives an empty text, says
// nothing, and rolls the whole transaction back when the statement is reset; what the item wrote
// after that was committed statement by statement, without what it had written before.
TEST_F(OutOfMemory, LetsNoStatementFollowATransactionThatIsGone) {
    int ran_out = 0;
    for (int n = 1; n < 200; ++n) {
        SQLite::Database database(":memory:", SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
        database.exec("CREATE TABLE t(what TEXT); CREATE TABLE numbers AS SELECT 123456789 AS n");
        SqliteStatements statements(database);
        const auto insert = [&] { Query(statements, "INSERT INTO t VALUES ('x')").run(); };
        const auto read = [&] {
            Query query(statements, "SELECT n, n FROM numbers");
            return query.next() ? query.text(0) + query.text(1) : "";
        };
        insert();
        read();  // prepared: from now on only running needs memory
        database.exec("DELETE FROM t; BEGIN IMMEDIATE");
        try {
            insert();
            run_out_after(n, false);
            read();
            there_is_memory_again();
            insert();
            database.exec("COMMIT");
        } catch (const std::exception&) {
            there_is_memory_again();
            if (sqlite3_get_autocommit(database.getHandle()) == 0) database.exec("ROLLBACK");
        }
        EXPECT_NE(database.execAndGet("SELECT count(*) FROM t").getInt(), 1)
            << "half of it was written: memory ran out at request " << n;
        if (!has_run_out) break;
        ++ran_out;
    }
    EXPECT_GT(ran_out, 1);
}

TEST_F(OutOfMemory, NeverAcknowledgesAnEventThatIsNotThere) {
    at_every_request(
        "webhook", "",
        [&] {
            Life life(database(), *world_, false);
            for (int event = 0; event < events; ++event) {
                try {
                    life.deliver(event);
                } catch (const std::exception&) {
                    continue;  // the front answers 500, and Stripe comes again
                }
            }
        },
        [&](std::int64_t n, bool for_good) { expect_recovered(n, for_good); });
}

TEST_F(OutOfMemory, RepeatsNoFinishedStep) {
    at_every_request(
        "steps", crashed(),
        [&] {
            Life life(database(), *world_, false);
            life.work();
        },
        [&](std::int64_t n, bool for_good) { expect_recovered(n, for_good); });
}

TEST_F(OutOfMemory, LeavesNothingThatARestartCannotMendWithThreadsAtWork) {
    at_every_request(
        "threads", crashed(),
        [&] {
            Life life(database(), *world_, true);
            life.work_in_threads();
        },
        [&](std::int64_t n, bool for_good) { expect_recovered(n, for_good); });
}

TEST_F(OutOfMemory, ChangesNothingWhileLooking) {
    const std::string files = crashed();
    const std::string database_before = file_text(files), wal_before = file_text(files + "-wal");
    at_every_request(
        "inspect", files,
        [&] {
            ManualClock clock;
            Inspector inspector(database(), clock);
            for (const auto& row : inspector.list({})) dump(json_of(inspector.show(row.id)));
            inspector.stuck();
            inspector.stats();
            inspector.events(false, 0);
            inspector.customer("cus_1");
            // Whatever else it says, a want of memory is no damage.
            if (!inspector.check().holds()) _exit(2);
        },
        [&](std::int64_t n, bool for_good) {
            EXPECT_EQ(file_text(database()), database_before) << n;
            EXPECT_EQ(file_text(database().string() + "-wal"), wal_before) << n;
            if (n % 10 == 1) expect_recovered(n, for_good);
        });
}

// The harness would see it: a life that answers before anything is stored.
TEST_F(OutOfMemory, WouldBeCaughtAcknowledgingWhatIsNotThere) {
    begin_with("");
    in_a_child(
        [&] {
            world_->acknowledged[0] = 1;
            Life life(database(), *world_, false);
        },
        1'000'000, false);
    EXPECT_EQ(one("SELECT count(*) FROM events"), 0);
    EXPECT_NONFATAL_FAILURE(expect_recovered(1, false), "acknowledged and absent");
}

}  // namespace
}  // namespace steplog::testing
