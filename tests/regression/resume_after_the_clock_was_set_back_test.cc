// The story: the clock stood days ahead while instances got stuck, and was then set right. A bulk
// resume silently left them alone, because they had not been updated "for so long as no time at
// all" yet, although its plan listed them. Found by the simulation. workflow-resume, which leaves
// alone what was touched since it began, did so still: found by setting a server's clock back.
#include <gtest/gtest.h>

#include "engine/commands.h"
#include "engine/control.h"
#include "tests/engine/house.h"
#include "tests/tools/shop.h"

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
    EXPECT_EQ(
        house.engine().resume({.older_than = std::chrono::hours(73), .actor = "test"}).ids.size(),
        0u);
    EXPECT_EQ(house.engine().resume({.actor = "test"}).ids.size(), 1u);
    house.run_to_the_end();
    EXPECT_EQ(house.state("1"), "completed");
}

TEST(ResumeAfterTheClockWasSetBack, ByTheProgramTakesWhatBecameStuckInTheFuture) {
    testing::Shop shop;
    const ControlServer server(control_socket_path(shop.database()),
                               [&](const Json& command, const std::string& actor) {
                                   return handle_command(shop.house.engine(), command, actor);
                               });
    shop.house.clock.advance(-std::chrono::hours(72));
    const auto done = shop.resume({"--all", "--yes", "--json"});
    EXPECT_EQ(done.exit.code, 0) << done.errors;
    const Json told = Json::parse(done.output, nullptr, false);
    EXPECT_EQ(told.at("ids"), Json({"order/evt_odd", "order/evt_down"}));
}

}  // namespace
}  // namespace steplog
