// A whole engine on a file, with a workflow of empty steps: what the measures run. One for each
// measure.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>

#include "engine/engine.h"
#include "engine/sqlite_store.h"
#include "tools/bench/measure.h"

namespace steplog::bench {

class House {
  public:
    struct Settings {
        std::filesystem::path database;
        int workers = 64;
        int steps = 4;
        std::function<void()> in_step = {};  // what each step does
        std::function<void(const Transitioned&)> on_transition = {};
    };
    explicit House(Settings settings);
    ~House();

    Engine& engine() { return *engine_; }
    Store& store() { return *store_; }
    static NewEvent event(const std::string& id, std::string body);
    static NewInstance instance(const std::string& id);

    std::uint64_t commits() const { return commits_; }
    std::uint64_t items() const { return items_; }

  private:
    std::atomic<std::uint64_t> commits_{0}, items_{0};
    SystemClock clock_;
    SystemRandom random_;
    std::unique_ptr<Store> store_;
    std::unique_ptr<Engine> engine_;
};

/// "evt_000000000000000000000001": unlike Stripe's in nothing that costs time.
std::string event_id(std::uint64_t number);

}  // namespace steplog::bench
