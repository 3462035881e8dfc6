// What a once key remembers outlives the instances whose logs say the same: a request that is not
// what was written is never sent, a result that is not is never adopted, and `check` finds both.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/inspect.h"
#include "engine/once_record.h"
#include "tests/engine/house.h"

namespace steplog {
namespace {

using ::testing::ElementsAre;
using testing::House;

// "first" sends a mail; what becomes of it, and of the key that remembers it, is up to the test.
// "second" wants the same one.
class OnceRecordTest : public ::testing::TestWithParam<bool> {
  protected:
    OnceRecordTest() {
        house.add("w", [this](Context& ctx, const Json& input) {
            const Json told =
                ctx.step("mail",
                         {.idempotency_window = std::chrono::hours(24),
                          .once = "welcome/c1",
                          .request = input},
                         [this](const Attempt& attempt) {
                             sent.push_back(attempt.idempotency_key + " " + attempt.request.dump());
                             if (trouble) throw RetryableError("no", {.outcome = *trouble});
                             return Json(attempt.request.value("to", ""));
                         });
            return told;
        });
    }
    void first(std::optional<Outcome> trouble_of_first) {
        trouble = trouble_of_first;
        house.start("first", "w", {{"to", "ann"}});
        house.engine().run_until_idle();
        if (trouble) house.engine().cancel({.ids = {"first"}, .actor = "test"});
        trouble.reset();
        sent.clear();
    }
    // What "second" comes to, and whether it sent anything.
    std::string second() {
        house.start("second", "w", {{"to", "bob"}});
        house.run_to_the_end();
        const std::string state = house.state("second"), code = house.error_code("second");
        return state + (code.empty() ? "" : " " + code) + (sent.empty() ? "" : ", sent");
    }
    std::vector<std::string> broken() {
        house.store().flush();
        return broken(house);
    }
    std::vector<std::string> broken(House& which) {
        std::vector<std::string> names;
        for (const Check& check : Inspector(which.database(), house.clock, {}, keys).check().checks)
            if (check.broken > 0) names.push_back(check.name);
        return names;
    }

    const std::vector<MasterKey> keys = parse_master_keys(GetParam() ? std::string(64, 'a') : "");
    House house{{.encryption_keys = keys}};
    std::optional<Outcome> trouble;
    std::vector<std::string> sent;
};

INSTANTIATE_TEST_SUITE_P(ClearAndEncrypted, OnceRecordTest, ::testing::Bool());

TEST_P(OnceRecordTest, WholeIsAdoptedOrSentAsItWasStored) {
    first(std::nullopt);
    EXPECT_EQ(second(), "completed");
    EXPECT_EQ(house.sql("SELECT count(*) FROM once_keys WHERE hash IS NULL"), "0");
    EXPECT_THAT(broken(), ElementsAre());
}

TEST_P(OnceRecordTest, InDoubtSendsTheStoredRequest) {
    first(Outcome::unknown);
    EXPECT_EQ(second(), "completed, sent");
    EXPECT_THAT(sent, ElementsAre(R"(steplog:once:welcome/c1 {"to":"ann"})"));
    EXPECT_THAT(broken(), ElementsAre());
}

TEST_P(OnceRecordTest, ADamagedResultIsNotAdopted) {
    first(std::nullopt);
    house.damage("UPDATE payloads SET body=x'2265766522' WHERE id=(SELECT result FROM once_keys)");
    EXPECT_THAT(broken(), ElementsAre("once_records"));
    EXPECT_EQ(second(), "stuck log_damaged");
}

TEST_P(OnceRecordTest, ADamagedRequestIsNotSent) {
    first(Outcome::unknown);
    house.damage(
        "UPDATE payloads SET body=x'7b22746f223a22657665227d' WHERE id=(SELECT request FROM "
        "once_keys)");
    EXPECT_THAT(broken(), ElementsAre("once_records"));
    EXPECT_EQ(second(), "stuck log_damaged");
    EXPECT_EQ(house.resume("second").ids.size(), 0u) << "resume refuses it";
}

TEST_P(OnceRecordTest, ALostPayloadIsNotOneThatWasForgotten) {
    first(Outcome::unknown);
    house.damage("DELETE FROM payloads WHERE id=(SELECT request FROM once_keys)");
    EXPECT_THAT(broken(), ElementsAre("once_records"));
    EXPECT_EQ(second(), "stuck log_damaged");
}

TEST_P(OnceRecordTest, EveryColumnIsCovered) {
    first(Outcome::unknown);
    house.store().flush();
    int copies = 0;
    for (const char* change :
         {"state='free'", "instance=7", "instance_id='other'", "step='other'", "generation=3",
          "idempotency_key='other'", "first_attempt_at_ms=first_attempt_at_ms+1", "request=NULL",
          "result=1", "request_hash=NULL", "request_hash=zeroblob(32)", "result_hash=zeroblob(32)",
          "hash=NULL", "hash=x''", "hash=zeroblob(32)"}) {
        House copy({.encryption_keys = keys}, house.database() + std::to_string(++copies));
        SQLite::Database(house.database(), SQLite::OPEN_READONLY)
            .exec("VACUUM INTO '" + copy.database() + "'");
        copy.damage(std::string("UPDATE once_keys SET ") + change);
        EXPECT_THAT(broken(copy), ::testing::Contains("once_records")) << change;
        copy.add("w", house.workflows.front().run);
        copy.start("second", "w", {{"to", "bob"}});
        copy.run_to_the_end();
        EXPECT_EQ(copy.error_code("second"), "log_damaged") << change;
        EXPECT_THAT(sent, ElementsAre()) << change;
    }
}

TEST_P(OnceRecordTest, ADamagedOneIsNotMendedByItsOutcome) {
    house.clock.set_ms(1'000'000);
    trouble = Outcome::unknown;
    house.start("first", "w", {{"to", "ann"}});
    house.engine().run_until_idle();
    const Claimed claimed = [&] {
        house.clock.advance(std::chrono::hours(1));
        return house.store().claim({}).get().claimed.at(0);
    }();
    house.store().flush();
    SQLite::Database(house.database(), SQLite::OPEN_READWRITE)
        .exec("UPDATE once_keys SET idempotency_key='other'");
    Advance outcome{.instance = claimed.seq, .epoch = claimed.epoch, .step = "mail"};
    outcome.once_settle = OnceSettle{.key = "welcome/c1", .completed = true, .result = "1"};
    house.store().advance(outcome).get();
    EXPECT_EQ(house.sql("SELECT state FROM once_keys"), "completed");
    sent.clear();
    EXPECT_EQ(second(), "stuck log_damaged");
}

TEST_P(OnceRecordTest, FromBeforeTheHashesIsBelievedAndSealedAtTheUpgrade) {
    first(std::nullopt);
    const std::string sealed = house.sql("SELECT hex(hash) FROM once_keys");
    house.damage(
        "UPDATE once_keys SET hash=NULL, request_hash=NULL, result_hash=NULL; "
        "INSERT INTO meta VALUES ('once_keys_unsealed', 1)");
    EXPECT_EQ(Inspector(house.database(), house.clock, {}, keys).check().holds(), true)
        << "a crash between migration and seal says nothing of damage";
    EXPECT_EQ(house.sql("SELECT hex(hash) FROM once_keys"), sealed);
    EXPECT_EQ(house.sql("SELECT count(*) FROM meta WHERE name='once_keys_unsealed'"), "0");
    EXPECT_EQ(second(), "completed");
}

TEST_P(OnceRecordTest, FromBeforeTheHashesWithoutItsPayloadStaysDamaged) {
    first(std::nullopt);
    house.damage(
        "DELETE FROM payloads WHERE id=(SELECT result FROM once_keys); "
        "UPDATE once_keys SET hash=NULL, request_hash=NULL, result_hash=NULL; "
        "INSERT INTO meta VALUES ('once_keys_unsealed', 1)");
    EXPECT_EQ(second(), "stuck log_damaged");
}

}  // namespace
}  // namespace steplog
