// The engine: accepts work, and runs what is due on its worker threads, or, without threads, when a
// test says so. Embed it: open a store, register workflows, start.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>

#include "engine/clock.h"
#include "engine/store.h"
#include "engine/workflow.h"

namespace steplog {

/// How an engine works. What is set here holds for all of its instances.
struct EngineOptions {
    int workers = 64;  // threads that run steps; 0: none, the caller uses run_until_idle
    Ms lease = std::chrono::seconds(30);
    StepDefaults steps = {};
    FlowPolicy flow = {};  // breakers, and how many at a time
    Limits limits = {};    // how large and how long things may be
    std::function<void(const Transitioned&)> on_transition = {};  // any thread; must not block
    std::function<void(const std::string&)> on_fatal = {};  // the store failed: end the process
    EffectSeam* effects = nullptr;  // how effects are called, for tests and tracing; outlives it
};

/// Runs the registered workflows on one store. Its functions may be called from any thread, those
/// that run without threads only where there are none (`workers` 0). Store, clock and random
/// outlive it.
class Engine {
  public:
    Engine(Store& store, Clock& clock, Random& random, Registry registry, EngineOptions options);
    ~Engine();
    Engine(const Engine&) = delete;
    Engine& operator=(const Engine&) = delete;

    /// Starts the threads. Instances that were under way when the last owner died go on at once.
    void start();

    /// Makes these the schedules of the database, as Store::define_schedules; durable on return.
    /// Before start(), so that what others defined is not decided about. Throws
    /// std::invalid_argument with a sentence when one is not valid, names a workflow that is not
    /// registered, or has the name of another: then nothing is written.
    void schedule(std::vector<Schedule> schedules);

    /// Returns when event and instance are durable; a free worker begins at once. Without a version
    /// the instance is started, for all its life, under the newest that is registered.
    /// Where its id or its key is in use it does what it says itself (NewInstance): what it
    /// replaces is told at once. Throws StoreError: full and closed mean "try again later", nothing
    /// was written.
    Accepted accept(std::optional<NewEvent> event, std::optional<NewInstance> instance);

    /// As Store::resume; workers take the instances up at once.
    Resumed resume(ResumeRequest request);

    /// As Store::cancel; attempts that run are told at once (Attempt::stop), and workers take up at
    /// once what waited behind.
    Cancelled cancel(CancelRequest request);

    /// As Store::signal; the instance goes on at once where it waits for it.
    Signalled signal(SignalRequest request);

    /// What an instance has published last under each name; nothing where there is no instance of
    /// that id. What was forgotten is null. Throws StoreError.
    std::optional<std::map<std::string, Json>> published(const std::string& instance);

    /// As Store::move, to versions that are registered here; what goes on, goes on at once.
    Moved move(MoveRequest request);

    /// Changes the program's own tables, "app_…", outside of any instance: to make them, or from a
    /// request. What Context::transact says of `change` holds. Durable on return. Throws what it
    /// threw, ChangeRefused, and StoreError; then nothing was written.
    template <class F>
    requires std::invocable<F, SQLite::Database&>
    auto write(F&& change) {
        using T = std::invoke_result_t<F, SQLite::Database&>;
        const Json result = write_json(change_of(change));
        if constexpr (!std::is_void_v<T>) return result.get<T>();
    }

    /// As Store::operate; what is due then, goes on at once.
    Operated operate(OperateRequest operation);

    /// Looks for due work now. A hint; polling would find it too.
    void wake();

    /// Begins no step from now on; gives running ones `grace` to end (of which the last tenth after
    /// asking them to), and leaves the rest resumable. Returns when no worker runs, or after the
    /// grace (at least 1 s): then false, and the process should end without joining what does not
    /// end. Idempotent.
    bool stop(Ms grace);
    bool stopping() const;

    /// Without threads: runs what is due now until nothing is. Returns how many claims were worked
    /// on.
    int run_until_idle();
    /// Without threads: when the next instance is due, if any is.
    std::optional<std::int64_t> next_due_ms();

    const Registry& registry() const;
    /// The store it works on: for commands. After one that makes something due: wake().
    Store& store() const;

  private:
    Json write_json(Change change);

    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace steplog
