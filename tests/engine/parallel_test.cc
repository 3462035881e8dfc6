// Steps that run at the same time: each a step of its own, whatever becomes of the others.
#include "engine/parallel.h"

#include <gmock/gmock.h>

#include <condition_variable>
#include <mutex>
#include <numeric>
#include <thread>

#include "tests/engine/house.h"

namespace steplog {
namespace {

using std::chrono::seconds;
using ::testing::ElementsAre;
using testing::House;

RetryableError later(Ms delay, Outcome outcome = Outcome::refused) {
    return {"not now", {.code = "busy", .outcome = outcome, .retry_after = delay}};
}

std::string output_of(House& house, const std::string& id) {
    return house.sql(
        "SELECT body FROM payloads WHERE id=(SELECT output_payload FROM instances WHERE id='" + id +
        "')");
}

// A workflow over the items "a", "b" and "c"; what each try does is the test's.
class Fan : public ::testing::Test {
  protected:
    using Effect = std::function<int(const Attempt&)>;

    Fan() {
        house.add("fan", [this](Context& ctx, const Json&) {
            const auto sizes = ctx.map(
                "count", std::vector<std::string>{"a", "b", "c"},
                [](const std::string& item) { return item; },
                [this](const std::string& item, const Attempt& attempt) {
                    ++calls[item];
                    keys[item].insert(attempt.idempotency_key);
                    return effects[item] ? effects[item](attempt) : 1;
                },
                {.concurrency = concurrency, .step = options});
            ctx.step("after", [this](const Attempt&) { ++after; });
            return Json(sizes);
        });
    }
    void begin() {
        house.start("o", "fan");
        house.engine().run_until_idle();
    }

    House house;
    int concurrency = 3, after = 0;
    StepOptions options;
    std::map<std::string, int> calls;
    std::map<std::string, std::set<std::string>> keys;
    std::map<std::string, Effect> effects;
};

TEST_F(Fan, MakesEachItemAStepOfItsOwn) {
    effects["b"] = [](const Attempt&) { return 7; };
    begin();
    EXPECT_EQ(house.state("o"), "completed");
    EXPECT_EQ(output_of(house, "o"), "[1,7,1]");
    EXPECT_EQ(house.log("o"),
              "started count/a, started count/b, started count/c, completed count/a, completed "
              "count/b, completed count/c, started after, completed after");
    EXPECT_THAT(keys["b"], ElementsAre("steplog:o:count/b"));
}

TEST_F(Fan, BeginsNoMoreAtOnceThanItMay) {
    concurrency = 2;
    begin();
    EXPECT_EQ(house.log("o"),
              "started count/a, started count/b, completed count/a, started count/c, completed "
              "count/b, completed count/c, started after, completed after");
}

TEST_F(Fan, FinishesTheOthersWhileOneWaitsForItsNextAttempt) {
    effects["a"] = [this](const Attempt&) -> int {
        if (calls["a"] == 1) throw later(seconds(60));
        return 5;
    };
    const std::int64_t start_ms = house.clock.now_ms();
    begin();
    EXPECT_EQ(house.state("o"), "sleeping");
    EXPECT_EQ(house.sql("SELECT waits_for || ' ' || step || ' ' || error_code FROM instances"),
              "retry count/a busy");
    EXPECT_EQ(house.engine().next_due_ms(), start_ms + 60'000);
    EXPECT_EQ(after, 0);
    house.run_to_the_end();
    EXPECT_EQ(output_of(house, "o"), "[5,1,1]");
    EXPECT_THAT(calls, ElementsAre(std::pair("a", 2), std::pair("b", 1), std::pair("c", 1)));
}

TEST_F(Fan, TriesNoneBeforeItsTime) {
    std::vector<std::int64_t> tried_a, tried_b;
    const std::int64_t start_ms = house.clock.now_ms();
    effects["a"] = [&](const Attempt& attempt) -> int {
        tried_a.push_back(house.clock.now_ms() - start_ms);
        if (attempt.number == 1) throw later(seconds(60));
        return 1;
    };
    effects["b"] = [&](const Attempt& attempt) -> int {
        tried_b.push_back(house.clock.now_ms() - start_ms);
        if (attempt.number < 4) throw later(seconds(25));
        return 1;
    };
    begin();
    house.run_to_the_end();
    EXPECT_THAT(tried_a, ElementsAre(0, 60'000));
    EXPECT_THAT(tried_b, ElementsAre(0, 25'000, 50'000, 75'000));
    EXPECT_EQ(house.state("o"), "completed");
}

TEST_F(Fan, TriesAtOnceWhatAPersonResumes) {
    effects["a"] = [](const Attempt& attempt) -> int {
        if (attempt.number == 1) throw later(seconds(3600));
        return 1;
    };
    begin();
    house.resume("o");
    house.engine().run_until_idle();
    EXPECT_EQ(house.state("o"), "completed");
}

TEST_F(Fan, FinishesTheOthersBeforeItFails) {
    effects["b"] = [](const Attempt&) -> int { throw PermanentError("no", "b is refused"); };
    effects["a"] = [](const Attempt& attempt) -> int {
        if (attempt.number == 1) throw later(seconds(1));
        throw PermanentError("gone", "a is refused too");
    };
    begin();
    EXPECT_EQ(house.state("o"), "sleeping") << "a may still succeed";
    house.run_to_the_end();
    EXPECT_EQ(house.state("o"), "failed");
    EXPECT_EQ(house.error_code("o"), "gone") << "the first in the items' order";
    EXPECT_THAT(calls, ElementsAre(std::pair("a", 2), std::pair("b", 1), std::pair("c", 1)));
    EXPECT_EQ(after, 0);
}

TEST_F(Fan, IsStuckWhereOneIsAndGoesOnWithThatOne) {
    options.attempts_max = 1;
    bool broken = true;
    effects["b"] = [&](const Attempt&) -> int {
        if (broken) throw later(seconds(1));
        return 2;
    };
    effects["c"] = effects["b"];
    begin();
    EXPECT_EQ(house.state("o"), "stuck");
    EXPECT_EQ(house.error_code("o"), "retries_exhausted");
    EXPECT_EQ(house.sql("SELECT step FROM instances"), "count/b");
    EXPECT_EQ(house.log("o"),
              "started count/a, started count/b, started count/c, completed count/a, retried "
              "count/c, retried count/b, stuck count/b");
    broken = false;
    house.resume("o");
    house.run_to_the_end();
    EXPECT_EQ(house.state("o"), "completed");
    EXPECT_THAT(calls, ElementsAre(std::pair("a", 1), std::pair("b", 2), std::pair("c", 2)));
}

TEST_F(Fan, RepeatsAfterACrashOnlyWhatHadNotEnded) {
    options.idempotency_window = std::chrono::hours(24);
    effects["c"] = [this](const Attempt&) {
        if (calls["c"] == 1) house.remember();
        return 3;
    };
    begin();
    house.die_as_remembered();
    house.run_to_the_end();
    EXPECT_EQ(output_of(house, "o"), "[1,1,3]");
    EXPECT_THAT(calls, ElementsAre(std::pair("a", 2), std::pair("b", 2), std::pair("c", 2)))
        << "all three were under way";
    for (const auto& [item, used] : keys) EXPECT_EQ(used.size(), 1u) << item;
}

TEST_F(Fan, LooksWhatBecameOfEachThatIsInDoubt) {
    std::set<std::string> done, looked;
    options.probe = probe([&](const Attempt& attempt) -> std::optional<int> {
        looked.insert(attempt.idempotency_key);
        if (done.contains(attempt.idempotency_key)) return 9;
        return std::nullopt;
    });
    for (const char* item : {"a", "b"})
        effects[item] = [&, item](const Attempt& attempt) -> int {
            if (attempt.number > 1) return 4;
            if (item == std::string("a")) done.insert(attempt.idempotency_key);
            throw later(seconds(1), Outcome::unknown);
        };
    begin();
    house.run_to_the_end();
    EXPECT_EQ(output_of(house, "o"), "[9,4,1]");
    EXPECT_EQ(looked.size(), 2u);
}

TEST_F(Fan, EndsAsAskedWhenItIsCancelledInTheMiddle) {
    concurrency = 1;
    effects["a"] = [this](const Attempt&) {
        house.store().cancel({.ids = {"o"}, .actor = "test"}).get();
        return 1;
    };
    begin();
    EXPECT_EQ(house.state("o"), "cancelled");
    EXPECT_EQ(house.log("o"), "started count/a, completed count/a, cancelled count/a");
}

TEST_F(Fan, TwoItemsOfOneNameMakeItStuck) {
    house.add("twice", [](Context& ctx, const Json&) {
        ctx.map(
            "x", std::vector<int>{1, 1}, [](int item) { return std::to_string(item); },
            [](int item, const Attempt&) { return item; });
        return Json();
    });
    house.start("o", "twice");
    house.run_to_the_end();
    EXPECT_EQ(house.error_code("o"), "duplicate_step");
}

TEST_F(Fan, StepsWithOnceKeysAreRefused) {
    options.once = "k";
    begin();
    EXPECT_EQ(house.error_code("o"), "once_in_parallel");
    EXPECT_EQ(calls.size(), 0u);
}

TEST(Parallel, GivesStepsOfSeveralTypesAndTheFailureOfEach) {
    House house;
    std::string told;
    house.add("w", [&](Context& ctx, const Json&) {
        Parallel parallel(ctx);
        const auto name = parallel.step("name", [](const Attempt&) { return std::string("Ada"); });
        const auto age =
            parallel.step("age", [](const Attempt&) -> int { throw PermanentError("no", "no"); });
        const auto noted = parallel.step("note", [](const Attempt&) {});
        parallel.run();
        noted.get();
        try {
            age.get();
        } catch (const StepFailed& failure) {
            told = name.get() + ": " + failure.step();
        }
        return Json(name.get());
    });
    house.start("o", "w");
    house.run_to_the_end();
    EXPECT_EQ(house.state("o"), "completed");
    EXPECT_EQ(told, "Ada: age");
}

// With threads.
class Crowd : public ::testing::Test {
  protected:
    Workflow& add(std::function<Json(Context&, const Json&)> run) {
        workflow = {.name = "w", .run = std::move(run)};
        return workflow;
    }
    std::string run() {
        store = open_sqlite_store({.database = directory / "test.db"}, clock);
        Registry registry;
        registry.add(workflow);
        EngineOptions options{.workers = 2};
        options.on_transition = [this](const Transitioned& what) {
            if (what.what != "finished" && what.what != "stuck") return;
            const std::lock_guard lock(mutex);
            ended = what.what + " " + what.error_code;
            changed.notify_all();
        };
        engine.emplace(*store, clock, random, std::move(registry), options);
        engine->start();
        engine->accept(std::nullopt, NewInstance{.id = "o", .workflow = "w", .input = "{}"});
        std::unique_lock lock(mutex);
        changed.wait_for(lock, seconds(30), [this] { return !ended.empty(); });
        return ended;
    }
    // Returns when so many are here at the same time, or after ten seconds: false.
    bool meet(int count) {
        std::unique_lock lock(mutex);
        ++here;
        changed.notify_all();
        return changed.wait_for(lock, seconds(10), [&] { return here >= count; });
    }

    testing::TemporaryDirectory directory;
    SystemClock clock;
    SystemRandom random;
    Workflow workflow;
    std::mutex mutex;
    std::condition_variable changed;
    int here = 0;
    std::string ended;
    std::unique_ptr<Store> store;
    std::optional<Engine> engine;
};

TEST_F(Crowd, RunsAtTheSameTime) {
    std::atomic<int> met{0};
    add([&](Context& ctx, const Json&) {
        Parallel parallel(ctx, 4);
        for (int i = 0; i < 4; ++i)
            parallel.step("s" + std::to_string(i), [&](const Attempt&) { met += meet(4); });
        parallel.run();
        return Json();
    });
    EXPECT_EQ(run(), "finished ");
    EXPECT_EQ(met, 4);
}

TEST_F(Crowd, IsNeverLargerThanItMayBe) {
    std::atomic<int> now{0}, most{0};
    std::vector<int> items(200);
    for (int i = 0; i < 200; ++i) items[static_cast<std::size_t>(i)] = i;
    int sum = 0;
    add([&](Context& ctx, const Json&) {
        const auto doubled = ctx.map(
            "double", items, [](int item) { return std::to_string(item); },
            [&](int item, const Attempt&) {
                const int crowd = ++now;
                for (int seen = most; crowd > seen && !most.compare_exchange_weak(seen, crowd);) {
                }
                std::this_thread::yield();
                --now;
                return item * 2;
            },
            {.concurrency = 5});
        sum = std::accumulate(doubled.begin(), doubled.end(), 0);
        return Json();
    });
    EXPECT_EQ(run(), "finished ");
    EXPECT_EQ(sum, 200 * 199);
    EXPECT_LE(most, 5);
    EXPECT_GE(most, 1);
}

TEST_F(Crowd, MustNotUseTheContext) {
    add([&](Context& ctx, const Json&) {
        Parallel parallel(ctx);
        parallel.step("outer",
                      [&](const Attempt&) { ctx.step("inner", [](const Attempt&) { return 1; }); });
        parallel.run();
        return Json();
    });
    EXPECT_EQ(run(), "stuck nested_step");
}

}  // namespace
}  // namespace steplog
