// What a signal promises: it is kept from when it was sent until a wait takes it, each is taken
// once, and a wait ends by a signal or by its time-out and, on replay, by the same one again.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/commands.h"
#include "engine/inspect.h"
#include "tests/engine/house.h"

namespace steplog {
namespace {

using std::chrono::hours;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::House;

// An order that somebody must approve.
class Approval : public ::testing::Test {
  protected:
    Approval() {
        house.add("approval", [this](Context& ctx, const Json&) {
            ctx.step("ask", [this](const Attempt&) { ++asked; });
            const auto by = ctx.wait_for<std::string>("approved", {.timeout = timeout});
            answers.push_back(by.value_or("nobody"));
            ctx.step("ship", [this](const Attempt&) { ++shipped; });
            return Json(by.value_or("nobody"));
        });
    }
    void begin() {
        house.start("o", "approval");
        house.engine().run_until_idle();
    }
    Signalled send(const std::string& name, const Json& payload, const std::string& id = "") {
        return house.engine().signal(
            {.instance = "o", .name = name, .payload = payload.dump(), .dedupe_id = id});
    }

    House house;
    const std::int64_t start_ms = house.clock.now_ms();
    std::optional<Ms> timeout = hours(48);
    int asked = 0, shipped = 0;
    std::vector<std::string> answers;
};

TEST_F(Approval, WaitsInARowAndGoesOnWithWhatTheSignalBrought) {
    begin();
    EXPECT_EQ(house.state("o"), "waiting");
    EXPECT_EQ(house.sql("SELECT waits_for || ' ' || waits_detail || ' ' || step FROM instances"),
              "signal approved approved");
    EXPECT_EQ(house.engine().next_due_ms(), start_ms + timeout->count());
    EXPECT_EQ(send("approved", "ada").refused, "");
    house.engine().run_until_idle();
    EXPECT_EQ(house.state("o"), "completed");
    EXPECT_THAT(answers, ElementsAre("ada"));
    EXPECT_EQ(asked, 1);
    EXPECT_EQ(house.log("o"),
              "started ask, completed ask, signal approved, signal, signal approved, started ship, "
              "completed ship");
    EXPECT_EQ(house.sql("SELECT count(*) FROM signals"), "0");
}

TEST_F(Approval, TakesASignalThatArrivedBeforeItWaits) {
    house.start("o", "approval");
    send("approved", "ada");
    house.run_to_the_end();
    EXPECT_EQ(house.clock.now_ms(), start_ms);
    EXPECT_THAT(answers, ElementsAre("ada"));
}

TEST_F(Approval, IsLeftAloneByOtherSignals) {
    begin();
    send("refused", "ada");
    EXPECT_EQ(house.engine().run_until_idle(), 0);
    EXPECT_EQ(house.state("o"), "waiting");
}

TEST_F(Approval, EndsWithNothingWhenItsTimeHasPassedAndNotBefore) {
    begin();
    house.clock.set_ms(start_ms + timeout->count() - 1);
    EXPECT_EQ(house.engine().run_until_idle(), 0);
    house.clock.set_ms(start_ms + timeout->count());
    house.engine().run_until_idle();
    EXPECT_THAT(answers, ElementsAre("nobody"));
    EXPECT_EQ(house.state("o"), "completed");
    EXPECT_EQ(send("approved", "ada").refused, "completed: it has ended");
}

TEST_F(Approval, KeepsTheTimeOutThatItBeganWith) {
    begin();
    timeout = hours(1);
    house.restart();
    EXPECT_EQ(house.engine().next_due_ms(), start_ms + hours(48) / Ms(1));
}

TEST_F(Approval, PrefersASignalThatCameWithTheEndOfItsTime) {
    begin();
    house.clock.set_ms(start_ms + timeout->count());
    send("approved", "ada");
    house.engine().run_until_idle();
    EXPECT_THAT(answers, ElementsAre("ada"));
}

TEST_F(Approval, StaysTimedOutWhateverArrivesLater) {
    begin();
    house.clock.set_ms(start_ms + timeout->count());
    house.workflows.clear();
    int tries = 0;
    house.add("approval", [&](Context& ctx, const Json&) {
        ctx.step("ask", [](const Attempt&) {});
        answers.push_back(ctx.wait_for<std::string>("approved", {}).value_or("nobody"));
        ctx.step("ship", [&](const Attempt&) {
            if (++tries == 1) throw RetryableError("busy", {.outcome = Outcome::refused});
        });
        return Json();
    });
    house.restart();
    house.engine().run_until_idle();
    send("approved", "ada");
    house.run_to_the_end();
    EXPECT_THAT(answers, ElementsAre("nobody", "nobody"));
}

TEST_F(Approval, AnswersFromTheLogOnReplayAlsoAfterADeath) {
    timeout.reset();
    begin();
    send("approved", "ada");
    house.remember();
    house.engine().run_until_idle();
    house.die_as_remembered();
    house.run_to_the_end();
    EXPECT_THAT(answers, ElementsAre("ada", "ada"));
    EXPECT_EQ(house.state("o"), "completed");
    EXPECT_EQ(asked, 1);
}

TEST_F(Approval, FoldsWhatItsSenderSendsAgain) {
    begin();
    EXPECT_FALSE(send("approved", "ada", "click-1").duplicate);
    EXPECT_TRUE(send("approved", "ada", "click-1").duplicate);
    house.clock.advance(Ms(1));
    EXPECT_EQ(house.sql("SELECT count(*) FROM entries WHERE kind='signal' AND step=''"), "1");
}

TEST_F(Approval, IsCancelledWhileItWaits) {
    begin();
    house.engine().cancel({.ids = {"o"}, .actor = "test"});
    EXPECT_EQ(house.state("o"), "cancelled");
    EXPECT_EQ(send("approved", "ada").refused, "cancelled: it has ended");
}

TEST_F(Approval, IsStuckWhereTheSignalIsNotWhatTheCodeExpects) {
    begin();
    send("approved", {{"by", "ada"}});
    house.engine().run_until_idle();
    EXPECT_EQ(house.error_code("o"), "undecodable_result");
}

TEST_F(Approval, TellsWhyItWaits) {
    begin();
    Inspector inspector(house.database(), house.clock);
    EXPECT_THAT(inspector.why("o").explanation.sentence,
                HasSubstr("waits since 2026-01-01T00:00:00.000Z (0 s) for the signal approved"));
    EXPECT_THAT(inspector.why("o").explanation.sentence,
                HasSubstr("workflow-admin signal o approved"));
}

TEST_F(Approval, IsCalledForNobodyWhenASignalIsDamaged) {
    begin();
    send("approved", "ada");
    house.damage("UPDATE payloads SET body=x'2265766522' WHERE id=(SELECT payload FROM signals)");
    house.run_to_the_end();
    EXPECT_EQ(house.error_code("o"), "log_damaged");
    EXPECT_EQ(shipped, 0);
}

TEST_F(Approval, LeavesNoSignalBehindWhenPurged) {
    begin();
    send("approved", "ada", "click-1");
    send("other", "unread");
    house.engine().run_until_idle();
    EXPECT_EQ(house.sql("SELECT count(*) FROM signals"), "2");
    house.clock.advance(hours(1));
    house.store().purge({.older_than = Ms(1)}).get();
    EXPECT_EQ(house.sql("SELECT count(*) FROM signals"), "0");
    EXPECT_EQ(house.sql("SELECT count(*) FROM payloads"), "0");
}

TEST(Signal, GivesEachWaitTheOldestThatNobodyTook) {
    House house;
    std::vector<int> got;
    house.add("w", [&](Context& ctx, const Json&) {
        got.clear();
        for (int i = 0; i < 3; ++i)
            got.push_back(*ctx.wait_for<int>("item/" + std::to_string(i), {.signal = "item"}));
        return Json();
    });
    house.start("o", "w");
    for (int i = 1; i <= 3; ++i) {
        house.engine().signal({.instance = "o", .name = "item", .payload = std::to_string(i)});
        if (i != 1) house.engine().run_until_idle();
    }
    EXPECT_THAT(got, ElementsAre(1, 2, 3));
    EXPECT_EQ(house.state("o"), "completed");
}

TEST(Signal, GivesEveryWaitTheFirstWhereThePolicySaysSo) {
    House house;
    std::vector<int> got;
    house.add("w", [&](Context& ctx, const Json&) {
        got.clear();
        for (const char* name : {"a", "b"})
            got.push_back(
                *ctx.wait_for<int>(name, {.signal = "item", .policy = SignalPolicy::first}));
        return Json();
    });
    house.start("o", "w");
    for (int i = 1; i <= 2; ++i)
        house.engine().signal({.instance = "o", .name = "item", .payload = std::to_string(i)});
    house.engine().run_until_idle();
    EXPECT_THAT(got, ElementsAre(1, 1));
}

TEST(Signal, ReachesAnInstanceThatRuns) {
    House house;
    std::string got;
    house.add("w", [&](Context& ctx, const Json&) {
        ctx.step("a", [&](const Attempt&) {
            house.store().signal({.instance = "o", .name = "go", .payload = "\"now\""}).get();
        });
        got = ctx.wait_for<std::string>("go").value_or("");
        return Json();
    });
    house.start("o", "w");
    house.engine().run_until_idle();
    EXPECT_EQ(got, "now");
    EXPECT_EQ(house.state("o"), "completed");
}

TEST(Signal, IsRefusedWhereNobodyCanTakeIt) {
    House house;
    EXPECT_EQ(house.engine().signal({.instance = "x", .name = "go"}).refused, "not found");
    EXPECT_THROW(house.store().signal({.instance = "x", .name = ""}).get(), StoreError);
    EXPECT_THROW(house.store().signal({.instance = "x", .name = "go", .payload = "{"}).get(),
                 StoreError);
    EXPECT_THROW(house.store()
                     .signal({.instance = "x",
                              .name = "go",
                              .payload = Json(std::string(signal_bytes_max, 'x')).dump()})
                     .get(),
                 StoreError);
}

TEST(Signal, IsRefusedWhenTooManyWait) {
    House house;
    house.add("w", [](Context& ctx, const Json&) {
        ctx.wait_for("never");
        return Json();
    });
    house.start("o", "w");
    for (int i = 0; i < signals_waiting_max; ++i)
        ASSERT_EQ(house.store().signal({.instance = "o", .name = "go"}).get().refused, "");
    EXPECT_EQ(house.store().signal({.instance = "o", .name = "go"}).get().refused,
              "1000 signals wait for it already");
}

TEST(Signal, OfAPersonIsAudited) {
    House house;
    house.add("w", [](Context& ctx, const Json&) {
        ctx.wait_for("go");
        return Json();
    });
    house.start("o", "w");
    house.engine().run_until_idle();
    const Json command = signal_command(
        {.instance = "o", .name = "go", .payload = "{\"secret\":1}", .reason = "ticket 7"});
    EXPECT_EQ(parse_signal_command(command).payload, "{\"secret\":1}");
    EXPECT_EQ(parse_signalled(handle_command(house.engine(), command, "uid:1000")).refused, "");
    EXPECT_EQ(
        house.sql("SELECT actor || ' ' || action || ' ' || target || ' ' || detail FROM audit"),
        R"(uid:1000 signal o {"reason":"ticket 7","signal":"go","was":"waiting"})");
    EXPECT_THROW(parse_signal_command({{"command", "signal"}, {"name", "go"}}),
                 std::invalid_argument);
}

}  // namespace
}  // namespace steplog
