// What a step brings up to date never goes back in time: an event that is older than what was
// brought about, or may have been, is superseded, whoever has it and whatever crashes in between.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <mutex>

#include "engine/inspect.h"
#include "engine/testing/workflow_test.h"
#include "tests/engine/house.h"

namespace steplog {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::House;
using ::testing::IsEmpty;

class Update : public ::testing::Test {
  protected:
    Update() {
        house.add("plan", [this](Context& ctx, const Json& input) {
            const std::int64_t version = input.at("version");
            UpdateOptions options{.entity = "plan/cus_1", .version = version};
            if (has_probe)
                options.step.probe = [this](const Attempt&) {
                    ++looks;
                    return std::optional<Json>();
                };
            const auto applied = ctx.update("write", options, [&](const Attempt&) {
                if (on_call) on_call(version);
                written.push_back(version);
                return version;
            });
            ctx.sleep_for("nap", Ms(10));
            return applied ? Json(*applied) : Json("superseded");
        });
    }
    void start(std::int64_t version) {
        house.start(id(version), "plan", {{"version", version}});
        house.engine().run_until_idle();
    }
    static std::string id(std::int64_t version) { return fmt::format("plan/{}", version); }
    std::string output(std::int64_t version) {
        return house.sql(
            "SELECT body FROM payloads JOIN instances ON output_payload=payloads.id "
            "WHERE instances.id='" +
            id(version) + "'");
    }
    std::string newest() { return house.sql("SELECT version FROM applied_versions"); }

    House house;
    bool has_probe = false;
    int looks = 0;
    std::function<void(std::int64_t)> on_call;
    std::vector<std::int64_t> written;
};

TEST_F(Update, NeverGoesBackInTime) {
    for (const int version : {20, 10, 30, 29}) start(version);
    EXPECT_THAT(written, ElementsAre(20, 30));
    house.run_to_the_end();
    EXPECT_EQ(output(20), "20");
    EXPECT_EQ(output(10), "\"superseded\"") << "in every later call, too";
    EXPECT_EQ(house.log(id(10)), "completed write, timer nap") << "nothing was begun";
    EXPECT_EQ(house.sql("SELECT data FROM entries WHERE instr(data, 'superseded') LIMIT 1"),
              R"({"superseded":20,"version":10})");
    EXPECT_TRUE(Inspector(house.database(), house.clock).check().holds());
}

TEST_F(Update, AppliesEqualVersions) {
    start(20);
    house.start("plan/again", "plan", {{"version", 20}});
    house.engine().run_until_idle();
    EXPECT_THAT(written, ElementsAre(20, 20)) << "two events of one second";
}

TEST_F(Update, RemembersAcrossARestart) {
    start(20);
    house.restart();
    start(10);
    EXPECT_THAT(written, ElementsAre(20));
}

TEST_F(Update, CountsWhatIsRefusedForCertainAsNotMade) {
    on_call = [&](std::int64_t version) {
        if (version == 20) throw PermanentError("no", "no such plan");
        if (version == 30) throw RetryableError("busy", {.outcome = Outcome::refused});
    };
    start(20);
    EXPECT_EQ(newest(), "");
    start(15);
    start(30);
    EXPECT_EQ(newest(), "15");
    start(17);
    EXPECT_THAT(written, ElementsAre(15, 17));
    on_call = {};
    house.run_to_the_end();
    EXPECT_THAT(written, ElementsAre(15, 17, 30));
}

TEST_F(Update, CountsWhatMayHaveBeenMade) {
    on_call = [&](std::int64_t version) {
        if (version == 20) throw RetryableError("no answer", {.outcome = Outcome::unknown});
    };
    start(20);
    start(10);
    EXPECT_THAT(written, IsEmpty());
    on_call = {};
    house.run_to_the_end();
    EXPECT_THAT(written, ElementsAre(20));
    EXPECT_EQ(output(10), "\"superseded\"");
}

TEST_F(Update, NeitherLooksUpNorRepeatsWhatIsOutOfDate) {
    has_probe = true;
    on_call = [&](std::int64_t version) {
        if (version == 10) throw RetryableError("no answer", {.outcome = Outcome::unknown});
    };
    start(10);
    start(20);
    house.run_to_the_end();
    EXPECT_THAT(written, ElementsAre(20));
    EXPECT_EQ(looks, 0);
    EXPECT_EQ(house.state(id(10)), "completed");
}

TEST_F(Update, IsMadeOneAtATimeForOneThingAndToldByWhy) {
    std::string why;
    bool others_came = false;
    on_call = [&](std::int64_t) {
        if (std::exchange(others_came, true)) return;
        start(20);
        EXPECT_THAT(written, IsEmpty());
        why = Inspector(house.database(), house.clock).why(id(20)).explanation.sentence;
    };
    start(10);
    house.run_to_the_end();
    EXPECT_THAT(why, HasSubstr("because another instance updates the same thing"));
    EXPECT_THAT(written, ElementsAre(10, 20));
}

TEST_F(Update, IsAskedAgainWhereAnAttemptDied) {
    on_call = [&](std::int64_t version) {
        if (version == 10) house.remember();
    };
    start(10);
    written.clear();
    house.die_as_remembered();
    house.run_to_the_end();
    EXPECT_THAT(written, ElementsAre(10)) << "its own version does not supersede it";
    start(20);
    start(10);
    EXPECT_THAT(written, ElementsAre(10, 20));
}

TEST_F(Update, NamesNobody) {
    start(20);
    EXPECT_THAT(house.sql("SELECT entity FROM applied_versions"), HasSubstr("forgotten:"));
    EXPECT_EQ(house.sql("SELECT count(*) FROM entries WHERE instr(data, 'cus_1')"), "0");
}

TEST(UpdateCost, IsNoCommit) {
    int made = 0;
    House house({.on_commit = [&made](std::size_t, std::chrono::microseconds) { ++made; }});
    house.add("plain", [](Context& ctx, const Json&) {
        ctx.step("a", [](const Attempt&) {});
        ctx.step("b", [](const Attempt&) {});
        return Json();
    });
    house.add("updating", [](Context& ctx, const Json&) {
        ctx.update("a", {.entity = "a", .version = 1}, [](const Attempt&) {});
        ctx.update("b", {.entity = "b", .version = 1}, [](const Attempt&) {});
        return Json();
    });
    const auto commits = [&](const std::string& workflow) {
        made = 0;
        house.start(workflow, workflow);
        house.engine().run_until_idle();
        return made;
    };
    house.engine();
    const int plain = commits("plain");
    EXPECT_GT(plain, 0);
    EXPECT_EQ(commits("updating"), plain);
}

TEST_F(Update, TellsWhetherOneWithoutAResultWasMade) {
    std::vector<bool> made;
    house.add("touch", [&](Context& ctx, const Json&) {
        for (const int version : {2, 1})
            made.push_back(ctx.update("v" + std::to_string(version),
                                      {.entity = "thing", .version = version},
                                      [](const Attempt&) {}));
        return Json();
    });
    house.start("touch/1", "touch");
    house.engine().run_until_idle();
    EXPECT_THAT(made, ElementsAre(true, false));
}

TEST_F(Update, HasNothingToTakeBackWhereItWasSuperseded) {
    std::vector<int> taken_back;
    house.add("doomed", [&](Context& ctx, const Json&) {
        for (const int version : {2, 1})
            ctx.update("v" + std::to_string(version),
                       {.entity = "thing",
                        .version = version,
                        .step = {.undo = [&taken_back, version](
                                             const Attempt&,
                                             const Json&) { taken_back.push_back(version); }}},
                       [](const Attempt&) {});
        throw PermanentError("no", "no");
        return Json();
    });
    house.start("doomed/1", "doomed");
    house.run_to_the_end();
    EXPECT_EQ(house.state("doomed/1"), "failed");
    EXPECT_THAT(taken_back, ElementsAre(2));
}

TEST_F(Update, IsRefusedWithAOnceKeyAndWithoutAnEntity) {
    house.add("once", [](Context& ctx, const Json&) {
        ctx.update("a", {.entity = "a", .step = {.once = "mail"}}, [](const Attempt&) {});
        return Json();
    });
    house.add("nameless", [](Context& ctx, const Json&) {
        ctx.update("a", {}, [](const Attempt&) {});
        return Json();
    });
    house.start("once/1", "once");
    house.start("nameless/1", "nameless");
    house.engine().run_until_idle();
    EXPECT_EQ(house.error_code("once/1"), "once_in_update");
    EXPECT_EQ(house.error_code("nameless/1"), "write_refused");
}

TEST(UpdateCrashes, AnywhereLeaveTheNewestVersion) {
    std::vector<int> outside;
    testing::WorkflowTest test([&](Context& ctx, const Json&) {
        Json said = Json::array();
        for (const int version : {2, 1, 3}) {
            const UpdateOptions options{.entity = "thing",
                                        .version = version,
                                        .step = {.idempotency_window = std::chrono::hours(1)}};
            said.push_back(ctx.update("v" + std::to_string(version), options,
                                      [&](const Attempt&) { outside.push_back(version); }));
        }
        if (!std::is_sorted(outside.begin(), outside.end())) ctx.stuck("went_back", "in time");
        return said;
    });
    test.before_each([&] { outside.clear(); });
    EXPECT_EQ(test.run().output, Json({true, false, true}));
    const auto crashes = test.crash_everywhere();
    EXPECT_EQ(crashes.failure, "");
    EXPECT_GT(crashes.places, 10);
}

// Real threads: attempts for one entity are made one at a time, so that the last is the newest.
TEST(UpdateAtTheSameTime, EndsWithTheNewestAndNobodyIsForgotten) {
    constexpr int instances = 60, entities = 3;
    const testing::TemporaryDirectory directory;
    SystemClock clock;
    testing::SeededRandom random(1);
    const auto store = open_sqlite_store({.database = directory / "test.db"}, clock);
    std::mutex mutex;
    std::array<int, entities> at_it{}, newest{};
    int overlaps = 0, went_back = 0;
    std::latch ended(instances);
    Registry registry;
    registry.add({.name = "plan", .run = [&](Context& ctx, const Json& input) {
                      const int version = input.at("version");
                      const auto entity = static_cast<std::size_t>(version % entities);
                      ctx.update("write", {.entity = std::to_string(entity), .version = version},
                                 [&](const Attempt&) {
                                     {
                                         std::lock_guard lock(mutex);
                                         overlaps += at_it.at(entity)++ > 0;
                                         went_back += version < newest.at(entity);
                                         newest.at(entity) = version;
                                     }
                                     std::this_thread::yield();
                                     std::lock_guard lock(mutex);
                                     --at_it.at(entity);
                                 });
                      return Json();
                  }});
    EngineOptions options{.workers = 16};
    options.on_transition = [&](const Transitioned& t) {
        if (t.what == "finished") ended.count_down();
    };
    Engine engine(*store, clock, random, std::move(registry), std::move(options));
    engine.start();
    for (int i = 0; i < instances; ++i) {
        const int version = i * 37 % instances;
        engine.accept(std::nullopt,
                      NewInstance{.id = "plan/" + std::to_string(version),
                                  .workflow = "plan",
                                  .input = fmt::format(R"({{"version":{}}})", version)});
    }
    ended.wait();
    EXPECT_TRUE(engine.stop(std::chrono::seconds(5)));
    EXPECT_EQ(overlaps, 0);
    EXPECT_EQ(went_back, 0);
    EXPECT_THAT(newest, ElementsAre(57, 58, 59));
}

}  // namespace
}  // namespace steplog
