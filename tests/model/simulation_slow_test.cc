// Many seeds of the deterministic simulation; STEPLOG_MODEL_SEEDS makes it as many as one likes.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include "tests/crash/campaign.h"
#include "tests/model/campaign.h"

namespace steplog::testing {
namespace {

TEST(SimulationAtLength, KeepsEveryPromise) {
    Stage stage;
    const auto tally = simulate(stage, number_from_environment("STEPLOG_MODEL_SEED", 10'000),
                                number_from_environment("STEPLOG_MODEL_SEEDS", 2000));
    fmt::print("{}\n", tally.text());
    EXPECT_TRUE(tally.clean()) << told(stage, tally, "build/bin/model_slow_tests");
}

}  // namespace
}  // namespace steplog::testing
