// Workflows without end: a run ends and the next one is there, in its place and under its id.
#include <gmock/gmock.h>

#include "engine/inspect.h"
#include "engine/inspect_json.h"
#include "engine/testing/workflow_test.h"
#include "tests/engine/house.h"

namespace steplog {
namespace {

using std::chrono::hours;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::House;

void expect_all_whole(House& house) {
    house.store().flush();
    Inspector inspector(house.database(), house.clock);
    for (const Check& check : inspector.check().checks)
        EXPECT_EQ(check.broken, 0)
            << check.name << ": " << ::testing::PrintToString(check.examples);
}

Json shown(House& house, const std::string& id) {
    house.store().flush();
    return json_of(Inspector(house.database(), house.clock).show(id));
}

// Counts down, a run for each number.
Json count_down(Context& ctx, const Json& input) {
    const int left = input.at("left");
    ctx.step("count", StepOptions{.idempotency_window = Ms(3'600'000)},
             [&](const Attempt&) { return left; });
    if (left > 0) ctx.continue_as_new({{"left", left - 1}});
    return Json(ctx.run());
}

TEST(ContinueAsNew, BeginsTheNextRunWithALogOfItsOwn) {
    House house;
    house.add("w", count_down);
    house.start("i", "w", {{"left", 2}});
    house.run_to_the_end();
    EXPECT_EQ(house.log("i"), "started count, completed count, recorded");
    EXPECT_EQ(house.log("i/run:00000002"), "recorded, started count, completed count, recorded");
    EXPECT_EQ(house.log("i/run:00000003"), "recorded, started count, completed count");
    EXPECT_EQ(house.sql("SELECT count(*) FROM instances WHERE state='completed'"), "3");
    EXPECT_EQ(shown(house, "i/run:3").at("output"), 3);
    std::vector<std::string> told;
    for (const Transitioned& one : house.told)
        if (one.what == "continued" || one.what == "finished") told.push_back(one.what);
    EXPECT_THAT(told, ElementsAre("continued", "continued", "finished"));
    expect_all_whole(house);
}

TEST(ContinueAsNew, ShowsTheChainToAPerson) {
    House house;
    house.add("w", count_down);
    house.start("a/i", "w", {{"left", 2}});
    house.run_to_the_end();
    const Json newest = shown(house, "i");
    EXPECT_EQ(newest.at("id"), "a/i/run:00000003");
    EXPECT_EQ(newest.at("run"), 3);
    std::vector<std::string> ids;
    for (const Json& run : newest.at("runs")) ids.push_back(run.at("id"));
    EXPECT_THAT(ids, ElementsAre("a/i/run:00000003", "a/i/run:00000002", "a/i"));
    EXPECT_EQ(newest.at("log").front().at("data").at("continued_from"), "a/i/run:00000002");
    const Json first = shown(house, "a/i/run:1");
    EXPECT_EQ(first.at("id"), "a/i");
    EXPECT_THAT(first.at("why").get<std::string>(), HasSubstr("went on at "));
    EXPECT_THAT(first.at("why").get<std::string>(), HasSubstr("as a/i/run:00000002"));
}

TEST(ContinueAsNew, EndsTheSameWhereverTheProcessDies) {
    testing::WorkflowTest test([](Context& ctx, const Json& input) {
        ctx.publish("left", input.at("left"));
        return count_down(ctx, input);
    });
    const auto ended = test.run({{"left", 2}});
    EXPECT_EQ(ended.output, 3);
    EXPECT_EQ(ended.effects.at("test/run:00000003: count").times, 1);
    const auto crashes = test.crash_everywhere({{"left", 2}});
    EXPECT_EQ(crashes.failure, "");
    EXPECT_GT(crashes.places, 15);
}

TEST(ContinueAsNew, HoldsItsKeyAcrossRuns) {
    House house;
    std::vector<std::string> order;
    house.add("w", [&](Context& ctx, const Json& input) {
        order.push_back(ctx.instance_id());
        return count_down(ctx, input);
    });
    house.start("i", "w", {{"left", 1}}, "k");
    house.start("j", "w", {{"left", 0}}, "k");
    house.run_to_the_end();
    EXPECT_THAT(order, ElementsAre("i", "i/run:00000002", "j"));
    expect_all_whole(house);
}

TEST(ContinueAsNew, CarriesSignalsThatNobodyHasTaken) {
    House house;
    std::vector<int> taken;
    house.add("w", [&](Context& ctx, const Json& input) {
        taken.push_back(*ctx.wait_for<int>("letter"));
        if (input.at("left") > 0) ctx.continue_as_new({{"left", input.at("left").get<int>() - 1}});
        return Json();
    });
    house.start("i", "w", {{"left", 2}});
    house.engine().run_until_idle();
    for (int n = 1; n <= 3; ++n)
        house.engine().signal({.instance = "i",
                               .name = "letter",
                               .payload = std::to_string(n),
                               .dedupe_id = std::to_string(n)});
    EXPECT_TRUE(house.engine()
                    .signal({.instance = "i", .name = "letter", .payload = "3", .dedupe_id = "3"})
                    .duplicate);
    house.run_to_the_end();
    EXPECT_THAT(taken, ElementsAre(1, 2, 3));
    EXPECT_EQ(house.state("i/run:00000003"), "completed");
    expect_all_whole(house);
}

TEST(ContinueAsNew, IsOneInstanceToItsParent) {
    House house;
    house.add("child", count_down);
    house.add("parent", [](Context& ctx, const Json&) {
        ctx.start_child("c", "child", {{"left", 2}});
        return ctx.await_child("c");
    });
    house.start("p", "parent");
    house.run_to_the_end();
    EXPECT_EQ(shown(house, "p").at("output"), 3) << "of the last run";
    expect_all_whole(house);
}

TEST(ContinueAsNew, EndsWithItsParent) {
    House house;
    house.add("child", [](Context& ctx, const Json& input) {
        ctx.sleep_for("a while", hours(1));
        ctx.continue_as_new(input);
        return Json();
    });
    house.add("parent", [](Context& ctx, const Json&) {
        ctx.start_child("c", "child");
        ctx.sleep_for("a while", Ms(9'000'000));
        return Json();
    });
    house.start("p", "parent");
    house.run_to_the_end();
    EXPECT_EQ(house.state("p"), "completed");
    EXPECT_EQ(house.state("p/c/run:00000003"), "cancelled");
    expect_all_whole(house);
}

TEST(ContinueAsNew, KeepsItsUnfinishedChildren) {
    House house;
    house.add("child", [](Context& ctx, const Json&) {
        ctx.wait_for("go");
        return Json();
    });
    house.add("w", [](Context& ctx, const Json& input) {
        ctx.start_child("c", "child");
        if (input.at("left") > 0) ctx.continue_as_new({{"left", 0}});
        return Json();
    });
    house.start("i", "w", {{"left", 1}});
    house.run_to_the_end();
    EXPECT_EQ(house.state("i/c"), "cancelled") << "when the last run ended, not before";
    EXPECT_EQ(house.sql("SELECT parent FROM instances WHERE id='i/c'"),
              house.sql("SELECT seq FROM instances WHERE id='i/run:00000002'"));
    EXPECT_EQ(house.state("i/run:00000002/c"), "cancelled") << "the second run's own";
    expect_all_whole(house);
}

TEST(ContinueAsNew, AwaitsChildrenThatAreToBeAwaited) {
    House house;
    house.add("child", [](Context& ctx, const Json&) {
        ctx.sleep_for("a while", hours(1));
        return Json();
    });
    house.add("w", [](Context& ctx, const Json& input) {
        ctx.start_child("c", "child", Json::object(), {.on_close = OnParentClose::await});
        if (input.at("left") > 0) ctx.continue_as_new({{"left", 0}});
        return Json();
    });
    house.start("i", "w", {{"left", 1}});
    house.engine().run_until_idle();
    EXPECT_EQ(house.state("i"), "waiting");
    house.run_to_the_end();
    EXPECT_EQ(house.state("i/run:00000002"), "completed");
    EXPECT_EQ(house.state("i/c"), "completed");
}

TEST(ContinueAsNew, KeepsDeadlinePriorityAndTakesTheNewestVersion) {
    House house;
    house.add("w", count_down);
    house.start("i", "w", {{"left", 3}});
    NewInstance one{.id = "j", .workflow = "w", .input = R"({"left":1})"};
    one.deadline = hours(5);
    one.priority = 4;
    house.engine().accept(std::nullopt, one);
    house.restart();
    house.add("w", count_down, 2);
    house.restart();
    house.run_to_the_end();
    EXPECT_EQ(house.sql("SELECT version||' '||priority FROM instances WHERE id='j'"), "1 4");
    EXPECT_EQ(house.sql("SELECT version||' '||priority FROM instances WHERE id='j/run:00000002'"),
              "2 4");
    EXPECT_EQ(house.sql("SELECT count(DISTINCT deadline_ms) FROM instances WHERE deadline_ms "
                        "NOTNULL"),
              "1");
}

TEST(ContinueAsNew, IsCancelledUnderItsId) {
    House house;
    house.add("w", [](Context& ctx, const Json& input) {
        ctx.sleep_for("a while", hours(1));
        ctx.continue_as_new(input);
        return Json();
    });
    house.start("i", "w");
    house.engine().run_until_idle();
    house.clock.advance(hours(1));
    house.engine().run_until_idle();
    EXPECT_THAT(house.engine().cancel({.ids = {"i"}, .actor = "test"}).ids,
                ElementsAre("i/run:00000002"));
    house.run_to_the_end();
    EXPECT_EQ(house.sql("SELECT count(*) FROM instances"), "2");
}

TEST(ContinueAsNew, EndsInPlaceOfTheNextRunWhereItWasCancelled) {
    House house;
    house.add("w", [&](Context& ctx, const Json& input) {
        ctx.step("s",
                 [&](const Attempt&) { house.engine().cancel({.ids = {"i"}, .actor = "test"}); });
        ctx.continue_as_new(input);
        return Json();
    });
    house.start("i", "w");
    house.run_to_the_end();
    EXPECT_EQ(house.state("i"), "cancelled");
    EXPECT_EQ(house.sql("SELECT count(*) FROM instances"), "1");
}

TEST(ContinueAsNew, LetsRetentionTakeItsFormerRuns) {
    House house;
    house.add("child", [](Context& ctx, const Json& input) {
        ctx.sleep_for("a day", hours(24));
        ctx.continue_as_new(input);
        return Json();
    });
    house.add("parent", [](Context& ctx, const Json&) {
        ctx.start_child("c", "child");
        ctx.wait_for("never");
        return Json();
    });
    house.start("p", "parent");
    house.engine().run_until_idle();
    for (int day = 0; day < 5; ++day) {
        house.clock.advance(hours(24));
        house.engine().run_until_idle();
    }
    EXPECT_EQ(house.sql("SELECT count(*) FROM instances"), "7");
    EXPECT_EQ(house.store().purge({.older_than = hours(36)}).get().instances, 3)
        << "although their parent is unfinished";
    EXPECT_THAT(house.engine().signal({.instance = "p/c", .name = "x"}).refused, "");
    expect_all_whole(house);
}

TEST(ContinueAsNew, IsNotToBeCalledInsideAStep) {
    House house;
    house.add("w", [](Context& ctx, const Json& input) {
        ctx.step("s", [&](const Attempt&) { ctx.continue_as_new(input); });
        return Json();
    });
    house.start("i", "w");
    house.run_to_the_end();
    EXPECT_EQ(house.error_code("i"), "nested_step");
}

}  // namespace
}  // namespace steplog
