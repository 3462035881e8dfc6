// A whole engine in one thread under a test's clock: a database file, a registry, and a way to lose
// the process and start the next one. Used by the engine's tests.
#pragma once

#include <SQLiteCpp/SQLiteCpp.h>

#include <memory>

#include "engine/backup.h"
#include "engine/engine.h"
#include "engine/sqlite_store.h"
#include "tests/support/manual_clock.h"
#include "tests/support/temporary_directory.h"

namespace steplog::testing {

class House {
  public:
    /// In a directory of its own, unless a file is named.
    explicit House(SqliteOptions options = {}, const std::filesystem::path& database = {})
        : options_(std::move(options)) {
        options_.database = database.empty() ? directory_ / "test.db" : database;
        options_.writer_thread = false;
        defaults.retry = {.base = Ms(1000), .cap = Ms(60'000), .retry_for = std::chrono::hours(72)};
    }

    Workflow& add(const std::string& name, std::function<Json(Context&, const Json&)> run,
                  int version = 1) {
        workflows.push_back({.name = name, .version = version, .run = std::move(run)});
        return workflows.back();
    }

    Engine& engine() {
        if (!engine_) {
            options_.on_restored = [this](const std::string& what) { restored.push_back(what); };
            store_ = open_sqlite_store(options_, clock);
            Registry registry;
            for (const Workflow& workflow : workflows) registry.add(workflow);
            EngineOptions options{.workers = 0, .steps = defaults, .flow = flow, .limits = limits};
            options.on_transition = [this](const Transitioned& t) { told.push_back(t); };
            engine_ = std::make_unique<Engine>(*store_, clock, random, std::move(registry),
                                               std::move(options));
        }
        return *engine_;
    }
    Store& store() {
        engine();
        return *store_;
    }

    /// The process ends in good order, and the next one begins.
    void restart() {
        engine_.reset();
        store_.reset();
        engine();
    }
    /// Keeps the file as a death at this moment would leave it, claims and leases included.
    void remember() {
        for (const char* part : {"", "-wal"})
            std::filesystem::copy_file(database() + part,
                                       (directory_ / "moment.db").string() + part,
                                       std::filesystem::copy_options::overwrite_existing);
    }
    /// The process died at the moment remembered; the next one begins.
    void die_as_remembered() {
        engine_.reset();
        store_.reset();
        for (const char* part : {"", "-wal"})
            std::filesystem::copy_file((directory_ / "moment.db").string() + part,
                                       database() + part,
                                       std::filesystem::copy_options::overwrite_existing);
        std::filesystem::remove(database() + "-shm");
        engine();
    }

    /// Takes a backup; returns its file.
    std::filesystem::path back_up(const std::string& name = "backup.db") {
        engine();
        steplog::back_up(database(), directory_ / name, clock);
        return directory_ / name;
    }
    /// The process ends, the file is lost, and the backup is copied to its place.
    void restore(const std::filesystem::path& backup) {
        engine_.reset();
        store_.reset();
        std::filesystem::copy_file(backup, database(),
                                   std::filesystem::copy_options::overwrite_existing);
        engine();
    }

    Accepted start(const std::string& id, const std::string& workflow,
                   const Json& input = Json::object(), const std::string& key = "",
                   OnStuck on_stuck = OnStuck::keep_key) {
        return engine().accept(std::nullopt, NewInstance{.id = id,
                                                         .workflow = workflow,
                                                         .key = key,
                                                         .on_stuck = on_stuck,
                                                         .input = input.dump()});
    }
    /// Runs everything that is due, letting time pass to the next due time, until nothing is left
    /// to do.
    void run_to_the_end() {
        engine().run_until_idle();
        while (auto due = engine().next_due_ms()) {
            clock.set_ms(std::max(*due, clock.now_ms()));
            engine().run_until_idle();
        }
    }
    Resumed resume(const std::string& id) {
        return engine().resume({.ids = {id}, .actor = "test"});
    }

    /// One value from the database, as text; "" for NULL.
    std::string sql(const std::string& query) {
        engine();
        store_->flush();
        SQLite::Database reader(database(), SQLite::OPEN_READONLY);
        SQLite::Statement statement(reader, query);
        return statement.executeStep() ? statement.getColumn(0).getString() : "";
    }
    std::string state(const std::string& id) {
        return sql("SELECT state FROM instances WHERE id='" + id + "'");
    }
    std::string error_code(const std::string& id) {
        return sql("SELECT error_code FROM instances WHERE id='" + id + "'");
    }
    /// The kinds of an instance's entries in order: "started a, completed a".
    std::string log(const std::string& id) {
        return sql(
            "SELECT group_concat(said, ', ') FROM (SELECT trim(kind || ' ' || step) AS said FROM "
            "entries WHERE "
            "instance=(SELECT seq FROM instances WHERE id='" +
            id + "') ORDER BY n)");
    }
    void damage(const std::string& statement) {
        engine_.reset();
        store_.reset();
        SQLite::Database writer(database(), SQLite::OPEN_READWRITE);
        writer.exec(statement);
    }
    std::string database() const { return options_.database.string(); }

    ManualClock clock;
    SeededRandom random{1};
    StepDefaults defaults;
    FlowPolicy flow;
    Limits limits;
    std::vector<Workflow> workflows;
    std::vector<Transitioned> told;
    std::vector<std::string> restored;  // what the store said of having been restored

  private:
    TemporaryDirectory directory_;
    SqliteOptions options_;
    std::unique_ptr<Store> store_;
    std::unique_ptr<Engine> engine_;
};

}  // namespace steplog::testing
