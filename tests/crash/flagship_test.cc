// The power goes at every durable write of provision_customer, until a run completes untouched: one
// user, one e-mail, everything linked, whatever was interrupted.
#include "tests/crash/flagship.h"

#include <fmt/core.h>
#include <gtest/gtest.h>

namespace steplog::testing {
namespace {

// At every operation of this kind (absent: of any), with this rest.
int cut_everywhere(Machine& machine, Scenario& scenario, std::optional<Operation> only,
                   Survival survival) {
    for (std::int64_t after = 1;; ++after) {
        const auto story = machine.run(scenario,
                                       {{.after = after,
                                         .survival = survival,
                                         .seed = static_cast<std::uint64_t>(after),
                                         .only = only}},
                                       1);
        EXPECT_TRUE(story.clean())
            << "cut after " << after << ", survival " << static_cast<int>(survival) << story.text();
        if (story.cuts == 0 || !story.clean()) return static_cast<int>(after - 1);
    }
}

TEST(PowerLossOfTheFlagship, IsSeenAtWork) {
    Machine machine;
    Flagship scenario;
    const auto story = machine.run(scenario, {}, 1);
    EXPECT_TRUE(story.clean()) << story.text();
    // Three instances write to Stripe; the first of them creates the user.
    EXPECT_EQ(story.ledger.invocations(), 1u + 2u);
}

TEST(PowerLossOfTheFlagship, AtEveryDurableWriteProvisionsOnce) {
    Machine machine;
    Flagship scenario;
    const int lost = cut_everywhere(machine, scenario, Operation::sync, Survival::synced);
    const int kept = cut_everywhere(machine, scenario, Operation::sync, Survival::everything);
    EXPECT_GE(lost, 12);
    fmt::print("{} durable writes, the power cut at each: one user, one e-mail\n", lost);
    EXPECT_GE(kept, lost);
}

TEST(PowerLossOfTheFlagship, AtEveryRequestProvisionsOnce) {
    Machine machine;
    Flagship scenario;
    // Once as the request leaves and once as the answer comes back.
    const int cuts = cut_everywhere(machine, scenario, Operation::outside, Survival::synced);
    EXPECT_GE(cuts, 12);
    fmt::print("{} requests and answers, the power cut at each: one user, one e-mail\n", cuts);
}

}  // namespace
}  // namespace steplog::testing
