// What a sleep promises: it holds no thread, it ends when the wall clock has reached its time and
// never before, and it has been slept once, whatever happens to process and clock.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/inspect.h"
#include "tests/engine/house.h"

namespace steplog {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using ::testing::HasSubstr;
using testing::House;

// A trial of three days: welcomed, then, after it, billed.
class Trial : public ::testing::Test {
  protected:
    Trial() {
        house.add("trial", [this](Context& ctx, const Json&) {
            ctx.step("welcome", [this](const Attempt&) { ++welcomed; });
            if (until_ms)
                ctx.sleep_until("trial", *until_ms);
            else
                ctx.sleep_for("trial", length);
            ctx.step("bill", [this](const Attempt&) {
                billed_at_ms.push_back(house.clock.now_ms());
                if (trouble-- > 0) throw RetryableError("busy", {.outcome = Outcome::refused});
            });
            return Json();
        });
    }
    void begin() {
        house.start("t", "trial");
        house.engine().run_until_idle();
    }
    void at(Ms since_start) { house.clock.set_ms(start_ms + since_start.count()); }

    House house;
    const std::int64_t start_ms = house.clock.now_ms();
    Ms length = hours(72);
    std::optional<std::int64_t> until_ms;
    int welcomed = 0, trouble = 0;
    std::vector<std::int64_t> billed_at_ms;
};

TEST_F(Trial, SleepsInARowAndInNoThread) {
    begin();
    EXPECT_EQ(house.state("t"), "sleeping");
    EXPECT_EQ(house.log("t"), "started welcome, completed welcome, timer trial");
    EXPECT_EQ(house.sql("SELECT waits_for || ' ' || step || ' ' || due_at_ms FROM instances"),
              "timer trial " + std::to_string(start_ms + length.count()));
    EXPECT_EQ(house.sql("SELECT data FROM entries WHERE kind='timer'"),
              R"({"due_at_ms":)" + std::to_string(start_ms + length.count()) + "}");
    EXPECT_EQ(house.engine().next_due_ms(), start_ms + length.count());
}

TEST_F(Trial, GoesOnWhenItsTimeHasComeAndNeverBefore) {
    begin();
    at(length - Ms(1));
    EXPECT_EQ(house.engine().run_until_idle(), 0);
    EXPECT_TRUE(billed_at_ms.empty());
    at(length);
    EXPECT_EQ(house.engine().run_until_idle(), 1);
    EXPECT_EQ(billed_at_ms, std::vector{start_ms + length.count()});
    EXPECT_EQ(house.state("t"), "completed");
    EXPECT_EQ(welcomed, 1);
}

TEST_F(Trial, SleepsUntilATime) {
    until_ms = start_ms + 1234;
    begin();
    EXPECT_EQ(house.engine().next_due_ms(), start_ms + 1234);
    house.run_to_the_end();
    EXPECT_EQ(billed_at_ms, std::vector{start_ms + 1234});
}

TEST_F(Trial, DoesNotSleepUntilWhatIsPast) {
    until_ms = start_ms;
    begin();
    EXPECT_EQ(house.state("t"), "completed");
    EXPECT_EQ(house.log("t"),
              "started welcome, completed welcome, timer trial, started bill, completed bill");
}

TEST_F(Trial, HasNotToBeSleptAgainWhenAStepBehindItIsTriedAgain) {
    trouble = 2;
    begin();
    at(length);
    house.run_to_the_end();
    ASSERT_EQ(billed_at_ms.size(), 3u);
    EXPECT_LT(billed_at_ms.back(), start_ms + length.count() + 10'000);
    EXPECT_EQ(house.log("t"),
              "started welcome, completed welcome, timer trial, started bill, retried bill, "
              "started bill, retried bill, started bill, completed bill");
}

TEST_F(Trial, KeepsItsTimeThroughARestartAndAnotherDurationInTheCode) {
    begin();
    length = hours(1);
    house.restart();
    at(hours(71));
    EXPECT_EQ(house.engine().run_until_idle(), 0);
    at(hours(72));
    house.run_to_the_end();
    EXPECT_EQ(billed_at_ms, std::vector{start_ms + Ms(hours(72)).count()});
}

TEST_F(Trial, WakesAfterADowntimeAtOnce) {
    begin();
    house.remember();
    at(hours(100));
    house.die_as_remembered();
    EXPECT_EQ(house.engine().run_until_idle(), 1);
    EXPECT_EQ(billed_at_ms.size(), 1u);
}

TEST_F(Trial, WaitsForTheWallClockWhenThatIsSetBack) {
    begin();
    at(hours(71));
    at(hours(-24));
    EXPECT_EQ(house.engine().run_until_idle(), 0);
    at(hours(72) - Ms(1));
    EXPECT_EQ(house.engine().run_until_idle(), 0);
    at(hours(72));
    EXPECT_EQ(house.engine().run_until_idle(), 1);
}

TEST_F(Trial, IsOverForGoodEvenIfTheClockIsSetBackBehindIt) {
    trouble = 1;
    begin();
    at(hours(96));  // by mistake
    house.engine().run_until_idle();
    EXPECT_EQ(billed_at_ms.size(), 1u);
    at(hours(24));
    house.restart();
    house.run_to_the_end();
    EXPECT_EQ(billed_at_ms.size(), 2u) << "the second try of the same step";
    EXPECT_EQ(house.state("t"), "completed");
    EXPECT_EQ(house.sql("SELECT count(*) FROM entries WHERE kind='timer'"), "1");
}

TEST_F(Trial, IsExplained) {
    begin();
    const auto why = Inspector(house.database(), house.clock).why("t").explanation;
    EXPECT_THAT(why.sentence, HasSubstr("sleeps at step trial since"));
    EXPECT_THAT(why.sentence, HasSubstr("because its workflow wants to wait"));
    EXPECT_EQ(why.next_at_ms, start_ms + length.count());
}

TEST_F(Trial, IsNotCutShortByAResume) {
    begin();
    const Resumed resumed = house.resume("t");
    ASSERT_EQ(resumed.skipped.size(), 1u);
    EXPECT_EQ(resumed.skipped.front().reason, "sleeping for a timer: it goes on by itself");
    EXPECT_EQ(house.state("t"), "sleeping");
}

TEST_F(Trial, CanBeCancelledInItsSleep) {
    begin();
    house.engine().cancel({.ids = {"t"}, .actor = "test"});
    EXPECT_EQ(house.state("t"), "cancelled");
    at(hours(100));
    EXPECT_EQ(house.engine().run_until_idle(), 0);
    EXPECT_TRUE(billed_at_ms.empty());
}

TEST_F(Trial, KeepsItsKeyWhileItSleeps) {
    house.start("a", "trial", Json::object(), "customer");
    house.start("b", "trial", Json::object(), "customer");
    house.engine().run_until_idle();
    EXPECT_EQ(house.state("a"), "sleeping");
    EXPECT_EQ(house.state("b"), "queued");
    house.run_to_the_end();
    EXPECT_EQ(house.state("b"), "completed");
}

TEST_F(Trial, TakesTheLongestSleepForWhatItIs) {
    length = Ms::max();
    begin();
    EXPECT_EQ(house.state("t"), "sleeping");
    EXPECT_EQ(house.sql("SELECT due_at_ms FROM instances"),
              std::to_string(std::numeric_limits<std::int64_t>::max()));
}

TEST(Sleep, HasANameOfItsOwn) {
    House house;
    house.add("twice", [](Context& ctx, const Json&) {
        ctx.step("pause", [](const Attempt&) {});
        ctx.sleep_for("pause", Ms(1));
        return Json();
    });
    house.add("inside", [](Context& ctx, const Json&) {
        ctx.step("a", [&](const Attempt&) { ctx.sleep_for("pause", Ms(1)); });
        return Json();
    });
    house.start("1", "twice");
    house.start("2", "inside");
    house.run_to_the_end();
    EXPECT_EQ(house.error_code("1"), "duplicate_step");
    EXPECT_EQ(house.error_code("2"), "nested_step");
}

TEST(Sleep, CannotBeSwallowedByUserCode) {
    House house;
    int after = 0;
    house.add("w", [&](Context& ctx, const Json&) {
        try {
            ctx.sleep_for("nap", minutes(5));
        } catch (...) {
        }
        ctx.step("after", [&](const Attempt&) { ++after; });
        return Json();
    });
    house.start("i", "w");
    house.engine().run_until_idle();
    EXPECT_EQ(after, 0);
    EXPECT_EQ(house.state("i"), "sleeping");
    house.run_to_the_end();
    EXPECT_EQ(after, 1);
}

TEST(Sleep, ManyInOneWorkflowAreSleptInTurn) {
    House house;
    std::vector<std::int64_t> beats;
    const std::int64_t start_ms = house.clock.now_ms();
    house.add("metronome", [&](Context& ctx, const Json&) {
        for (int i = 1; i <= 5; ++i) {
            ctx.sleep_for("wait/" + std::to_string(i), minutes(1));
            ctx.step("beat/" + std::to_string(i),
                     [&](const Attempt&) { beats.push_back(house.clock.now_ms() - start_ms); });
        }
        return Json();
    });
    house.start("i", "metronome");
    house.run_to_the_end();
    EXPECT_EQ(beats, (std::vector<std::int64_t>{60'000, 120'000, 180'000, 240'000, 300'000}));
}

TEST(Sleep, EndsOnARestoredDatabaseAtItsTime) {
    House house;
    int woken = 0;
    house.add("w", [&](Context& ctx, const Json&) {
        ctx.sleep_for("nap", hours(1));
        ctx.step("wake", {.repeat = Repeat::at_least_once}, [&](const Attempt&) { ++woken; });
        return Json();
    });
    house.start("i", "w");
    house.engine().run_until_idle();
    const auto backup = house.back_up();
    house.clock.advance(minutes(30));
    house.restore(backup);
    EXPECT_EQ(house.engine().run_until_idle(), 0);
    house.clock.advance(minutes(30));
    house.run_to_the_end();
    EXPECT_EQ(woken, 1);
    EXPECT_EQ(house.state("i"), "completed");
}

}  // namespace
}  // namespace steplog
