// Engines and stores with one known mistake each: the negative controls of the simulation, which
// must all be caught. None of this is in the engine: a mistake is a store in front of another.
#pragma once

#include <map>
#include <memory>
#include <set>

#include "engine/store.h"

namespace steplog::testing {

enum class Mistake {
    none,
    // of the machine and the store, by their own switches
    synchronous_normal,
    lying_sync,
    acknowledges_before_commit,
    clock_never_goes_back,
    // between the engine and the watched store: the engine asks for something else
    calls_before_intent,
    claims_no_once_key,
    takes_no_key,
    calls_unknown_refused,
    ignores_retry_after,
    counts_every_start_as_progress,
    keeps_outcomes_to_itself,
    goes_on_when_cancelled,
    compares_no_versions,
    goes_on_when_paused,
    // between the watched store and its file: something else is written
    ignores_epochs,
    folds_no_duplicates,
    abandons_children,
    knows_nobody_forgotten,
    pauses_nothing,
    pauses_no_instance
};
inline constexpr int mistakes = static_cast<int>(Mistake::pauses_no_instance) + 1;

const char* to_string(Mistake mistake);

/// What the mistakes below the watched store know of all lives.
struct MistakesMemory {
    Store* newest = nullptr;  // the store of the file's present owner
    std::map<std::int64_t, std::int64_t> epochs;
    std::set<std::string> events;
    std::set<std::string> forgotten;  // ids
};

/// Makes the engine's mistakes in front of the watched store; null when this one is not among them.
std::unique_ptr<Store> engine_with_mistake(Mistake mistake, Store& watched);
/// Makes the store's mistakes in front of the real one; null as above.
std::unique_ptr<Store> store_with_mistake(Mistake mistake, Store& real, MistakesMemory& memory);

}  // namespace steplog::testing
