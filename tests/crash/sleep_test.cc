// The power goes while a workflow sleeps: a sleep that was begun is not begun anew, none is
// forgotten, and none ends early. Time stands still but for the jumps to the next due time, so that
// a sleep that is slept twice, or not at all, shows in what the clock says at the next effect.
#include <gtest/gtest.h>

#include "tests/crash/campaign.h"
#include "tests/crash/power_cut.h"

namespace steplog::testing {
namespace {

constexpr Ms nap = std::chrono::hours(1);

class Sleepers : public Scenario {
  public:
    explicit Sleepers(bool forgets_to_sleep = false) : forgets_to_sleep_(forgets_to_sleep) {}

    void begin(CrashVfs& vfs, ManualClock& clock, Ledger& ledger, std::uint64_t) override {
        vfs_ = &vfs;
        clock_ = &clock;
        ledger_ = &ledger;
        start_ms_ = clock.now_ms();
        ends_ = 0;
    }
    Registry registry() override {
        Registry registry;
        registry.add({.name = "sleeper", .version = 1, .run = [this](Context& ctx, const Json&) {
                          return sleep(ctx);
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
                 .instance = NewInstance{.id = "sleeper/evt_1", .workflow = "sleeper"},
                 .run = true}};
    }
    void check_world(Ledger& ledger) override {
        if (ends_ == 0) ledger.breach(Breach::unfinished, "the sleeper never woke");
    }

  private:
    Json sleep(Context& ctx) {
        ctx.step("lie_down", [&](const Attempt& attempt) { at(attempt, "lie_down", Ms(0)); });
        ledger_->returned(ctx.instance_id(), "lie_down");
        ctx.sleep_for("past", Ms(0));
        if (!forgets_to_sleep_) ctx.sleep_for("first", nap);
        ctx.step("turn", [&](const Attempt& attempt) { at(attempt, "turn", nap); });
        ledger_->returned(ctx.instance_id(), "turn");
        ctx.sleep_until("second", start_ms_ + 2 * nap.count());
        ctx.step("rise", [&](const Attempt& attempt) { at(attempt, "rise", 2 * nap); });
        ledger_->returned(ctx.instance_id(), "rise");
        ++ends_;
        return {};
    }

    void at(const Attempt& attempt, const std::string& step, Ms expected) {
        if (!vfs_->outside_operation(step))
            throw RetryableError("the power is gone", {.outcome = Outcome::refused});
        ledger_->invoked(attempt.instance_id, step, attempt.number);
        const Ms slept(clock_->now_ms() - start_ms_);
        if (slept != expected)
            ledger_->breach(Breach::repeated_effect,
                            fmt::format("{} after {} ms instead of {} ms", step, slept.count(),
                                        expected.count()));
    }

    const bool forgets_to_sleep_;
    CrashVfs* vfs_ = nullptr;
    ManualClock* clock_ = nullptr;
    Ledger* ledger_ = nullptr;
    std::int64_t start_ms_ = 0;
    int ends_ = 0;
};

TEST(PowerLossWhileSleeping, AtEveryOperationNoSleepIsLostRepeatedOrCutShort) {
    Machine machine;
    Sleepers scenario;
    ASSERT_TRUE(machine.run(scenario, {}, 1).clean());
    int cases = 0;
    for (const Survival survival : {Survival::synced, Survival::everything, Survival::torn}) {
        for (std::int64_t after = 1;; ++after) {
            // The second cut falls into the recovery, or soon after it.
            const auto story =
                machine.run(scenario, {{after, survival, 1}, {5 + after % 17, survival, 2}}, 1);
            ASSERT_TRUE(story.clean()) << "cut after " << after << ", survival "
                                       << static_cast<int>(survival) << story.text();
            if (story.cuts == 0) break;
            cases += story.cuts;
        }
    }
    fmt::print(
        "{} cuts while a workflow sleeps: each sleep was slept once, and as long as it should\n",
        cases);
    EXPECT_GT(cases, 200);
}

TEST(PowerLossWhileSleeping, CatchesAWorkflowThatDoesNotSleep) {
    Machine machine;
    Sleepers scenario(true);
    EXPECT_FALSE(machine.run(scenario, {}, 1).clean());
}

}  // namespace
}  // namespace steplog::testing
