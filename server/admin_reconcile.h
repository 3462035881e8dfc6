// POST /api/admin/fix-missing-clerk-accounts: starts the workflow reconcile_accounts and waits a
// moment for what it finds. Also how that workflow reaches the engine it runs on. Used by the admin
// API; any thread.
#pragma once

#include <filesystem>
#include <functional>
#include <mutex>

#include "engine/engine.h"
#include "server/admin_instances.h"
#include "server/http_answer.h"
#include "steps/reconcile_accounts.h"

namespace steplog::server {

/// Reads through the inspector, writes through the engine. The workflow is registered before there
/// is an engine: attach it before the engine starts.
class EngineDesk final : public steps::InstanceDesk {
  public:
    /// `told` is called on worker threads.
    EngineDesk(std::filesystem::path database, const Clock& clock,
               std::function<void(const Found&)> told = {})
        : database_(std::move(database)), clock_(clock), told_(std::move(told)) {}
    void attach(Engine& engine) { engine_ = &engine; }

    std::vector<Known> of_key(const std::string& key) override;
    void start(NewInstance instance) override;
    std::string resume(const std::string& id, const std::string& actor) override;
    void tell(const Found& found) override;

  private:
    const std::filesystem::path database_;
    const Clock& clock_;
    const std::function<void(const Found&)> told_;
    Engine* engine_ = nullptr;
};

class Reconciliation {
  public:
    struct Options {
        InspectedFile file;
        Ms patience = std::chrono::seconds(8);  // then the answer is 202, and the work goes on
        std::function<void(Ms)> pause = {};     // tests: instead of sleeping
    };
    /// What it refers to must outlive it.
    Reconciliation(Engine& engine, EngineDesk& desk, const Clock& clock, Random& random,
                   Options options);

    /// 200 with what was found and started; 202 {"instance"} when it takes longer; 502 when a
    /// provider refuses for good. An order of the same kind that is under way is joined, one that
    /// is stuck is resumed: no two run beside each other. Throws StoreError, InspectError.
    Answer run(const steps::ReconcileOrder& order);

  private:
    std::string begin(const steps::ReconcileOrder& wanted);
    Answer wait_for(const std::string& id);

    Engine& engine_;
    EngineDesk& desk_;
    const Clock& clock_;
    Random& random_;
    const Options options_;
    std::mutex beginning_;  // one at a time looks for an order to join, or makes one
};

}  // namespace steplog::server
