// workflow-admin's verbs for many: by filters, planned, confirmed, in lots.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/commands.h"
#include "engine/control.h"
#include "tests/tools/shop.h"
#include "tests/tools/terminal.h"

namespace steplog::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class Bulk : public ::testing::Test {
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
    std::unique_ptr<ControlServer> serve(std::function<void()> before_it_obeys = {}) {
        return std::make_unique<ControlServer>(control_socket_path(shop.database()),
                                               [this, before = std::move(before_it_obeys)](
                                                   const Json& command, const std::string& actor) {
                                                   if (before) before();
                                                   return handle_command(shop.house.engine(),
                                                                         command, actor);
                                               });
    }
    // Two steps that can be taken back, one that cannot, and a wait.
    void add_trip() {
        shop.house.add("trip", [](Context& ctx, const Json&) {
            const auto nothing = [](const Json&, const Attempt&) {};
            ctx.step("book_train", {.provider = "railway", .undo = undo<Json>(nothing)},
                     [](const Attempt&) { return Json(1); });
            ctx.step("look", {.provider = "guide"}, [](const Attempt&) { return Json(2); });
            ctx.step("book_hotel", {.provider = "agency", .undo = undo<Json>(nothing)},
                     [](const Attempt&) { return Json(3); });
            ctx.wait_for<Json>("weather");
            return Json();
        });
        shop.house.restart();
        shop.house.start("trip/1", "trip");
        shop.house.engine().run_until_idle();
    }

    Shop shop;
};

TEST_F(Bulk, CancelsAllThatMatchWithTheServerStopped) {
    shop.close();
    const Json done = json({"cancel", "--all", "--state", "stuck", "--error-code", "odd_order",
                            "--reason", "ticket 7", "--yes"});
    EXPECT_EQ(done.at("ids"), Json({"order/evt_odd"}));
    EXPECT_EQ(done.at("skipped"), Json::array());
    EXPECT_EQ(shop.house.state("order/evt_lost"), "stuck");
    EXPECT_EQ(shop.house.sql("SELECT json_extract(detail,'$.reason') FROM audit"), "ticket 7");
    shop.close();
    EXPECT_EQ(json({"cancel", "--all", "--yes"}).at("cancelled"), 3)
        << "stuck, sleeping and waiting for a worker: all that had not ended";
    EXPECT_EQ(shop.house.sql("SELECT count(*) FROM instances WHERE finished_at_ms IS NULL"), "0");
    EXPECT_EQ(shop.house.sql("SELECT count(*) FROM owners WHERE program='workflow-admin'"), "2")
        << "it opens the database once, however many lots there are";
    EXPECT_EQ(shop.inspect({"check"}).exit.code, 0);
    shop.close();
    EXPECT_EQ(json({"cancel", "--all", "--yes"}).at("cancelled"), 0) << "nothing to do is no error";
}

TEST_F(Bulk, ObeysItsFiltersThroughTheRunningServer) {
    const auto server = serve();
    for (const auto& [option, value] :
         std::vector<std::pair<std::string, std::string>>{{"--workflow", "other"},
                                                          {"--step", "reserve"},
                                                          {"--error-code", "x"},
                                                          {"--state", "waiting"},
                                                          {"--older-than", "36500d"}})
        EXPECT_EQ(json({"kill", "--all", "--yes", option, value}).at("cancelled"), 0) << option;
    EXPECT_EQ(json({"kill", "--all", "--yes", "--limit", "1"}).at("ids"), Json({"order/evt_odd"}))
        << "the oldest first";
    EXPECT_EQ(json({"kill", "--all", "--yes", "--step", "pay", "--state", "sleeping"}).at("ids"),
              Json({"order/evt_down"}));
    EXPECT_EQ(shop.house.state("order/evt_lost"), "stuck");
}

TEST_F(Bulk, RetriesWhatSleepsBetweenAttempts) {
    add_trip();
    shop.close();
    EXPECT_EQ(json({"retry-now", "--all", "--plan"}).at("calls_by_provider"), Json({{"bank", 1}}));
    const Json done = json({"retry-now", "--all", "--yes"});
    EXPECT_EQ(done.at("ids"), Json({"order/evt_down"}));
    EXPECT_EQ(done.at("skipped"), Json::array());
    EXPECT_EQ(admin({"retry-now", "--all", "--state", "stuck"}).exit.code, 2);
}

TEST_F(Bulk, RetriesNothingThatABreakerHoldsBack) {
    shop.house.store()
        .change_provider({.kind = ProviderChange::Kind::pause, .provider = "stock"})
        .get();
    shop.accept("evt_parked", "", "cus_7");
    shop.run_for(Ms(1));
    shop.close();
    EXPECT_EQ(json({"retry-now", "--all", "--yes"}).at("ids"), Json({"order/evt_down"}));
    EXPECT_EQ(json({"retry-now", "evt_parked"}, 1).at("retried"), 0);
    EXPECT_EQ(shop.house.sql("SELECT state||' '||waits_for FROM instances WHERE "
                             "id='order/evt_parked'"),
              "sleeping circuit");
}

TEST_F(Bulk, MovesTheInstancesOfOneWorkflow) {
    shop.close();
    EXPECT_THAT(admin({"move", "--all", "--to-version", "2", "--yes"}).errors,
                HasSubstr("--workflow"));
    EXPECT_EQ(admin({"move", "--all", "--to-version", "2", "--yes"}).exit.code, 2);
    EXPECT_EQ(json({"move", "--all", "--workflow", "order", "--to-version", "2", "--plan"})
                  .at("would_move"),
              4);
    const Json done = json({"move", "--all", "--workflow", "order", "--to-version", "2", "--yes"});
    EXPECT_EQ(done.at("moved"), 4);
    EXPECT_EQ(shop.house.sql("SELECT count(*) FROM instances WHERE version=2"), "4");
    EXPECT_EQ(
        json({"move", "--all", "--workflow", "order", "--to-version", "2", "--yes"}).at("moved"),
        0);
}

TEST_F(Bulk, PlansWhatWouldBeTakenBackAndChangesNothing) {
    add_trip();
    shop.close();
    const std::string before = file_text(shop.database());
    const Json plan = json({"cancel", "--all", "--workflow", "trip", "--plan"});
    EXPECT_EQ(plan.at("would_cancel"), 1);
    EXPECT_EQ(plan.at("cancelled"), 0);
    const Json& calls = plan.at("instances").at(0).at("calls");
    ASSERT_EQ(calls.size(), 2u);
    EXPECT_EQ(calls.at(0).at("step"), "undo book_hotel");
    EXPECT_EQ(calls.at(0).at("provider"), "agency");
    EXPECT_EQ(calls.at(1).at("step"), "undo book_train");
    EXPECT_THAT(admin({"cancel", "evt_odd", "evt_done", "--plan"}).output,
                AllOf(HasSubstr("would cancel 1 instance; nothing was changed\n"),
                      HasSubstr("nothing to take back"),
                      HasSubstr("would skip 1:\n  order/evt_done  completed")));
    EXPECT_THAT(admin({"kill", "trip/1", "--plan"}).output,
                AllOf(HasSubstr("would kill 1 instance"), Not(HasSubstr("undo"))));
    EXPECT_EQ(admin({"cancel", "evt_none", "--plan"}).exit.code, 1);
    EXPECT_EQ(file_text(shop.database()), before);
}

TEST_F(Bulk, WantsAYes) {
    shop.close();
    const std::string before = file_text(shop.database());
    const Finished refused = admin({"kill", "--all"});
    EXPECT_EQ(refused.exit.code, 1);
    EXPECT_THAT(refused.errors, HasSubstr("a bulk kill wants a yes: look with --plan"));
    const std::vector<std::string> all = {std::string(STEPLOG_BIN_DIR) + "/workflow-admin",
                                          "cancel", "--all", "--database", shop.database()};
    const OnTerminal no = run_on_terminal(all, {}, "n\n");
    EXPECT_EQ(no.code, 1);
    EXPECT_THAT(no.output,
                AllOf(HasSubstr("Cancel 4 instances? [y/N]"), HasSubstr("nothing was cancelled")));
    EXPECT_EQ(file_text(shop.database()), before);
    EXPECT_THAT(run_on_terminal(all, {}, "y\n").output, HasSubstr("cancelled 4 instances"));
}

// A bulk of thousands takes its time, and a person or a worker is faster.
TEST_F(Bulk, LeavesAloneWhatDoesNotMatchAnyMore) {
    shop.house.add("idle", [](Context& ctx, const Json&) {
        ctx.stuck("odd", "somebody must look");
        return Json();
    });
    shop.house.restart();
    for (int i = 0; i < 201; ++i) shop.house.start("idle/" + std::to_string(i), "idle");
    shop.house.engine().run_until_idle();
    const auto server = serve(
        [this] { shop.house.store().resume({.ids = {"idle/200"}, .actor = "somebody"}).get(); });
    const Json done = json({"cancel", "--all", "--workflow", "idle", "--state", "stuck", "--yes"});
    EXPECT_EQ(done.at("cancelled"), 200);
    EXPECT_EQ(shop.house.state("idle/200"), "pending") << "resumed while the first lot was ended";
}

TEST_F(Bulk, EndsWithTwoForWrongUsage) {
    for (const std::vector<std::string>& wrong :
         std::vector<std::vector<std::string>>{{"cancel"},
                                               {"cancel", "--yes"},
                                               {"cancel", "evt_odd", "--all"},
                                               {"cancel", "evt_odd", "--state", "stuck"},
                                               {"cancel", "--all", "--state", "completed"},
                                               {"kill", "--all", "--older-than", "1"},
                                               {"kill", "--all", "--limit", "0"},
                                               {"retry-now", "--all", "--rate", "fast"}}) {
        const Finished done = admin(wrong);
        EXPECT_EQ(done.exit.code, 2) << done.errors;
        EXPECT_THAT(done.errors, HasSubstr("--help"));
    }
}

TEST_F(Bulk, SaysThatARateNeedsAServer) {
    shop.close();
    const Finished done = admin({"cancel", "--all", "--rate", "1/s", "--yes"});
    EXPECT_EQ(done.exit.code, 0);
    EXPECT_THAT(done.errors, HasSubstr("--rate needs a server"));
}

}  // namespace
}  // namespace steplog::testing
