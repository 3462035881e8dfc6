// The power goes while schedules are due: each nominal time starts its instance exactly once,
// whatever is cut, and what passed while the machine was off is made up for. Time stands still but
// for the jumps to the next due time, and for the two and a half hours that each loss of power
// takes.
#include <gtest/gtest.h>

#include "engine/rfc3339.h"
#include "tests/crash/campaign.h"
#include "tests/crash/power_cut.h"

namespace steplog::testing {
namespace {

constexpr int hours_run = 4;
constexpr std::int64_t hour_ms = 3'600'000;

class Hourly : public Scenario {
  public:
    /// `window`: how far back what was missed is made up for.
    explicit Hourly(Ms window) : window_(window) {}

    void begin(CrashVfs& vfs, ManualClock& clock, Ledger& ledger, std::uint64_t) override {
        vfs_ = &vfs;
        clock_ = &clock;
        ledger_ = &ledger;
        start_ms_ = clock.now_ms();
        happened_.clear();
    }
    Registry registry() override {
        // Before the first chime the schedule may not be defined yet: then no time is lost.
        if (!happened_.empty()) clock_->advance(std::chrono::minutes(150));
        Registry registry;
        registry.add(
            {.name = "hourly", .version = 1, .run = [this](Context& ctx, const Json& input) {
                 const auto at = input.at("scheduled_at").get<std::string>();
                 ctx.step("chime", {.probe = probe([&](const Attempt&) { return chimed(at); })},
                          [&](const Attempt& attempt) { chime(attempt, at); });
                 ledger_->returned(ctx.instance_id(), "chime");
                 return Json();
             }});
        return registry;
    }
    std::vector<Delivery> deliveries() override { return {}; }
    std::vector<Schedule> schedules() override {
        return {{.name = "chimes",
                 .workflow = "hourly",
                 .cron = "@hourly",
                 .overlap = Overlap::queue,
                 .catch_up = window_}};
    }
    std::int64_t ends_ms() override { return start_ms_ + hours_run * hour_ms; }

    void check_world(Ledger& ledger) override {
        for (int hour = 1; hour <= hours_run; ++hour) {
            const int times = happened_[format_rfc3339(start_ms_ + hour * hour_ms)];
            if (times != 1)
                ledger.breach(times == 0 ? Breach::unfinished : Breach::repeated_effect,
                              fmt::format("hour {} was chimed {} times", hour, times));
        }
    }

  private:
    std::optional<Json> chimed(const std::string& at) {
        if (!happened_.contains(at)) return std::nullopt;
        return Json(nullptr);
    }
    void chime(const Attempt& attempt, const std::string& at) {
        if (!vfs_->outside_operation("chime"))
            throw RetryableError("the power is gone", {.outcome = Outcome::refused});
        ledger_->invoked(attempt.instance_id, "chime", attempt.number);
        if (parse_rfc3339(at).value() > clock_->now_ms())
            ledger_->breach(Breach::repeated_effect, "early: " + at);
        ++happened_[at];
        if (!vfs_->outside_operation("chimed"))
            throw RetryableError("no answer", {.outcome = Outcome::unknown});
    }

    const Ms window_;
    CrashVfs* vfs_ = nullptr;
    ManualClock* clock_ = nullptr;
    Ledger* ledger_ = nullptr;
    std::int64_t start_ms_ = 0;
    std::map<std::string, int> happened_;  // by nominal time
};

TEST(PowerLossWhileScheduling, AtEveryOperationEachTimeStartsExactlyOnce) {
    Machine machine;
    Hourly scenario(std::chrono::hours(24));
    ASSERT_TRUE(machine.run(scenario, {}, 1).clean());
    int cases = 0;
    for (const Survival survival : {Survival::synced, Survival::torn}) {
        for (std::int64_t after = 1;; ++after) {
            const auto story =
                machine.run(scenario, {{after, survival, 1}, {5 + after % 23, survival, 2}}, 1);
            ASSERT_TRUE(story.clean()) << "cut after " << after << ", survival "
                                       << static_cast<int>(survival) << story.text();
            if (story.cuts == 0) break;
            cases += story.cuts;
        }
    }
    fmt::print("{} cuts while a schedule runs: each of its times started exactly one instance\n",
               cases);
    EXPECT_GT(cases, 200);
}

TEST(PowerLossWhileScheduling, IsSeenToMissTimesWithoutAWindow) {
    Machine machine;
    Hourly scenario(Ms(0));
    ASSERT_TRUE(machine.run(scenario, {}, 1).clean());
    int missed = 0;
    for (std::int64_t after = 1; after < 200; after += 5)
        missed += machine.run(scenario, {{after, Survival::synced, 1}}, 1)
                      .ledger.count(Breach::unfinished);
    EXPECT_GT(missed, 0);
}

}  // namespace
}  // namespace steplog::testing
