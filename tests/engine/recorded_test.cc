// What a workflow draws (time, random bits, UUIDs) is drawn once, however often it is replayed.
#include <gmock/gmock.h>

#include <regex>

#include "tests/engine/house.h"

namespace steplog {
namespace {

using ::testing::Each;
using testing::House;

TEST(Recorded, ValuesAreTheSameInEveryReplay) {
    House house;
    std::vector<std::int64_t> times;
    std::vector<std::uint64_t> numbers;
    std::vector<std::string> ids;
    int tries = 0;
    house.add("w", [&](Context& ctx, const Json&) {
        times.push_back(ctx.now_ms());
        numbers.push_back(ctx.random());
        ids.push_back(ctx.uuid());
        ctx.step("s", [&](const Attempt&) {
            if (++tries < 3) throw RetryableError("not yet", {});
        });
        return Json(ctx.uuid());
    });
    const std::int64_t start_ms = house.clock.now_ms();
    house.start("o", "w");
    house.run_to_the_end();
    EXPECT_EQ(house.state("o"), "completed");
    EXPECT_EQ(times.size(), 3u);
    EXPECT_GT(house.clock.now_ms(), start_ms);
    EXPECT_THAT(times, Each(start_ms));
    EXPECT_THAT(numbers, Each(numbers.front()));
    EXPECT_THAT(ids, Each(ids.front()));
    EXPECT_TRUE(std::regex_match(
        ids.front(),
        std::regex("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")))
        << ids.front();
    EXPECT_NE(
        house.sql("SELECT body FROM payloads WHERE id=(SELECT output_payload FROM instances)"),
        Json(ids.front()).dump());
}

TEST(Recorded, ValuesAreDurableBeforeAnEffectSeesThemWithoutACommitOfTheirOwn) {
    House house;
    std::string seen;
    house.add("w", [&](Context& ctx, const Json&) {
        const std::string id = ctx.uuid();
        ctx.step("s", [&](const Attempt&) { seen = house.sql("SELECT data FROM entries"); });
        return Json(id);
    });
    house.start("o", "w");
    house.run_to_the_end();
    const std::string id =
        house.sql("SELECT body FROM payloads WHERE id=(SELECT output_payload FROM instances)");
    EXPECT_EQ(Json::parse(seen).at("value").dump(), id);
    EXPECT_EQ(house.log("o"), "recorded uuid#1, started s, completed s");
    EXPECT_EQ(house.sql("SELECT count(DISTINCT at_ms) FROM entries WHERE n<3"), "1");
}

TEST(Recorded, ValuesOfOneKindAreToldApartByOrderOrName) {
    House house;
    std::vector<std::uint64_t> drawn;
    bool newer = false;
    house.add("w", [&](Context& ctx, const Json&) {
        drawn.clear();
        if (newer) ctx.random("of the newer code");
        drawn = {ctx.random(), ctx.random(), ctx.random("mine")};
        ctx.sleep_for("s", Ms(1000));
        return Json();
    });
    house.start("o", "w");
    house.engine().run_until_idle();
    const auto before = drawn;
    EXPECT_EQ(std::set(before.begin(), before.end()).size(), 3u);
    newer = true;
    house.run_to_the_end();
    EXPECT_EQ(drawn, before);
    EXPECT_EQ(house.state("o"), "completed");
}

TEST(Recorded, ValuesGoWithTheRetryOfAFunctionThatThrew) {
    House house;
    std::vector<std::uint64_t> drawn;
    house.add("w", [&](Context& ctx, const Json&) {
        drawn.push_back(ctx.random());
        if (drawn.size() == 1) throw std::runtime_error("before anything was begun");
        return Json();
    });
    house.start("o", "w");
    house.run_to_the_end();
    EXPECT_EQ(drawn.size(), 2u);
    EXPECT_EQ(drawn[0], drawn[1]);
}

TEST(Recorded, ValuesAreAskedForOutsideSteps) {
    House house;
    house.add("w", [&](Context& ctx, const Json&) {
        ctx.step("s", [&](const Attempt&) { return ctx.now_ms(); });
        return Json();
    });
    house.start("o", "w");
    house.run_to_the_end();
    EXPECT_EQ(house.error_code("o"), "nested_step");
}

TEST(Recorded, ANameThatStandsForAnotherKindMakesItStuck) {
    House house;
    bool newer = false;
    house.add("w", [&](Context& ctx, const Json&) {
        newer ? (void)ctx.uuid("x") : (void)ctx.random("x");
        ctx.sleep_for("s", Ms(1000));
        return Json();
    });
    house.start("o", "w");
    house.engine().run_until_idle();
    newer = true;
    house.run_to_the_end();
    EXPECT_EQ(house.error_code("o"), "undecodable_result");
}

TEST(Recorded, ValuesWaitWithAStepForItsOnceKey) {
    House house;
    bool first_hangs = true;
    std::vector<std::uint64_t> drawn;
    house.add("first", [&](Context& ctx, const Json&) {
        ctx.step("s", {.once = "k"}, [&](const Attempt&) {
            if (first_hangs) throw RetryableError("later", {.outcome = Outcome::unknown});
            return 1;
        });
        return Json();
    });
    house.add("second", [&](Context& ctx, const Json&) {
        drawn.push_back(ctx.random());
        ctx.step("s", {.once = "k"}, [&](const Attempt&) { return 2; });
        return Json(drawn.back());
    });
    house.start("a", "first");
    house.engine().run_until_idle();
    house.start("b", "second");
    house.engine().run_until_idle();
    EXPECT_EQ(house.state("b"), "waiting");
    first_hangs = false;
    house.run_to_the_end();
    EXPECT_EQ(house.state("b"), "completed");
    EXPECT_EQ(house.sql("SELECT body FROM payloads WHERE id=(SELECT output_payload FROM instances "
                        "WHERE id='b')"),
              Json(drawn.back()).dump());
    EXPECT_EQ(house.sql("SELECT count(*) FROM entries WHERE kind='recorded'"), "1");
}

}  // namespace
}  // namespace steplog
