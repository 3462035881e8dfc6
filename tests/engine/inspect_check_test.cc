// `check` asks every promise, and notices each one that somebody broke behind the engine's back.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/inspect.h"
#include "engine/inspect_json.h"
#include "tests/engine/house.h"

namespace steplog {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::House;

class CheckTest : public ::testing::Test {
  protected:
    CheckTest() {
        house.add("order", [](Context& ctx, const Json& input) {
            ctx.step("reserve", [](const Attempt&) { return 7; });
            ctx.step("mail", {.provider = "post", .once = input.value("once", "")},
                     [](const Attempt&) { return Json("sent"); });
            if (input.value("what", "") == "odd") ctx.stuck("odd_order", "this order is odd");
            if (input.value("what", "") == "down")
                ctx.step("pay", [](const Attempt&) -> int {
                    throw RetryableError("closed", {.outcome = Outcome::refused});
                });
            return Json();
        });
    }

    void fill() {
        house.engine().accept(
            NewEvent{.source = "shop", .id = "evt_1", .type = "paid", .body = R"({"what":""})"},
            NewInstance{.id = "order/evt_1", .workflow = "order", .key = "k1"});
        house.engine().accept(NewEvent{.source = "shop",
                                       .id = "evt_2",
                                       .type = "paid",
                                       .disposition = NewEvent::Disposition::ignored,
                                       .reason = "no",
                                       .body = "{}"},
                              std::nullopt);
        house.start("order/odd", "order", {{"what", "odd"}, {"once", "mail/1"}}, "k2");
        house.start("order/once", "order", {{"once", "mail/1"}}, "k3");
        house.engine().run_until_idle();
        house.start("order/behind", "order", {}, "k2");
        house.start("order/down", "order", {{"what", "down"}}, "k4");
        house.engine().run_until_idle();
        house.store().flush();
    }

    // Names of the promises that do not hold after `statements`.
    std::vector<std::string> broken_by(const std::string& statements) {
        house.damage(statements);
        const CheckReport report = Inspector(house.database(), house.clock).check();
        std::vector<std::string> names;
        for (const Check& check : report.checks) {
            if (check.broken == 0) continue;
            EXPECT_FALSE(check.examples.empty()) << check.name;
            names.push_back(check.name);
        }
        EXPECT_EQ(report.holds(), names.empty());
        return names;
    }

    House house;
};

TEST_F(CheckTest, FindsNothingWrongWithWhatTheEngineWrote) {
    fill();
    const CheckReport report = Inspector(house.database(), house.clock).check();
    EXPECT_TRUE(report.holds()) << dump(json_of(report), 1);
    EXPECT_GE(report.checks.size(), 14u);
    for (const Check& check : report.checks)
        EXPECT_TRUE(check.looked_at > 0 || check.name == "foreign_keys") << check.name;
}

TEST_F(CheckTest, StillHoldsAfterResumeAndRetention) {
    fill();
    house.resume("order/odd");
    house.engine().run_until_idle();
    house.clock.advance(Ms(1000));
    ASSERT_GT(house.store().purge({}).get().instances, 0);
    EXPECT_THAT(broken_by("SELECT 1"), ElementsAre());
}

TEST_F(CheckTest, NoticesAnAlteredLog) {
    fill();
    EXPECT_THAT(broken_by("DROP TRIGGER entries_are_immutable; UPDATE entries SET "
                          "data='{\"provider\":\"me\"}' WHERE seq=3"),
                ElementsAre("schema", "hash_chain"));
}

TEST_F(CheckTest, NoticesAMissingEntry) {
    fill();
    const std::string trigger =
        house.sql("SELECT sql FROM sqlite_schema WHERE name='entries_outlive_their_instance'");
    EXPECT_THAT(
        broken_by("DROP TRIGGER entries_outlive_their_instance; DELETE FROM entries WHERE "
                  "kind='started' AND "
                  "instance=(SELECT seq FROM instances WHERE id='order/odd') AND step='reserve'; " +
                  trigger),
        ElementsAre("hash_chain", "intent_before_effect"));
}

TEST_F(CheckTest, NoticesALogCutShort) {
    fill();
    EXPECT_THAT(
        broken_by("DELETE FROM entries WHERE seq=(SELECT max(seq) FROM entries WHERE instance=1)"),
        ElementsAre("hash_chain"));
}

TEST_F(CheckTest, NoticesAnAlteredPayload) {
    fill();
    EXPECT_THAT(broken_by("UPDATE payloads SET body=x'7b7d' WHERE id=(SELECT input_payload FROM "
                          "instances WHERE id='order/odd')"),
                ElementsAre("hash_chain"));
    EXPECT_THAT(broken_by("UPDATE payloads SET body=x'39' WHERE id=(SELECT payload FROM entries "
                          "WHERE kind='completed' LIMIT 1)"),
                ElementsAre("hash_chain"));
    EXPECT_THAT(broken_by("UPDATE payloads SET body=x'39' WHERE id=(SELECT payload FROM events "
                          "WHERE id='evt_2')"),
                ElementsAre("hash_chain", "event_bodies"));
}

TEST_F(CheckTest, NoticesALostInstance) {
    fill();
    EXPECT_THAT(
        broken_by("DELETE FROM entries WHERE instance=1; DELETE FROM instances WHERE seq=1"),
        ElementsAre("no_lost_event"));
}

TEST_F(CheckTest, NoticesTwoHoldersOfAKey) {
    fill();
    EXPECT_THAT(
        broken_by(
            "DROP INDEX instances_key_holder; UPDATE instances SET key='k2' WHERE id='order/down'"),
        ElementsAre("schema", "one_holder_per_key"));
}

TEST_F(CheckTest, NoticesAnInstanceThatNobodyWillWake) {
    fill();
    EXPECT_THAT(broken_by("UPDATE instances SET due_at_ms=NULL WHERE id='order/down'"),
                ElementsAre("nobody_forgotten"));
    EXPECT_THAT(broken_by("UPDATE instances SET holds_key=0 WHERE id='order/odd'"),
                ElementsAre("no_abandoned_queue", "nobody_forgotten"));
}

TEST_F(CheckTest, NoticesAStepBegunAgain) {
    fill();
    EXPECT_THAT(
        broken_by(
            "INSERT INTO entries(instance,n,step,kind,attempt,at_ms,data,hash) SELECT seq, "
            "log_length+1, "
            "'reserve', 'started', 2, 0, '{}', zeroblob(32) FROM instances WHERE id='order/odd'"),
        ElementsAre("hash_chain", "steps_finish_once"));
}

TEST_F(CheckTest, NoticesAStepFinishedTwice) {
    fill();
    EXPECT_THAT(broken_by("DROP INDEX entries_completed_once; INSERT INTO "
                          "entries(instance,n,step,kind,attempt,at_ms,data,hash) "
                          "SELECT seq, log_length+1, 'reserve', 'completed', 1, 0, '{}', "
                          "zeroblob(32) FROM instances "
                          "WHERE id='order/odd'"),
                ElementsAre("schema", "hash_chain", "steps_finish_once"));
}

TEST_F(CheckTest, NoticesAnOrphanedOnceKey) {
    fill();
    EXPECT_THAT(broken_by("UPDATE once_keys SET state='claimed', instance=1"),
                ElementsAre("once_records", "once_keys"));
}

TEST_F(CheckTest, NoticesDuplicateEvents) {
    fill();
    EXPECT_THAT(broken_by("DROP INDEX events_id; INSERT INTO events SELECT 99, source, id, type, "
                          "subject, disposition, "
                          "reason, instance, payload, body_hash, conflicts, received_at_ms FROM "
                          "events WHERE id='evt_2'"),
                ElementsAre("schema", "one_event_per_id"));
}

TEST_F(CheckTest, NoticesAMissingSecret) {
    fill();
    EXPECT_THAT(broken_by("DELETE FROM meta WHERE name='payload_hash_key'"),
                ElementsAre("hash_chain", "event_bodies", "once_records"));
}

}  // namespace
}  // namespace steplog
