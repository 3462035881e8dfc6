// Rates: so many attempts at a provider, or instances of a workflow that begin, in a time. First
// the bucket as a value, then with instances, restarts and other rates.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/bucket.h"
#include "engine/inspect.h"
#include "engine/testing/workflow_test.h"
#include "tests/engine/house.h"

namespace steplog {
namespace {

using std::chrono::hours;
using std::chrono::seconds;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::House;

// --- as a value

constexpr Rate rate{.limit = 4, .period = seconds(1), .burst = 3};

TEST(Bucket, HoldsItsBurstAndFillsEvenly) {
    Bucket bucket;
    EXPECT_EQ(bucket.available(10'000, rate), 3);
    bucket.take(3, 10'000, rate);
    EXPECT_EQ(bucket.available(10'249, rate), 0);
    EXPECT_EQ(bucket.next_at_ms(10'000, rate), 10'250);
    EXPECT_EQ(bucket.available(10'250, rate), 1);
    EXPECT_EQ(bucket.available(10'500, rate), 2);
    EXPECT_EQ(bucket.available(99'000, rate), 3) << "no more than its burst";
}

TEST(Bucket, KeepsARateThatNoWholeNumberOfMillisecondsMakes) {
    constexpr Rate thirds{.limit = 3, .period = seconds(1)};
    Bucket bucket;
    std::int64_t now_ms = 0;
    for (int i = 0; i < 300; ++i) {
        now_ms = std::max(now_ms, bucket.next_at_ms(now_ms, thirds));
        ASSERT_EQ(bucket.available(now_ms, thirds), 1);
        bucket.take(1, now_ms, thirds);
    }
    EXPECT_NEAR(static_cast<double>(now_ms), 299'000.0 / 3, 1);
}

TEST(Bucket, KeepsARateOfManyInAMillisecond) {
    constexpr Rate fast{.limit = 5000, .period = seconds(1)};
    Bucket bucket;
    std::int64_t now_ms = 0, taken = 0;
    while (taken < 50'000) {
        const std::int64_t turns = bucket.available(now_ms, fast);
        bucket.take(turns, now_ms, fast);
        taken += turns;
        now_ms = std::max(now_ms, bucket.next_at_ms(now_ms, fast));
    }
    EXPECT_NEAR(static_cast<double>(now_ms), 10'000, 2);
}

TEST(Bucket, OfAnotherRateIsNeverEmptierThanEmpty) {
    constexpr Rate slow{.limit = 1, .period = hours(1)};
    Bucket bucket;
    bucket.take(1, 0, slow);
    EXPECT_EQ(bucket.available(1000, rate), 0);
    EXPECT_TRUE(bucket.refit(1000, rate));
    EXPECT_FALSE(bucket.refit(1000, rate));
    EXPECT_EQ(bucket.available(1250, rate), 1);
    EXPECT_EQ(bucket.next_at_ms(1000, rate), 1250) << "the hour is forgotten";
}

TEST(Bucket, IsNotShutByAClockThatStoodAhead) {
    Bucket bucket;
    bucket.take(3, 1'000'000'000, rate);
    EXPECT_EQ(bucket.next_at_ms(5000, rate), 5250);
}

TEST(Bucket, BearsAnyRate) {
    for (const Rate& odd : {Rate{.limit = INT_MAX, .period = Ms(1), .burst = INT_MAX},
                            Rate{.limit = 1, .period = Ms::max(), .burst = INT_MAX},
                            Rate{.limit = 1, .period = Ms(-5), .burst = -7}}) {
        Bucket bucket;
        EXPECT_GE(bucket.available(1'800'000'000'000, odd), 1);
        bucket.take(1, 1'800'000'000'000, odd);
        EXPECT_GT(bucket.next_at_ms(1'800'000'000'000, odd), 0);
    }
}

// --- with instances

class Rates : public ::testing::Test {
  protected:
    Rates() {
        house.add("pay", [this](Context& ctx, const Json&) {
            ctx.step("pay", {.provider = "bank"}, [&](const Attempt&) {
                calls.push_back(house.clock.now_ms());
                who += ctx.instance_id().back();
                if (on_call) on_call();
            });
            return Json();
        });
        house.add("report", [this](Context& ctx, const Json&) {
            calls.push_back(house.clock.now_ms());
            ctx.sleep_for("nap", Ms(10));
            ctx.sleep_for("another", Ms(10));
            return Json();
        });
    }
    void start(int count, const std::string& workflow = "pay") {
        for (int i = 0; i < count; ++i)
            house.start(workflow + "/" + std::to_string(++started), workflow);
        house.engine().run_until_idle();
    }
    void start_by(Ms deadline) {
        NewInstance one{.id = "pay/" + std::to_string(++started), .workflow = "pay", .input = "{}"};
        one.deadline = deadline;
        house.engine().accept(std::nullopt, one);
    }
    int count(const std::string& where) {
        return std::stoi(house.sql("SELECT count(*) FROM instances WHERE " + where));
    }
    // The most calls within a second.
    std::size_t most() const {
        std::size_t most = 0;
        for (std::size_t i = 0, j = 0; i < calls.size(); ++i) {
            while (calls[i] - calls[j] >= 1000) ++j;
            most = std::max(most, i - j + 1);
        }
        return most;
    }

    House house{{.synchronous = "OFF"}};
    int started = 0;
    std::vector<std::int64_t> calls;
    std::string who;
    std::function<void()> on_call;
};

TEST_F(Rates, LetABacklogOfTenThousandThroughAtFiftyASecond) {
    house.flow.providers["bank"].rate = {.limit = 50, .burst = 10};
    start(10'000);
    EXPECT_EQ(calls.size(), 10u) << "the burst";
    EXPECT_EQ(count("state='sleeping' AND waits_for='circuit' AND due_at_ms IS NULL"), 9'990);
    EXPECT_EQ(count("attempt>1 OR log_length>2"), 0) << "nothing is begun, and no attempt used up";
    house.run_to_the_end();
    EXPECT_EQ(calls.size(), 10'000u);
    EXPECT_LE(most(), 50u + 10);
    EXPECT_NEAR(static_cast<double>(calls.back() - calls.front()), 9'990 * 20, 20);
    EXPECT_EQ(count("state='completed'"), 10'000);
}

TEST_F(Rates, KeepTheOrderOfArrival) {
    house.flow.providers["bank"].rate = {.limit = 1};
    start(3);
    house.clock.advance(Ms(1500));
    start(2);
    house.run_to_the_end();
    EXPECT_EQ(who, "12345") << "who comes later waits behind, though there is a turn by then";
}

TEST_F(Rates, GoOnAsTheyStoodAfterARestart) {
    house.flow.providers["bank"].rate = {.limit = 2, .period = seconds(10)};
    start(3);
    house.restart();
    house.engine().run_until_idle();
    EXPECT_EQ(calls.size(), 1u);
    house.run_to_the_end();
    ASSERT_EQ(calls.size(), 3u);
    EXPECT_EQ(calls[1] - calls[0], 5000);
    EXPECT_EQ(calls[2] - calls[1], 5000);
}

TEST_F(Rates, HoldAfterARestartWithNobodyParked) {
    house.flow.providers["bank"].rate = {.limit = 1, .period = seconds(10)};
    start(1);
    house.restart();
    start(1);
    EXPECT_EQ(calls.size(), 1u);
    house.run_to_the_end();
    EXPECT_EQ(calls.back() - calls.front(), 10'000);
}

TEST_F(Rates, OfTheNextProgramHoldForThoseParkedUnderThisOne) {
    house.flow.providers["bank"].rate = {.limit = 1, .period = hours(1)};
    start(5);
    house.flow.providers["bank"].rate = {.limit = 10};
    house.restart();
    house.run_to_the_end();
    EXPECT_EQ(calls.size(), 5u);
    EXPECT_LT(calls.back() - calls.front(), 1000);
}

TEST_F(Rates, EndWhereTheNextProgramHasNone) {
    house.flow.providers["bank"].rate = {.limit = 1, .period = hours(1)};
    start(9);
    house.flow.providers.clear();
    house.restart();
    house.engine().run_until_idle();
    EXPECT_EQ(count("state='completed'"), 9);
}

TEST_F(Rates, CountAttemptsAndNotSteps) {
    house.flow.providers["bank"].rate = {.limit = 1, .period = seconds(100)};
    on_call = [this] {
        if (calls.size() == 1)
            throw RetryableError("no", {.outcome = Outcome::refused, .retry_after = Ms(1000)});
    };
    start(1);
    house.run_to_the_end();
    ASSERT_EQ(calls.size(), 2u);
    EXPECT_EQ(calls[1] - calls[0], 100'000);
    EXPECT_EQ(house.log("pay/1"), "started pay, retried pay, started pay, completed pay");
}

TEST_F(Rates, LoseATurnThatAProcessDiedWith) {
    house.flow.providers["bank"].rate = {.limit = 1, .period = seconds(100)};
    start(2);
    on_call = [this] {
        if (calls.size() == 2) house.remember();
    };
    house.run_to_the_end();
    house.die_as_remembered();
    house.run_to_the_end();
    ASSERT_EQ(calls.size(), 3u);
    EXPECT_EQ(calls[2] - calls[1], 100'000) << "the attempt may have been made";
}

TEST_F(Rates, GiveNoTurnsWhileTheProviderIsOutOfOrder) {
    house.flow.providers["bank"] = {.rate = {.limit = 10}};
    bool down = false;
    on_call = [&] {
        if (down) throw RetryableError("no", {.trouble = RetryableError::Trouble::our_key});
    };
    start(20);
    down = true;
    house.clock.advance(seconds(1));
    house.engine().run_until_idle();
    EXPECT_EQ(calls.size(), 2u);
    EXPECT_EQ(count("waits_detail='rate provider bank'"), 18) << "they stay where they are";
    down = false;
    house.run_to_the_end();
    EXPECT_EQ(count("state='completed'"), 20);
    EXPECT_LE(most(), 11u);
}

TEST_F(Rates, HoldBesideALimitInNumber) {
    house.flow.providers["bank"] = {.running_max = 1, .rate = {.limit = 10}};
    house.flow.workflows["report"] = {.running_max = 1, .rate = {.limit = 10}};
    start(30);
    start(30, "report");
    house.run_to_the_end();
    EXPECT_EQ(count("state='completed'"), 60);
}

TEST_F(Rates, OfAWorkflowLetInstancesBeginAndCountNoneTwice) {
    house.flow.workflows["report"].rate = {.limit = 1, .period = seconds(60), .burst = 2};
    start(5, "report");
    EXPECT_EQ(count("epoch>0"), 2);
    EXPECT_EQ(count("waits_detail='rate workflow report' AND log_length=0"), 3);
    std::vector<std::int64_t> begun;
    for (int i = 0; i < 5; ++i) {
        house.run_to_the_end();
        if (count("state='completed'") == 5) break;
    }
    EXPECT_EQ(count("state='completed'"), 5);
    std::sort(calls.begin(), calls.end());
    EXPECT_EQ(calls.size(), 5u * 3) << "called again after each sleep, at once";
    EXPECT_EQ(calls.back() - calls.front(), 3 * 60'000 + 20);
    EXPECT_TRUE(Inspector(house.database(), house.clock).check().holds());
}

TEST_F(Rates, DoNotKeepOthersWaiting) {
    house.flow.workflows["report"].rate = {.limit = 1, .period = hours(1)};
    start(50, "report");
    calls.clear();
    start(1);
    EXPECT_EQ(calls.size(), 1u);
}

TEST_F(Rates, GiveTurnsToThoseWithADeadline) {
    house.flow.providers["bank"].rate = {.limit = 1, .period = seconds(10)};
    start(1);
    for (const int hours_left : {5, 1, 3}) start_by(hours(hours_left));
    house.engine().run_until_idle();
    EXPECT_THAT(Inspector(house.database(), house.clock).why("pay/4").explanation.sentence,
                AllOf(HasSubstr("with 2 before it"), HasSubstr("must have ended by")));
    house.run_to_the_end();
    EXPECT_EQ(who, "1234") << "in the order of arrival";
    EXPECT_EQ(calls.back() - calls.front(), 30'000);
}

TEST_F(Rates, GiveNoTurnToOneWhoseDeadlineHasPassed) {
    house.flow.providers["bank"].rate = {.limit = 1, .period = seconds(10)};
    start(1);
    start_by(seconds(10));
    start(1);
    house.clock.advance(seconds(10));
    house.engine().run_until_idle();
    EXPECT_EQ(who, "13");
    EXPECT_EQ(house.state("pay/2"), "cancelled");
}

TEST_F(Rates, AreToldByWhyAndStats) {
    house.flow.providers["bank"].rate = {.limit = 50, .period = seconds(60)};
    start(4);
    Inspector inspector(house.database(), house.clock);
    const std::string why = inspector.why("pay/4").explanation.sentence;
    EXPECT_THAT(why, HasSubstr("until it is its turn: the provider bank is called at most 50 times "
                               "in"));
    EXPECT_THAT(why, HasSubstr("with 2 before it"));
    const Stats stats = inspector.stats();
    ASSERT_EQ(stats.limits.size(), 1u);
    EXPECT_EQ(stats.limits[0].parked, 3);
    EXPECT_EQ(stats.limits[0].limit.name, "bank");
    EXPECT_THAT(house.resume("pay/4").skipped.at(0).reason, HasSubstr("by itself"));
}

TEST_F(Rates, AreWrittenDownNowhereWhereThereAreNone) {
    start(3);
    EXPECT_EQ(house.sql("SELECT count(*) FROM rates"), "0");
}

TEST(RateCost, IsNoCommitWhereThereIsATurn) {
    int made = 0;
    const auto commits = [&](const FlowPolicy& flow) {
        House house({.on_commit = [&made](std::size_t, std::chrono::microseconds) { ++made; }});
        house.flow = flow;
        house.add("pay", [](Context& ctx, const Json&) {
            ctx.step("a", {.provider = "bank"}, [](const Attempt&) {});
            ctx.step("b", {.provider = "bank"}, [](const Attempt&) {});
            return Json();
        });
        house.engine();
        made = 0;
        house.start("pay/1", "pay");
        house.engine().run_until_idle();
        return made;
    };
    FlowPolicy limited;
    limited.provider.rate = {.limit = 5, .burst = 2};
    EXPECT_EQ(commits(limited), commits({}));
}

TEST(RateCrashes, AnywhereLetEverythingEnd) {
    int calls = 0;
    testing::WorkflowTest test([&](Context& ctx, const Json&) {
        for (const char* step : {"a", "b", "c"})
            ctx.step(step, {.provider = "bank", .idempotency_window = hours(1)},
                     [&](const Attempt&) { ++calls; });
        return Json("done");
    });
    FlowPolicy slow;
    slow.provider = {.running_max = 1, .rate = {.limit = 1, .period = seconds(5)}};
    slow.workflows["test"] = {.running_max = 1, .rate = {.limit = 1}};
    test.flow(slow).before_each([&] { calls = 0; });
    EXPECT_EQ(test.run().output, Json("done"));
    const auto crashes = test.crash_everywhere();
    EXPECT_EQ(crashes.failure, "");
}

}  // namespace
}  // namespace steplog
