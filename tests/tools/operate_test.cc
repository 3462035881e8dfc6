// workflow-admin pause, unpause, edit and fork, with the server up and down, and what
// workflow-inspect says of it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/commands.h"
#include "engine/control.h"
#include "tests/tools/shop.h"

namespace steplog::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class OperateProgram : public ::testing::Test {
  protected:
    Finished admin(std::vector<std::string> arguments) {
        return run_tool("workflow-admin", std::move(arguments),
                        {{"STEPLOG_DATABASE", shop.database()}});
    }
    Json json(std::vector<std::string> arguments, int code = 0) {
        arguments.push_back("--json");
        const Finished done = admin(std::move(arguments));
        EXPECT_EQ(done.exit.code, code) << done.errors;
        return Json::parse(done.output, nullptr, false);
    }
    std::unique_ptr<ControlServer> serve() {
        return std::make_unique<ControlServer>(
            control_socket_path(shop.database()),
            [this](const Json& command, const std::string& actor) {
                return handle_command(shop.house.engine(), command, actor);
            });
    }
    std::string state(const std::string& id) { return shop.house.state("order/" + id); }

    Shop shop;
    const std::string me = "uid:" + std::to_string(getuid());
};

TEST_F(OperateProgram, PausesInstancesWithTheServerStoppedAndLetsThemGo) {
    shop.close();
    const Finished done =
        admin({"pause", "evt_down", "evt_done", "--reason", "they asked us to wait"});
    EXPECT_EQ(done.exit.code, 0) << done.errors;
    EXPECT_EQ(done.output,
              "paused 1 instance\nskipped 1:\n  order/evt_done  completed: it has ended\n");
    EXPECT_EQ(shop.house.sql("SELECT actor||' '||action||' '||target FROM audit"),
              me + " pause order/evt_down");
    shop.house.run_to_the_end();
    EXPECT_EQ(state("evt_down"), "sleeping");
    shop.close();
    EXPECT_THAT(shop.inspect({"why", "evt_down"}).output,
                AllOf(HasSubstr("is paused at step pay"), HasSubstr(": they asked us to wait"),
                      HasSubstr("run: workflow-admin unpause order/evt_down")));
    EXPECT_THAT(shop.inspect({"list", "--state", "sleeping"}).output, HasSubstr("(pause)"));
    EXPECT_THAT(shop.inspect({"stats"}).output, HasSubstr("paused      1 instance one by one"));
    EXPECT_EQ(shop.inspect({"check"}).exit.code, 0);
    EXPECT_EQ(json({"unpause", "evt_down"}).at("unpaused"), 1);
    EXPECT_EQ(json({"unpause", "evt_down"}, 1).at("skipped").at(0).at("reason"),
              "sleeping: it is not paused");
    EXPECT_EQ(admin({"pause", "evt_none"}).exit.code, 1);
}

TEST_F(OperateProgram, PausesAWorkflowThroughTheRunningServer) {
    const auto server = serve();
    EXPECT_THAT(admin({"pause", "--workflow", "order", "--reason", "a mistake in it"}).output,
                HasSubstr("paused the workflow order"));
    EXPECT_THAT(admin({"pause", "--workflow", "order"}).errors, HasSubstr("paused already"));
    shop.accept("evt_new", "", "cus_9");
    shop.house.run_to_the_end();
    EXPECT_EQ(shop.house.log("order/evt_new"), "");
    shop.house.store().flush();
    EXPECT_THAT(shop.inspect({"stats"}).output, HasSubstr("order is paused"));
    EXPECT_EQ(Json::parse(shop.inspect({"stats", "--json"}).output)
                  .at("paused_workflows")
                  .at(0)
                  .at("workflow"),
              "order");
    EXPECT_THAT(shop.inspect({"why", "evt_new"}).output,
                HasSubstr("run: workflow-admin unpause --workflow order"));
    EXPECT_EQ(json({"unpause", "--workflow", "order"}),
              Json({{"workflow", "order"}, {"done", "unpause"}}));
    shop.house.run_to_the_end();
    EXPECT_EQ(state("evt_new"), "completed");
    const Finished unknown = admin({"pause", "--workflow", "odrer"});
    EXPECT_EQ(unknown.exit.code, 0);
    EXPECT_THAT(unknown.errors, HasSubstr("knows no instance of a workflow odrer"));
}

TEST_F(OperateProgram, EditsTheInputOfAStuckInstance) {
    shop.close();
    const std::string file = shop.database() + ".json";
    std::ofstream(file) << R"({"what":"two shoes"})";
    const Finished done = admin({"edit", "evt_odd", "--input", "@" + file, "--reason", "ticket 7"});
    EXPECT_EQ(done.exit.code, 0) << done.errors;
    EXPECT_EQ(done.output,
              "edited the input of order/evt_odd: to go on with it, run: "
              "workflow-resume order/evt_odd\n");
    EXPECT_THAT(shop.inspect({"show", "evt_odd"}).output, HasSubstr("two shoes"));
    EXPECT_EQ(json({"edit", "evt_down", "--input", "{}"}, 1).at("done"), false);
    EXPECT_THAT(admin({"edit", "evt_lost", "--input", "{}"}).errors, HasSubstr("in doubt"));
    EXPECT_EQ(shop.resume({"evt_odd"}).exit.code, 0);
    shop.house.run_to_the_end();
    EXPECT_EQ(state("evt_odd"), "completed");
    shop.close();
    EXPECT_EQ(shop.inspect({"check"}).exit.code, 0);
}

TEST_F(OperateProgram, ForksAnInstanceAtOneOfItsSteps) {
    shop.close();
    const std::string before = file_text(shop.database());
    EXPECT_THAT(
        admin({"fork", "evt_done", "--from", "pay", "--plan"}).output,
        AllOf(HasSubstr("would fork order/evt_done; nothing was changed"),
              HasSubstr("keeps the results of  reserve\n"),
              HasSubstr("calls again           pay\n"), HasSubstr("other idempotency keys")));
    EXPECT_EQ(json({"fork", "evt_done", "--from", "pay", "--plan"}).at("calls_anew"),
              Json({"pay"}));
    EXPECT_EQ(admin({"fork", "evt_done", "--from", "fly", "--plan"}).exit.code, 1);
    EXPECT_EQ(file_text(shop.database()), before);
    EXPECT_EQ(admin({"fork", "evt_done", "--from", "pay"}).output,
              "forked order/evt_done to order/evt_done/fork/1: it goes on at pay\n");
    EXPECT_EQ(json({"fork", "evt_odd", "--from", "pay", "--id", "order/again", "--cancel-old"})
                  .at("forked_to"),
              "order/again");
    EXPECT_THAT(admin({"fork", "evt_odd", "--from", "pay", "--id", "order/again"}).errors,
                HasSubstr("there is an instance order/again already"));
    shop.house.run_to_the_end();
    EXPECT_EQ(state("evt_done/fork/1"), "completed");
    EXPECT_EQ(state("evt_odd"), "cancelled");
    EXPECT_EQ(shop.house.sql("SELECT count(*) FROM audit WHERE action='fork'"), "2");
    shop.close();
    EXPECT_EQ(shop.inspect({"check"}).exit.code, 0);
}

TEST_F(OperateProgram, EndsWithTwoForWrongUsage) {
    for (const std::vector<std::string>& wrong : std::vector<std::vector<std::string>>{
             {"pause"},
             {"pause", "evt_odd", "--workflow", "order"},
             {"unpause", "--workflow", "order", "--provider", "bank"},
             {"edit", "evt_odd"},
             {"edit", "evt_odd", "--input", "{"},
             {"fork", "evt_odd"}}) {
        const Finished done = admin(wrong);
        EXPECT_EQ(done.exit.code, 2) << done.errors;
        EXPECT_THAT(done.errors, HasSubstr("--help"));
    }
}

}  // namespace
}  // namespace steplog::testing
