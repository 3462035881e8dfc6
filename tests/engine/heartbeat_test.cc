// What a long attempt learns while it runs: that it should end, and why that is asked; and what it
// can say: that it lives.
#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>
#include <thread>

#include "engine/commands.h"
#include "engine/parallel.h"
#include "tests/engine/house.h"

namespace steplog {
namespace {

using std::chrono::seconds;
using testing::House;

RetryableError ended_early() {
    return RetryableError("stopped", {.code = "interrupted", .interrupted = true});
}

/// A workflow of one long step, which does what a test says.
class LongStep : public ::testing::Test {
  protected:
    void run(std::function<void(const Attempt&)> effect) {
        house.add("w", [effect](Context& ctx, const Json&) {
            ctx.step("long", effect);
            ctx.step("next", [](const Attempt&) {});
            return Json();
        });
        house.start("i", "w");
        house.engine().run_until_idle();
    }
    std::int64_t lease_ends_ms() {
        return std::stoll(house.sql("SELECT due_at_ms FROM instances WHERE id='i'"));
    }

    House house;
};

TEST_F(LongStep, RenewsItsLeaseByAHeartbeat) {
    run([&](const Attempt& attempt) {
        for (int minute = 0; minute < 3; ++minute) {
            house.clock.advance(seconds(20));
            attempt.heartbeat();
            EXPECT_EQ(lease_ends_ms(), house.clock.now_ms() + 30'000);
        }
        EXPECT_FALSE(attempt.stop.stop_requested());
    });
    EXPECT_EQ(house.state("i"), "completed");
}

TEST_F(LongStep, MayBeatAsOftenAsItLikes) {
    run([&](const Attempt& attempt) {
        const std::int64_t before = lease_ends_ms();
        house.clock.advance(seconds(2));
        attempt.heartbeat();
        EXPECT_EQ(lease_ends_ms(), before) << "renewed a moment ago";
        house.clock.set_ms(house.clock.now_ms() - 60'000);
        attempt.heartbeat();
        EXPECT_EQ(lease_ends_ms(), house.clock.now_ms() + 30'000) << "the clock was set back";
    });
}

TEST_F(LongStep, IsToldAtOnceThatSomebodyCancelsIt) {
    run([&](const Attempt& attempt) {
        house.engine().cancel({.ids = {"i"}, .actor = "test"});
        EXPECT_TRUE(attempt.stop.stop_requested());
        EXPECT_FALSE(attempt.shutdown.stop_requested()) << "what is worth hearing may end";
        throw ended_early();
    });
    EXPECT_EQ(house.state("i"), "cancelled");
    EXPECT_EQ(house.log("i"), "started long, retried long, cancelled long");
}

TEST_F(LongStep, IsToldOfAnOrderThatCameThroughTheSocket) {
    run([&](const Attempt& attempt) {
        handle_command(house.engine(), cancel_command({.ids = {"i"}}), "uid:7");
        EXPECT_TRUE(attempt.stop.stop_requested());
    });
    EXPECT_EQ(house.sql("SELECT actor FROM audit"), "uid:7");
}

TEST_F(LongStep, LearnsByItsNextHeartbeatThatItsParentHasTakenItAlong) {
    run([&](const Attempt& attempt) {
        house.store().cancel({.ids = {"i"}, .actor = "test"}).get();
        EXPECT_FALSE(attempt.stop.stop_requested());
        house.clock.advance(seconds(10));
        attempt.heartbeat();
        EXPECT_TRUE(attempt.stop.stop_requested());
    });
    EXPECT_EQ(house.log("i"), "started long, completed long, cancelled long");
}

TEST_F(LongStep, StopsForGoodWhereItsLeaseIsLost) {
    run([&](const Attempt& attempt) {
        house.store().cancel({.ids = {"i"}, .actor = "test", .kill = true}).get();
        house.clock.advance(seconds(10));
        attempt.heartbeat();
        EXPECT_TRUE(attempt.stop.stop_requested());
        EXPECT_TRUE(attempt.shutdown.stop_requested());
    });
    EXPECT_EQ(house.log("i"), "started long, cancelled long") << "what it returned counts";
}

TEST_F(LongStep, IsNotToldOfWhatBecameOfAnEarlierClaim) {
    int calls = 0;
    run([&](const Attempt& attempt) {
        if (++calls == 1) throw RetryableError("no", {.outcome = Outcome::refused});
        house.clock.advance(seconds(10));
        attempt.heartbeat();
        EXPECT_FALSE(attempt.stop.stop_requested());
    });
    house.run_to_the_end();
    EXPECT_EQ(house.state("i"), "completed");
}

TEST_F(LongStep, IsNotAskedToEndWhereItTakesBack) {
    bool asked = true;
    house.add("trip", [&](Context& ctx, const Json&) {
        const StepOptions booking{.undo = undo<Json>([&](const Json&, const Attempt& attempt) {
                                      house.clock.advance(seconds(10));
                                      attempt.heartbeat();
                                      asked = attempt.stop.stop_requested();
                                  })};
        ctx.step("book", booking, [](const Attempt&) { return 1; });
        ctx.step("fly", [&](const Attempt& attempt) {
            house.engine().cancel({.ids = {"t"}, .actor = "test"});
            EXPECT_TRUE(attempt.stop.stop_requested());
        });
        ctx.step("arrive", [](const Attempt&) {});
        return Json();
    });
    house.start("t", "trip");
    house.run_to_the_end();
    EXPECT_FALSE(asked);
    EXPECT_EQ(house.state("t"), "cancelled");
}

// Effects in threads of their own, which only a request to stop ends.
TEST(Heartbeat, ReachesStepsThatRunBesideOthers) {
    testing::TemporaryDirectory directory;
    SystemClock clock;
    SystemRandom random;
    std::mutex mutex;
    std::condition_variable_any changed;
    int entered = 0, left = 0;
    bool cancelled = false;
    const auto wait_for_the_end = [&](int item, const Attempt& attempt) {
        std::unique_lock lock(mutex);
        ++entered;
        changed.notify_all();
        changed.wait(lock, attempt.stop, [] { return false; });
        attempt.heartbeat();
        ++left;
        return item;
    };
    Registry registry;
    registry.add({.name = "w", .run = [&](Context& ctx, const Json&) {
                      ctx.map(
                          "item", std::vector<int>{1, 2},
                          [](int item) { return std::to_string(item); }, wait_for_the_end);
                      ctx.step("more", [](const Attempt&) {});
                      return Json();
                  }});
    const auto store = open_sqlite_store({.database = directory / "test.db"}, clock);
    EngineOptions options{.workers = 1};
    options.on_transition = [&](const Transitioned& told) {
        const std::lock_guard lock(mutex);
        cancelled |= told.what == "cancelled";
        changed.notify_all();
    };
    Engine engine(*store, clock, random, std::move(registry), std::move(options));
    engine.start();
    engine.accept(std::nullopt, NewInstance{.id = "i", .workflow = "w", .input = "{}"});
    {
        std::unique_lock lock(mutex);
        changed.wait(lock, [&] { return entered == 2; });
    }
    engine.cancel({.ids = {"i"}, .actor = "test"});
    std::unique_lock lock(mutex);
    EXPECT_TRUE(changed.wait_for(lock, seconds(30), [&] { return cancelled; }));
    EXPECT_EQ(left, 2);
}

}  // namespace
}  // namespace steplog
