// One life of a server under simulation: its store, the watched store before it, its engine, and a
// reader beside them. Between them sit the mistakes, if there are any. Used by the simulation; one
// thread.
#pragma once

#include "engine/engine.h"
#include "engine/sqlite_store.h"
#include "tests/model/comparison.h"
#include "tests/model/mistakes.h"
#include "tests/model/watched_store.h"

namespace steplog::testing {

struct LifeOptions {
    SqliteOptions store;
    Mistake mistake = Mistake::none;
    std::function<void(const Transitioned&)> observe;
};

class Life {
  public:
    /// Opens the store. Throws OpenError and StoreError as that does.
    Life(const LifeOptions& options, Clock& clock, MistakesMemory& memory);

    /// When what is there is known: the engine and all before it.
    void begin(Watch& watch, Clock& clock, Random& random, Registry registry,
               const LifeOptions& options, MistakesMemory& memory);

    Comparison& reader() { return *reader_; }
    WatchedStore& store() { return *watched_; }
    Engine& engine() { return *engine_; }
    bool failed() const { return real_->health() == Store::Health::failed; }

    /// Works on so many instances, or until nothing is due. Throws StoreError.
    int work(int instances);

  private:
    // Each before what uses it: destroyed in the reverse order.
    std::unique_ptr<Clock> stubborn_clock_;
    std::unique_ptr<Store> real_;
    std::unique_ptr<Store> mistaken_store_;
    std::unique_ptr<WatchedStore> watched_;
    std::unique_ptr<Store> mistaken_engine_;
    std::unique_ptr<Engine> engine_;
    std::unique_ptr<Comparison> reader_;
};

}  // namespace steplog::testing
