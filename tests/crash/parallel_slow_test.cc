// The power goes while steps run beside each other: what is finished is never begun again, each
// intent is durable before its effect, and every payment is made once. One of them is refused at
// first and put off, so that the others are finished before it.
#include <gtest/gtest.h>

#include "tests/crash/campaign.h"
#include "tests/crash/power_cut.h"

namespace steplog::testing {
namespace {

const std::vector<std::string> payees = {"ada", "bob", "cyd", "dot"};

class Payroll : public Scenario {
  public:
    /// As a negative control each attempt has a key of its own.
    explicit Payroll(bool forgetful = false) : forgetful_(forgetful) {}

    void begin(CrashVfs& vfs, ManualClock&, Ledger& ledger, std::uint64_t) override {
        vfs_ = &vfs;
        ledger_ = &ledger;
        paid_.clear();
        refused_ = false;
        ends_ = 0;
    }
    Registry registry() override {
        Registry registry;
        registry.add({.name = "payroll", .version = 1, .run = [this](Context& ctx, const Json&) {
                          return pay_all(ctx);
                      }});
        return registry;
    }
    std::vector<Delivery> deliveries() override {
        return {{.event = {.source = "test",
                           .id = "evt_1",
                           .type = "begin",
                           .subject = "",
                           .reason = "",
                           .body = "{}"},
                 .instance = NewInstance{.id = "payroll/evt_1", .workflow = "payroll"},
                 .run = true}};
    }
    void check_world(Ledger& ledger) override {
        std::map<std::string, int> payments;
        for (const auto& [key, payee] : paid_) ++payments[payee];
        for (const std::string& payee : payees)
            if (payments[payee] != 1)
                ledger.breach(payments[payee] == 0 ? Breach::unfinished : Breach::repeated_effect,
                              fmt::format("{} was paid {} times", payee, payments[payee]));
        if (ends_ == 0) ledger.breach(Breach::unfinished, "it never came to its end");
    }

  private:
    Json pay_all(Context& ctx) {
        const auto receipts = ctx.map(
            "pay", payees, [](const std::string& payee) { return payee; },
            [this](const std::string& payee, const Attempt& attempt) {
                return pay(payee, attempt);
            },
            {.concurrency = 2, .step = {.idempotency_window = std::chrono::hours(24)}});
        for (const std::string& payee : payees)
            ledger_->returned(ctx.instance_id(), "pay/" + payee);
        ++ends_;
        return receipts;
    }

    std::string pay(const std::string& payee, const Attempt& attempt) {
        if (!vfs_->outside_operation("request of " + payee))
            throw RetryableError("the power is gone", {.outcome = Outcome::refused});
        ledger_->invoked(attempt.instance_id, "pay/" + payee, attempt.number);
        if (payee == "bob" && !std::exchange(refused_, true))
            throw RetryableError("busy", {.code = "rate_limited", .outcome = Outcome::refused});
        const std::string key =
            attempt.idempotency_key + (forgetful_ ? std::to_string(attempt.number) : "");
        paid_.emplace(key, payee);  // honours the key
        if (!vfs_->outside_operation("answer to " + payee))
            throw RetryableError("the power is gone", {.outcome = Outcome::unknown});
        return "receipt of " + payee;
    }

    const bool forgetful_;
    CrashVfs* vfs_ = nullptr;
    Ledger* ledger_ = nullptr;
    std::map<std::string, std::string> paid_;  // by key
    bool refused_ = false;
    int ends_ = 0;
};

// At every operation, each in three ways of surviving, and again in the recovery or soon after it.
Tally sweep(Scenario& scenario, bool stop_when_caught) {
    Machine machine;
    Tally tally;
    EXPECT_TRUE(machine.run(scenario, {}, 1).clean());
    for (const Survival survival : {Survival::synced, Survival::everything, Survival::torn})
        for (std::int64_t after = 1;; ++after) {
            const auto story =
                machine.run(scenario, {{after, survival, 1}, {5 + after % 17, survival, 2}}, 1);
            tally.cuts += story.cuts;
            if (!story.clean() && tally.first_bad_story.empty())
                tally.first_bad_story = fmt::format("cut after {}, survival {}{}", after,
                                                    static_cast<int>(survival), story.text());
            if (story.cuts == 0) break;
            if (stop_when_caught && !tally.first_bad_story.empty()) return tally;
        }
    return tally;
}

TEST(PowerLossBesideOthers, AtEveryOperationEachIsPaidOnce) {
    Payroll scenario;
    const Tally tally = sweep(scenario, false);
    EXPECT_EQ(tally.first_bad_story, "");
    fmt::print("{} cuts while {} steps run beside each other: each was paid once\n", tally.cuts,
               payees.size());
    EXPECT_GT(tally.cuts, 200);
}

TEST(PowerLossBesideOthers, CatchesAttemptsWithKeysOfTheirOwn) {
    Payroll scenario(true);
    EXPECT_NE(sweep(scenario, true).first_bad_story, "");
}

}  // namespace
}  // namespace steplog::testing
