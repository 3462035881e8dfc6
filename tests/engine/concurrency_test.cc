// At most so many at a time: instances of a workflow, steps of a provider. Who finds no room is
// parked, uses up nothing, and goes on when there is some.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <latch>

#include "engine/inspect.h"
#include "tests/engine/house.h"

namespace steplog {
namespace {

using ::testing::HasSubstr;
using testing::House;

class Concurrency : public ::testing::Test {
  protected:
    Concurrency() {
        for (const char* name : {"report", "other"})
            house.add(name, [](Context& ctx, const Json&) {
                ctx.step("write", [](const Attempt&) {});
                return Json();
            });
        house.flow.workflows["report"].running_max = 2;
    }
    void start(const std::string& workflow, int count) {
        for (int i = 1; i <= count; ++i) house.start(workflow + "/" + std::to_string(i), workflow);
    }
    // As the dispatcher of an engine asks: by workers of whom nothing is heard.
    ClaimResult claim(int limit) {
        return house.store()
            .claim({.limit = limit, .flow = std::make_shared<const FlowPolicy>(house.flow)})
            .get();
    }
    std::vector<std::string> claimed(int limit) {
        std::vector<std::string> ids;
        for (const Claimed& each : claim(limit).claimed) ids.push_back(each.id);
        return ids;
    }
    void end(const Claimed& claimed) {
        Advance last{.instance = claimed.seq, .epoch = claimed.epoch};
        last.to = Transition{.to = State::completed, .output = "null"};
        house.store().advance(last).get();
    }
    int count(const std::string& where) {
        return std::stoi(house.sql("SELECT count(*) FROM instances WHERE " + where));
    }

    House house{{.synchronous = "OFF"}};
};

TEST_F(Concurrency, OfAWorkflowIsLimitedAndLeavesTheOthersAlone) {
    start("report", 10);
    start("other", 3);
    const ClaimResult first = claim(100);
    EXPECT_EQ(first.claimed.size(), 2u + 3);
    EXPECT_EQ(count("state='sleeping' AND waits_for='circuit' AND due_at_ms IS NULL"), 8);
    EXPECT_EQ(count("attempt>0 OR log_length>0"), 0) << "nothing was begun";
    EXPECT_TRUE(claimed(100).empty());
    end(first.claimed[0]);
    EXPECT_EQ(claimed(100), std::vector<std::string>{"report/3"}) << "who came first";
    EXPECT_TRUE(Inspector(house.database(), house.clock).check().holds());
}

TEST_F(Concurrency, LetsThoseBehindHaveTheirTurn) {
    start("report", 50);
    house.clock.advance(Ms(1));
    start("other", 1);
    EXPECT_EQ(claimed(1).size(), 1u);
    EXPECT_EQ(claimed(1).size(), 1u);
    EXPECT_EQ(claimed(1), std::vector<std::string>{"other/1"});
}

TEST_F(Concurrency, IsNotUsedUpByWhoWaits) {
    house.add("napping", [](Context& ctx, const Json&) {
        ctx.sleep_for("nap", std::chrono::hours(1));
        return Json();
    });
    house.flow.workflows["napping"].running_max = 1;
    start("napping", 5);
    house.engine().run_until_idle();
    EXPECT_EQ(count("state='sleeping' AND waits_for='timer'"), 5) << "who sleeps does not run";
    house.run_to_the_end();
    EXPECT_EQ(count("state='completed'"), 5);
}

TEST_F(Concurrency, StartsAfreshWithTheNextLifeOfTheServer) {
    start("report", 4);
    EXPECT_EQ(claimed(4).size(), 2u);
    house.remember();
    house.die_as_remembered();
    EXPECT_EQ(house.sql("SELECT count(*) FROM slots"), "0");
    house.run_to_the_end();
    EXPECT_EQ(count("state='completed'"), 4);
}

TEST_F(Concurrency, EndsWhereTheNextProgramDoesNotLimitIt) {
    start("report", 9);
    claim(9);
    house.flow.workflows.clear();
    house.restart();
    house.run_to_the_end();
    EXPECT_EQ(count("state='completed'"), 9);
}

TEST_F(Concurrency, GoesOnWhenOneThatWasWokenIsCancelled) {
    start("report", 5);
    const ClaimResult first = claim(5);
    house.engine().cancel({.ids = {"report/3"}});
    end(first.claimed[0]);
    end(first.claimed[1]);
    EXPECT_EQ(claimed(5), (std::vector<std::string>{"report/4", "report/5"}));
}

TEST_F(Concurrency, IsToldByWhy) {
    start("report", 3);
    claim(3);
    EXPECT_THAT(Inspector(house.database(), house.clock).why("report/3").explanation.sentence,
                HasSubstr("as many instances of the workflow report run as may"));
    EXPECT_THAT(house.resume("report/3").skipped.at(0).reason, HasSubstr("by itself"));
}

// Real threads: so many calls of a provider at once and never more, whoever makes them.
TEST(ConcurrencyOfAProvider, IsLimitedAndNobodyIsForgotten) {
    constexpr int limit = 3, instances = 60;
    const testing::TemporaryDirectory directory;
    SystemClock clock;
    testing::SeededRandom random(1);
    const auto store = open_sqlite_store({.database = directory / "test.db"}, clock);
    std::atomic<int> running = 0, most = 0, calls = 0;
    std::latch ended(instances);
    Registry registry;
    registry.add({.name = "pay", .run = [&](Context& ctx, const Json&) {
                      const auto call = [&](const Attempt&) {
                          const int now = ++running;
                          int seen = most;
                          while (now > seen && !most.compare_exchange_weak(seen, now)) {
                          }
                          std::this_thread::yield();
                          ++calls;
                          --running;
                      };
                      ctx.step("authorise", {.provider = "bank"}, call);
                      ctx.step("capture", {.provider = "bank"}, call);
                      return Json();
                  }});
    EngineOptions options{.workers = 16};
    options.flow.providers["bank"].running_max = limit;
    options.on_transition = [&](const Transitioned& t) {
        if (t.what == "finished") ended.count_down();
    };
    Engine engine(*store, clock, random, std::move(registry), std::move(options));
    engine.start();
    for (int i = 0; i < instances; ++i)
        engine.accept(
            std::nullopt,
            NewInstance{.id = "pay/" + std::to_string(i), .workflow = "pay", .input = "{}"});
    ended.wait();
    EXPECT_TRUE(engine.stop(std::chrono::seconds(5)));
    EXPECT_EQ(calls, 2 * instances) << "parking uses up no attempt and makes no call";
    EXPECT_LE(most, limit);
}

}  // namespace
}  // namespace steplog
