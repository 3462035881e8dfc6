// Many simulations under consecutive seeds, and what came of them.
#pragma once

#include <fmt/ranges.h>

#include <chrono>
#include <map>

#include "tests/model/simulation.h"

namespace steplog::testing {

struct SimulationTally {
    int seeds = 0, lives = 0, cuts = 0, take_overs = 0, instances = 0, cancelled = 0, signals = 0,
        decided = 0, operated = 0, forgotten = 0, effects = 0;
    std::int64_t store_calls = 0;
    double seconds = 0;
    std::uint64_t bad_seed = 0;
    Played bad;  // of the first bad seed

    bool clean() const { return bad.clean(); }
    std::string text() const {
        return fmt::format(
            "{} seeds, {:.0f} a second: {} lives, {} ended by power or disk, {} take-overs, {} "
            "instances, {} of them cancelled, {} signals, {} steps decided by people, {} pauses "
            "and edits, {} customers "
            "forgotten, {} effects, {} "
            "operations compared",
            seeds, seeds / seconds, lives, cuts, take_overs, instances, cancelled, signals, decided,
            operated, forgotten, effects, store_calls);
    }
};

/// Plays scripts until there were so many, or one broke a promise.
inline SimulationTally simulate(Stage& stage, std::uint64_t first_seed, std::uint64_t count) {
    SimulationTally tally;
    const auto begin = std::chrono::steady_clock::now();
    for (std::uint64_t seed = first_seed; seed < first_seed + count && tally.clean(); ++seed) {
        Played played = stage.play(script_for(seed));
        ++tally.seeds;
        tally.lives += played.lives;
        tally.cuts += played.cuts;
        tally.take_overs += played.take_overs;
        tally.instances += played.instances;
        tally.cancelled += played.cancelled;
        tally.signals += played.signals;
        tally.decided += played.decided;
        tally.operated += played.operated;
        tally.forgotten += played.forgotten;
        tally.effects += played.effects;
        tally.store_calls += played.store_calls;
        if (played.clean()) continue;
        tally.bad_seed = seed;
        tally.bad = std::move(played);
    }
    tally.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    return tally;
}

/// A failing seed for a person: its smallest script, told, and the command that repeats it.
inline std::string told(Stage& stage, const SimulationTally& tally, const std::string& test) {
    const Script script = script_for(tally.bad_seed);
    const Script smallest = stage.shrink(script, tally.bad.kind);
    const Played again = stage.play(smallest, true);
    return fmt::format(
        "seed {} breaks a promise:\n  {}\n{} of its {} acts are enough:\n{}\nTo repeat: "
        "STEPLOG_MODEL_SEED={} STEPLOG_MODEL_SEEDS=1 {}\n",
        tally.bad_seed, fmt::join(tally.bad.findings, "\n  "), smallest.acts.size(),
        script.acts.size(), fmt::join(again.story, "\n"), tally.bad_seed, test);
}

}  // namespace steplog::testing
