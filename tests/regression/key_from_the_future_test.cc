// The story: an attempt in doubt was made while the clock stood wrong, days ahead. Once the clock
// was set right, its idempotency key seemed to come from the future, which counted as young, and
// the request went out again although the provider might have forgotten the key long ago. Found by
// the simulation.
#include <gtest/gtest.h>

#include "tests/engine/house.h"

namespace steplog {
namespace {

using testing::House;

TEST(KeyFromTheFuture, IsNotTrusted) {
    House house;
    int calls = 0;
    house.add("w", [&](Context& ctx, const Json&) {
        ctx.step("mail",
                 {.repeat = Repeat::at_most_once, .idempotency_window = std::chrono::hours(23)},
                 [&](const Attempt&) {
                     ++calls;
                     throw RetryableError("no answer", {.outcome = Outcome::unknown});
                 });
        return Json();
    });
    house.clock.advance(std::chrono::hours(72));
    house.start("1", "w");
    house.engine().run_until_idle();
    house.clock.advance(-std::chrono::hours(72));
    // In bulk, so that nobody has decided that the step is to be repeated.
    EXPECT_EQ(house.engine().resume({.actor = "test"}).ids.size(), 1u);
    house.engine().run_until_idle();
    EXPECT_EQ(house.error_code("1"), "in_doubt");
    EXPECT_EQ(calls, 1);
}

}  // namespace
}  // namespace steplog
