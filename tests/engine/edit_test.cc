// Edit: another input for a stuck instance. What is finished stays; what comes after sees it; the
// one before stays in the log until it is forgotten.
#include <gmock/gmock.h>

#include "engine/inspect.h"
#include "tests/engine/house.h"

namespace steplog {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::House;

class Edit : public ::testing::Test {
  protected:
    Edit() {
        house
            .add("order",
                 [this](Context& ctx, const Json& input) {
                     ctx.step("reserve", [this](const Attempt&) { return ++reservations; });
                     ctx.step("mail", [this, &input](const Attempt& attempt) -> Json {
                         keys.push_back(attempt.idempotency_key);
                         const std::string to = input.value("to", "");
                         asked.push_back(to);
                         if (to == "silent") throw RetryableError("no answer", {.code = "timeout"});
                         if (to.find('@') == std::string::npos)
                             throw PermanentError("bad_address", "that is no address");
                         return "sent to " + to;
                     });
                     return Json();
                 })
            .on_failure = OnFailure::stuck;
        house.defaults.retry.attempts_max = 1;
    }
    void start(const std::string& to) {
        house.start("order/cus_1", "order", {{"to", to}}, "shop:cus_1");
        house.run_to_the_end();
    }
    Operated edit(const std::string& input) {
        return house.engine().operate({.kind = OperateRequest::Kind::edit,
                                       .ids = {"order/cus_1"},
                                       .payload = input,
                                       .actor = "uid:7",
                                       .reason = "ticket 7"});
    }
    std::string input() {
        house.store().flush();
        return Inspector(house.database(), house.clock)
            .show("order/cus_1")
            .input.text.value_or("(none)");
    }
    void expect_whole() {
        house.store().flush();
        Inspector inspector(house.database(), house.clock);
        for (const Check& check : inspector.check().checks)
            EXPECT_EQ(check.broken, 0) << check.name << ": " << check.examples.front();
    }

    House house;
    int reservations = 0;
    std::vector<std::string> asked, keys;
};

TEST_F(Edit, IsSeenByWhatComesAfterAndNotByWhatIsFinished) {
    start("ann");
    ASSERT_EQ(house.state("order/cus_1"), "stuck");
    EXPECT_THAT(edit(R"({"to":"ann@example.com"})").ids, ElementsAre("order/cus_1"));
    EXPECT_EQ(house.state("order/cus_1"), "stuck") << "it goes on when a person resumes it";
    EXPECT_EQ(house.sql("SELECT actor||' '||action||' '||detail FROM audit"),
              R"(uid:7 edit {"code":"bad_address","reason":"ticket 7","was":"stuck"})");
    EXPECT_EQ(input(), R"({"to":"ann@example.com"})");
    house.restart();
    house.resume("order/cus_1");
    house.run_to_the_end();
    EXPECT_EQ(house.state("order/cus_1"), "completed");
    EXPECT_THAT(asked, ElementsAre("ann", "ann@example.com"));
    EXPECT_EQ(reservations, 1);
    EXPECT_NE(keys.at(0), keys.at(1)) << "a provider answers a key as it did before";
    expect_whole();
}

TEST_F(Edit, KeepsTheOneBeforeInTheLogUntilBothAreForgotten) {
    start("ann");
    edit(R"({"to":"beth"})");
    edit(R"({"to":"carol@example.com"})");
    EXPECT_EQ(house.sql("SELECT count(*) FROM payloads WHERE CAST(body AS TEXT) LIKE '%\"to\"%'"),
              "3");
    house.resume("order/cus_1");
    house.run_to_the_end();
    const Forgotten forgotten = house.store().forget({.subject = "cus_1"}).get();
    EXPECT_TRUE(forgotten.done);
    EXPECT_EQ(house.sql("SELECT count(*) FROM payloads WHERE body NOTNULL"), "0");
    EXPECT_EQ(house.sql("SELECT count(*) FROM entries WHERE data LIKE '%carol%'"), "0");
    expect_whole();
}

TEST_F(Edit, IsRefusedWhileAStepIsInDoubt) {
    start("silent");
    ASSERT_EQ(house.state("order/cus_1"), "stuck");
    EXPECT_THAT(edit(R"({"to":"ann@example.com"})").skipped.at(0).reason,
                HasSubstr("its step mail is in doubt"));
    EXPECT_EQ(input(), R"({"to":"silent"})");
}

TEST_F(Edit, IsRefusedWhereNothingIsStuckAndOfWhatIsNoJson) {
    start("ann@example.com");
    EXPECT_THAT(edit("{}").skipped.at(0).reason, HasSubstr("completed: it has ended"));
    house.start("pending", "order", {{"to", "x"}});
    EXPECT_THAT(
        house.engine()
            .operate({.kind = OperateRequest::Kind::edit, .ids = {"pending"}, .payload = "{}"})
            .skipped.at(0)
            .reason,
        HasSubstr("only the input of a stuck instance"));
    EXPECT_THROW(edit("{"), StoreError);
    EXPECT_THROW(edit("\"" + std::string(operation_bytes_max, 'x') + "\""), StoreError);
    EXPECT_EQ(house.sql("SELECT count(*) FROM audit"), "0");
}

TEST_F(Edit, IsSealedWithTheKeyOfItsCustomer) {
    House sealed({.encryption_keys = {parse_master_keys(std::string(64, 'a')).front()}});
    sealed.add("sticks", [](Context& ctx, const Json& input) -> Json {
        if (input == "again") return input;
        ctx.stuck("odd", "is odd");
    });
    sealed.start("i", "sticks", "first", "cus_1");
    sealed.engine().run_until_idle();
    sealed.engine().operate(
        {.kind = OperateRequest::Kind::edit, .ids = {"i"}, .payload = "\"again\""});
    EXPECT_EQ(sealed.sql("SELECT count(*) FROM payloads WHERE CAST(body AS TEXT) LIKE '%again%'"),
              "0");
    sealed.restart();
    sealed.resume("i");
    sealed.run_to_the_end();
    EXPECT_EQ(sealed.state("i"), "completed");
}

}  // namespace
}  // namespace steplog
