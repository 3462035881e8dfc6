// An instance that was cancelled left a once key in doubt. The next one of the same customer
// inherited it, was stuck for a person to decide, and let the customer's key go. The one after that
// took the key, wanted the same once key, and waited for it with the key in its hand: when the
// person resumed the second, it queued for the key behind the third, and each waited for the other
// for ever. Who is stuck with a once key keeps its key now. Found by the simulation.
#include <gtest/gtest.h>

#include "engine/inspect.h"
#include "tests/engine/house.h"

namespace steplog {
namespace {

using testing::House;

TEST(OnceKey, OfAStuckInstanceIsNotWaitedForByWhoTookItsKey) {
    House house;
    int mails = 0;
    house.add("w", [&](Context& ctx, const Json&) {
        ctx.step("mail", {.repeat = Repeat::at_most_once, .once = "welcome/ada"},
                 [&](const Attempt&) {
                     if (++mails == 1)
                         throw RetryableError("no answer", {.outcome = Outcome::unknown});
                 });
        return Json();
    });
    const auto start = [&](const std::string& id) {
        house.store()
            .accept(std::nullopt,
                    NewInstance{.id = id,
                                .workflow = "w",
                                .key = "ada",
                                .on_stuck = OnStuck::release_key,
                                .input = "{}"},
                    false)
            .get();
    };
    start("1");
    house.run_to_the_end();
    EXPECT_EQ(house.state("1"), "stuck");
    house.engine().cancel({.ids = {"1"}, .actor = "uid:7"});
    start("2");
    start("3");
    house.run_to_the_end();
    EXPECT_EQ(house.state("2"), "stuck");
    EXPECT_EQ(house.state("3"), "queued");

    house.engine().resume({.ids = {"2"}, .actor = "uid:7"});
    house.run_to_the_end();
    EXPECT_EQ(house.state("2"), "completed");
    EXPECT_EQ(house.state("3"), "completed");
    EXPECT_EQ(mails, 2);  // the second because a person said so
    Inspector inspector(house.database(), house.clock);
    for (const Check& check : inspector.check().checks) EXPECT_EQ(check.broken, 0) << check.name;
}

}  // namespace
}  // namespace steplog
