// A sync fails, the store ends for good, and the next process begins. Linux goes on showing it what
// was written, but calls it clean: further syncs answer OK and make nothing durable. SQLite would
// move that WAL into the database, and a power loss in the middle would take the WAL and leave half
// of a transaction. Here some cuts and the controls; power_loss_slow_test.cc has thousands.
#include <gtest/gtest.h>

#include "tests/crash/campaign.h"
#include "tests/crash/small_workflow.h"

namespace steplog::testing {
namespace {

Tally campaign(const char* name, const Construction& construction, int cuts, bool controls) {
    Machine machine(construction);
    SmallWorkflow scenario({.trouble = 30});
    const auto tally = run_campaign(machine, scenario, cuts, 1, controls, cuts_after_a_failed_sync);
    fmt::print("{}: {}\n", name, tally.text());
    return tally;
}

TEST(PowerLossAfterAFailedSync, LosesAndRepeatsNothing) {
    EXPECT_EQ(campaign("as built", {}, 200, false).breached(), 0);
    EXPECT_EQ(campaign("without powersafe overwrite", {.powersafe_overwrite = false}, 200, false)
                  .breached(),
              0);
}

TEST(PowerLossAfterAFailedSync, IsCaughtWhereTheWalIsTrusted) {
    EXPECT_GT(campaign("the WAL left as it is", {.wal_trust = WalTrust::what_is_shown}, 2'000, true)
                  .breached(),
              0);
}

TEST(PowerLossAfterAFailedSync, IsCaughtWhereTheWalIsWrittenWithoutACopy) {
    EXPECT_GT(
        campaign("the WAL written in place, without powersafe overwrite",
                 {.powersafe_overwrite = false, .wal_trust = WalTrust::neighbours}, 4'000, true)
            .breached(),
        0);
}

}  // namespace
}  // namespace steplog::testing
