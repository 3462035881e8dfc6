// provision_customer with all six events of a purchase: the power cut at every operation, and at
// random ones, nested in recoveries.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include "tests/crash/campaign.h"
#include "tests/crash/flagship.h"

namespace steplog::testing {
namespace {

TEST(PowerLossOfTheFlagshipAtRandom, ProvisionsOnce) {
    Machine machine;
    Flagship scenario;
    const auto only = number_from_environment("STEPLOG_CRASH_SEED", 0);
    const auto cuts = number_from_environment("STEPLOG_CRASH_CUTS", 20'000) / 10;
    const auto tally =
        run_campaign(machine, scenario, only ? 1 : static_cast<int>(cuts), only ? only : 1);
    fmt::print("six events of one purchase: {}\n", tally.text());
    EXPECT_EQ(tally.breached(), 0);
}

TEST(PowerLossOfTheFlagshipAtRandom, AtEveryOperationProvisionsOnce) {
    Machine machine;
    Flagship scenario(2);
    int cases = 0;
    for (const Survival survival : {Survival::synced, Survival::torn}) {
        for (std::int64_t after = 1;; ++after) {
            const auto story = machine.run(
                scenario,
                {{.after = after, .survival = survival, .seed = static_cast<std::uint64_t>(after)}},
                1);
            ASSERT_TRUE(story.clean()) << "cut after " << after << ", survival "
                                       << static_cast<int>(survival) << story.text();
            if (story.cuts == 0) break;
            ++cases;
        }
    }
    fmt::print("{} cuts at every operation of provision_customer\n", cases);
}

}  // namespace
}  // namespace steplog::testing
