// `check` asks every promise, and notices each one that somebody broke behind the engine's back: a
// table of damage, with something for every question and for every part of one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <set>

#include "engine/inspect.h"
#include "engine/inspect_json.h"
#include "tests/engine/house.h"

namespace steplog {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::House;

// A house with something of everything in it.
struct Shop {
    explicit Shop(std::vector<MasterKey> master_keys = {})
        : keys(std::move(master_keys)), house({.encryption_keys = keys}) {
        house.add("order", [](Context& ctx, const Json& input) {
            ctx.step("reserve", [](const Attempt&) { return 7; });
            ctx.step(
                "mail",
                {.provider = "post", .once = input.value("once", ""), .request = {{"to", "ann"}}},
                [](const Attempt&) { return Json("sent"); });
            if (input.value("what", "") == "odd") ctx.stuck("odd_order", "this order is odd");
            if (input.value("what", "") == "down")
                ctx.step("pay", [](const Attempt&) -> int {
                    throw RetryableError("closed", {.outcome = Outcome::refused});
                });
            return Json();
        });
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
        house.engine().schedule({{.name = "yearly", .workflow = "order", .cron = "@yearly"}});
        house.store().flush();
    }
    CheckReport check() { return Inspector(house.database(), house.clock, {}, keys).check(); }

    const std::vector<MasterKey> keys;
    House house;
};

std::vector<std::string> broken(const CheckReport& report) {
    std::vector<std::string> names;
    for (const Check& check : report.checks)
        if (check.broken > 0) names.push_back(check.name);
    EXPECT_EQ(report.holds(), names.empty());
    return names;
}

std::vector<std::string> examples_of(const CheckReport& report, const std::string& question) {
    for (const Check& check : report.checks)
        if (check.name == question) return check.examples;
    return {};
}

TEST(Check, FindsNothingWrongWithWhatTheEngineWrote) {
    Shop shop;
    const CheckReport report = shop.check();
    EXPECT_TRUE(report.holds()) << dump(json_of(report), 1);
    for (const Check& check : report.checks)
        EXPECT_TRUE(check.looked_at > 0 || check.name == "foreign_keys") << check.name;
}

TEST(Check, StillHoldsAfterResumeAndRetention) {
    Shop shop;
    shop.house.resume("order/odd");
    shop.house.engine().run_until_idle();
    shop.house.clock.advance(Ms(1000));
    ASSERT_GT(shop.house.store().purge({}).get().instances, 0);
    shop.house.damage("SELECT 1");
    EXPECT_THAT(broken(shop.check()), ElementsAre());
}

// --- the table

struct Planted {
    const char* name;      // of the damage
    const char* question;  // that must find it
    const char* said;      // what an example of it must say
    std::string sql;
    std::set<std::string> also = {};  // questions that it breaks, too
    bool encrypted = false;
};

// Whatever the schema forbids, a file can say.
constexpr const char* against_the_constraints = "PRAGMA ignore_check_constraints=ON;";
const std::string unchecked = against_the_constraints;
const std::string odd = "(SELECT seq FROM instances WHERE id='order/odd')";

std::string flip_sealed(const std::string& payload) {
    return "UPDATE payloads SET body=CAST(substr(body,1,20)||CASE substr(body,21,1) WHEN x'00' "
           "THEN x'01' ELSE x'00' END||substr(body,22) AS BLOB) WHERE id=(" +
           payload + ")";
}

const std::vector<Planted>& table() {
    static const std::vector<Planted> all = {
        {"IndexWithoutItsRow",
         "integrity",
         "instances_stuck",
         "PRAGMA writable_schema=ON; UPDATE sqlite_schema SET sql="
         "replace(sql, '''stuck''', '''sleeping''') WHERE name='instances_stuck'",
         {"schema"}},
        {"EntriesOfNobody", "foreign_keys", "of entries refers to a row of instances",
         "DELETE FROM instances WHERE id='order/down'"},
        {"MissingIndex", "schema", "index instances_due is missing", "DROP INDEX instances_due"},
        {"MissingTrigger", "schema", "trigger audit_is_immutable is missing",
         "DROP TRIGGER audit_is_immutable"},
        {"ForeignTable", "schema", "table mine is not Steplog's", "CREATE TABLE mine(x)"},
        {"ChangedTable", "schema", "table signals is missing or was changed",
         "ALTER TABLE signals ADD COLUMN mine TEXT"},
        {"ConstraintOfAColumn", "constraints",
         "the row of breakers with provider clerk contradicts CHECK (state IN "
         "('closed','open','half_open'))",
         unchecked + "INSERT INTO breakers(provider, state) VALUES ('clerk', 'ajar')"},
        {"ConstraintOfATable", "constraints",
         "the row of events with seq 2 contradicts CHECK (disposition = 'routed' OR reason IS NOT "
         "NULL)",
         unchecked + "UPDATE events SET reason=NULL WHERE id='evt_2'"},
        {"ConstraintThatIsGone",
         "constraints",
         "the row of instances with seq 2 contradicts CHECK (on_stuck IN "
         "('keep_key','release_key'))",
         "PRAGMA writable_schema=ON; UPDATE sqlite_schema SET "
         "sql=replace(sql, 'CHECK (on_stuck IN (''keep_key'',''release_key''))', '') WHERE "
         "name='instances'; PRAGMA writable_schema=RESET; UPDATE instances SET on_stuck='other' "
         "WHERE id='order/odd'",
         {"schema"}},
        {"NoValueWhereOneMustBe", "integrity", "NULL value in instances.priority",
         "PRAGMA writable_schema=ON; UPDATE sqlite_schema SET sql=replace(sql, 'priority        "
         "INTEGER NOT NULL', 'priority        INTEGER') WHERE name='instances'; PRAGMA "
         "writable_schema=RESET; UPDATE instances SET priority=NULL WHERE id='order/odd'; PRAGMA "
         "writable_schema=ON; UPDATE sqlite_schema SET sql=replace(sql, 'priority        INTEGER', "
         "'priority        INTEGER NOT NULL') WHERE name='instances'"},
        {"AlteredInput", "hash_chain", "its input is not what was accepted",
         "UPDATE payloads SET body=x'7b7d' WHERE id=(SELECT input_payload FROM instances "
         "WHERE id='order/odd')"},
        {"AlteredEntry",
         "hash_chain",
         "entry 1 of its log is not what was written",
         "DROP TRIGGER entries_are_immutable; UPDATE entries SET data='{\"provider\":\"me\"}' "
         "WHERE n=1 AND instance=" +
             odd,
         {"schema"}},
        {"AlteredTime",
         "hash_chain",
         "entry 2 of its log is not what was written",
         "DROP TRIGGER entries_are_immutable; UPDATE entries SET at_ms=at_ms+1 WHERE n=2 AND "
         "instance=" +
             odd,
         {"schema"}},
        {"AlteredResult", "hash_chain", "the payload of entry 2 is not what was written",
         "UPDATE payloads SET body=x'39' WHERE id=(SELECT payload FROM entries WHERE n=2 AND "
         "instance=" +
             odd + ")"},
        {"MissingEntry",
         "hash_chain",
         "entry 1 of its log is missing",
         "DROP TRIGGER entries_outlive_their_instance; DELETE FROM entries WHERE n=1 AND "
         "instance=" +
             odd,
         {"schema", "intent_before_effect"}},
        {"LogCutShort", "hash_chain", "its log has 3 entries where 4 were written",
         "DELETE FROM entries WHERE seq=(SELECT max(seq) FROM entries WHERE instance=1)"},
        {"AnotherEnd", "hash_chain", "the end of its log is not what was written",
         "UPDATE instances SET log_hash=zeroblob(32) WHERE id='order/odd'"},
        {"RenamedInstance", "hash_chain", "entry 1 of its log is not what was written",
         "UPDATE instances SET id='order/other' WHERE id='order/odd'"},
        {"MissingSecret",
         "hash_chain",
         "payload_hash_key is missing",
         "DELETE FROM meta WHERE name='payload_hash_key'",
         {"event_bodies", "once_records"}},
        {"SealedInputThatDoesNotOpen",
         "hash_chain",
         "its input is not what was accepted",
         flip_sealed("SELECT input_payload FROM instances WHERE id='order/odd'"),
         {},
         true},
        {"SealedResultThatDoesNotOpen",
         "hash_chain",
         "the payload of entry 2 does not open with its key",
         flip_sealed("SELECT payload FROM entries WHERE n=2 AND instance=" + odd),
         {},
         true},
        {"AlteredMessage", "event_bodies", "shop evt_2: its body is not what was received",
         "UPDATE payloads SET body=x'39' WHERE id=(SELECT payload FROM events WHERE id='evt_2')"},
        {"SealedMessageThatDoesNotOpen",
         "event_bodies",
         "shop evt_2: its body is not what was received",
         flip_sealed("SELECT payload FROM events WHERE id='evt_2'"),
         {},
         true},
        {"MessageTwice",
         "one_event_per_id",
         "shop evt_2 is there 2 times",
         "DROP INDEX events_id; INSERT INTO events SELECT 99, source, id, type, subject, "
         "disposition, reason, instance, payload, body_hash, conflicts, received_at_ms, listed "
         "FROM "
         "events WHERE id='evt_2'",
         {"schema"}},
        {"LostInstance", "no_lost_event", "shop evt_1 has no instance",
         "DELETE FROM entries WHERE instance=1; DELETE FROM instances WHERE seq=1"},
        {"TwoHoldersOfAKey",
         "one_holder_per_key",
         "key k2 is held by 2 instances",
         "DROP INDEX instances_key_holder; UPDATE instances SET key='k2' WHERE id='order/down'",
         {"schema"}},
        {"UnderWayWithoutItsKey", "one_holder_per_key",
         "order/down is sleeping without holding its key",
         "UPDATE instances SET holds_key=0 WHERE id='order/down'"},
        {"QueueBehindNobody", "no_abandoned_queue",
         "order/behind queues for a key that has a place for it",
         "UPDATE instances SET holds_key=0 WHERE id='order/odd'"},
        {"StepFinishedTwice",
         "steps_finish_once",
         "step reserve is finished 2 times",
         "DROP INDEX entries_completed_once; INSERT INTO "
         "entries(instance,n,step,kind,attempt,at_ms,data,hash) SELECT seq, log_length+1, "
         "'reserve', 'completed', 1, 0, '{}', zeroblob(32) FROM instances WHERE id='order/odd'",
         {"schema", "hash_chain"}},
        {"StepBegunAgain",
         "steps_finish_once",
         "step reserve is begun again in entry",
         "INSERT INTO entries(instance,n,step,kind,attempt,at_ms,data,hash) SELECT seq, "
         "log_length+1, 'reserve', 'started', 2, 0, '{}', zeroblob(32) FROM instances WHERE "
         "id='order/odd'",
         {"hash_chain"}},
        {"ResultWithoutAnAttempt",
         "intent_before_effect",
         "step pay has a result without an attempt",
         "INSERT INTO entries(instance,n,step,kind,attempt,at_ms,data,hash) SELECT seq, "
         "log_length+1, 'pay', 'completed', 9, 0, '{}', zeroblob(32) FROM instances WHERE "
         "id='order/down'",
         {"hash_chain"}},
        {"AsleepForEver", "nobody_forgotten", "order/down is sleeping and nothing will ever wake",
         "UPDATE instances SET due_at_ms=NULL WHERE id='order/down'"},
        {"PendingAndNeverDue",
         "nobody_forgotten",
         "order/down is pending and nothing will ever",
         unchecked + "UPDATE instances SET state='pending', due_at_ms=NULL WHERE id='order/down'",
         {"constraints"}},
        {"WaitingForNothing", "nobody_forgotten", "order/down is waiting and nothing will ever",
         "UPDATE instances SET state='waiting', due_at_ms=NULL, waits_for='timer' WHERE "
         "id='order/down'"},
        {"EndedAndDue",
         "finished_is_final",
         "order/evt_1 is completed and still due",
         unchecked + "UPDATE instances SET due_at_ms=1 WHERE id='order/evt_1'",
         {"constraints"}},
        {"EndedAndHoldingItsKey",
         "finished_is_final",
         "order/evt_1 is completed and still due",
         unchecked + "UPDATE instances SET holds_key=1 WHERE id='order/evt_1'",
         {"constraints"}},
        {"EndedAtNoTime",
         "finished_is_final",
         "order/evt_1 is completed and still due",
         unchecked + "UPDATE instances SET finished_at_ms=NULL WHERE id='order/evt_1'",
         {"constraints"}},
        {"EndedAndOwned", "finished_is_final", "order/evt_1 is completed and still due",
         "UPDATE instances SET owner=1 WHERE id='order/evt_1'"},
        {"StuckWithoutACode",
         "stuck_says_why",
         "order/odd is stuck without a code, or due",
         unchecked + "UPDATE instances SET error_code=NULL WHERE id='order/odd'",
         {"constraints"}},
        {"StuckAndDue",
         "stuck_says_why",
         "order/odd is stuck without a code, or due",
         unchecked + "UPDATE instances SET due_at_ms=1 WHERE id='order/odd'",
         {"constraints"}},
        {"AlteredOnceKey", "once_records", "mail/1: its row is not what was written",
         "UPDATE once_keys SET idempotency_key='other'"},
        {"AlteredRequest", "once_records", "mail/1: its request is not what was written",
         "UPDATE payloads SET body=x'7b7d' WHERE id=(SELECT request FROM once_keys)"},
        {"LostRequest", "once_records", "mail/1: its request is not what was written",
         "DELETE FROM payloads WHERE id=(SELECT request FROM once_keys)"},
        {"AlteredRecordedResult", "once_records", "mail/1: its result is not what was written",
         "UPDATE payloads SET body=x'39' WHERE id=(SELECT result FROM once_keys)"},
        {"SealedRequestThatDoesNotOpen",
         "once_records",
         "mail/1: its request is not what was written",
         flip_sealed("SELECT request FROM once_keys"),
         {},
         true},
        {"OnceKeyOfSomebodyWhoEnded",
         "once_keys",
         "mail/1 is claimed by an instance that has ended",
         "UPDATE once_keys SET state='claimed', instance=1",
         {"once_records"}},
        {"OnceKeyWithoutItsResult",
         "once_keys",
         "mail/1 is finished and its result is missing",
         unchecked + "UPDATE once_keys SET result=NULL",
         {"once_records", "constraints"}},
        {"WaitingForAnEffectThatNobodyIsAt", "once_keys",
         "order/down waits for mail/1, at which nobody is",
         "UPDATE instances SET state='waiting', due_at_ms=NULL, waits_for='once', "
         "waits_detail='mail/1' WHERE id='order/down'"},
        {"ScheduleThatNobodyWillStart", "schedules", "yearly has no next time and does not say why",
         "UPDATE schedules SET due_at_ms=NULL"},
        {"EndedInstancesThatWereNotCounted", "counts",
         "instances of order version 1 that are completed are counted wrongly",
         "UPDATE ended_instances SET count=count+1"},
        {"EntriesThatWereNotCounted", "counts",
         "instances of order version 1 that are completed are counted wrongly",
         "UPDATE ended_instances SET entries=0"},
        {"EndedInstancesThatAreNotThere", "counts",
         "instances of other version 3 that are failed are counted wrongly",
         "INSERT INTO ended_instances VALUES ('other', 3, 'failed', 1, 0)"},
        {"EventsThatWereNotCounted", "counts", "events that are ignored are counted wrongly",
         "DELETE FROM received_events WHERE disposition='ignored'"},
        {"ScheduleWithoutItsInput", "schedules", "yearly has lost its input",
         "DELETE FROM payloads WHERE id=(SELECT input FROM schedules)"},
    };
    return all;
}

class CheckFinds : public ::testing::TestWithParam<Planted> {};
INSTANTIATE_TEST_SUITE_P(Damage, CheckFinds, ::testing::ValuesIn(table()),
                         [](const auto& planted) { return std::string(planted.param.name); });

TEST_P(CheckFinds, ByItsQuestionAndSaysWhatItIs) {
    const Planted& planted = GetParam();
    Shop shop(parse_master_keys(planted.encrypted ? std::string(64, 'a') : ""));
    shop.house.damage(planted.sql);
    const CheckReport report = shop.check();
    const auto names = broken(report);
    std::set<std::string> expected = planted.also;
    expected.insert(planted.question);
    EXPECT_EQ(std::set(names.begin(), names.end()), expected);
    EXPECT_THAT(examples_of(report, planted.question), Contains(HasSubstr(planted.said)));
}

// What no statement can do: the log is damaged in its bytes.
TEST(Check, FindsCommitsLostBehindADamagedPlaceOfTheWriteAheadLog) {
    Shop shop;
    shop.house.remember();
    shop.house.start("order/more", "order", {}, "k9");
    shop.house.engine().run_until_idle();
    shop.house.store().flush();
    const auto copy = [&](const char* part) {
        std::filesystem::copy_file(shop.house.database() + part,
                                   shop.house.database() + ".copy" + part);
    };
    copy(""), copy("-wal");
    {
        std::fstream wal(shop.house.database() + ".copy-wal",
                         std::ios::in | std::ios::out | std::ios::binary);
        constexpr std::streamoff in_the_first_frame = 32 + 24 + 100;
        wal.seekp(in_the_first_frame);
        wal.put('\x55').put('\xaa');
    }
    const CheckReport report = Inspector(shop.house.database() + ".copy", shop.house.clock).check();
    EXPECT_THAT(broken(report), Contains("wal"));
    EXPECT_THAT(examples_of(report, "wal"), Contains(HasSubstr("frame 1 of the write-ahead log")));
}

TEST(Check, AsksNothingThatNoDamageWasPlantedFor) {
    std::set<std::string> planted = {"wal"};
    for (const Planted& one : table()) planted.insert(one.question);
    std::set<std::string> asked;
    Shop shop;
    for (const Check& check : shop.check().checks) asked.insert(check.name);
    EXPECT_EQ(asked, planted);
}

}  // namespace
}  // namespace steplog
