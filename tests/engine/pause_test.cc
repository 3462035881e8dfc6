// Pause: an instance, or all of a workflow, keeps its place and begins nothing until it is
// unpaused; whatever happens meanwhile is found then.
#include <gmock/gmock.h>

#include "engine/inspect.h"
#include "tests/engine/house.h"

namespace steplog {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::House;
using Kind = OperateRequest::Kind;

class Pause : public ::testing::Test {
  protected:
    Pause() {
        house.add("w", [this](Context& ctx, const Json&) {
            ctx.step("a", [&](const Attempt&) {
                if (within_a) within_a();
            });
            ctx.step("b", [](const Attempt&) {});
            return Json();
        });
        house.add("retries", [this](Context& ctx, const Json&) {
            ctx.step("a", [this](const Attempt&) {
                if (refuses)
                    throw RetryableError(
                        "no",
                        {.code = "no", .outcome = Outcome::refused, .retry_after = Ms(10'000)});
            });
            return Json();
        });
        house.add("sleeps", [](Context& ctx, const Json&) {
            ctx.sleep_for("nap", Ms(10'000));
            ctx.step("a", [](const Attempt&) {});
            return Json();
        });
        house.add("waits", [](Context& ctx, const Json&) {
            const auto letter = ctx.wait_for<Json>("letter", {.timeout = Ms(10'000)});
            return letter ? *letter : Json("no letter");
        });
        house.add("sticks", [](Context& ctx, const Json&) -> Json { ctx.stuck("odd", "is odd"); });
    }
    Operated operate(Kind kind, const std::string& id, const std::string& reason = "") {
        return house.engine().operate(
            {.kind = kind, .ids = {id}, .actor = "uid:7", .reason = reason});
    }
    std::string refused(Kind kind, const std::string& id) {
        const Operated operated = operate(kind, id);
        return operated.skipped.empty() ? "" : operated.skipped.front().reason;
    }
    std::string why(const std::string& id) {
        house.store().flush();
        return Inspector(house.database(), house.clock).why(id).explanation.sentence;
    }
    std::string output(const std::string& id) {
        return house.sql(
            "SELECT body FROM payloads WHERE id=(SELECT output_payload FROM instances WHERE id='" +
            id + "')");
    }
    void let_pass(Ms span) {
        house.clock.advance(span);
        house.engine().run_until_idle();
    }
    void expect_whole() {
        house.store().flush();
        Inspector inspector(house.database(), house.clock);
        for (const Check& check : inspector.check().checks)
            EXPECT_EQ(check.broken, 0) << check.name << ": " << check.examples.front();
    }

    House house;
    bool refuses = true;
    std::function<void()> within_a;
};

TEST_F(Pause, BeginsNothingAndKeepsItsPlaceThroughARestart) {
    house.start("i", "w");
    EXPECT_THAT(operate(Kind::pause, "i", "ticket 7").ids, ElementsAre("i"));
    EXPECT_EQ(house.state("i"), "sleeping");
    EXPECT_EQ(house.sql("SELECT actor||' '||action||' '||detail FROM audit"),
              R"(uid:7 pause {"reason":"ticket 7","was":"pending"})");
    house.restart();
    let_pass(std::chrono::hours(24 * 30));
    EXPECT_EQ(house.log("i"), "");
    EXPECT_THAT(why("i"), HasSubstr("by uid:7: ticket 7"));
    EXPECT_THAT(why("i"), HasSubstr("workflow-admin unpause i"));
    expect_whole();
    EXPECT_THAT(operate(Kind::unpause, "i").ids, ElementsAre("i"));
    house.engine().run_until_idle();
    EXPECT_EQ(house.log("i"), "started a, completed a, started b, completed b");
    EXPECT_EQ(house.state("i"), "completed");
}

TEST_F(Pause, OfARunningOneComesBeforeItsNextStep) {
    Operated paused;
    within_a = [&] {
        paused = operate(Kind::pause, "i");
        EXPECT_THAT(why("i"), HasSubstr("stops before it begins another step"));
    };
    house.start("i", "w");
    house.engine().run_until_idle();
    EXPECT_THAT(paused.requested, ElementsAre("i"));
    EXPECT_EQ(house.log("i"), "started a, completed a");
    EXPECT_EQ(house.sql("SELECT state||' '||waits_for FROM instances"), "sleeping pause");
    operate(Kind::unpause, "i");
    house.engine().run_until_idle();
    EXPECT_EQ(house.log("i"), "started a, completed a, started b, completed b");
    expect_whole();
}

TEST_F(Pause, OfARunningOneMayBeTakenBack) {
    within_a = [&] {
        operate(Kind::pause, "i");
        EXPECT_THAT(operate(Kind::unpause, "i").ids, ElementsAre("i"));
    };
    house.start("i", "w");
    house.engine().run_until_idle();
    EXPECT_EQ(house.state("i"), "completed");
}

TEST_F(Pause, OfARunningOneOutlivesTheServer) {
    within_a = [&] {
        operate(Kind::pause, "i");
        house.store().flush();
        house.remember();
    };
    house.start("i", "w");
    house.engine().run_until_idle();
    within_a = {};
    house.die_as_remembered();
    house.engine().run_until_idle();
    EXPECT_EQ(house.sql("SELECT state||' '||waits_for||' '||deaths FROM instances"),
              "sleeping pause 1");
    EXPECT_EQ(house.log("i"), "started a");
    operate(Kind::unpause, "i");
    house.run_to_the_end();
    EXPECT_EQ(house.state("i"), "completed");
    expect_whole();
}

TEST_F(Pause, DoesNotBringANextAttemptForward) {
    house.start("i", "retries");
    house.engine().run_until_idle();
    operate(Kind::pause, "i");
    let_pass(Ms(4'000));
    operate(Kind::unpause, "i");
    EXPECT_EQ(house.sql("SELECT state||' '||waits_for FROM instances"), "sleeping retry");
    let_pass(Ms(5'999));
    EXPECT_EQ(house.log("i"), "started a, retried a");
    refuses = false;
    let_pass(Ms(1));
    EXPECT_EQ(house.state("i"), "completed");
}

TEST_F(Pause, ATimerThatPassesMeanwhileFiresWhenItIsUnpaused) {
    house.start("i", "sleeps");
    house.engine().run_until_idle();
    operate(Kind::pause, "i");
    let_pass(Ms(60'000));
    EXPECT_EQ(house.log("i"), "timer nap");
    operate(Kind::unpause, "i");
    house.engine().run_until_idle();
    EXPECT_EQ(house.state("i"), "completed");
}

TEST_F(Pause, WhatArrivesMeanwhileIsFound) {
    house.start("i", "waits");
    house.start("j", "waits");
    house.engine().run_until_idle();
    operate(Kind::pause, "i");
    operate(Kind::pause, "j");
    house.engine().signal({.instance = "i", .name = "letter", .payload = "\"dear\""});
    let_pass(Ms(60'000));
    EXPECT_EQ(house.state("i"), "sleeping");
    operate(Kind::unpause, "i");
    operate(Kind::unpause, "j");
    house.engine().run_until_idle();
    EXPECT_EQ(output("i"), "\"dear\"");
    EXPECT_EQ(output("j"), "\"no letter\"");
    expect_whole();
}

TEST_F(Pause, OfAQueuedOneTakesItsTurnAndStops) {
    house.start("first", "sleeps", {}, "key");
    house.start("second", "w", {}, "key");
    house.engine().run_until_idle();
    operate(Kind::pause, "second");
    EXPECT_EQ(house.state("second"), "queued");
    EXPECT_THAT(why("second"), HasSubstr("stops when its turn comes"));
    house.run_to_the_end();
    EXPECT_EQ(house.state("first"), "completed");
    EXPECT_EQ(house.sql("SELECT state||' '||holds_key FROM instances WHERE id='second'"),
              "sleeping 1");
    expect_whole();
    operate(Kind::unpause, "second");
    house.engine().run_until_idle();
    EXPECT_EQ(house.state("second"), "completed");
}

TEST_F(Pause, OfAWorkflowHoldsAllOfItAndNothingElse) {
    house.start("old", "w");
    EXPECT_THAT(operate(Kind::pause_workflow, "w", "ticket 7").ids, ElementsAre("w"));
    house.start("new", "w");
    house.start("other", "sticks");
    EXPECT_THAT(why("new"), HasSubstr("its workflow was paused"));
    house.engine().run_until_idle();
    house.restart();
    house.start("after the restart", "w");
    let_pass(std::chrono::hours(1));
    EXPECT_EQ(house.sql("SELECT count(*) FROM entries WHERE step<>''"), "0");
    EXPECT_EQ(house.state("other"), "stuck");
    EXPECT_THAT(why("old"), HasSubstr("because its workflow is"));
    {
        house.store().flush();
        const Stats stats = Inspector(house.database(), house.clock).stats();
        ASSERT_EQ(stats.paused_workflows.size(), 1u);
        EXPECT_EQ(stats.paused_workflows[0].workflow, "w");
        EXPECT_EQ(stats.paused_workflows[0].held, 3);
        EXPECT_EQ(stats.paused, 0);
    }
    expect_whole();
    EXPECT_THAT(operate(Kind::unpause_workflow, "w").ids, ElementsAre("w"));
    house.engine().run_until_idle();
    EXPECT_EQ(house.sql("SELECT count(*) FROM instances WHERE state='completed'"), "3");
}

TEST_F(Pause, OfAWorkflowLetsOthersPassThatWereDueLater) {
    operate(Kind::pause_workflow, "w");
    for (int i = 0; i < 50; ++i) house.start("w/" + std::to_string(i), "w");
    house.start("other", "sticks");
    const ClaimResult result = house.store().claim({.limit = 2}).get();
    ASSERT_EQ(result.claimed.size(), 1u);
    EXPECT_EQ(result.claimed[0].id, "other");
}

TEST_F(Pause, OfOneOutlastsThatOfItsWorkflow) {
    house.start("i", "w");
    operate(Kind::pause_workflow, "w");
    house.engine().run_until_idle();
    EXPECT_THAT(refused(Kind::unpause, "i"), HasSubstr("unpause --workflow w"));
    EXPECT_EQ(refused(Kind::pause, "i"), "");
    operate(Kind::unpause_workflow, "w");
    house.engine().run_until_idle();
    EXPECT_EQ(house.log("i"), "");
    operate(Kind::unpause, "i");
    house.engine().run_until_idle();
    EXPECT_EQ(house.state("i"), "completed");
}

TEST_F(Pause, RefusesWithAReason) {
    house.start("stuck", "sticks");
    house.start("done", "w");
    house.engine().run_until_idle();
    house.start("i", "w");
    EXPECT_EQ(refused(Kind::pause, "none"), "not found");
    EXPECT_THAT(refused(Kind::pause, "stuck"), HasSubstr("until a person resumes it"));
    EXPECT_EQ(refused(Kind::pause, "done"), "completed: it has ended");
    EXPECT_EQ(refused(Kind::unpause, "i"), "pending: it is not paused");
    operate(Kind::pause, "i");
    EXPECT_EQ(refused(Kind::pause, "i"), "it is paused already");
    operate(Kind::pause_workflow, "w");
    EXPECT_EQ(refused(Kind::pause_workflow, "w"), "it is paused already");
    EXPECT_EQ(refused(Kind::unpause_workflow, "sleeps"), "it is not paused");
}

TEST_F(Pause, IsNotUndoneByAResumeAndEndsWithACancel) {
    house.start("i", "retries");
    house.engine().run_until_idle();
    operate(Kind::pause, "i");
    EXPECT_THAT(house.resume("i").skipped.at(0).reason, HasSubstr("unpause lets it go on"));
    EXPECT_TRUE(house.engine().resume({.actor = "uid:7"}).ids.empty());
    EXPECT_THAT(house.store().resume({.ids = {"i"}, .retry_now = true}).get().skipped.at(0).reason,
                HasSubstr("unpause lets it go on"));
    EXPECT_THAT(house.engine().cancel({.ids = {"i"}}).ids, ElementsAre("i"));
    EXPECT_EQ(house.state("i"), "cancelled");
    expect_whole();
}

// Found by thought: whoever is asked to end must not wait to be unpaused.
TEST_F(Pause, OfARunningOneYieldsToACancel) {
    within_a = [&] {
        operate(Kind::pause, "i");
        house.engine().cancel({.ids = {"i"}});
    };
    house.start("i", "w");
    house.engine().run_until_idle();
    EXPECT_EQ(house.state("i"), "cancelled");
    expect_whole();
}

}  // namespace
}  // namespace steplog
