// What a start does where its id, or its key, is in use.
#include <gmock/gmock.h>

#include "engine/commands.h"
#include "engine/inspect.h"
#include "engine/run_id.h"
#include "tests/engine/house.h"

namespace steplog {
namespace {

using std::chrono::hours;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::House;

TEST(RunId, OfTheFirstRunIsTheIdItself) {
    EXPECT_EQ(run_id("order/7", 1), "order/7");
    EXPECT_EQ(run_id("order/7", 2), "order/7/run:00000002");
    EXPECT_EQ(first_run("order/7/run:00000002"), "order/7");
    EXPECT_EQ(first_run("order/7"), "order/7");
    EXPECT_EQ(run_of("order/7"), 1);
    EXPECT_EQ(run_of("order/7/run:00000012"), 12);
    EXPECT_EQ(run_holding("order/7", "order/7/run:00000012/pay"), "order/7/run:00000012");
    EXPECT_EQ(run_holding("order/7", "order/71"), "order/7");
    EXPECT_TRUE(may_be_given("order/7/run:00000012/pay")) << "a child's of a later run";
    for (const char* wrong : {"order/7/run:00000002", "a/run:b", "/run:1"})
        EXPECT_FALSE(may_be_given(wrong)) << wrong;
}

// A workflow that books, waits, and gives back what it booked when it is cancelled.
class StartPolicy : public ::testing::Test {
  protected:
    StartPolicy() {
        house.add("w", [this](Context& ctx, const Json& input) {
            if (std::count(began.begin(), began.end(), ctx.instance_id()) == 0)
                began.push_back(ctx.instance_id());
            if (input.value("books", false))
                ctx.step("book", StepOptions{.undo = undo<int>([this](int, const Attempt&) {
                                                 if (unwilling-- > 0)
                                                     throw RetryableError(
                                                         "busy", {.outcome = Outcome::refused});
                                                 ++given_back;
                                             })},
                         [](const Attempt&) { return 1; });
            if (input.value("waits", true)) ctx.wait_for("go");
            return Json("done");
        });
    }
    Accepted start(const std::string& id, IdConflict id_conflict, const Json& input = {{"n", 1}},
                   const std::string& key = "", KeyConflict key_conflict = KeyConflict::queue) {
        const Accepted accepted =
            house.engine().accept(std::nullopt, NewInstance{.id = id,
                                                            .workflow = "w",
                                                            .key = key,
                                                            .input = input.dump(),
                                                            .id_conflict = id_conflict,
                                                            .key_conflict = key_conflict});
        house.engine().run_until_idle();
        return accepted;
    }
    Accepted start_by_key(const std::string& id, KeyConflict key_conflict) {
        return start(id, IdConflict::join, {{"n", 1}}, "k", key_conflict);
    }
    void expect_whole() {
        house.store().flush();
        Inspector inspector(house.database(), house.clock);
        for (const Check& check : inspector.check().checks)
            EXPECT_EQ(check.broken, 0)
                << check.name << ": " << ::testing::PrintToString(check.examples);
    }
    std::string why(const std::string& id) {
        house.store().flush();
        return Inspector(house.database(), house.clock).why(id).explanation.sentence;
    }
    void end(const std::string& id) {
        house.engine().signal({.instance = id, .name = "go"});
        house.engine().run_until_idle();
    }

    House house;
    std::vector<std::string> began;  // each once
    int given_back = 0, unwilling = 0;
};

// --- the id is in use

TEST_F(StartPolicy, JoinsTheInstanceOfItsIdUnlessItSaysOtherwise) {
    start("i", IdConflict::join);
    const Accepted again = start("i", IdConflict::join);
    EXPECT_TRUE(again.duplicate);
    EXPECT_EQ(again.instance, 1);
    end("i");
    EXPECT_TRUE(start("i", IdConflict::join).duplicate) << "an ended one as well";
    EXPECT_EQ(house.sql("SELECT count(*) FROM instances"), "1");
}

TEST_F(StartPolicy, MayBeToldThatItsIdIsInUse) {
    EXPECT_EQ(start("i", IdConflict::reject).refused, "");
    const Accepted again = start("i", IdConflict::reject);
    EXPECT_FALSE(again.duplicate);
    EXPECT_THAT(again.refused, HasSubstr("an instance i is there already: it is waiting"));
    end("i");
    EXPECT_THAT(start("i", IdConflict::reject).refused, HasSubstr("completed"));
    EXPECT_EQ(house.sql("SELECT count(*) FROM instances"), "1");
}

TEST_F(StartPolicy, ReplacesAnUnfinishedOneThatIsCancelled) {
    start("i", IdConflict::join);
    const Accepted again = start("i", IdConflict::replace, {{"n", 2}});
    EXPECT_FALSE(again.duplicate);
    EXPECT_EQ(again.id, "i/run:00000002");
    EXPECT_EQ(house.state("i"), "cancelled");
    EXPECT_THAT(why("i/run:1"), HasSubstr("another start replaces it"));
    EXPECT_EQ(house.state("i/run:00000002"), "waiting");
    EXPECT_THAT(why("i"), HasSubstr("waits")) << "its id means the newest run";
    EXPECT_THAT(began, ElementsAre("i", "i/run:00000002"));
    end("i");
    EXPECT_EQ(house.state("i/run:00000002"), "completed") << "as do signals";
    expect_whole();
}

TEST_F(StartPolicy, ReplacesAnEndedOneWithoutACancel) {
    start("i", IdConflict::replace, {{"waits", false}});
    EXPECT_EQ(house.state("i"), "completed");
    EXPECT_EQ(start("i", IdConflict::replace, {{"waits", false}}).id, "i/run:00000002");
    EXPECT_EQ(start("i", IdConflict::replace, {{"waits", false}}).id, "i/run:00000003");
    EXPECT_EQ(house.state("i/run:00000003"), "completed");
    EXPECT_TRUE(start("i", IdConflict::join).duplicate);
    EXPECT_EQ(start("i", IdConflict::join).instance, 3);
    EXPECT_EQ(house.sql("SELECT count(*) FROM audit"), "0");
    expect_whole();
}

TEST_F(StartPolicy, BeginsOnlyWhenTheReplacedOneHasTakenBackWhatItDid) {
    start("i", IdConflict::join, {{"books", true}});
    unwilling = 1;
    start("i", IdConflict::replace);
    EXPECT_EQ(given_back, 0);
    EXPECT_EQ(house.state("i"), "sleeping") << "its undo is tried again";
    EXPECT_EQ(house.state("i/run:00000002"), "waiting");
    EXPECT_THAT(why("i"), HasSubstr("waits since"));
    EXPECT_THAT(why("i"), HasSubstr("for i, which it replaces, to end"));
    EXPECT_THAT(began, ElementsAre("i"));

    const Accepted third = start("i", IdConflict::replace);
    EXPECT_EQ(third.id, "i/run:00000003");
    EXPECT_EQ(house.state("i/run:00000002"), "cancelled");
    EXPECT_THAT(began, ElementsAre("i")) << "the third waits for the first as well";
    house.run_to_the_end();
    EXPECT_EQ(given_back, 1);
    EXPECT_EQ(house.state("i"), "cancelled");
    EXPECT_EQ(began.back(), "i/run:00000003");
    expect_whole();
}

TEST_F(StartPolicy, WaitsInTheLineOfItsKeyForTheReplacedOne) {
    start("i", IdConflict::join, {{"books", true}}, "k");
    unwilling = 1;
    start("i", IdConflict::replace, {{"n", 2}}, "k");
    EXPECT_EQ(house.state("i/run:00000002"), "queued");
    house.run_to_the_end();
    EXPECT_EQ(house.state("i/run:00000002"), "waiting");
    EXPECT_EQ(given_back, 1);
    expect_whole();
}

TEST_F(StartPolicy, RunsHaveIdempotencyKeysOfTheirOwn) {
    std::vector<std::string> keys;
    house.add("charges", [&](Context& ctx, const Json&) {
        ctx.step("charge",
                 [&](const Attempt& attempt) { keys.push_back(attempt.idempotency_key); });
        return Json();
    });
    for (int i = 0; i < 2; ++i) {
        house.engine().accept(std::nullopt, NewInstance{.id = "i",
                                                        .workflow = "charges",
                                                        .input = "{}",
                                                        .id_conflict = IdConflict::replace});
        house.run_to_the_end();
    }
    EXPECT_THAT(keys, ElementsAre("steplog:i:charge", "steplog:i/run:00000002:charge"));
}

// --- the key is in use

TEST_F(StartPolicy, QueuesForItsKeyUnlessItSaysOtherwise) {
    start_by_key("a", KeyConflict::queue);
    start_by_key("b", KeyConflict::queue);
    EXPECT_EQ(house.state("b"), "queued");
}

TEST_F(StartPolicy, MayBeToldThatItsKeyIsInUse) {
    start_by_key("a", KeyConflict::reject);
    EXPECT_THAT(start_by_key("b", KeyConflict::reject).refused,
                HasSubstr("the key k is in use by a"));
    EXPECT_EQ(house.state("b"), "");
    end("a");
    EXPECT_EQ(start_by_key("b", KeyConflict::reject).refused, "") << "free again";
}

TEST_F(StartPolicy, MayJoinTheHolderOfItsKey) {
    start_by_key("a", KeyConflict::join);
    const Accepted joined = start_by_key("b", KeyConflict::join);
    EXPECT_TRUE(joined.duplicate);
    EXPECT_EQ(joined.id, "a");
    EXPECT_EQ(joined.instance, 1);
    EXPECT_EQ(house.state("b"), "");
}

TEST_F(StartPolicy, MayReplaceTheHolderOfItsKeyAndItsLine) {
    start_by_key("a", KeyConflict::queue);
    start_by_key("b", KeyConflict::queue);
    const Accepted replacing = start_by_key("c", KeyConflict::replace);
    EXPECT_EQ(replacing.id, "");
    EXPECT_EQ(house.state("a"), "cancelled");
    EXPECT_EQ(house.state("b"), "cancelled");
    EXPECT_THAT(began, ElementsAre("a", "c"));
    expect_whole();
}

TEST_F(StartPolicy, BeginsWhenTheHolderOfItsKeyHasEnded) {
    start("a", IdConflict::join, {{"books", true}}, "k");
    unwilling = 1;
    start_by_key("b", KeyConflict::replace);
    EXPECT_EQ(house.state("b"), "queued");
    house.run_to_the_end();
    EXPECT_EQ(given_back, 1);
    EXPECT_THAT(began, ElementsAre("a", "b"));
    expect_whole();
}

TEST_F(StartPolicy, IsNotRefusedForTheKeyOfTheOneThatItReplaces) {
    start("i", IdConflict::join, {{"n", 1}}, "k");
    const Accepted again = start("i", IdConflict::replace, {{"n", 2}}, "k", KeyConflict::reject);
    EXPECT_EQ(again.refused, "");
    EXPECT_EQ(house.state("i/run:00000002"), "waiting");
}

// --- the edges

TEST_F(StartPolicy, OfAnEventsInstanceIsTodays) {
    NewEvent event{.source = "shop", .id = "evt_1", .type = "", .subject = "", .body = "{}"};
    NewInstance instance{.id = "i", .workflow = "w", .id_conflict = IdConflict::reject};
    EXPECT_THROW(house.engine().accept(event, instance), StoreError);
    EXPECT_EQ(house.sql("SELECT count(*) FROM events"), "0");
    instance.id_conflict = IdConflict::join;
    EXPECT_FALSE(house.engine().accept(event, instance).duplicate);
}

TEST_F(StartPolicy, HasNoPlaceForADelayWhereItReplaces) {
    start("i", IdConflict::join);
    NewInstance later{
        .id = "i", .workflow = "w", .input = "{}", .id_conflict = IdConflict::replace};
    later.delay = hours(1);
    EXPECT_THROW(house.engine().accept(std::nullopt, later), StoreError);
    EXPECT_EQ(house.state("i"), "waiting");
}

TEST_F(StartPolicy, GivesTheIdsOfLaterRunsItself) {
    EXPECT_THROW(start("i/run:00000002", IdConflict::join), StoreError);
    EXPECT_THROW(start("i/run:x", IdConflict::join), StoreError);
}

TEST_F(StartPolicy, IsKnownAfterARestartAndWhenTheFirstRunIsPurged) {
    start("i", IdConflict::join, {{"waits", false}});
    house.clock.advance(hours(1));
    start("i", IdConflict::replace);
    house.restart();
    EXPECT_EQ(house.store().purge({}).get().instances, 1);
    EXPECT_EQ(house.state("i"), "");
    EXPECT_TRUE(start("i", IdConflict::join).duplicate);
    EXPECT_EQ(start("i", IdConflict::replace).id, "i/run:00000003");
}

TEST_F(StartPolicy, IsForgottenWithAllItsRuns) {
    for (const char* key : {"stripe:test::cus_1", ""})
        start("i", IdConflict::replace, {{"waits", false}}, key);
    EXPECT_EQ(house.store().forget({.subject = "cus_1", .actor = "test"}).get().instances, 2);
    EXPECT_EQ(house.sql("SELECT count(*) FROM instances WHERE id LIKE 'forgotten:%'"), "2");
    EXPECT_TRUE(start("i", IdConflict::join).duplicate);
    EXPECT_THAT(start("i", IdConflict::replace).refused, HasSubstr("was forgotten"));
}

TEST_F(StartPolicy, TravelsWithTheCommand) {
    NewInstance one{.id = "i",
                    .workflow = "w",
                    .key = "k",
                    .input = "{}",
                    .id_conflict = IdConflict::replace,
                    .key_conflict = KeyConflict::join};
    const NewInstance there = parse_start_command(start_command(one));
    EXPECT_EQ(there.id_conflict, IdConflict::replace);
    EXPECT_EQ(there.key_conflict, KeyConflict::join);
    Json command = start_command(one);
    command["id_conflict"] = "overwrite";
    EXPECT_THROW(parse_start_command(command), std::invalid_argument);
    start("i", IdConflict::join, {{"n", 1}}, "k");
    one.id = "j";
    const Started started =
        parse_started(handle_command(house.engine(), start_command(one), "uid:7"));
    EXPECT_TRUE(started.exists);
    EXPECT_EQ(started.id, "i");
}

}  // namespace
}  // namespace steplog
