// Negative controls: an engine, a store, a disk or a clock with one known mistake must be caught by
// the simulation that passes for the real ones, and soon. A check that catches nothing proves
// nothing.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include "tests/model/campaign.h"

namespace steplog::testing {
namespace {

constexpr std::uint64_t seeds_max = 400;

class SimulationControls : public ::testing::TestWithParam<int> {};

TEST_P(SimulationControls, CatchTheMistake) {
    const auto mistake = static_cast<Mistake>(GetParam());
    Stage stage(mistake);
    const auto tally = simulate(stage, 1, seeds_max);
    fmt::print("{}: caught by seed {} of {}: {}\n", to_string(mistake), tally.bad_seed, seeds_max,
               tally.bad.kind);
    EXPECT_FALSE(tally.clean()) << to_string(mistake) << " was not caught";
}

INSTANTIATE_TEST_SUITE_P(Each, SimulationControls, ::testing::Range(1, mistakes));

}  // namespace
}  // namespace steplog::testing
