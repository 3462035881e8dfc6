// The admin API over the engine, provision_customer and the sandbox, in the test's own thread: a
// request is a value, and whoever waits makes the engine run.
#pragma once

#include <SQLiteCpp/SQLiteCpp.h>

#include "server/admin.h"
#include "tests/steps/provision_world.h"

namespace steplog::server {

inline const std::string admin_key = "an-admin-key-for-tests";
inline const std::string other_admin_key = "its-successor-for-tests";

class AdminWorld : public testing::ProvisionWorld {
  protected:
    AdminWorld() { begin(); }

    /// As if the server ended and was started again on the same file.
    void begin() {
        api.reset();
        reconciliation.reset();
        instances.reset();
        engine.reset();
        store.reset();
        store = open_sqlite_store(
            {.database = database, .writer_thread = false, .synchronous = "OFF"}, clock);
        Registry registry;
        steps::register_provision_customer(registry, providers);
        steps::register_reconcile_accounts(registry, providers, desk);
        engine = std::make_unique<Engine>(
            *store, clock, random, std::move(registry),
            EngineOptions{.workers = 0, .on_transition = [this](const Transitioned& transition) {
                              transitions.push_back(transition);
                              if (on_transition) on_transition(transition);
                          }});
        desk.attach(*engine);
        instances.emplace(*engine, InspectedFile{database}, clock, log);
        reconciliation.emplace(
            *engine, desk, clock, random,
            Reconciliation::Options{
                .file = {database}, .patience = Ms(300), .pause = [this](Ms) { on_pause(); }});
        api.emplace(guard, *instances, *reconciliation);
    }

    static AdminRequest get(const std::string& path,
                            const std::multimap<std::string, std::string>& query = {}) {
        return {.method = "GET",
                .path = path,
                .query = query,
                .authorization = "Bearer " + admin_key,
                .body = "",
                .address = "192.0.2.1"};
    }
    static AdminRequest post(const std::string& path,
                             const std::multimap<std::string, std::string>& query = {},
                             const std::string& body = "") {
        AdminRequest request = get(path, query);
        request.method = "POST";
        request.body = body;
        return request;
    }
    Json ask(const AdminRequest& request, int status) {
        const Answer answer = api->answer(request);
        EXPECT_EQ(answer.status, status) << request.path << ": " << answer.body;
        return Json::parse(answer.body, nullptr, false);
    }
    Json reconcile(bool dry_run, int limit = 100) {
        return ask(post("/api/admin/fix-missing-clerk-accounts",
                        {{"dryRun", dry_run ? "true" : "false"}, {"limit", std::to_string(limit)}}),
                   200);
    }

    std::string sql(const std::string& query) {
        store->flush();
        SQLite::Database reader(database, SQLite::OPEN_READONLY);
        SQLite::Statement statement(reader, query);
        return statement.executeStep() ? statement.getColumn(0).getString() : "";
    }
    std::string state(const std::string& id) {
        return sql("SELECT state FROM instances WHERE id='" + id + "'");
    }

    const std::string database = (directory.path() / "steplog.db").string();
    std::function<void()> on_pause = [this] { engine->run_until_idle(); };
    std::function<void(const Transitioned&)> on_transition;
    std::string logged;
    Log log{{LogLevel::debug, LogFormat::text,
             [this](const std::string& line) { logged += line + "\n"; }}};
    std::function<void(const steps::InstanceDesk::Found&)> on_found;
    EngineDesk desk{database, clock, [this](const auto& found) {
                        if (on_found) on_found(found);
                    }};
    AdminGuard guard{{.keys = {admin_key, other_admin_key}}, clock, log};
    std::optional<AdminInstances> instances;
    std::optional<Reconciliation> reconciliation;
    std::optional<AdminApi> api;
};

}  // namespace steplog::server
