// What a start may say about when: not before a time, done by a deadline, before others.
#include <gmock/gmock.h>

#include "engine/commands.h"
#include "engine/inspect.h"
#include "engine/inspect_json.h"
#include "engine/rfc3339.h"
#include "engine/testing/workflow_test.h"
#include "tests/engine/house.h"

namespace steplog {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::House;
using ::testing::Not;

NewInstance instance(const std::string& id, const std::string& workflow) {
    return {.id = id, .workflow = workflow, .input = "{}"};
}

std::string why(House& house, const std::string& id) {
    house.store().flush();
    return Inspector(house.database(), house.clock).why(id).explanation.sentence;
}

// No promise of the engine's is broken in the file.
void expect_whole(House& house) {
    house.store().flush();
    Inspector inspector(house.database(), house.clock);
    for (const Check& check : inspector.check().checks)
        EXPECT_EQ(check.broken, 0)
            << check.name << ": " << ::testing::PrintToString(check.examples);
}

// --- when it starts

TEST(StartAt, BeginsNotBeforeThatTime) {
    House house;
    std::int64_t begun_at_ms = 0;
    house.add("w", [&](Context&, const Json&) {
        begun_at_ms = house.clock.now_ms();
        return Json();
    });
    const std::int64_t at_ms = house.clock.now_ms() + 3'600'000;
    NewInstance later = instance("i", "w");
    later.start_at_ms = at_ms;
    house.engine().accept(std::nullopt, later);
    house.clock.set_ms(at_ms - 1);
    house.engine().run_until_idle();
    EXPECT_EQ(house.state("i"), "pending");
    EXPECT_THAT(why(house, "i"), HasSubstr("starts at " + format_rfc3339(at_ms)));
    house.run_to_the_end();
    EXPECT_EQ(begun_at_ms, at_ms);

    NewInstance past = instance("j", "w");
    past.start_at_ms = at_ms - 1;
    house.engine().accept(std::nullopt, past);
    house.engine().run_until_idle();
    EXPECT_EQ(house.state("j"), "completed") << "a time that has passed does not wait";
}

TEST(StartAt, HoldsBehindAKeyToo) {
    House house;
    house.add("w", [](Context& ctx, const Json&) {
        ctx.sleep_for("a minute", minutes(1));
        return Json();
    });
    house.start("first", "w", {}, "k");
    NewInstance later = instance("i", "w");
    later.key = "k";
    later.start_at_ms = house.clock.now_ms() + 3'600'000;
    house.engine().accept(std::nullopt, later);
    house.engine().run_until_idle();
    house.clock.advance(minutes(2));
    house.engine().run_until_idle();
    EXPECT_EQ(house.state("first"), "completed");
    EXPECT_EQ(house.state("i"), "pending");
    EXPECT_EQ(house.engine().next_due_ms(), later.start_at_ms);
}

// --- priority

class Priority : public ::testing::Test {
  protected:
    Priority() {
        house.add("w", [this](Context& ctx, const Json&) {
            order.push_back(ctx.instance_id());
            return Json();
        });
    }
    void start(const std::string& id, int priority) {
        NewInstance one = instance(id, "w");
        one.priority = priority;
        house.engine().accept(std::nullopt, one);
        house.clock.advance(Ms(1));
    }

    House house;
    std::vector<std::string> order;
};

TEST_F(Priority, OrdersWhatIsDue) {
    start("low", -1);
    start("first", 0);
    start("second", 0);
    start("high", 5);
    house.engine().run_until_idle();
    EXPECT_THAT(order, ElementsAre("high", "first", "second", "low"));
}

TEST_F(Priority, IsSeenAtTheEndOfALongLine) {
    for (int i = 0; i < 3 * claim_window; ++i) start("bulk" + std::to_string(i), 0);
    start("urgent", 1);
    house.engine().run_until_idle();
    EXPECT_EQ(order.front(), "urgent");
    EXPECT_EQ(order.at(1), "bulk0");
}

TEST_F(Priority, IsKnownAfterARestart) {
    start("first", 0);
    start("urgent", 1);
    house.restart();
    house.engine().run_until_idle();
    EXPECT_EQ(order.front(), "urgent");
}

TEST_F(Priority, OfAChildIsItsParentsUnlessItHasOne) {
    house.add("parent", [](Context& ctx, const Json&) {
        ctx.start_child("a", "w");
        ctx.start_child("b", "w", Json::object(), {.priority = 2});
        return Json();
    });
    NewInstance parent = instance("p", "parent");
    parent.priority = 7;
    house.engine().accept(std::nullopt, parent);
    house.run_to_the_end();
    EXPECT_EQ(house.sql("SELECT priority FROM instances WHERE id='p/a'"), "7");
    EXPECT_EQ(house.sql("SELECT priority FROM instances WHERE id='p/b'"), "2");
}

TEST_F(Priority, OutOfItsRangeIsRefused) {
    for (const int wrong : {-priority_max - 1, priority_max + 1}) {
        NewInstance one = instance("i", "w");
        one.priority = wrong;
        EXPECT_THROW(house.engine().accept(std::nullopt, one), StoreError);
    }
    EXPECT_EQ(house.sql("SELECT count(*) FROM instances"), "0");
}

// The statement is the claim's own, as sqlite3_trace would show it, with its windows.
TEST_F(Priority, IsFoundWithoutReadingEverything) {
    house.engine();
    SQLite::Database reader(house.database(), SQLite::OPEN_READONLY);
    SQLite::Statement plan(reader,
                           "EXPLAIN QUERY PLAN SELECT id FROM instances WHERE seq IN (SELECT seq "
                           "FROM (SELECT seq FROM instances WHERE due_at_ms<=?1 AND NOT "
                           "(state='running' AND owner=?2) ORDER BY due_at_ms LIMIT ?4) UNION "
                           "SELECT seq FROM (SELECT seq FROM instances WHERE due_at_ms<=?1 AND NOT "
                           "(state='running' AND owner=?2) ORDER BY due_at_ms DESC LIMIT ?4)) "
                           "ORDER BY priority DESC, due_at_ms, seq LIMIT ?3");
    std::string said;
    while (plan.executeStep()) said += plan.getColumn(3).getString() + "\n";
    EXPECT_THAT(
        said, AllOf(HasSubstr("USING INDEX instances_due"), HasSubstr("USING INTEGER PRIMARY KEY"),
                    Not(HasSubstr("SCAN instances"))));
}

// --- deadline

RetryableError not_now() {
    return RetryableError("not now",
                          {.code = "busy", .outcome = Outcome::refused, .retry_after = hours(30)});
}

class Deadline : public ::testing::Test {
  protected:
    void start(const std::string& id, const std::string& workflow, Ms deadline,
               const std::string& key = "") {
        NewInstance one = instance(id, workflow);
        one.deadline = deadline;
        one.key = key;
        house.engine().accept(std::nullopt, one);
        house.engine().run_until_idle();
    }
    void expect_ended(const std::string& id, const std::string& was) {
        EXPECT_EQ(house.state(id), "cancelled");
        EXPECT_EQ(house.error_code(id), "deadline_exceeded");
        const Json said = Json::parse(house.sql(
            "SELECT data FROM entries WHERE kind='cancelled' AND instance=(SELECT seq FROM "
            "instances WHERE id='" +
            id + "')"));
        EXPECT_EQ(said.at("by"), "engine");
        EXPECT_EQ(said.at("was"), was);
        EXPECT_EQ(said.at("code"), "deadline_exceeded");
        expect_whole(house);
    }

    House house;
};

TEST_F(Deadline, EndsWhatWaitsWhenItPassesAndNotBefore) {
    house.add("sleeps", [](Context& ctx, const Json&) {
        ctx.sleep_for("long", hours(48));
        return Json();
    });
    house.add("waits", [](Context& ctx, const Json&) {
        ctx.wait_for("approved");
        return Json();
    });
    house.add("retries", [](Context& ctx, const Json&) {
        ctx.step("s", [](const Attempt&) { throw not_now(); });
        return Json();
    });
    for (const std::string workflow : {"sleeps", "waits", "retries"})
        start(workflow, workflow, hours(24));
    house.clock.advance(hours(24) - Ms(1));
    house.engine().run_until_idle();
    EXPECT_EQ(house.sql("SELECT count(*) FROM instances WHERE state='cancelled'"), "0");
    EXPECT_EQ(house.engine().next_due_ms(), house.clock.now_ms() + 1);
    EXPECT_THAT(why(house, "sleeps"), HasSubstr("ends at its deadline, at "));
    EXPECT_THAT(why(house, "waits"), HasSubstr("or its deadline passes at "));
    house.clock.advance(Ms(1));
    house.engine().run_until_idle();
    expect_ended("sleeps", "sleeping");
    expect_ended("waits", "waiting");
    expect_ended("retries", "sleeping");
    EXPECT_THAT(why(house, "sleeps"), HasSubstr("by engine while it was sleeping "
                                                "(deadline_exceeded): its deadline has passed"));
}

TEST_F(Deadline, EndsWhatRunsBeforeItBeginsAnythingMore) {
    house.add("w", [this](Context& ctx, const Json&) {
        EXPECT_EQ(ctx.deadline_ms(), house.clock.now_ms() + 60'000);
        ctx.step("slow", [this](const Attempt& attempt) {
            house.clock.advance(minutes(2));
            attempt.heartbeat();
            EXPECT_TRUE(attempt.stop.stop_requested()) << "told with its next heartbeat";
        });
        ctx.step("never", [](const Attempt&) { ADD_FAILURE() << "begun behind its deadline"; });
        return Json();
    });
    start("i", "w", minutes(1));
    expect_ended("i", "running");
    EXPECT_EQ(house.log("i"), "started slow, completed slow, cancelled slow");
}

TEST_F(Deadline, LeavesAloneWhoseFunctionReturnsFirst) {
    house.add("w", [this](Context& ctx, const Json&) {
        ctx.step("slow", [this](const Attempt&) { house.clock.advance(minutes(2)); });
        return Json("done");
    });
    start("i", "w", minutes(1));
    EXPECT_EQ(house.state("i"), "completed");
}

TEST_F(Deadline, HasFinishedStepsTakenBack) {
    std::vector<std::string> undone;
    house.add("w", [&](Context& ctx, const Json&) {
        ctx.step(
            "book",
            StepOptions{.undo = undo<int>([&](int, const Attempt&) { undone.push_back("book"); })},
            [](const Attempt&) { return 1; });
        ctx.sleep_for("long", hours(48));
        return Json();
    });
    start("i", "w", hours(1));
    house.run_to_the_end();
    EXPECT_THAT(undone, ElementsAre("book"));
    expect_ended("i", "sleeping");
}

TEST_F(Deadline, ComesWhereverTheProcessDies) {
    testing::WorkflowTest test([](Context& ctx, const Json&) {
        ctx.start_child("c", "child", Json::object(), {.deadline = hours(1)});
        try {
            ctx.await_child("c");
        } catch (const ChildFailed& failed) {
            return Json(failed.code());
        }
        return Json("it completed");
    });
    test.with({.name = "child", .run = [](Context& ctx, const Json&) {
                   ctx.step("book",
                            StepOptions{.idempotency_window = hours(20),
                                        .undo = undo<int>([](int, const Attempt&) {})},
                            [](const Attempt&) { return 1; });
                   ctx.sleep_for("long", hours(48));
                   return Json();
               }});
    EXPECT_EQ(test.run().output, "deadline_exceeded");
    EXPECT_LT(test.run().took, hours(2));
    const auto crashes = test.crash_everywhere();
    EXPECT_EQ(crashes.failure, "");
    EXPECT_GT(crashes.places, 10);
}

TEST_F(Deadline, OfAChildIsTheEarlierOfItsOwnAndItsParents) {
    house.add("child", [](Context& ctx, const Json&) {
        ctx.sleep_for("long", hours(48));
        return Json();
    });
    house.add("parent", [](Context& ctx, const Json&) {
        ctx.start_child("none", "child");
        ctx.start_child("later", "child", Json::object(), {.deadline = hours(20)});
        ctx.start_child("earlier", "child", Json::object(), {.deadline = hours(1)});
        ctx.sleep_for("long", hours(48));
        return Json();
    });
    const std::int64_t start_ms = house.clock.now_ms();
    start("p", "parent", hours(10));
    const auto deadline_of = [&](const std::string& id) {
        return std::stoll(house.sql("SELECT deadline_ms FROM instances WHERE id='p/" + id + "'")) -
               start_ms;
    };
    EXPECT_EQ(deadline_of("none"), 36'000'000);
    EXPECT_EQ(deadline_of("later"), 36'000'000);
    EXPECT_EQ(deadline_of("earlier"), 3'600'000);
    house.run_to_the_end();
    EXPECT_EQ(house.sql("SELECT count(*) FROM instances WHERE state='cancelled'"), "4");
    expect_whole(house);
}

TEST_F(Deadline, OfOneThatQueuesEndsItInItsTurnUncalled) {
    house.add("w", [this](Context& ctx, const Json&) {
        EXPECT_EQ(ctx.instance_id(), "first");
        ctx.sleep_for("long", hours(2));
        return Json();
    });
    house.start("first", "w", {}, "k");
    start("second", "w", hours(1), "k");
    house.clock.advance(minutes(90));
    house.engine().run_until_idle();
    EXPECT_EQ(house.state("second"), "queued");
    EXPECT_THAT(why(house, "second"), HasSubstr("its deadline passed at "));
    house.run_to_the_end();
    expect_ended("second", "pending");
}

TEST_F(Deadline, LeavesWhatIsStuckToAPersonAndEndsItWhenItIsResumed) {
    house.add("w", [](Context& ctx, const Json&) -> Json { ctx.stuck("odd", "is odd"); });
    start("i", "w", hours(1));
    house.clock.advance(hours(2));
    house.engine().run_until_idle();
    EXPECT_EQ(house.state("i"), "stuck");
    house.resume("i");
    house.run_to_the_end();
    expect_ended("i", "pending");
}

TEST_F(Deadline, EndsWhatIsParkedWhileAPersonHasPausedItsProvider) {
    house.add("w", [](Context& ctx, const Json&) {
        ctx.step("s", StepOptions{.provider = "clerk"}, [](const Attempt&) {});
        return Json();
    });
    house.store()
        .change_provider(
            {.kind = ProviderChange::Kind::pause, .provider = "clerk", .actor = "test"})
        .get();
    start("i", "w", hours(1));
    EXPECT_EQ(house.state("i"), "sleeping");
    house.run_to_the_end();
    expect_ended("i", "sleeping");
}

TEST_F(Deadline, EndsWhatHasNotStartedYet) {
    house.add("w", [](Context&, const Json&) -> Json { throw std::runtime_error("called"); });
    NewInstance one = instance("i", "w");
    one.delay = hours(2);
    one.deadline = hours(1);
    house.engine().accept(std::nullopt, one);
    house.run_to_the_end();
    expect_ended("i", "pending");
}

TEST_F(Deadline, MustLieAhead) {
    house.add("w", [](Context&, const Json&) { return Json(); });
    NewInstance one = instance("i", "w");
    one.deadline = Ms(0);
    EXPECT_THROW(house.engine().accept(std::nullopt, one), StoreError);
    EXPECT_EQ(house.sql("SELECT count(*) FROM instances"), "0");
}

// --- shown, and ordered by a person

TEST(StartOptions, AreShown) {
    House house;
    house.add("w", [](Context& ctx, const Json&) {
        ctx.sleep_for("long", hours(48));
        return Json();
    });
    NewInstance one = instance("i", "w");
    one.deadline = hours(1);
    one.priority = 3;
    house.engine().accept(std::nullopt, one);
    house.store().flush();
    Inspector inspector(house.database(), house.clock);
    const Json json = json_of(inspector.show("i"));
    EXPECT_EQ(json.at("deadline_at"), format_rfc3339(house.clock.now_ms() + 3'600'000));
    EXPECT_EQ(json.at("priority"), 3);
}

TEST(StartOptions, TravelWithTheCommand) {
    NewInstance one = instance("i", "w");
    one.start_at_ms = 1'800'000'000'000;
    one.deadline = hours(1);
    one.priority = -3;
    const NewInstance there = parse_start_command(start_command(one));
    EXPECT_EQ(there.start_at_ms, one.start_at_ms);
    EXPECT_EQ(there.deadline, one.deadline);
    EXPECT_EQ(there.priority, -3);
    Json command = start_command(one);
    for (const auto& [field, wrong] :
         std::vector<std::pair<std::string, Json>>{{"priority", 1001},
                                                   {"priority", "high"},
                                                   {"deadline_ms", 0},
                                                   {"deadline_ms", -1},
                                                   {"start_at_ms", "tomorrow"}}) {
        Json broken = command;
        broken[field] = wrong;
        EXPECT_THROW(parse_start_command(broken), std::invalid_argument) << field << wrong;
    }
}

}  // namespace
}  // namespace steplog
