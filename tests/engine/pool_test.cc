// The engine with its threads: the same promises, many at once, and a stop in good order.
#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>
#include <set>
#include <thread>

#include "engine/engine.h"
#include "engine/sqlite_store.h"
#include "tests/support/temporary_directory.h"

namespace steplog {
namespace {

using testing::TemporaryDirectory;
using namespace std::chrono_literals;

// An engine on a file, and a way to wait until so many instances have ended.
class Pool {
  public:
    explicit Pool(int workers = 8) : workers_(workers) {}

    void add(const std::string& name, std::function<Json(Context&, const Json&)> run) {
        registry_.add({.name = name, .run = std::move(run)});
    }
    Engine& start() {
        store = open_sqlite_store({.database = directory_ / "test.db"}, clock_);
        EngineOptions options{.workers = workers_};
        options.steps.retry.base = 10ms;
        options.on_transition = [this](const Transitioned& told) {
            if (told.what != "finished") return;
            std::lock_guard lock(mutex_);
            ++finished_;
            changed_.notify_all();
        };
        engine = std::make_unique<Engine>(*store, clock_, random_, registry_, std::move(options));
        engine->start();
        return *engine;
    }
    void accept(const std::string& id, const std::string& workflow, const std::string& key = "") {
        engine->accept(std::nullopt,
                       NewInstance{.id = id, .workflow = workflow, .key = key, .input = "{}"});
    }
    [[nodiscard]] bool wait_for_finished(int count) {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, 30s, [&] { return finished_ >= count; });
    }

  private:
    const int workers_;
    TemporaryDirectory directory_;
    SystemClock clock_;
    SystemRandom random_;
    Registry registry_;
    std::mutex mutex_;
    std::condition_variable changed_;
    int finished_ = 0;

  public:
    std::unique_ptr<Store> store;  // last: they end before what they use
    std::unique_ptr<Engine> engine;
};

TEST(Pool, RunsManyInstancesFromManyThreadsEachStepOnce) {
    Pool pool;
    std::mutex mutex;
    std::map<std::string, int> calls;
    pool.add("w", [&](Context& ctx, const Json&) {
        for (const char* step : {"a", "b", "c"})
            ctx.step(step, [&](const Attempt& attempt) {
                std::lock_guard lock(mutex);
                if (calls[attempt.idempotency_key]++ == 0 && std::string(step) == "b")
                    throw RetryableError("once more", {.outcome = Outcome::refused});
            });
        return Json();
    });
    pool.start();
    std::vector<std::jthread> clients;
    for (int client = 0; client < 4; ++client)
        clients.emplace_back([&pool, client] {
            for (int i = 0; i < 50; ++i) pool.accept("w/" + std::to_string(client * 50 + i), "w");
        });
    clients.clear();
    ASSERT_TRUE(pool.wait_for_finished(200));
    EXPECT_EQ(calls.size(), 600u);
    for (const auto& [key, count] : calls) EXPECT_EQ(count, key.back() == 'b' ? 2 : 1) << key;
}

TEST(Pool, NeverOverlapsInstancesOfOneKey) {
    Pool pool;
    std::mutex mutex;
    std::set<std::string> inside;
    bool overlapped = false;
    pool.add("w", [&](Context& ctx, const Json&) {
        for (const char* step : {"a", "b"})
            ctx.step(step, [&](const Attempt&) {
                {
                    std::lock_guard lock(mutex);
                    overlapped |= !inside.insert(ctx.key()).second;
                }
                std::this_thread::yield();
                std::lock_guard lock(mutex);
                inside.erase(ctx.key());
            });
        return Json();
    });
    pool.start();
    for (int i = 0; i < 100; ++i) pool.accept(std::to_string(i), "w", "k" + std::to_string(i % 5));
    ASSERT_TRUE(pool.wait_for_finished(100));
    EXPECT_FALSE(overlapped);
}

TEST(Pool, StopsInGoodOrderBeginningNoStepAndLosingNothing) {
    Pool pool(2);
    std::mutex mutex;
    std::condition_variable changed;
    int entered = 0, second_steps = 0;
    bool release = false;
    pool.add("w", [&](Context& ctx, const Json&) {
        ctx.step("a", [&](const Attempt&) {
            std::unique_lock lock(mutex);
            ++entered;
            changed.notify_all();
            changed.wait(lock, [&] { return release; });
        });
        ctx.step("b", [&](const Attempt&) {
            std::lock_guard lock(mutex);
            ++second_steps;
        });
        return Json();
    });
    Engine& engine = pool.start();
    for (int i = 0; i < 5; ++i) pool.accept(std::to_string(i), "w");
    {
        std::unique_lock lock(mutex);
        changed.wait(lock, [&] { return entered == 2; });
    }
    std::jthread stopper([&] { EXPECT_TRUE(engine.stop(30s)); });
    while (!engine.stopping()) std::this_thread::yield();
    {
        std::lock_guard lock(mutex);
        release = true;
        changed.notify_all();
    }
    stopper.join();
    EXPECT_EQ(entered, 2);
    EXPECT_EQ(second_steps, 0);
    EXPECT_THROW(pool.accept("late", "w"), StoreError);
    const ClaimResult left = pool.store->claim({.limit = 9}).get();
    EXPECT_EQ(left.claimed.size(), 5u);
    for (const Claimed& claimed : left.claimed) EXPECT_EQ(claimed.deaths, 0);
}

TEST(Pool, AsksARunningStepToEndAfterTheGraceAndCountsNoAttempt) {
    Pool pool(1);
    std::mutex mutex;
    std::condition_variable_any changed;
    bool entered = false;
    pool.add("w", [&](Context& ctx, const Json&) {
        ctx.step("a", [&](const Attempt& attempt) {
            std::unique_lock lock(mutex);
            entered = true;
            changed.notify_all();
            changed.wait(lock, attempt.stop, [] { return false; });
            throw RetryableError("stopped", {.code = "interrupted", .interrupted = true});
        });
        return Json();
    });
    Engine& engine = pool.start();
    pool.accept("i", "w");
    {
        std::unique_lock lock(mutex);
        changed.wait(lock, [&] { return entered; });
    }
    EXPECT_TRUE(engine.stop(1ms));
    const ClaimResult left = pool.store->claim({}).get();
    ASSERT_EQ(left.claimed.size(), 1u);
    EXPECT_EQ(left.claimed[0].log.back().kind, EntryKind::retried);
    EXPECT_EQ(left.claimed[0].log.back().data.at("interrupted"), true);
}

}  // namespace
}  // namespace steplog
