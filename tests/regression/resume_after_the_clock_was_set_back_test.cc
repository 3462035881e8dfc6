// The story: the clock stood days ahead while instances got stuck, and was then set right. A bulk
// resume silently left them alone, because they had not been updated "for so long as no time at
// all" yet, although its plan listed them. Found by the simulation.
#include <gtest/gtest.h>

#include "tests/engine/house.h"

namespace steplog {
namespace {

using testing::House;

TEST(ResumeAfterTheClockWasSetBack, TakesWhatBecameStuckInTheFuture) {
    House house;
    bool mended = false;
    house.add("w", [&](Context& ctx, const Json&) {
        ctx.step("call", {.attempts_max = 1}, [&](const Attempt&) {
            if (!mended) throw RetryableError("busy", {.outcome = Outcome::refused});
        });
        return Json();
    });
    house.clock.advance(std::chrono::hours(72));
    house.start("1", "w");
    house.run_to_the_end();
    ASSERT_EQ(house.state("1"), "stuck");
    house.clock.advance(-std::chrono::hours(72));
    mended = true;
    EXPECT_EQ(house.engine().resume({.older_than = Ms(1), .actor = "test"}).ids.size(), 0u);
    EXPECT_EQ(house.engine().resume({.actor = "test"}).ids.size(), 1u);
    house.run_to_the_end();
    EXPECT_EQ(house.state("1"), "completed");
}

}  // namespace
}  // namespace steplog
