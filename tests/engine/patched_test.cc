// ctx.patched: an instance that comes to a patch for the first time gets the new code, one that had
// gone past it the old, and each for ever, wherever the process dies.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/inspect.h"
#include "tests/engine/house.h"

namespace steplog {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::House;

// Adds something to an order: a function of a workflow that can be exchanged, and what was done.
class Patch : public ::testing::Test {
  protected:
    using Function = std::function<void(Context&)>;

    void deploy(Function function) {
        house.workflows.clear();
        house.add("w", [function](Context& ctx, const Json&) {
            function(ctx);
            return Json();
        });
    }
    void redeploy(Function function) {
        deploy(std::move(function));
        house.restart();
    }
    void do_step(Context& ctx, const std::string& name) {
        ctx.step(name, [&](const Attempt&) {
            done.push_back(name);
            if (name == dies_at) house.remember();
            if (name == refused) throw RetryableError("busy", {.outcome = Outcome::refused});
        });
    }
    /// a, then the new or the old b, then c.
    Function new_code() {
        return [this](Context& ctx) {
            do_step(ctx, "a");
            do_step(ctx, ctx.patched("p") ? "new b" : "old b");
            do_step(ctx, "c");
        };
    }
    Function old_code() {
        return [this](Context& ctx) {
            do_step(ctx, "a");
            do_step(ctx, "old b");
            do_step(ctx, "c");
        };
    }
    void start() {
        house.start("i", "w");
        house.engine().run_until_idle();
    }

    House house;
    std::vector<std::string> done;
    std::string refused, dies_at;
};

TEST_F(Patch, IsInForceForWhatIsStartedUnderIt) {
    deploy(new_code());
    start();
    EXPECT_THAT(done, ElementsAre("a", "new b", "c"));
    EXPECT_EQ(house.log("i"),
              "started a, completed a, recorded p, started new b, completed new b, started c, "
              "completed c");
    EXPECT_TRUE(Inspector(house.database(), house.clock).check().holds());
}

TEST_F(Patch, IsInForceForWhatHasNotComeSoFar) {
    refused = "a";
    deploy(old_code());
    start();
    refused = "";
    redeploy(new_code());
    house.run_to_the_end();
    EXPECT_THAT(done, ElementsAre("a", "a", "new b", "c"));
}

TEST_F(Patch, IsInForceWhereTheOldCodeStoodJustBeforeIt) {
    deploy([this](Context& ctx) {
        do_step(ctx, "a");
        ctx.stuck("wait", "for the deploy");
    });
    start();
    redeploy(new_code());
    house.resume("i");
    house.run_to_the_end();
    EXPECT_THAT(done, ElementsAre("a", "new b", "c"));
}

TEST_F(Patch, IsNotInForceForWhatHasBegunTheStepBehindIt) {
    refused = "old b";
    deploy(old_code());
    start();
    refused = "";
    redeploy(new_code());
    house.run_to_the_end();
    EXPECT_THAT(done, ElementsAre("a", "old b", "old b", "c"));
    EXPECT_THAT(house.log("i"), ::testing::Not(HasSubstr("recorded")));
}

TEST_F(Patch, IsNotInForceForWhatHasFinishedTheStepBehindItHoweverOftenItIsAskedAgain) {
    refused = "c";
    deploy(old_code());
    start();
    redeploy(new_code());
    for (int i = 0; i < 3; ++i) {
        house.clock.set_ms(*house.engine().next_due_ms());
        house.engine().run_until_idle();
    }
    refused = "";
    house.run_to_the_end();
    EXPECT_EQ(house.state("i"), "completed");
    EXPECT_EQ(std::count(done.begin(), done.end(), "new b"), 0);
    EXPECT_EQ(std::count(done.begin(), done.end(), "old b"), 1);
}

TEST_F(Patch, IsNotInForceForWhatSleptWaitedStartedAChildOrTookAKeyBehindIt) {
    using Ahead = std::function<void(Context&)>;
    const std::vector<Ahead> ahead = {
        [](Context& ctx) { ctx.sleep_for("nap", std::chrono::hours(1)); },
        [](Context& ctx) { ctx.wait_for("word", {.timeout = std::chrono::hours(1)}); },
        [](Context& ctx) {
            ctx.start_child("kid", "nobody", {}, {.on_close = OnParentClose::abandon});
        },
        [](Context& ctx) { ctx.take_key("key"); },
    };
    for (const Ahead& past : ahead) {
        House here;
        bool in_force = true, deployed = false;
        here.add("w", [&](Context& ctx, const Json&) {
            if (deployed) in_force = ctx.patched("p");
            past(ctx);
            if (!deployed) ctx.stuck("wait", "for the deploy");
            return Json();
        });
        here.start("i", "w");
        here.engine().run_until_idle();
        here.clock.advance(std::chrono::hours(2));
        here.engine().run_until_idle();
        ASSERT_EQ(here.error_code("i"), "wait");
        deployed = true;
        here.resume("i");
        here.engine().run_until_idle();
        EXPECT_EQ(here.state("i"), "completed");
        EXPECT_FALSE(in_force) << here.log("i");
    }
}

TEST_F(Patch, StaysInForceWhereverTheProcessDies) {
    for (const char* death : {"a", "new b", "c"}) {
        House other;
        std::vector<std::string> effects;
        bool died = false;
        other.add("w", [&](Context& ctx, const Json&) {
            const auto step = [&](const std::string& name) {
                ctx.step(name, [&](const Attempt&) {
                    effects.push_back(name);
                    if (name == death && !died) other.remember();
                });
            };
            step("a");
            step(ctx.patched("p") ? "new b" : "old b");
            step("c");
            return Json();
        });
        other.start("i", "w");
        other.engine().run_until_idle();
        died = true;
        other.die_as_remembered();
        other.run_to_the_end();
        EXPECT_EQ(other.state("i"), "completed");
        EXPECT_EQ(std::count(effects.begin(), effects.end(), "old b"), 0) << death;
        EXPECT_EQ(other.sql("SELECT count(*) FROM entries WHERE kind='recorded'"), "1") << death;
    }
}

TEST_F(Patch, IsRecordedBeforeAnythingThatFollows) {
    dies_at = "new b";
    deploy(new_code());
    start();
    dies_at = "";
    house.die_as_remembered();
    EXPECT_EQ(house.log("i"), "started a, completed a, recorded p, started new b");
}

TEST_F(Patch, IsAnsweredAlikeHoweverOftenItIsAskedInOneCall) {
    std::vector<bool> answers;
    refused = "old b";
    deploy(old_code());
    start();
    refused = "";
    redeploy([&](Context& ctx) {
        do_step(ctx, "a");
        answers.push_back(ctx.patched("p"));
        do_step(ctx, "old b");
        answers.push_back(ctx.patched("p"));
        answers.push_back(ctx.patched("q"));
        answers.push_back(ctx.patched("q"));
    });
    house.run_to_the_end();
    EXPECT_THAT(answers, ElementsAre(false, false, true, true));
    EXPECT_EQ(house.sql("SELECT count(*) FROM entries WHERE kind='recorded'"), "1");
}

TEST_F(Patch, IsNotInForceBeforeAnOlderPatchThatWasMet) {
    refused = "new b";
    deploy(new_code());
    start();
    refused = "";
    bool in_force = true;
    redeploy([&](Context& ctx) {
        do_step(ctx, "a");
        in_force = ctx.patched("later, put before p");
        do_step(ctx, ctx.patched("p") ? "new b" : "old b");
    });
    house.run_to_the_end();
    EXPECT_FALSE(in_force);
    EXPECT_THAT(done, ElementsAre("a", "new b", "new b"));
}

TEST_F(Patch, IsInForceBehindAnOlderOneThatTheCodeHasDropped) {
    refused = "new b";
    deploy(new_code());
    start();
    refused = "";
    bool in_force = false;
    redeploy([&](Context& ctx) {
        do_step(ctx, "a");
        do_step(ctx, "new b");
        in_force = ctx.patched("q");
    });
    house.run_to_the_end();
    EXPECT_TRUE(in_force);
}

TEST_F(Patch, HasANameOfItsOwnAmongTheSteps) {
    deploy([&](Context& ctx) {
        if (ctx.patched("x")) do_step(ctx, "x");
    });
    start();
    EXPECT_EQ(house.state("i"), "completed");
    EXPECT_THAT(done, ElementsAre("x"));
}

TEST_F(Patch, IsNotAskedForInsideAStepOrWithoutAName) {
    deploy([](Context& ctx) { ctx.step("a", [&](const Attempt&) { ctx.patched("p"); }); });
    start();
    EXPECT_EQ(house.error_code("i"), "nested_step");
    House other;
    other.add("w", [](Context& ctx, const Json&) { return Json(ctx.patched("")); });
    other.start("i", "w");
    other.engine().run_until_idle();
    EXPECT_EQ(other.error_code("i"), "bad_step_name");
}

}  // namespace
}  // namespace steplog
