// A provider's circuit breaker: when it opens, whom it parks, and how it closes again without
// knocking the provider over. First as a value, then with instances, restarts and people.
#include "engine/breaker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/inspect.h"
#include "engine/testing/workflow_test.h"
#include "tests/engine/house.h"

namespace steplog {
namespace {

using std::chrono::seconds;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::House;
using Trouble = RetryableError::Trouble;

// --- as a value

constexpr BreakerPolicy policy{.failures_max = 3,
                               .failing_for = Ms(0),
                               .probe_delay = Ms(100),
                               .probe_delay_max = Ms(350),
                               .patience = Ms(1000),
                               .released_per_second = 5};

Breaker opened_at(std::int64_t now_ms) {
    Breaker breaker;
    breaker.hear(1, ProviderSign::key_rejected, "no", now_ms, policy);
    return breaker;
}

// Half open, and the first try has succeeded.
Breaker recovering(std::int64_t parked, std::int64_t now_ms) {
    Breaker breaker = opened_at(now_ms);
    breaker.act(parked, now_ms, policy);
    breaker.begin_call(7, now_ms, policy);
    breaker.hear(7, ProviderSign::well, "", now_ms, policy);
    return breaker;
}

TEST(Breaker, OpensOnFailuresInARow) {
    Breaker breaker;
    const auto fail = [&](int who) {
        return breaker.hear(who, ProviderSign::down, "http_503", 0, policy);
    };
    EXPECT_EQ(fail(1), BreakerChange::none);
    EXPECT_EQ(fail(2), BreakerChange::none);
    breaker.hear(3, ProviderSign::well, "", 0, policy);
    EXPECT_TRUE(breaker.is_blank()) << "it answered: they are not in a row any more";
    fail(1);
    fail(2);
    EXPECT_FALSE(breaker.holds_back(9));
    EXPECT_EQ(fail(3), BreakerChange::opened);
    EXPECT_TRUE(breaker.holds_back(9));
    EXPECT_EQ(fail(4), BreakerChange::none) << "it was under way before";
}

TEST(Breaker, DoesNotOpenForOneRequestThatFailsAgainAndAgain) {
    Breaker breaker;
    for (int i = 0; i < 50; ++i) breaker.hear(1, ProviderSign::down, "http_500", i, policy);
    EXPECT_FALSE(breaker.holds_back(2));
}

TEST(Breaker, NeverOpensForFailuresWhereThatIsNotWanted) {
    Breaker breaker;
    for (int i = 0; i < 50; ++i)
        breaker.hear(i, ProviderSign::down, "http_500", i, {.failures_max = 0});
    EXPECT_TRUE(breaker.is_blank());
}

TEST(Breaker, WaitsLongerAfterEachTryThatFails) {
    Breaker breaker = opened_at(0);
    std::vector<std::int64_t> delays;
    std::int64_t now_ms = 0;
    for (int i = 1; i <= 5; ++i) {
        delays.push_back(*breaker.next_at_ms - now_ms);
        now_ms = *breaker.next_at_ms;
        EXPECT_EQ(breaker.act(1, now_ms, policy).release, 1);
        breaker.begin_call(i, now_ms, policy);
        EXPECT_TRUE(breaker.holds_back(99)) << "one at a time";
        EXPECT_EQ(breaker.hear(i, ProviderSign::down, "http_503", now_ms, policy),
                  BreakerChange::opened_again);
    }
    EXPECT_THAT(delays, ElementsAre(100, 200, 350, 350, 350));
}

TEST(Breaker, LetsAnotherTryWhereTheFirstNeverAnswers) {
    Breaker breaker = opened_at(0);
    breaker.act(3, 100, policy);
    breaker.begin_call(1, 150, policy);
    EXPECT_FALSE(breaker.holds_back(1)) << "a restart brings the same one back";
    EXPECT_FALSE(breaker.must_act(1149, policy));
    EXPECT_TRUE(breaker.must_act(1150, policy));
    EXPECT_EQ(breaker.act(2, 1150, policy).release, 1);
    EXPECT_EQ(breaker.openings, 1) << "nothing has failed";
}

TEST(Breaker, ReleasesOneThenATenthThenAllAtItsPace) {
    Breaker breaker = recovering(100, 0);
    std::vector<std::int64_t> released;
    std::int64_t now_ms = 0, parked = 100;
    const auto act = [&] {
        const auto acted = breaker.act(parked, now_ms, policy);
        parked -= acted.release;
        now_ms += 1000;
        released.push_back(acted.release);
        return acted.change;
    };
    act();
    act();
    EXPECT_THAT(released, ElementsAre(5, 5)) << "a tenth";
    EXPECT_EQ(breaker.stage, 2);
    for (int who = 1; who <= 10; ++who) {
        breaker.begin_call(who, now_ms, policy);
        breaker.hear(who, ProviderSign::well, "", now_ms, policy);
    }
    EXPECT_EQ(breaker.stage, 3);
    EXPECT_FALSE(breaker.holds_back(99));
    BreakerChange change = BreakerChange::none;
    while (change == BreakerChange::none) change = act();
    EXPECT_EQ(change, BreakerChange::recovered);
    EXPECT_THAT(released, Each(::testing::Le(5)));
    EXPECT_EQ(parked, 0);
    EXPECT_TRUE(breaker.is_blank());
}

TEST(Breaker, OpensAgainWhereATenthIsTooMuch) {
    Breaker breaker = recovering(100, 0);
    breaker.act(100, 0, policy);
    for (int who = 1; who <= 3; ++who) {
        EXPECT_FALSE(breaker.holds_back(who));
        breaker.begin_call(who, 0, policy);
        breaker.hear(who, ProviderSign::down, "http_503", 0, policy);
    }
    EXPECT_EQ(breaker.state, BreakerState::open);
    EXPECT_EQ(breaker.openings, 2);
}

TEST(Breaker, IsNotKeptOpenByAClockThatStoodAhead) {
    constexpr std::int64_t ahead_ms = 1'000'000'000;
    EXPECT_TRUE(opened_at(ahead_ms).must_act(0, policy));
    EXPECT_FALSE(opened_at(0).must_act(1, policy));
}

TEST(Breaker, OpensOnNoHiccup) {
    constexpr BreakerPolicy patient{.failures_max = 3, .failing_for = Ms(1000)};
    Breaker breaker;
    for (int who = 1; who <= 50; ++who)
        breaker.hear(who, ProviderSign::down, "http_503", 100 + who, patient);
    EXPECT_FALSE(breaker.holds_back(51)) << "a tenth of a second";
    breaker.hear(50, ProviderSign::down, "http_503", 1101, patient);
    EXPECT_TRUE(breaker.holds_back(51));
    // What has just got up opens at once.
    breaker.act(100, 60'000, patient);
    breaker.begin_call(7, 60'000, patient);
    breaker.hear(7, ProviderSign::well, "", 60'000, patient);
    breaker.act(100, 60'000, patient);
    for (int who = 1; who <= 3; ++who)
        breaker.hear(who, ProviderSign::down, "http_503", 60'001, patient);
    EXPECT_EQ(breaker.state, BreakerState::open);
}

TEST(Breaker, CountsAnewWhereTheClockWasSetBack) {
    constexpr BreakerPolicy patient{.failures_max = 1, .failing_for = Ms(1000)};
    Breaker breaker;
    breaker.hear(1, ProviderSign::down, "http_503", 1'000'000, patient);
    breaker.hear(1, ProviderSign::down, "http_503", 0, patient);
    EXPECT_FALSE(breaker.holds_back(2));
    breaker.hear(1, ProviderSign::down, "http_503", 1000, patient);
    EXPECT_TRUE(breaker.holds_back(2));
}

// --- with instances

class Circuit : public ::testing::Test {
  protected:
    Circuit() {
        house.flow.provider.breaker = {.failures_max = 3, .failing_for = Ms(0)};
        house.add("pay", [this](Context& ctx, const Json&) {
            ctx.step("pay", {.provider = "bank"}, [this](const Attempt&) { call(); });
            return Json();
        });
    }
    void call() {
        calls.push_back(house.clock.now_ms());
        if (down) throw RetryableError("no answer", {.code = "http_503", .trouble = trouble});
    }
    void start(int count) {
        for (int i = 0; i < count; ++i) house.start("pay/" + std::to_string(++started), "pay");
        house.engine().run_until_idle();
    }
    // The bank is down, three have found out, and so many more have come.
    void open_with(int parked) {
        start(3 + parked);
        ASSERT_EQ(breaker(), "open");
        ASSERT_EQ(this->parked(), parked);
    }
    void let_pass(Ms time) {
        const auto until = house.clock.now_ms() + time.count();
        for (auto due = house.engine().next_due_ms(); due && *due <= until;
             due = house.engine().next_due_ms()) {
            house.clock.set_ms(std::max(*due, house.clock.now_ms()));
            house.engine().run_until_idle();
        }
        house.clock.set_ms(until);
    }
    std::string breaker() { return house.sql("SELECT state FROM breakers WHERE provider='bank'"); }
    int parked() {
        return std::stoi(
            house.sql("SELECT count(*) FROM instances WHERE state='sleeping' AND "
                      "waits_for='circuit' AND waits_detail='bank'"));
    }
    ProviderChanged change(ProviderChange::Kind kind) {
        return house.store()
            .change_provider({.kind = kind, .provider = "bank", .actor = "uid:1000"})
            .get();
    }
    int told(const std::string& what) {
        return static_cast<int>(std::count_if(house.told.begin(), house.told.end(),
                                              [&](const auto& t) { return t.what == what; }));
    }
    void expect_all_completed() {
        EXPECT_EQ(house.sql("SELECT count(*) FROM instances WHERE state='completed'"),
                  std::to_string(started));
        EXPECT_EQ(breaker(), "") << "one that is closed has no row";
    }

    House house{{.synchronous = "OFF"}};
    bool down = true;
    Trouble trouble = Trouble::provider;
    int started = 0;
    std::vector<std::int64_t> calls;
};

TEST_F(Circuit, ParksInstancesWithoutUsingUpTheirAttempts) {
    open_with(2);
    EXPECT_EQ(calls.size(), 3u);
    EXPECT_EQ(house.log("pay/5"), "") << "nothing was begun";
    EXPECT_EQ(house.sql("SELECT attempt FROM instances WHERE id='pay/5'"), "0");
    EXPECT_EQ(told("breaker_opened"), 1);
    EXPECT_TRUE(Inspector(house.database(), house.clock).check().holds());
    down = false;
    house.run_to_the_end();
    expect_all_completed();
    EXPECT_EQ(house.log("pay/5"), "started pay, completed pay");
    EXPECT_EQ(told("breaker_closed"), 1);
}

TEST_F(Circuit, ParksNobodyForLongerThanItWouldBeTried) {
    house.defaults.retry.retry_for = std::chrono::hours(1);
    open_with(2);
    let_pass(std::chrono::minutes(59));
    EXPECT_EQ(house.sql("SELECT count(*) FROM instances WHERE state='stuck'"), "0");
    let_pass(std::chrono::minutes(2));
    EXPECT_EQ(house.sql("SELECT count(*) FROM instances WHERE state='stuck' AND "
                        "error_code='retries_exhausted' AND step='pay'"),
              "5");
    EXPECT_THAT(house.sql("SELECT error FROM instances WHERE id='pay/1'"),
                HasSubstr("bank is out of order; the last answer was: no answer"));
    EXPECT_TRUE(Inspector(house.database(), house.clock).check().holds());
    down = false;
    house.store().resume({.actor = "test"}).get();
    house.run_to_the_end();
    expect_all_completed();
}

TEST_F(Circuit, ParksForAsLongAsAPersonWants) {
    house.defaults.retry.retry_for = std::chrono::hours(1);
    open_with(2);
    change(ProviderChange::Kind::pause);
    start(1);
    let_pass(std::chrono::hours(100));
    EXPECT_EQ(parked(), 6);
    down = false;
    change(ProviderChange::Kind::unpause);
    house.run_to_the_end();
    expect_all_completed();
}

TEST_F(Circuit, LetsOneAtATimeTryWhileTheProviderIsDown) {
    open_with(20);
    let_pass(std::chrono::hours(1));
    EXPECT_LT(calls.size(), 3u + 20) << "5 s, 10 s, 20 s, … then every 5 minutes";
    EXPECT_EQ(told("breaker_opened"), 1) << "one alert";
    for (std::size_t i = 4; i < calls.size(); ++i) EXPECT_GE(calls[i] - calls[i - 1], 5000);
    down = false;
    house.run_to_the_end();
    expect_all_completed();
}

TEST_F(Circuit, DoesNotHitAProviderThatRecoversWithTenThousandAtOnce) {
    open_with(10'000);
    calls.clear();
    down = false;
    house.run_to_the_end();
    expect_all_completed();
    EXPECT_EQ(calls.size(), 10'003u);
    const auto& rate = house.flow.provider.breaker.released_per_second;
    for (std::size_t i = 0, j = 0; i < calls.size(); ++i) {
        while (calls[i] - calls[j] >= 1000) ++j;
        // The first try beside them, and the three that opened it come by their own delays.
        ASSERT_LE(i - j + 1, static_cast<std::size_t>(rate) + 4) << "calls within a second";
    }
    EXPECT_GE(calls.back() - calls.front(), 10'000 / rate * 1000 - 2000);
}

TEST_F(Circuit, GoesOnAsItStoodAfterARestart) {
    open_with(2);
    house.restart();
    house.engine().run_until_idle();
    EXPECT_EQ(calls.size(), 3u);
    EXPECT_EQ(parked(), 2);
    start(1);
    EXPECT_EQ(parked(), 3);
    down = false;
    house.run_to_the_end();
    expect_all_completed();
}

TEST_F(Circuit, OpensAtOnceWhereOurKeyIsRejectedAndSaysSoOnce) {
    trouble = Trouble::our_key;
    start(20);
    EXPECT_EQ(calls.size(), 1u) << "everyone's problem, not one instance's after the other";
    EXPECT_EQ(parked(), 19);
    EXPECT_EQ(told("breaker_opened"), 1);
    down = false;
    house.run_to_the_end();
    expect_all_completed();
}

TEST_F(Circuit, StaysClosedForRequestsThatHaveToWait) {
    trouble = Trouble::request;
    start(20);
    EXPECT_EQ(calls.size(), 20u);
    EXPECT_EQ(breaker(), "");
}

TEST_F(Circuit, OfOneProviderLeavesTheOthersAlone) {
    house.add("post", [this](Context& ctx, const Json&) {
        ctx.step("post", {.provider = "post"}, [](const Attempt&) {});
        return Json();
    });
    open_with(1);
    house.start("post/1", "post");
    house.engine().run_until_idle();
    EXPECT_EQ(house.state("post/1"), "completed");
}

TEST_F(Circuit, ResumedByAPersonOneTriesAtOnceAndTheOthersFollowWhenItSucceeds) {
    open_with(5);
    EXPECT_EQ(house.engine().resume({.state = State::sleeping, .actor = "test"}).ids.size(), 8u);
    down = true;
    house.engine().run_until_idle();
    EXPECT_EQ(calls.size(), 4u);
    EXPECT_EQ(breaker(), "open");
    down = false;
    house.resume("pay/8");
    house.engine().run_until_idle();
    EXPECT_EQ(house.state("pay/8"), "completed");
    house.run_to_the_end();
    expect_all_completed();
}

TEST_F(Circuit, HeldOpenByAPersonParksUntilItIsLetGo) {
    down = false;
    EXPECT_EQ(change(ProviderChange::Kind::pause).refused, "");
    EXPECT_THAT(change(ProviderChange::Kind::pause).refused, HasSubstr("already"));
    start(3);
    let_pass(std::chrono::hours(100));
    house.restart();
    house.resume("pay/1");
    house.engine().run_until_idle();
    EXPECT_TRUE(calls.empty());
    EXPECT_EQ(change(ProviderChange::Kind::unpause).parked, 3);
    EXPECT_THAT(change(ProviderChange::Kind::unpause).refused, HasSubstr("not paused"));
    house.run_to_the_end();
    expect_all_completed();
    EXPECT_EQ(house.sql("SELECT group_concat(actor||' '||action||' '||target) FROM audit WHERE "
                        "action LIKE 'provider%'"),
              "uid:1000 provider-pause bank,uid:1000 provider-unpause bank");
}

TEST_F(Circuit, IsAskedBeforeAnAttemptInDoubtIsLookedUp) {
    int looks = 0;
    house.add("book", [&](Context& ctx, const Json&) {
        ctx.step("book",
                 {.provider = "bank",
                  .probe = [&](const Attempt&) -> std::optional<Json> {
                      ++looks;
                      return std::nullopt;
                  }},
                 [this](const Attempt&) { call(); });
        return Json();
    });
    house.start("book/1", "book");
    house.engine().run_until_idle();
    start(4);
    ASSERT_EQ(breaker(), "open");
    house.clock.advance(seconds(4));
    house.engine().run_until_idle();
    EXPECT_EQ(looks, 0);
    EXPECT_EQ(house.sql("SELECT waits_for FROM instances WHERE id='book/1'"), "circuit");
    down = false;
    house.run_to_the_end();
    EXPECT_EQ(looks, 1);
    EXPECT_EQ(house.state("book/1"), "completed");
}

TEST_F(Circuit, ParksAStepThatRunsBesideOthersWhenThoseHaveEnded) {
    int posted = 0;
    house.add("both", [&](Context& ctx, const Json&) {
        ctx.run_parallel(
            {{.name = "pay",
              .options = {.provider = "bank"},
              .effect = [this](const Attempt&) { return call(), Json(); }},
             {.name = "post", .effect = [&](const Attempt&) { return Json(++posted); }}});
        return Json();
    });
    open_with(0);
    house.start("both/1", "both");
    house.engine().run_until_idle();
    EXPECT_EQ(posted, 1);
    EXPECT_EQ(parked(), 1);
    down = false;
    house.run_to_the_end();
    EXPECT_EQ(house.state("both/1"), "completed");
    EXPECT_EQ(posted, 1);
}

TEST_F(Circuit, CancelledWhileParkedEnds) {
    open_with(2);
    house.engine().cancel({.ids = {"pay/4"}});
    EXPECT_EQ(house.state("pay/4"), "cancelled");
    down = false;
    house.run_to_the_end();
    EXPECT_EQ(house.state("pay/5"), "completed");
}

TEST_F(Circuit, GoesOnAfterTheDeathOfTheProcessInTheMiddleOfATry) {
    open_with(2);
    house.add("unused", [](Context&, const Json&) { return Json(); });
    const auto due = house.sql("SELECT next_at_ms FROM breakers");
    house.clock.set_ms(std::stoll(due));
    const auto claimed = house.store().claim({.limit = 1}).get();  // by a worker that will die
    ASSERT_EQ(claimed.claimed.size(), 1u);
    house.remember();
    house.die_as_remembered();
    down = false;
    house.run_to_the_end();
    expect_all_completed();
}

TEST(CircuitUnderCrashes, EachEffectHappensOnceWhereverTheProcessDies) {
    int calls = 0;
    testing::WorkflowTest test([](Context& ctx, const Json&) {
        for (const char* name : {"reserve", "pay", "ship"})
            ctx.step(name, {.provider = "bank", .idempotency_window = std::chrono::hours(24)},
                     [](const Attempt&) { return Json(); });
        return Json();
    });
    test.before_each([&] { calls = 0; });
    test.fake("pay", [&](const Attempt&) {
        if (++calls == 1)
            throw RetryableError(
                "401", {.code = "key", .outcome = Outcome::refused, .trouble = Trouble::our_key});
        return Json(1);
    });
    const auto crashes = test.crash_everywhere();
    EXPECT_EQ(crashes.failure, "");
    EXPECT_GT(crashes.places, 10);
}

// --- seen

TEST_F(Circuit, IsSeenByWhoLooks) {
    const auto why = [&](const std::string& id) {
        return Inspector(house.database(), house.clock).why(id).explanation.sentence;
    };
    open_with(2);
    EXPECT_THAT(why("pay/5"), HasSubstr("the provider bank is out of order"));
    EXPECT_THAT(why("pay/5"), HasSubstr("one instance tries it at 2026-01-01T00:00:05"));
    EXPECT_THAT(why("pay/5"), HasSubstr("workflow-resume pay/5"));
    const auto breakers = Inspector(house.database(), house.clock).stats().breakers;
    ASSERT_EQ(breakers.size(), 1u);
    EXPECT_EQ(breakers[0].provider, "bank");
    EXPECT_EQ(breakers[0].state, BreakerState::open);
    EXPECT_EQ(breakers[0].parked, 2);
    EXPECT_EQ(breakers[0].reason, "http_503");
    house.store().change_provider({.provider = "bank", .actor = "test"}).get();
    EXPECT_THAT(why("pay/5"), HasSubstr("workflow-admin unpause --provider bank"));
    EXPECT_THAT(why("pay/5"), HasSubstr("paused"));
    EXPECT_EQ(Inspector(house.database(), house.clock).backlog().breakers.size(), 1u);
}

TEST_F(Circuit, CheckFindsAParkedInstanceThatNobodyWouldRelease) {
    open_with(2);
    house.damage("DELETE FROM breakers");
    const auto report = Inspector(house.database(), house.clock).check();
    const auto broken = std::find_if(report.checks.begin(), report.checks.end(),
                                     [](const Check& check) { return check.broken > 0; });
    ASSERT_NE(broken, report.checks.end());
    EXPECT_EQ(broken->name, "nobody_forgotten");
    EXPECT_EQ(broken->broken, 2);
}

}  // namespace
}  // namespace steplog
