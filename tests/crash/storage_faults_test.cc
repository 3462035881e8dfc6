// Disks that fail or fill up while the power stays on: after an I/O error the store never speaks
// again, and a full disk loses nothing, writes nothing by halves, and is forgotten when there is
// room.
#include <fmt/core.h>
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <thread>

#include "tests/crash/power_cut.h"
#include "tests/crash/small_workflow.h"

namespace steplog::testing {
namespace {

const std::string database = "steplog.db";

class StorageFaults : public ::testing::Test {
  protected:
    StorageFaults() : vfs_("crash-faults") {}

    std::unique_ptr<Store> open(SqliteOptions options = {}) {
        options.database = database;
        options.vfs = vfs_.name();
        options.on_fatal = [this](const std::string& reason) {
            ++fatal_;
            fatal_reason_ = reason;
        };
        return open_sqlite_store(options, clock_);
    }

    static NewEvent event(const std::string& id, std::size_t size = 100) {
        return {.source = "test",
                .id = id,
                .type = "t",
                .subject = "",
                .reason = "",
                .body = "\"" + std::string(size, 'x') + "\""};
    }
    static NewInstance instance(const std::string& id) {
        return {.id = id, .workflow = "w", .key = "", .input = {}};
    }
    Survey survey() { return surveyor_.look(vfs_.image(), database, true); }

    CrashVfs vfs_;
    ManualClock clock_;
    Surveyor surveyor_;
    std::atomic<int> fatal_{0};
    std::string fatal_reason_;
};

std::optional<StoreError::Kind> failure_of(const std::function<void()>& action) {
    try {
        action();
    } catch (const StoreError& error) {
        return error.kind();
    }
    return std::nullopt;
}

TEST_F(StorageFaults, AfterAnIoErrorTheStoreNeverAcknowledgesAgain) {
    for (const auto& [operation, code] : {std::pair(Operation::write, SQLITE_IOERR_WRITE),
                                          std::pair(Operation::sync, SQLITE_IOERR_FSYNC)}) {
        for (int n = 1; n <= 12; ++n) {
            vfs_.restore({});
            auto store = open({.writer_thread = n % 2 == 0});
            fatal_ = 0;
            vfs_.fail(operation, n, code);
            std::set<std::string> acknowledged;
            std::optional<StoreError::Kind> failure;
            for (int i = 0; !failure; ++i) {
                ASSERT_LT(i, 100) << "the fault never came about";
                const auto id = fmt::format("evt_{}", i);
                failure = failure_of([&] { store->accept(event(id), instance(id), false).get(); });
                if (!failure) acknowledged.insert(id);
            }
            EXPECT_EQ(*failure, StoreError::Kind::failed);
            EXPECT_EQ(store->health(), Store::Health::failed);
            EXPECT_EQ(fatal_, 1);
            EXPECT_NE(fatal_reason_.find("restart"), std::string::npos) << fatal_reason_;

            // The disk is well again, and must not be trusted.
            vfs_.clear_faults();
            EXPECT_EQ(
                failure_of([&] { store->accept(event("late"), instance("late"), false).get(); }),
                StoreError::Kind::failed);
            EXPECT_EQ(failure_of([&] { store->claim({.limit = 1}).get(); }),
                      StoreError::Kind::failed);
            EXPECT_EQ(fatal_, 1);

            // The process ends, and what its failed sync left in the page cache is seen by the next
            // one. Whatever that acknowledges, new or seen, outlives the power.
            vfs_.crash(Survival::page_cache, 0);
            store = open({.writer_thread = false});
            for (const auto& id : acknowledged)
                EXPECT_TRUE(store->accept(event(id), instance(id), false).get().duplicate) << id;
            const auto refused = fmt::format("evt_{}", acknowledged.size());
            store->accept(event(refused), instance(refused), false).get();
            acknowledged.insert(refused);
            vfs_.crash(Survival::synced, 0);
            const auto left = survey();
            EXPECT_TRUE(left.damage.empty()) << left.damage.front();
            for (const auto& id : acknowledged) EXPECT_TRUE(left.events.count(id)) << id;
            EXPECT_FALSE(left.events.count("late"));
        }
    }
}

TEST_F(StorageFaults, AFailedStoreWritesNothingMoreNotEvenWhenItIsClosed) {
    for (const auto& [operation, code] : {std::pair(Operation::write, SQLITE_IOERR_WRITE),
                                          std::pair(Operation::sync, SQLITE_IOERR_FSYNC)}) {
        vfs_.restore({});
        auto store = open({.writer_thread = false});
        store->accept(event("first"), instance("first"), false).get();
        vfs_.fail(operation, 1, code);
        EXPECT_EQ(failure_of([&] { store->accept(event("e"), instance("i"), false).get(); }),
                  StoreError::Kind::failed);
        vfs_.clear_faults();
        const auto operations = vfs_.operations();
        store->flush();
        store.reset();
        EXPECT_EQ(vfs_.operations(), operations);
    }
}

TEST_F(StorageFaults, AFullDiskRefusesTheWholeBatchAndNothingOfItIsWritten) {
    vfs_.restore({});
    auto store = open({.writer_thread = false, .log_room_bytes = 0});
    std::vector<Claimed> claimed;
    for (const char* id : {"a", "b", "c"})
        claimed.push_back(*store->accept(event(id), instance(id), true).get().claimed);
    vfs_.set_capacity(vfs_.used() + 40'000);
    const auto hand_in = [&](const Claimed& of, std::size_t size, bool lazy) {
        return store->advance({.instance = of.seq,
                               .epoch = of.epoch,
                               .entries = {{.step = "s", .kind = EntryKind::started, .attempt = 1},
                                           {.step = "s",
                                            .kind = EntryKind::completed,
                                            .attempt = 1,
                                            .payload = "\"" + std::string(size, 'y') + "\""}},
                               .lazy = lazy});
    };
    // The second does not fit; the first and the third would.
    std::vector<std::future<Advanced>> batch;
    batch.push_back(hand_in(claimed[0], 10, true));
    batch.push_back(hand_in(claimed[1], 200'000, true));
    batch.push_back(hand_in(claimed[2], 10, true));
    store->flush();
    for (auto& item : batch) EXPECT_EQ(failure_of([&] { item.get(); }), StoreError::Kind::full);
    EXPECT_EQ(store->health(), Store::Health::full);
    EXPECT_EQ(fatal_, 0);
    EXPECT_TRUE(survey().completed.empty()) << "a part of a refused batch was written";

    vfs_.set_capacity(0);
    batch.clear();
    batch.push_back(hand_in(claimed[0], 10, true));
    batch.push_back(hand_in(claimed[1], 200'000, true));
    batch.push_back(hand_in(claimed[2], 10, false));
    for (auto& item : batch) EXPECT_NO_THROW(item.get());
    EXPECT_EQ(store->health(), Store::Health::ok);
    vfs_.crash(Survival::synced, 0);
    const auto left = survey();
    EXPECT_EQ(left.completed.size(), 3u);
    EXPECT_TRUE(left.damage.empty()) << left.damage.front();
}

TEST_F(StorageFaults, ADiskFullAtAnyWriteIsForgottenWhenThereIsRoom) {
    for (int n = 1; n <= 40; ++n) {
        vfs_.restore({});
        auto store = open({.writer_thread = false, .log_room_bytes = 0});
        vfs_.fail(Operation::write, n, SQLITE_FULL);
        int refused = 0;
        for (int i = 0; i < 8; ++i) {
            const auto id = fmt::format("evt_{}", i);
            const auto accept = [&] {
                EXPECT_FALSE(store->accept(event(id), instance(id), false).get().duplicate);
            };
            if (const auto failure = failure_of(accept)) {
                EXPECT_EQ(*failure, StoreError::Kind::full);
                ++refused;
                accept();
            }
        }
        EXPECT_EQ(refused, 1) << "write " << n;
        EXPECT_EQ(store->health(), Store::Health::ok);
        vfs_.crash(Survival::synced, 0);
        const auto left = survey();
        EXPECT_EQ(left.events.size(), 8u);
        EXPECT_TRUE(left.damage.empty()) << left.damage.front();
    }
}

TEST_F(StorageFaults, ManyThreadsAtAFullDiskAreAllToldAndAllSucceedLater) {
    vfs_.restore({});
    auto store = open();
    store->accept(event("first"), instance("first"), false).get();
    vfs_.set_capacity(vfs_.used() + 100);
    std::atomic<int> told{0}, later{0}, wrong{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 8; ++t)
        threads.emplace_back([&, t] {
            for (int i = 0; i < 10; ++i) {
                const auto id = fmt::format("evt_{}_{}", t, i);
                const auto accept = [&] {
                    wrong += store->accept(event(id), instance(id), false).get().duplicate;
                };
                auto failure = failure_of(accept);
                told += failure == StoreError::Kind::full;
                while (failure == StoreError::Kind::full) {
                    if (told >= 8) vfs_.set_capacity(0);
                    failure = failure_of(accept);
                }
                if (failure) ++wrong;
                ++later;
            }
        });
    for (auto& thread : threads) thread.join();
    EXPECT_GE(told, 8);
    EXPECT_EQ(later, 80);
    EXPECT_EQ(wrong, 0);
    store.reset();
    const auto left = survey();
    EXPECT_EQ(left.events.size(), 81u);
    EXPECT_TRUE(left.damage.empty()) << left.damage.front();
}

TEST_F(StorageFaults, AnEffectWhoseOutcomeMetAFullDiskIsNotRepeated) {
    for (int n = 1; n <= 25; ++n) {
        vfs_.restore({});
        int effects = 0, made_room = 0;
        auto store = open({.writer_thread = false,
                           .on_full =
                               [&] {
                                   ++made_room;
                                   vfs_.set_capacity(0);
                                   return true;
                               },
                           .log_room_bytes = 0});
        Registry registry;
        registry.add({.name = "w", .version = 1, .run = [&](Context& ctx, const Json&) {
                          ctx.step("effect", {.repeat = Repeat::at_most_once}, [&](const Attempt&) {
                              ++effects;
                              // From here on every commit fails until there is room.
                              vfs_.set_capacity(vfs_.used() + n * 1500);
                              return std::string(3000, 'r');
                          });
                          return Json(ctx.step("next", [](const Attempt&) { return 1; }));
                      }});
        SeededRandom random(1);
        Engine engine(*store, clock_, random, std::move(registry), {.workers = 0, .steps = {}});
        engine.accept(event("e"), instance("i"));
        engine.run_until_idle();
        EXPECT_EQ(effects, 1);
        EXPECT_TRUE(n > 1 || made_room > 0);
        const auto left = survey();
        EXPECT_EQ(left.instances.at("i"), "completed");
        EXPECT_TRUE(left.damage.empty()) << left.damage.front();
    }
}

TEST_F(StorageFaults, AnIoErrorAtEveryWriteAndSyncOfAScenarioEndsTheLifeAndLosesNothing) {
    Machine machine;
    SmallWorkflow scenario({.brief = true});
    for (const auto& [operation, code] : {std::pair(Operation::write, SQLITE_IOERR_WRITE),
                                          std::pair(Operation::sync, SQLITE_IOERR_FSYNC)}) {
        int cases = 0;
        for (std::int64_t n = 1;; n += operation == Operation::write ? 5 : 1) {
            // The process ends; then, during the recovery or soon after it, the power goes too.
            const auto story =
                machine.run(scenario,
                            {{.after = n,
                              .survival = Survival::page_cache,
                              .only = operation,
                              .io_error = code},
                             {.after = 10 + n * 7 % 60, .survival = Survival::synced}},
                            1);
            ASSERT_TRUE(story.clean()) << code << " at " << n << story.text();
            if (story.cuts < 2) break;
            ++cases;
        }
        EXPECT_GT(cases, 8);
    }
}

}  // namespace
}  // namespace steplog::testing
