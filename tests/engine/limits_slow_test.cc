// An instance that comes near the limits, looked at: so long a log is read within the second that a
// look may take, which is too short for a sanitizer on a busy machine.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/inspect.h"
#include "engine/inspect_json.h"
#include "engine/limits.h"
#include "tests/engine/house.h"

namespace steplog {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::House;
using ::testing::IsEmpty;

// By the defaults: what a program has set in their place its database does not know.
TEST(NearLimit, IsShownToAPerson) {
    House house;
    house.add("w", [](Context& ctx, const Json&) {
        for (int i = 0; i < 8000; ++i) ctx.random();
        ctx.publish("p", std::string(Limits{}.published_bytes_max - 100, 'x'));
        ctx.sleep_for("a while", Ms(1000));
        return Json();
    });
    house.add("quiet", [](Context&, const Json&) { return Json(); });
    house.start("i", "w");
    house.start("j", "quiet");
    house.engine().run_until_idle();
    house.store().flush();
    Inspector inspector(house.database(), house.clock);
    const Json near = json_of(inspector.show("i")).at("near_limits");
    EXPECT_THAT(near.dump(), AllOf(HasSubstr("8001 steps, of at most 10000 (steps_max)"),
                                   HasSubstr("(published_bytes_max)")));
    EXPECT_THAT(json_of(inspector.show("j")).at("near_limits"), IsEmpty());
}

}  // namespace
}  // namespace steplog
