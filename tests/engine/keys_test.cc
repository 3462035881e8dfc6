// Keys: instances of one key run one after another. Once keys: an effect that whoever asks happens
// once.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/inspect.h"
#include "tests/engine/house.h"

namespace steplog {
namespace {

using testing::House;

RetryableError answer(Outcome outcome) {
    return RetryableError("no", {.code = "no", .outcome = outcome, .retry_after = Ms(1000)});
}

TEST(Key, LetsInstancesRunOneAfterAnotherInOrderOfArrival) {
    House house;
    std::string order;
    int failures = 1;
    house.add("w", [&](Context& ctx, const Json&) {
        ctx.step("a", [&](const Attempt&) {
            if (failures-- > 0) throw answer(Outcome::refused);
            order += ctx.instance_id();
        });
        return Json();
    });
    for (const char* id : {"1", "2", "3"}) house.start(id, "w", {}, "customer");
    house.start("x", "w", {}, "other");
    house.engine().run_until_idle();
    EXPECT_EQ(order, "x");
    EXPECT_EQ(house.state("1"), "sleeping");
    EXPECT_EQ(house.state("2"), "queued");
    house.run_to_the_end();
    EXPECT_EQ(order, "x123");
}

TEST(Key, IsKeptByAStuckInstanceUnlessItSaysOtherwise) {
    House house;
    bool stuck = true;
    house.add("w", [&](Context& ctx, const Json&) {
        if (stuck && ctx.instance_id() != "2" && ctx.instance_id() != "4") ctx.stuck("no", "no");
        return Json();
    });
    house.start("1", "w", {}, "keeps");
    house.start("2", "w", {}, "keeps");
    house.start("3", "w", {}, "releases", OnStuck::release_key);
    house.start("4", "w", {}, "releases", OnStuck::release_key);
    house.run_to_the_end();
    EXPECT_EQ(house.state("2"), "queued");
    EXPECT_EQ(house.state("4"), "completed");
    stuck = false;
    house.resume("1");
    house.resume("3");
    house.run_to_the_end();
    for (const char* id : {"1", "2", "3", "4"}) EXPECT_EQ(house.state(id), "completed") << id;
}

TEST(Key, IsKeptWhileAStepIsInDoubtWhateverItSays) {
    House house;
    house.add("w", [&](Context& ctx, const Json&) {
        if (ctx.instance_id() == "1")
            ctx.step("a", {.attempts_max = 1},
                     [&](const Attempt&) { throw answer(Outcome::unknown); });
        return Json();
    });
    house.start("1", "w", {}, "k", OnStuck::release_key);
    house.start("2", "w", {}, "k", OnStuck::release_key);
    house.run_to_the_end();
    EXPECT_EQ(house.state("1"), "stuck");
    EXPECT_EQ(house.state("2"), "queued");
}

TEST(Key, ResumedInstanceQueuesBehindWhoHoldsItNow) {
    House house;
    bool stuck = true;
    int failures = 1;
    std::string order;
    house.add("w", [&](Context& ctx, const Json&) {
        if (stuck && ctx.instance_id() == "1") ctx.stuck("no", "no");
        ctx.step("a", [&](const Attempt&) {
            if (failures-- > 0) throw answer(Outcome::refused);
            order += ctx.instance_id();
        });
        return Json();
    });
    house.start("1", "w", {}, "k", OnStuck::release_key);
    house.start("2", "w", {}, "k", OnStuck::release_key);
    house.engine().run_until_idle();
    EXPECT_EQ(house.state("2"), "sleeping");
    stuck = false;
    house.resume("1");
    EXPECT_EQ(house.state("1"), "queued");
    house.run_to_the_end();
    EXPECT_EQ(order, "21");
}

TEST(Key, CanBeTakenOnceItIsKnown) {
    House house;
    std::string order;
    int failures = 1;
    house.add("w", [&](Context& ctx, const Json& input) {
        if (input.contains("take")) ctx.take_key(input.at("take").get<std::string>());
        ctx.step("a", [&](const Attempt&) {
            if (failures-- > 0) throw answer(Outcome::refused);
            order += ctx.instance_id();
        });
        return Json();
    });
    house.start("1", "w", {}, "customer");
    house.start("2", "w", {{"take", "customer"}}, "session");
    house.start("3", "w", {}, "session");
    house.engine().run_until_idle();
    EXPECT_EQ(order, "3");  // 2 let its first key go, and waits for the second
    EXPECT_EQ(house.state("2"), "queued");
    EXPECT_EQ(house.sql("SELECT key FROM instances WHERE id='2'"), "customer");
    house.run_to_the_end();
    EXPECT_EQ(order, "312");
    EXPECT_EQ(house.log("2"), "key, started a, completed a");
}

TEST(Key, HasOneHolderWhateverTheProgramBelieves) {
    House house;
    house.add("w", [](Context& ctx, const Json&) {
        ctx.stuck("no", "no");
        return Json();
    });
    house.start("1", "w", {}, "k");
    house.start("2", "w", {}, "k");
    house.run_to_the_end();
    EXPECT_THROW(
        house.damage(
            "UPDATE instances SET holds_key=1, state='stuck', error_code='x', waits_for=NULL "
            "WHERE id='2'"),
        SQLite::Exception);
}

// --- so many at once

class KeyForMany : public ::testing::Test {
  protected:
    KeyForMany() {
        for (const char* name : {"many", "alone"})
            house.add(name, [this](Context& ctx, const Json&) {
                begun += ctx.instance_id();
                ctx.wait_for<Json>("go");
                if (stuck == ctx.instance_id()) ctx.stuck("no", "no");
                return Json();
            });
        house.flow.workflows["many"].key_holders_max = 2;
    }
    void start(const std::string& id, const std::string& workflow = "many") {
        house.start(id, workflow, {}, "k", OnStuck::release_key);
        house.engine().run_until_idle();
    }
    void go(const std::string& id) {
        house.engine().signal({.instance = id, .name = "go"});
        house.engine().run_until_idle();
    }
    void cancel(const std::string& id) {
        house.engine().cancel({.ids = {id}});
        house.engine().run_until_idle();
    }
    std::string queue() {
        return house.sql(
            "SELECT group_concat(id,'') FROM (SELECT id FROM instances WHERE state='queued' "
            "ORDER BY key_ticket)");
    }

    House house;
    std::string begun, stuck;
};

TEST_F(KeyForMany, LetsSoManyGoOnBesideEachOtherAndTheOthersInOrder) {
    for (const char* id : {"1", "2", "3", "4"}) start(id);
    EXPECT_EQ(begun, "12");
    EXPECT_EQ(queue(), "34");
    begun.clear();
    go("2");
    EXPECT_EQ(queue(), "4");
    go("1");
    EXPECT_EQ(queue(), "");
    for (const char* id : {"3", "4"}) go(id);
    EXPECT_EQ(house.sql("SELECT count(*) FROM instances WHERE state<>'completed'"), "0");
    EXPECT_TRUE(Inspector(house.database(), house.clock).check().holds());
}

TEST_F(KeyForMany, IsHeldByOneThatBearsNobodyBesideItWhenTheOthersHaveEnded) {
    start("1");
    start("2", "alone");
    start("3");
    EXPECT_EQ(queue(), "23") << "nobody overtakes who waits to be alone";
    go("1");
    EXPECT_EQ(queue(), "3");
    go("2");
    EXPECT_EQ(queue(), "");
}

TEST_F(KeyForMany, PassesToThoseBehindOneThatIsCancelledInTheLine) {
    start("1");
    start("2", "alone");
    start("3");
    start("4");
    cancel("2");
    EXPECT_EQ(queue(), "4");
    EXPECT_TRUE(Inspector(house.database(), house.clock).check().holds());
}

TEST_F(KeyForMany, IsTakenAnewByWhoWasStuckWithoutIt) {
    stuck = "1";
    start("1");
    go("1");
    for (const char* id : {"2", "3"}) start(id);
    house.resume("1");
    EXPECT_EQ(queue(), "1");
    stuck.clear();
    go("3");
    EXPECT_EQ(queue(), "");
}

TEST_F(KeyForMany, HasOneHolderInAPlaceWhateverTheProgramBelieves) {
    for (const char* id : {"1", "2"}) start(id);
    EXPECT_EQ(house.sql("SELECT group_concat(key_place) FROM instances"), "1,2");
    EXPECT_THROW(house.damage("UPDATE instances SET key_place=1"), SQLite::Exception);
}

TEST_F(KeyForMany, IsToldByWhy) {
    for (const char* id : {"1", "2", "3"}) start(id);
    EXPECT_THAT(Inspector(house.database(), house.clock).why("3").explanation.sentence,
                ::testing::HasSubstr("held by 1 (waiting) and 1 more"));
}

// --- once
// -----------------------------------------------------------------------------------------

TEST(Once, IsDoneByTheFirstAndAdoptedByTheOthers) {
    House house;
    int mails = 0;
    house.add("w", [&](Context& ctx, const Json&) {
        const auto id =
            ctx.step("mail", {.once = "welcome/c1"}, [&](const Attempt&) { return ++mails; });
        return Json(id);
    });
    for (const char* id : {"1", "2", "3"}) house.start(id, "w");
    house.run_to_the_end();
    EXPECT_EQ(mails, 1);
    for (const char* id : {"1", "2", "3"}) EXPECT_EQ(house.state(id), "completed");
    EXPECT_EQ(house.sql("SELECT count(*) FROM entries WHERE json_extract(data,'$.adopted')='once'"),
              "2");
    EXPECT_EQ(house.log("2"), "completed mail");
}

TEST(Once, KeyIsDerivedFromItselfNotFromTheInstance) {
    House house;
    std::string key;
    house.add("w", [&](Context& ctx, const Json&) {
        ctx.step("mail", {.once = "welcome/c1"},
                 [&](const Attempt& attempt) { key = attempt.idempotency_key; });
        return Json();
    });
    house.start("1", "w");
    house.run_to_the_end();
    EXPECT_EQ(key, "steplog:once:welcome/c1");
    EXPECT_EQ(
        house.sql(
            "SELECT json_extract(data,'$.idempotency_key') FROM entries WHERE kind='started'"),
        key);
}

TEST(Once, OthersWaitWhileAnAttemptIsInDoubtAndAdoptWhatBecameOfIt) {
    House house;
    int mails = 0;
    house.add("w", [&](Context& ctx, const Json&) {
        ctx.step("mail", {.idempotency_window = std::chrono::hours(24), .once = "welcome/c1"},
                 [&](const Attempt&) {
                     if (++mails == 1) throw answer(Outcome::unknown);
                     return mails;
                 });
        return Json();
    });
    house.start("1", "w");
    house.start("2", "w");
    house.engine().run_until_idle();
    EXPECT_EQ(house.state("1"), "sleeping");
    EXPECT_EQ(house.state("2"), "waiting");
    EXPECT_EQ(house.sql("SELECT waits_for || ' ' || waits_detail FROM instances WHERE id='2'"),
              "once welcome/c1");
    house.run_to_the_end();
    EXPECT_EQ(mails, 2);
    EXPECT_EQ(house.state("2"), "completed");
}

TEST(Once, RefusedForCertainIsFreeForTheNextWithANewKey) {
    House house;
    std::vector<std::string> keys;
    house.add("w", [&](Context& ctx, const Json&) {
        ctx.step("mail", {.once = "welcome/c1"}, [&](const Attempt& attempt) {
            keys.push_back(attempt.idempotency_key);
            if (keys.size() == 1) throw PermanentError("bad_address", "no such mailbox");
        });
        return Json();
    });
    house.start("1", "w");
    house.run_to_the_end();
    EXPECT_EQ(house.state("1"), "failed");
    house.start("2", "w");
    house.run_to_the_end();
    EXPECT_EQ(house.state("2"), "completed");
    EXPECT_EQ(keys,
              (std::vector<std::string>{"steplog:once:welcome/c1", "steplog:once:welcome/c1/g1"}));
}

TEST(Once, InheritedInDoubtIsDecidedWithTheStoredRequest) {
    House house;
    std::vector<std::string> sent;
    house.add("w", [&](Context& ctx, const Json& input) {
        StepOptions options{
            .idempotency_window = std::chrono::hours(24), .once = "welcome/c1", .request = input};
        ctx.step("mail", options, [&](const Attempt& attempt) {
            sent.push_back(attempt.idempotency_key + " " + attempt.request.dump());
            if (sent.size() == 1) throw answer(Outcome::unknown);
        });
        return Json();
    });
    house.start("1", "w", {{"to", "first"}});
    house.engine().run_until_idle();
    // An operator ends the first one while its mail is in doubt.
    house.engine().cancel({.ids = {"1"}, .actor = "test"});
    house.start("2", "w", {{"to", "second"}});
    house.run_to_the_end();
    EXPECT_EQ(house.state("2"), "completed");
    EXPECT_EQ(sent, (std::vector<std::string>(2, R"(steplog:once:welcome/c1 {"to":"first"})")));
}

TEST(Once, RefusedForNowKeepsItsKey) {
    House house;
    std::vector<std::string> keys;
    house.add("w", [&](Context& ctx, const Json&) {
        ctx.step("mail", {.once = "welcome/c1"}, [&](const Attempt& attempt) {
            keys.push_back(attempt.idempotency_key);
            if (keys.size() == 1) throw answer(Outcome::refused);
        });
        return Json();
    });
    house.start("1", "w");
    house.run_to_the_end();
    EXPECT_EQ(keys, std::vector<std::string>(2, "steplog:once:welcome/c1"));
}

TEST(Once, FoundByAProbeAfterADeathIsSettledForEverybody) {
    House house;
    int mails = 0;
    house.add("w", [&](Context& ctx, const Json&) {
        StepOptions options{.once = "welcome/c1"};
        options.probe =
            probe([&](const Attempt&) { return mails ? std::optional<int>(mails) : std::nullopt; });
        ctx.step("mail", options, [&](const Attempt&) {
            ++mails;
            house.remember();
            return mails;
        });
        return Json();
    });
    house.start("1", "w");
    house.engine().run_until_idle();
    house.die_as_remembered();
    house.start("2", "w");
    house.run_to_the_end();
    EXPECT_EQ(mails, 1);
    EXPECT_EQ(house.sql("SELECT state FROM once_keys"), "completed");
    EXPECT_EQ(house.state("2"), "completed");
}

TEST(Once, RequestIsStoredWithTheIntentAndTheSameForEveryAttempt) {
    House house;
    std::vector<std::string> sent;
    int rendered = 0;
    house.add("w", [&](Context& ctx, const Json&) {
        ctx.step("mail", {.request = {{"rendered", ++rendered}}}, [&](const Attempt& attempt) {
            sent.push_back(attempt.request.dump());
            if (sent.size() < 3) throw answer(Outcome::refused);
        });
        return Json();
    });
    house.start("1", "w");
    house.run_to_the_end();
    EXPECT_EQ(rendered, 3);
    EXPECT_EQ(sent, std::vector<std::string>(3, R"({"rendered":1})"));
}

}  // namespace
}  // namespace steplog
