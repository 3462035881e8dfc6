// The story: a running parent was asked to end, and its server died. At the next start one claim
// took both: the parent ended, its child was cancelled with it, and was then claimed all the same.
// The database refused that, so the claim failed, every time: no server came up any more. Found
// while children joined the simulation.
#include <gtest/gtest.h>

#include "tests/engine/house.h"

namespace steplog {
namespace {

using testing::House;

TEST(ClaimedAfterItsParent, IsNobody) {
    House house;
    bool died = false;
    house.add("parent", [&](Context& ctx, const Json&) {
        ctx.start_child("c", "child");
        ctx.step("s", [&](const Attempt&) {
            house.store().cancel({.ids = {"p"}}).get();
            if (!std::exchange(died, true)) house.remember();
        });
        return Json();
    });
    house.add("child", [](Context&, const Json&) { return Json(); });
    house.start("p", "parent");
    house.engine().run_until_idle();
    house.die_as_remembered();
    EXPECT_EQ(house.state("p"), "running");
    EXPECT_EQ(house.state("p/c"), "pending");
    EXPECT_TRUE(house.store().claim({.limit = 8}).get().claimed.empty());
    EXPECT_EQ(house.state("p"), "cancelled");
    EXPECT_EQ(house.state("p/c"), "cancelled");
}

}  // namespace
}  // namespace steplog
