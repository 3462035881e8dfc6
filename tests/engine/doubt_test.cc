// What happens to an attempt whose effect may have happened, and to an instance that kills its
// server.
#include <gtest/gtest.h>

#include "tests/engine/house.h"

namespace steplog {
namespace {

using testing::House;

RetryableError unknown(bool remembered = false) {
    return RetryableError(
        "no answer", {.code = "timeout", .outcome = Outcome::unknown, .remembered = remembered});
}

TEST(Doubt, ProbeFindsTheEffectWhichIsAdoptedNotRepeated) {
    House house;
    int effects = 0;
    house.add("w", [&](Context& ctx, const Json&) {
        StepOptions options;
        options.probe = probe([&](const Attempt&) {
            return effects ? std::optional<std::string>("u1") : std::nullopt;
        });
        const auto id = ctx.step("create", options, [&](const Attempt&) -> std::string {
            ++effects;
            throw unknown();
        });
        return Json(id);
    });
    house.start("i", "w");
    house.run_to_the_end();
    EXPECT_EQ(house.state("i"), "completed");
    EXPECT_EQ(effects, 1);
    EXPECT_EQ(
        house.sql("SELECT json_extract(data,'$.adopted') FROM entries WHERE kind='completed'"),
        "probe");
}

TEST(Doubt, ProbeThatFindsNothingLetsTheAttemptBeMadeAgainUnderTheSameKey) {
    House house;
    std::vector<std::string> keys;
    house.add("w", [&](Context& ctx, const Json&) {
        StepOptions options;
        options.probe = probe([&](const Attempt&) { return std::optional<std::string>(); });
        ctx.step("create", options, [&](const Attempt& attempt) -> std::string {
            keys.push_back(attempt.idempotency_key);
            if (keys.size() == 1) throw unknown();
            return "u1";
        });
        return Json();
    });
    house.start("i", "w");
    house.run_to_the_end();
    EXPECT_EQ(keys, (std::vector<std::string>{"steplog:i:create", "steplog:i:create"}));
}

TEST(Doubt, RememberedErrorAndAnEmptyProbeStartANewGeneration) {
    House house;
    std::vector<std::string> keys;
    house.add("w", [&](Context& ctx, const Json&) {
        StepOptions options{.idempotency_window = std::chrono::hours(24)};
        options.probe = probe([&](const Attempt&) { return std::optional<std::string>(); });
        ctx.step("create", options, [&](const Attempt& attempt) -> std::string {
            keys.push_back(attempt.idempotency_key);
            if (keys.size() == 1) throw unknown(true);
            return "u1";
        });
        return Json();
    });
    house.start("i", "w");
    house.run_to_the_end();
    EXPECT_EQ(keys, (std::vector<std::string>{"steplog:i:create", "steplog:i:create/g1"}));
}

TEST(Doubt, KeyThatIsStillYoungIsSentAgainAnOldOneIsNot) {
    House house;
    int calls = 0;
    house.add("w", [&](Context& ctx, const Json&) {
        ctx.step("mail",
                 {.repeat = Repeat::at_most_once, .idempotency_window = std::chrono::hours(24)},
                 [&](const Attempt&) {
                     ++calls;
                     throw RetryableError("no answer", {.outcome = Outcome::unknown,
                                                        .retry_after = std::chrono::hours(10)});
                 });
        return Json();
    });
    house.start("i", "w");
    house.run_to_the_end();
    EXPECT_EQ(calls, 3);  // at 0, 10 and 20 hours; at 30 the provider has forgotten the key
    EXPECT_EQ(house.error_code("i"), "in_doubt");
}

TEST(Doubt, AtMostOnceStepWaitsForAPersonWhoMayDecideToRepeatIt) {
    House house;
    int calls = 0;
    house.add("w", [&](Context& ctx, const Json&) {
        ctx.step("call", {.repeat = Repeat::at_most_once}, [&](const Attempt&) {
            if (++calls == 1) throw unknown();
        });
        return Json();
    });
    house.start("i", "w");
    house.run_to_the_end();
    EXPECT_EQ(house.error_code("i"), "in_doubt");
    EXPECT_EQ(calls, 1);
    const Resumed bulk = house.engine().resume({.actor = "test"});
    EXPECT_TRUE(bulk.ids.empty());
    EXPECT_EQ(bulk.skipped.at(0).reason.substr(0, 8), "in_doubt");
    house.resume("i");
    house.run_to_the_end();
    EXPECT_EQ(house.state("i"), "completed");
    EXPECT_EQ(calls, 2);
}

TEST(Doubt, DeathInTheMiddleOfAnEffectIsDecidedByTheSameRules) {
    House house;
    int effects = 0;
    house.add("w", [&](Context& ctx, const Json&) {
        ctx.step("before", [](const Attempt&) {});
        StepOptions options;
        options.probe = probe(
            [&](const Attempt&) { return effects ? std::optional<int>(effects) : std::nullopt; });
        ctx.step("a", options, [&](const Attempt&) {
            ++effects;
            house.remember();
            return effects;
        });
        return Json();
    });
    house.start("i", "w");
    house.engine().run_until_idle();
    EXPECT_EQ(house.state("i"), "completed");
    house.die_as_remembered();
    EXPECT_EQ(house.state("i"), "running");
    house.run_to_the_end();
    EXPECT_EQ(house.state("i"), "completed");
    EXPECT_EQ(effects, 1);
    EXPECT_EQ(house.log("i"), "started before, completed before, started a, completed a");
}

TEST(Poison, IsStuckAfterFiveDeathsInARowWithoutAnOutcome) {
    House house;
    int runs = 0;
    bool cured = false;
    house.add("poison", [&](Context& ctx, const Json&) {
        ctx.step("a", [&](const Attempt&) {
            ++runs;
            if (!cured) house.remember();
        });
        return Json();
    });
    house.start("p", "poison");
    for (int deaths = 1; deaths <= 5; ++deaths) {
        house.engine().run_until_idle();
        EXPECT_EQ(runs, deaths);
        house.die_as_remembered();
    }
    house.run_to_the_end();
    EXPECT_EQ(runs, 5);
    EXPECT_EQ(house.error_code("p"), "poison");
    cured = true;
    house.resume("p");
    house.run_to_the_end();
    EXPECT_EQ(house.state("p"), "completed");
}

}  // namespace
}  // namespace steplog
