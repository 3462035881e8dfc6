// Some hundred seeds of the deterministic simulation. README.md says how to repeat a failing one.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include "tests/crash/campaign.h"
#include "tests/model/campaign.h"
#include "tests/support/sanitizers.h"

namespace steplog::testing {
namespace {

constexpr std::uint64_t seeds = built_with_sanitizers ? 40 : 200;

TEST(Simulation, OfSomeHundredSeedsKeepsEveryPromise) {
    Stage stage;
    const auto tally = simulate(stage, number_from_environment("STEPLOG_MODEL_SEED", 1),
                                number_from_environment("STEPLOG_MODEL_SEEDS", seeds));
    fmt::print("{}\n", tally.text());
    EXPECT_TRUE(tally.clean()) << told(
        stage, tally,
        "build/bin/model_fast_tests --gtest_filter=Simulation.OfSomeHundredSeedsKeepsEveryPromise");
}

TEST(Simulation, IsAFunctionOfItsSeed) {
    Stage stage;
    for (const std::uint64_t seed : {3, 14, 27}) {
        const Played once = stage.play(script_for(seed), true);
        const Played again = stage.play(script_for(seed), true);
        EXPECT_EQ(once.story, again.story) << seed;
        EXPECT_FALSE(once.story.empty());
    }
}

}  // namespace
}  // namespace steplog::testing
