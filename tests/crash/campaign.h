// Many cases under consecutive seeds, and what came of them: the random part of the power-loss
// tests. A case is a function of its construction, its scenario and its seed alone.
#pragma once

#include <fmt/core.h>

#include <chrono>
#include <cstdlib>

#include "tests/crash/power_cut.h"

namespace steplog::testing {

struct Tally {
    int cases = 0;
    int cuts = 0;
    std::array<int, breaches> counts{};
    std::uint64_t first_bad_seed = 0;
    std::string first_bad_story;
    double seconds = 0;

    int breached() const {
        int sum = 0;
        for (const int count : counts) sum += count;
        return sum;
    }
    std::string text() const {
        std::string text =
            fmt::format("{} cuts in {} cases, {:.0f} a second:", cuts, cases, cuts / seconds);
        for (int kind = 0; kind < breaches; ++kind)
            text += fmt::format(" {} {};", counts[kind], Ledger::word(static_cast<Breach>(kind)));
        if (breached() > 0)
            text += fmt::format(" first at seed {}{}", first_bad_seed, first_bad_story);
        return text;
    }
};

/// One to three power losses at random operations, each with a random rest. The first falls
/// anywhere in the scenario, the others into recoveries and what follows them.
inline std::vector<Cut> random_cuts(std::uint64_t seed, std::int64_t operations) {
    SeededRandom random(seed);
    std::vector<Cut> cuts(1 + random.below(3));
    for (std::size_t i = 0; i < cuts.size(); ++i) {
        const std::int64_t reach = i == 0 ? operations : random.below(2) ? 25 : operations / 2;
        cuts[i].after =
            1 + static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(reach)));
        cuts[i].survival = static_cast<Survival>(random.below(4));
        cuts[i].seed = random.next();
    }
    return cuts;
}

/// A sync that fails, and the process with it; its successors find what was written and is not on
/// the disk. Then one to three power losses, most of them while that is being mended.
inline std::vector<Cut> cuts_after_a_failed_sync(std::uint64_t seed, std::int64_t operations) {
    SeededRandom random(seed);
    std::vector<Cut> cuts(2 + random.below(3));
    for (std::size_t i = 0; i < cuts.size(); ++i) {
        Cut& cut = cuts[i];
        const bool fails = i == 0 || (i + 1 < cuts.size() && random.below(4) == 0);
        const std::int64_t reach = fails             ? (i == 0 ? operations / 6 : 8)
                                   : random.below(4) ? 40
                                                     : 120;
        cut.after = 1 + static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(reach)));
        cut.survival = static_cast<Survival>(random.below(4));
        cut.seed = random.next();
        if (!fails) continue;
        cut.survival = Survival::page_cache;
        cut.only = Operation::sync;
        cut.io_error = SQLITE_IOERR_FSYNC;
    }
    return cuts;
}

using CutsOfSeed = std::vector<Cut> (*)(std::uint64_t seed, std::int64_t operations);

/// Runs cases until so many cuts have happened, or, with `stop_when_caught`, until a promise broke.
inline Tally run_campaign(Machine& machine, Scenario& scenario, int cuts, std::uint64_t seed,
                          bool stop_when_caught = false, CutsOfSeed choose = random_cuts) {
    const std::int64_t operations = machine.run(scenario, {}, 1).operations;
    const auto begin = std::chrono::steady_clock::now();
    Tally tally;
    while (tally.cuts < cuts && !(stop_when_caught && tally.breached() > 0)) {
        const auto story = machine.run(scenario, choose(seed, operations), seed);
        ++tally.cases;
        tally.cuts += story.cuts;
        for (int kind = 0; kind < breaches; ++kind)
            tally.counts[kind] += story.ledger.counts()[kind];
        if (!story.clean() && tally.first_bad_story.empty()) {
            tally.first_bad_seed = seed;
            tally.first_bad_story = story.text();
        }
        ++seed;
    }
    tally.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    return tally;
}

/// A number from the environment, for longer runs and for repeating one case.
inline std::uint64_t number_from_environment(const char* name, std::uint64_t otherwise) {
    const char* text = std::getenv(name);
    return text ? std::strtoull(text, nullptr, 10) : otherwise;
}

}  // namespace steplog::testing
