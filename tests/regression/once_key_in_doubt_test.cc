// Two stories of once keys. A refused attempt's request stayed behind in the file for ever, where
// neither retention nor anybody who forgets a customer would find it. And who took over an attempt
// in doubt and died before deciding what that means had lost the doubt: its next life repeated an
// at-most-once effect without asking. Found by the simulation, and by reading what it drove.
#include <gtest/gtest.h>

#include "tests/engine/house.h"

namespace steplog {
namespace {

using testing::House;

TEST(OnceKey, ForgetsTheRequestOfARefusedAttempt) {
    House house;
    int calls = 0;
    house.add("w", [&](Context& ctx, const Json&) {
        ctx.step("mail", {.once = "welcome", .request = {{"to", "ada@example.com"}}},
                 [&](const Attempt&) {
                     if (++calls == 1) throw RetryableError("busy", {.outcome = Outcome::refused});
                 });
        return Json();
    });
    house.start("1", "w");
    house.engine().run_until_idle();
    EXPECT_EQ(house.sql("SELECT state || coalesce(request, '') FROM once_keys"), "free");
    house.run_to_the_end();
    // Of input, request (with the intent, and with the key), result (in the log, and of the key).
    EXPECT_EQ(house.sql("SELECT count(*) FROM payloads"), "6");
}

class InheritedDoubt : public ::testing::Test {
  protected:
    // "1" ended while its attempt was in doubt, and the provider has forgotten its key since.
    InheritedDoubt() {
        house.add("w", [this](Context& ctx, const Json&) {
            ctx.step("mail",
                     {.repeat = Repeat::at_most_once,
                      .idempotency_window = std::chrono::hours(23),
                      .once = "welcome"},
                     [this](const Attempt&) {
                         if (++calls == 1)
                             throw RetryableError("no answer", {.outcome = Outcome::unknown});
                     });
            return Json();
        });
        house.start("1", "w");
        house.engine().run_until_idle();
        house.engine().cancel({.ids = {"1"}, .actor = "test"});
        house.clock.advance(std::chrono::hours(30));
        house.start("2", "w");
    }

    House house;
    int calls = 0;
};

TEST_F(InheritedDoubt, OutlivesADeathBeforeItIsDecided) {
    const Claimed claimed = house.store().claim({}).get().claimed.at(0);
    Advance intent{.instance = claimed.seq, .epoch = claimed.epoch, .step = "mail", .attempt = 1};
    intent.entries.push_back({.step = "mail", .attempt = 1});
    intent.once_claim = OnceClaim{.key = "welcome", .step = "mail", .idempotency_key = "k"};
    EXPECT_EQ(house.store().advance(intent).get().once->kind, OnceVerdict::Kind::inherited);
    house.restart();
    house.run_to_the_end();
    EXPECT_EQ(house.error_code("2"), "in_doubt");
    EXPECT_EQ(calls, 1);
}

TEST_F(InheritedDoubt, IsRepeatedWhenAPersonDecidesSo) {
    house.run_to_the_end();
    EXPECT_EQ(house.error_code("2"), "in_doubt");
    EXPECT_EQ(calls, 1);
    house.resume("2");
    house.run_to_the_end();
    EXPECT_EQ(house.state("2"), "completed");
    EXPECT_EQ(calls, 2);
}

}  // namespace
}  // namespace steplog
