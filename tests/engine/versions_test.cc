// Versions of a workflow side by side: an instance goes on under the one that it was started under,
// is stuck with a reason where that is gone, and can be moved; and what is known of which versions
// are needed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/commands.h"
#include "engine/inspect.h"
#include "engine/inspect_json.h"
#include "tests/engine/house.h"

namespace steplog {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::House;

// An order that needs somebody's word half way, and says at its end under which version it went on.
class Versions : public ::testing::Test {
  protected:
    void deploy(std::vector<int> versions) {
        house.workflows.clear();
        for (const int version : versions)
            house.add(
                "order",
                [this, version](Context& ctx, const Json&) {
                    ctx.step("reserve", [this](const Attempt&) { ++reserved; });
                    ctx.wait_for("go");
                    return Json(version);
                },
                version);
    }
    void restart_with(std::vector<int> versions) {
        deploy(std::move(versions));
        house.restart();
        house.engine().run_until_idle();
    }
    void start(const std::string& id, int version = newest_version, const std::string& key = "") {
        house.engine().accept(
            std::nullopt,
            NewInstance{
                .id = id, .workflow = "order", .version = version, .key = key, .input = "{}"});
        house.engine().run_until_idle();
    }
    void go(const std::string& id) {
        house.engine().signal({.instance = id, .name = "go"});
        house.engine().run_until_idle();
    }
    std::string version_of(const std::string& id) {
        return house.sql("SELECT version FROM instances WHERE id='" + id + "'");
    }
    /// The version under which it ended, as it said itself.
    std::string ended_under(const std::string& id) {
        return house.sql(
            "SELECT body FROM payloads WHERE id=(SELECT output_payload FROM instances "
            "WHERE id='" +
            id + "')");
    }
    Moved move(const std::string& id, int to_version) {
        Moved moved = house.engine().move(
            {.ids = {id}, .to_version = to_version, .actor = "uid:7", .reason = "ticket 3"});
        house.engine().run_until_idle();
        return moved;
    }
    std::string not_moved(const std::string& id, int to_version) {
        const Moved moved = move(id, to_version);
        return moved.skipped.empty() ? "" : moved.skipped.front().reason;
    }
    std::string why(const std::string& id) {
        return Inspector(house.database(), house.clock).why(id).explanation.sentence;
    }

    House house;
    int reserved = 0;
};

TEST_F(Versions, StartAnInstanceUnderTheNewestUnlessAnotherIsAskedFor) {
    deploy({1, 3, 2});
    start("new");
    start("old", 1);
    EXPECT_EQ(version_of("new"), "3");
    EXPECT_EQ(version_of("old"), "1");
    go("new");
    go("old");
    EXPECT_EQ(ended_under("new"), "3");
    EXPECT_EQ(ended_under("old"), "1");
}

TEST_F(Versions, AreKeptByWhatIsUnderWayWhenANewerOneIsDeployed) {
    deploy({1});
    start("o");
    restart_with({1, 2});
    start("later");
    go("o");
    go("later");
    EXPECT_EQ(ended_under("o"), "1");
    EXPECT_EQ(ended_under("later"), "2");
    EXPECT_EQ(reserved, 2) << "what was finished is not done again";
}

TEST_F(Versions, AreTheNewestForChildrenAndSchedulesToo) {
    deploy({1, 2});
    house.add("parent", [](Context& ctx, const Json&) {
        ctx.start_child("new", "order", {}, {.on_close = OnParentClose::abandon});
        ctx.start_child("old", "order", {}, {.version = 1, .on_close = OnParentClose::abandon});
        return Json();
    });
    house.start("p", "parent");
    house.engine().schedule({{.name = "nightly", .workflow = "order", .cron = "0 3 * * *"}});
    house.engine().run_until_idle();
    EXPECT_EQ(version_of("p/new"), "2");
    EXPECT_EQ(version_of("p/old"), "1");
    EXPECT_EQ(house.sql("SELECT version FROM schedules"), "2");
}

TEST_F(Versions, ThatAreGoneMakeAnInstanceStuckAndItSaysWhatToDo) {
    deploy({1});
    start("o");
    restart_with({2, 3});
    go("o");
    EXPECT_EQ(house.error_code("o"), "unknown_version");
    EXPECT_THAT(why("o"), HasSubstr("this program has no version 1 of workflow order, only 2, 3"));
    EXPECT_THAT(why("o"), HasSubstr("workflow-admin move o --to-version 3"));
    EXPECT_THAT(why("o"), HasSubstr("when a program that has version 1 of order is deployed, run: "
                                    "workflow-resume o"));
    restart_with({1, 3});
    house.resume("o");
    house.engine().run_until_idle();
    EXPECT_EQ(ended_under("o"), "1");
}

TEST_F(Versions, CannotBeRegisteredTwiceOrBelowOne) {
    Registry registry;
    registry.add({.name = "w", .run = {}});
    EXPECT_THROW(registry.add({.name = "w", .run = {}}), std::logic_error);
    EXPECT_THROW(registry.add({.name = "w", .version = 0, .run = {}}), std::logic_error);
    EXPECT_THAT(registry.versions("w"), ElementsAre(1));
    EXPECT_THAT(registry.versions("v"), ElementsAre());
}

TEST_F(Versions, AreChangedForOneThatIsStuckWithoutItsOwnAndItGoesOn) {
    deploy({1});
    start("o");
    restart_with({2});
    go("o");
    ASSERT_EQ(house.state("o"), "stuck");
    EXPECT_THAT(move("o", 2).ids, ElementsAre("o"));
    EXPECT_EQ(house.state("o"), "completed");
    EXPECT_EQ(ended_under("o"), "2");
    EXPECT_EQ(reserved, 1);
    EXPECT_EQ(house.sql("SELECT data FROM entries WHERE kind='moved'"),
              R"({"by":"uid:7","code":"unknown_version","from":1,"reason":"ticket 3","to":2,)"
              R"("was":"stuck"})");
    EXPECT_EQ(house.sql("SELECT actor||' '||action||' '||target||' '||detail FROM audit"),
              R"(uid:7 move o {"code":"unknown_version","from":1,"reason":"ticket 3","to":2,)"
              R"("was":"stuck"})");
    EXPECT_TRUE(Inspector(house.database(), house.clock).check().holds());
}

TEST_F(Versions, AreChangedWhileAnInstanceWaitsAndItWaitsOn) {
    deploy({1, 2});
    start("o", 1);
    house.clock.advance(Ms(1000));
    const std::string since = house.sql("SELECT updated_at_ms FROM instances");
    EXPECT_THAT(move("o", 2).ids, ElementsAre("o"));
    EXPECT_EQ(house.state("o"), "waiting");
    EXPECT_EQ(house.sql("SELECT updated_at_ms FROM instances"), since);
    go("o");
    EXPECT_EQ(ended_under("o"), "2");
}

TEST_F(Versions, AreChangedForOneThatIsStuckForAnotherReasonAndItStaysSo) {
    deploy({2});
    house.add("order", [](Context& ctx, const Json&) -> Json { ctx.stuck("odd", "is odd"); });
    start("o", 1);
    const Moved moved = move("o", 2);
    EXPECT_THAT(moved.ids, ElementsAre("o"));
    EXPECT_THAT(moved.still_stuck, ElementsAre("o"));
    EXPECT_EQ(house.error_code("o"), "odd");
    EXPECT_EQ(house.state("o"), "stuck");
    EXPECT_EQ(version_of("o"), "2");
}

TEST_F(Versions, AreChangedBehindAKeyThatAnotherTookMeanwhile) {
    deploy({1});
    house.engine().accept(std::nullopt, NewInstance{.id = "o",
                                                    .workflow = "order",
                                                    .version = 7,
                                                    .key = "k",
                                                    .on_stuck = OnStuck::release_key,
                                                    .input = "{}"});
    house.engine().run_until_idle();
    start("holder", 1, "k");
    move("o", 1);
    EXPECT_EQ(house.state("o"), "queued");
    go("holder");
    go("o");
    EXPECT_EQ(house.state("o"), "completed");
}

TEST_F(Versions, AreNotChangedWhereThatMakesNoSense) {
    deploy({1, 2});
    start("o", 1);
    EXPECT_EQ(not_moved("x", 2), "not found");
    EXPECT_EQ(not_moved("o", 1), "it is at version 1 already");
    EXPECT_EQ(not_moved("o", 9), "the program that runs has no version 9 of workflow order");
    go("o");
    EXPECT_EQ(not_moved("o", 2), "completed: it has ended");
    EXPECT_THROW(house.store().move({.ids = {"o"}, .to_version = 0}).get(), StoreError);
    EXPECT_EQ(house.sql("SELECT count(*) FROM audit"), "0");
}

TEST_F(Versions, AreNotChangedUnderAWorkersHands) {
    std::string reason;
    house.add("w", [&](Context& ctx, const Json&) {
        ctx.step("a", [&](const Attempt&) {
            reason = house.store().move({.ids = {"i"}, .to_version = 2}).get().skipped.at(0).reason;
        });
        return Json();
    });
    house.start("i", "w");
    house.engine().run_until_idle();
    EXPECT_EQ(reason, "running: a worker has it; move it while it waits");
}

TEST_F(Versions, AreChangedOrNothingIsWritten) {
    deploy({1, 2});
    start("o", 1);
    house.damage(
        "CREATE TRIGGER refuse BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT,'no'); END");
    EXPECT_THROW(move("o", 2), StoreError);
    EXPECT_EQ(version_of("o"), "1");
    EXPECT_THAT(house.log("o"), ::testing::Not(HasSubstr("moved")));
}

TEST_F(Versions, AreChangedByACommandThatSaysExactlyWhat) {
    deploy({1, 2});
    start("o", 1);
    const Json command = move_command({.ids = {"o"}, .to_version = 2, .reason = "r"});
    EXPECT_EQ(move_command(parse_move_command(command)), command);
    const Moved moved = parse_moved(handle_command(house.engine(), command, "uid:7"));
    EXPECT_THAT(moved.ids, ElementsAre("o"));
    EXPECT_EQ(version_of("o"), "2");
    for (const Json& wrong :
         {Json{{"command", "move"}, {"ids", {"o"}}}, Json{{"command", "move"}, {"to_version", 2}},
          Json{{"command", "move"}, {"ids", {"o"}}, {"to_version", 0}},
          Json{{"command", "move"}, {"ids", {"o"}}, {"to_version", "2"}},
          Json{{"command", "move"}, {"ids", {"o"}}, {"to_version", 2}, {"all", true}}})
        EXPECT_THROW(handle_command(house.engine(), wrong, "uid:7"), std::invalid_argument)
            << wrong;
}

}  // namespace
}  // namespace steplog
