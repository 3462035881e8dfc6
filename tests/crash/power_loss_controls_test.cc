// Negative controls: an engine, a store or a disk with one known mistake must be caught by the same
// checks that pass for the real ones, and soon. A check that catches nothing proves nothing.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include "tests/crash/campaign.h"
#include "tests/crash/small_workflow.h"

namespace steplog::testing {
namespace {

constexpr int cuts_max = 300;

Tally catch_it(const char* name, Construction construction) {
    Machine machine(std::move(construction));
    SmallWorkflow scenario({.brief = true, .trouble = 30});
    const auto tally = run_campaign(machine, scenario, cuts_max, 1, true);
    fmt::print("{}: caught after {}\n", name, tally.text());
    return tally;
}

TEST(PowerLossControls, CatchSynchronousNormal) {
    EXPECT_GT(catch_it("synchronous=NORMAL", {.synchronous = "NORMAL"}).breached(), 0);
}

TEST(PowerLossControls, CatchALyingDisk) {
    EXPECT_GT(catch_it("lying fsync", {.lying_sync = true}).breached(), 0);
}

TEST(PowerLossControls, CatchAnAcknowledgementBeforeTheCommit) {
    EXPECT_GT(
        catch_it("acknowledged before the commit", {.acknowledge_before_commit = true}).breached(),
        0);
}

TEST(PowerLossControls, CatchACallBeforeItsIntent) {
    const auto tally = catch_it("called before the intent", {.call_before_intent = true});
    EXPECT_GT(tally.counts[static_cast<std::size_t>(Breach::call_without_intent)], 0);
}

}  // namespace
}  // namespace steplog::testing
