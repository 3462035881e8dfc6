// What a workflow publishes while it runs: who asks sees the last value under each name, and a
// replay publishes nothing anew.
#include <gmock/gmock.h>

#include "engine/inspect.h"
#include "engine/inspect_json.h"
#include "engine/testing/workflow_test.h"
#include "tests/engine/house.h"

namespace steplog {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::House;
using ::testing::IsEmpty;
using ::testing::Optional;
using ::testing::Pair;

Json shown(House& house, const std::string& id) {
    house.store().flush();
    Inspector inspector(house.database(), house.clock);
    return json_of(inspector.show(id));
}

TEST(Published, IsSeenFromOutsideWhileTheInstanceRuns) {
    House house;
    house.add("w", [&](Context& ctx, const Json&) {
        ctx.publish("progress", 0);
        ctx.step("half", [&](const Attempt&) {
            EXPECT_THAT(house.engine().published("i"),
                        Optional(ElementsAre(Pair("progress", Json(0)))));
        });
        ctx.publish("progress", 50);
        ctx.publish("phase", "the second half");
        ctx.step("rest", [&](const Attempt&) {
            EXPECT_THAT(house.engine().published("i"),
                        Optional(ElementsAre(Pair("phase", Json("the second half")),
                                             Pair("progress", Json(50)))));
        });
        return Json();
    });
    house.start("i", "w");
    EXPECT_THAT(house.engine().published("i"), Optional(IsEmpty()));
    house.run_to_the_end();
    EXPECT_EQ(house.state("i"), "completed");
    EXPECT_EQ(house.engine().published("i")->at("progress"), 50) << "when it has ended as well";
    EXPECT_EQ(house.engine().published("nobody"), std::nullopt);
}

TEST(Published, CostsNoCommitOfItsOwn) {
    int commits = 0;
    House house({.on_commit = [&](std::size_t, std::chrono::microseconds) { ++commits; }});
    bool publishes = false;
    house.add("w", [&](Context& ctx, const Json&) {
        if (publishes) ctx.publish("progress", 1);
        ctx.step("s", [](const Attempt&) {});
        if (publishes) ctx.publish("progress", 2);
        return Json();
    });
    const auto commits_of = [&](const std::string& id) {
        const int before = commits;
        house.start(id, "w");
        house.engine().run_until_idle();
        return commits - before;
    };
    const int without = commits_of("i");
    publishes = true;
    EXPECT_EQ(commits_of("j"), without);
    EXPECT_EQ(house.log("j"), "published progress, started s, completed s, published progress");
}

TEST(Published, IsNotPublishedAgainByAReplay) {
    House house;
    int tries = 0;
    house.add("w", [&](Context& ctx, const Json&) {
        ctx.publish("tries", tries);
        ctx.publish("tries", tries + 10);
        ctx.step("s", [&](const Attempt&) {
            if (++tries < 3) throw RetryableError("not yet", {.outcome = Outcome::refused});
        });
        ctx.publish("tries", tries + 20);
        return Json();
    });
    house.start("i", "w");
    house.engine().run_until_idle();
    EXPECT_EQ(house.engine().published("i")->at("tries"), 10);
    house.run_to_the_end();
    EXPECT_EQ(house.engine().published("i")->at("tries"), 23);
    EXPECT_EQ(house.sql("SELECT count(*) FROM entries WHERE kind='published'"), "3");
}

TEST(Published, SaysTheSameWhereverTheProcessDies) {
    testing::WorkflowTest test([](Context& ctx, const Json&) {
        for (int i = 0; i < 3; ++i) {
            ctx.publish("progress", i);
            ctx.step("s" + std::to_string(i), StepOptions{.idempotency_window = Ms(3'600'000)},
                     [](const Attempt&) { return 1; });
        }
        ctx.sleep_for("a while", Ms(1000));
        ctx.publish("progress", 3);
        return Json("done");
    });
    const auto crashes = test.crash_everywhere();
    EXPECT_EQ(crashes.failure, "");
    EXPECT_GT(crashes.places, 10);
}

TEST(Published, IsShownToAPersonWithItsTime) {
    House house;
    house.add("w", [&](Context& ctx, const Json&) {
        ctx.publish("progress",
                    Json{{"done", 3}, {"of", 10}, {"token", "sk_live_0123456789abcdef"}});
        ctx.sleep_for("a while", Ms(60'000));
        return Json();
    });
    house.start("i", "w");
    house.engine().run_until_idle();
    const Json published = shown(house, "i").at("published").at("progress");
    EXPECT_EQ(published.at("value").at("done"), 3);
    EXPECT_THAT(published.dump(), Not(HasSubstr("0123456789abcdef"))) << "redacted like a result";
    EXPECT_THAT(published.at("at").get<std::string>(), HasSubstr("T"));
}

TEST(Published, IsEncryptedAndGoesWithItsInstance) {
    const auto keys =
        parse_master_keys("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
    House house({.encryption_keys = keys});
    house.add("w", [&](Context& ctx, const Json&) {
        ctx.publish("for", "ada@example.com");
        return Json();
    });
    const auto left = [&] {
        return house.sql("SELECT count(*) FROM payloads WHERE instr(body, 'ada@')>0");
    };
    house.start("i", "w", Json::object(), "stripe:test::cus_1");
    house.run_to_the_end();
    EXPECT_EQ(left(), "0") << "sealed";
    EXPECT_EQ(house.engine().published("i")->at("for"), "ada@example.com");
    EXPECT_TRUE(house.store().forget({.subject = "cus_1", .actor = "test"}).get().done);
    EXPECT_EQ(house.engine().published("i")->at("for"), nullptr) << "known, and forgotten";
    house.clock.advance(std::chrono::hours(1));
    EXPECT_EQ(house.store().purge({}).get().instances, 1);
    EXPECT_EQ(house.sql("SELECT count(*) FROM payloads WHERE body IS NOT NULL"), "0");
}

TEST(Published, HasALimitAndAName) {
    House house;
    house.add("large", [&](Context& ctx, const Json&) {
        ctx.publish("all of it", std::string(Limits{}.published_bytes_max, 'x'));
        return Json();
    });
    house.add("nameless", [&](Context& ctx, const Json&) {
        ctx.publish("", 1);
        return Json();
    });
    house.add("nested", [&](Context& ctx, const Json&) {
        ctx.step("s", [&](const Attempt&) { ctx.publish("progress", 1); });
        return Json();
    });
    for (const char* name : {"large", "nameless", "nested"}) house.start(name, name);
    house.run_to_the_end();
    EXPECT_EQ(house.error_code("large"), "limit_exceeded");
    EXPECT_THAT(house.sql("SELECT error FROM instances WHERE id='large'"),
                AllOf(HasSubstr("all of it"), HasSubstr("65536"), HasSubstr("keep it elsewhere")));
    EXPECT_EQ(house.error_code("nameless"), "bad_step_name");
    EXPECT_EQ(house.error_code("nested"), "nested_step");
}

// Names of what is published are apart from those of steps, and say nothing about patches.
TEST(Published, HasNamesOfItsOwn) {
    House house;
    bool patched = true;
    house.add("w", [&](Context& ctx, const Json&) {
        ctx.publish("s", 1);
        patched = ctx.patched("p");
        ctx.step("s", [](const Attempt&) {});
        ctx.sleep_for("a while", Ms(1000));
        return Json();
    });
    house.start("i", "w");
    house.run_to_the_end();
    EXPECT_EQ(house.state("i"), "completed");
    EXPECT_TRUE(patched);
}

}  // namespace
}  // namespace steplog
