#include "tests/model/life.h"

#include <algorithm>

namespace steplog::testing {
namespace {

// The mistake of a clock that never goes back: what was due before a correction stays due.
class StubbornClock : public Clock {
  public:
    explicit StubbornClock(const Clock& clock) : clock_(clock) {}
    std::int64_t now_ms() const override {
        return latest_ms_ = std::max(latest_ms_, clock_.now_ms());
    }

  private:
    const Clock& clock_;
    mutable std::int64_t latest_ms_ = 0;
};

}  // namespace

Life::Life(const LifeOptions& options, Clock& clock, MistakesMemory& memory) {
    Clock* seen = &clock;
    if (options.mistake == Mistake::clock_never_goes_back) {
        stubborn_clock_ = std::make_unique<StubbornClock>(clock);
        seen = stubborn_clock_.get();
    }
    real_ = open_sqlite_store(options.store, *seen);
    mistaken_store_ = store_with_mistake(options.mistake, *real_, memory);
    reader_ = std::make_unique<Comparison>(options.store.database.string(), options.store.vfs,
                                           options.store.encryption_keys);
}

void Life::begin(Watch& watch, Clock& clock, Random& random, Registry registry,
                 const LifeOptions& options, MistakesMemory&) {
    Store& store = mistaken_store_ ? *mistaken_store_ : *real_;
    watched_ = std::make_unique<WatchedStore>(store, watch, watch.truth().owners());
    mistaken_engine_ = engine_with_mistake(options.mistake, *watched_);
    EngineOptions engine_options;
    engine_options.workers = 0;
    engine_options.on_transition = options.observe;
    // Few enough that the troubles of a script open them.
    engine_options.flow.provider.breaker = {
        .failures_max = 2, .failing_for = Ms(0), .released_per_second = 2};
    engine_options.flow.provider.running_max = 1;
    engine_options.flow.workflows["errand"].running_max = 1;
    engine_options.flow.provider.rate = {.limit = 40, .burst = 3};
    engine_options.flow.workflows["errand_for_people"].rate = {.limit = 2, .burst = 2};
    // Beside errands of the same keys, which bear nobody beside them.
    engine_options.flow.workflows["errand_for_people"].key_holders_max = 2;
    engine_options.flow.providers["clerk"].breaker = {.failures_max = 3,
                                                      .failing_for = Ms(50),
                                                      .probe_delay = Ms(100),
                                                      .probe_delay_max = std::chrono::hours(2)};
    engine_ = std::make_unique<Engine>(
        mistaken_engine_ ? *mistaken_engine_ : static_cast<Store&>(*watched_), clock, random,
        std::move(registry), std::move(engine_options));
}

int Life::work(int instances) {
    watched_->allow_claims(instances);
    return engine_->run_until_idle();
}

}  // namespace steplog::testing
