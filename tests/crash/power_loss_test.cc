// The power goes at every single operation of a fixed scenario, and the engine must come back as if
// nothing had happened. README.md says how to repeat a failing case.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <chrono>

#include "tests/crash/power_cut.h"
#include "tests/crash/small_workflow.h"

namespace steplog::testing {
namespace {

struct Way {
    Survival survival;
    std::uint64_t seed;
};
constexpr Way ways[] = {
    {Survival::synced, 0}, {Survival::everything, 0}, {Survival::torn, 1}, {Survival::torn, 2}};

TEST(PowerLoss, LeavesAnUntouchedScenarioAlone) {
    Machine machine;
    SmallWorkflow scenario({.brief = true});
    const auto story = machine.run(scenario, {}, 1);
    EXPECT_TRUE(story.clean()) << story.text();
    EXPECT_GT(story.operations, 50);
    EXPECT_EQ(story.operations, machine.run(scenario, {}, 1).operations)
        << "a case must be repeatable";
}

TEST(PowerLoss, AtEveryOperationLosesAndRepeatsNothing) {
    Machine machine;
    SmallWorkflow scenario({.brief = true});
    const auto begin = std::chrono::steady_clock::now();
    int cases = 0;
    for (const Way& way : ways) {
        for (std::int64_t after = 1;; ++after) {
            const auto story = machine.run(scenario, {{after, way.survival, way.seed}}, 1);
            ASSERT_TRUE(story.clean())
                << "cut after " << after << ", survival " << static_cast<int>(way.survival)
                << ", seed " << way.seed << story.text();
            if (story.cuts == 0) break;
            ++cases;
        }
    }
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    fmt::print("{} cuts at every operation, {:.0f} a second: nothing lost, nothing repeated\n",
               cases, cases / took.count());
    EXPECT_GT(cases, 200);
}

TEST(PowerLoss, AfterAKilledProcessLosesNothing) {
    // The process dies, its successor sees writes that are not synced and acknowledges duplicates
    // of them; then the power goes. What the successor saw must have been synced before it spoke.
    Machine machine;
    SmallWorkflow scenario({.brief = true});
    int cases = 0;
    for (std::int64_t kill = 1;; kill += 7) {
        for (std::int64_t after : {3, 20}) {
            const auto story = machine.run(
                scenario, {{kill, Survival::page_cache, 0}, {after, Survival::synced, 0}}, 1);
            ASSERT_TRUE(story.clean())
                << "kill at " << kill << ", cut after " << after << story.text();
            cases += story.cuts == 2;
            if (story.cuts == 0) {
                EXPECT_GT(cases, 30);
                return;
            }
        }
    }
}

}  // namespace
}  // namespace steplog::testing
