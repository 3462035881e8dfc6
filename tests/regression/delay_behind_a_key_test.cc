// The story: an instance that was to start later and found its key held forgot its delay: when its
// turn came it ran at once. Found by the simulation.
#include <gtest/gtest.h>

#include "tests/engine/house.h"

namespace steplog {
namespace {

using testing::House;

TEST(DelayBehindAKey, IsKeptWhileTheInstanceQueues) {
    House house;
    std::vector<std::string> ran;
    house.add("w", [&](Context& ctx, const Json&) {
        ran.push_back(ctx.instance_id());
        return Json();
    });
    house.start("holder", "w", {}, "k");
    house.engine().accept(std::nullopt, NewInstance{.id = "later",
                                                    .workflow = "w",
                                                    .key = "k",
                                                    .input = "1",
                                                    .delay = std::chrono::minutes(10)});
    house.start("last", "w", {}, "k");
    house.engine().run_until_idle();
    EXPECT_EQ(ran, std::vector<std::string>{"holder"});
    EXPECT_EQ(house.state("later"), "pending");
    house.clock.advance(std::chrono::minutes(10));
    house.engine().run_until_idle();
    EXPECT_EQ(ran, (std::vector<std::string>{"holder", "later", "last"}));
}

}  // namespace
}  // namespace steplog
