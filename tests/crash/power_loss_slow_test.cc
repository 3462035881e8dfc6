// Twenty thousand power losses at random operations, nested in recoveries, and every operation of
// the long scenario; then how badly each known mistake does. STEPLOG_CRASH_CUTS asks for more,
// STEPLOG_CRASH_SEED repeats one case: README.md.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include "tests/crash/campaign.h"
#include "tests/crash/small_workflow.h"

namespace steplog::testing {
namespace {

Tally campaign(const char* name, const Construction& construction, int cuts,
               CutsOfSeed choose = random_cuts) {
    Machine machine(construction);
    SmallWorkflow scenario({.trouble = 30});
    const auto only = number_from_environment("STEPLOG_CRASH_SEED", 0);
    const auto tally =
        run_campaign(machine, scenario, only ? 1 : cuts, only ? only : 1, false, choose);
    fmt::print("{}: {}\n", name, tally.text());
    return tally;
}

int cuts_wanted() {
    return static_cast<int>(number_from_environment("STEPLOG_CRASH_CUTS", 20'000));
}

TEST(PowerLossAtRandom, LosesAndRepeatsNothing) {
    EXPECT_EQ(campaign("as built", {}, cuts_wanted()).breached(), 0);
}

TEST(PowerLossAtRandom, LosesAndRepeatsNothingOnADiskThatTearsNeighbours) {
    EXPECT_EQ(
        campaign("without powersafe overwrite", {.powersafe_overwrite = false}, cuts_wanted() / 10)
            .breached(),
        0);
}

TEST(PowerLossAtRandom, AfterAFailedSyncLosesAndRepeatsNothing) {
    EXPECT_EQ(campaign("after a failed sync", {}, cuts_wanted() / 10, cuts_after_a_failed_sync)
                  .breached(),
              0);
    EXPECT_EQ(campaign("after a failed sync, without powersafe overwrite",
                       {.powersafe_overwrite = false}, cuts_wanted() / 10, cuts_after_a_failed_sync)
                  .breached(),
              0);
}

TEST(PowerLossAtRandom, AtEveryOperationOfTheLongScenarioLosesAndRepeatsNothing) {
    Machine machine;
    SmallWorkflow scenario({});
    int cases = 0;
    for (const Survival survival : {Survival::synced, Survival::everything, Survival::torn}) {
        for (std::int64_t after = 1;; ++after) {
            const auto story =
                machine.run(scenario, {{after, survival, static_cast<std::uint64_t>(after)}}, 1);
            ASSERT_TRUE(story.clean()) << "cut after " << after << ", survival "
                                       << static_cast<int>(survival) << story.text();
            if (story.cuts == 0) break;
            ++cases;
        }
    }
    fmt::print("{} cuts at every operation of the long scenario\n", cases);
}

TEST(PowerLossAtRandom, ShowsWhatEachMistakeCosts) {
    constexpr int cuts = 500;
    const auto normal = campaign("synchronous=NORMAL", {.synchronous = "NORMAL"}, cuts);
    EXPECT_GT(normal.counts[static_cast<std::size_t>(Breach::lost_event)], 0);
    EXPECT_GT(normal.counts[static_cast<std::size_t>(Breach::repeated_step)], 0);
    const auto lying = campaign("lying fsync", {.lying_sync = true}, cuts);
    EXPECT_GT(lying.counts[static_cast<std::size_t>(Breach::damaged)], 0);
    const auto early =
        campaign("acknowledged before the commit", {.acknowledge_before_commit = true}, cuts);
    EXPECT_GT(early.counts[static_cast<std::size_t>(Breach::lost_event)], 0);
    const auto careless = campaign("called before the intent", {.call_before_intent = true}, cuts);
    EXPECT_GT(careless.counts[static_cast<std::size_t>(Breach::call_without_intent)], 0);
}

}  // namespace
}  // namespace steplog::testing
