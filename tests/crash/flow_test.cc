// The power goes around all that flow control writes: breakers, slots, rates, places of a key,
// versions of things outside, and starts that are put off. Everything ends, nothing goes faster
// than allowed or back in time.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/crash/campaign.h"
#include "tests/crash/power_cut.h"

namespace steplog::testing {
namespace {

using std::chrono::seconds;

constexpr Ms between_calls = seconds(5);

class Traffic : public Scenario {
  public:
    /// The controls know no rate, and compare no versions.
    explicit Traffic(bool knows_rate = true, bool compares = true)
        : knows_rate_(knows_rate), compares_(compares) {}

    void begin(CrashVfs& vfs, ManualClock& clock, Ledger& ledger, std::uint64_t) override {
        vfs_ = &vfs;
        clock_ = &clock;
        ledger_ = &ledger;
        asked_ = 0;
        newest_ = 0;
        last_call_ms_.reset();
        charged_.clear();
        synchronised_.clear();
    }
    FlowPolicy flow() override {
        FlowPolicy flow;
        ProviderPolicy& bank = flow.providers["bank"];
        bank.breaker = {.failures_max = 2, .failing_for = Ms(0), .probe_delay = Ms(100)};
        bank.running_max = 1;
        if (knows_rate_) bank.rate = {.limit = 1, .period = between_calls};
        flow.workflows["pay"] = {
            .running_max = 2, .key_holders_max = 2, .rate = {.limit = 2, .burst = 2}};
        return flow;
    }
    Registry registry() override {
        Registry registry;
        registry.add({.name = "pay", .run = [this](Context& ctx, const Json& input) {
                          return pay(ctx, input.at("n"));
                      }});
        registry.add({.name = "sync", .run = [this](Context&, const Json& input) {
                          synchronised_.insert(input.at("n").get<int>());
                          return input;
                      }});
        return registry;
    }
    std::vector<Delivery> deliveries() override {
        std::vector<Delivery> deliveries;
        for (const int n : {1, 2}) deliveries.push_back(delivery("sync", n, ""));
        for (NewInstance* debounced : {&*deliveries[0].instance, &*deliveries[1].instance})
            debounced->debounce = Debounce{.key = "cus_1", .period = seconds(7)};
        for (const int n : {2, 1, 4, 3}) deliveries.push_back(delivery("pay", n, "k"));
        deliveries.back().run = true;
        return deliveries;
    }
    void check_world(Ledger& ledger) override {
        if (charged_ != std::set<std::string>{"pay/1", "pay/2", "pay/3", "pay/4"})
            ledger.breach(Breach::unfinished, "not everybody was charged");
        if (newest_ != 4) ledger.breach(Breach::unfinished, "the newest version is not there");
        if (synchronised_ != std::set<int>{2})
            ledger.breach(Breach::repeated_effect, "what was put off began with another input");
    }

  private:
    static Delivery delivery(const std::string& workflow, int n, const std::string& key) {
        const std::string id = fmt::format("{}/{}", workflow, n);
        return {.event = {.source = "test",
                          .id = id,
                          .type = "begin",
                          .subject = "",
                          .reason = "",
                          .body = fmt::format(R"({{"n":{}}})", n)},
                .instance = NewInstance{.id = id, .workflow = workflow, .key = key}};
    }
    void call(const Attempt& attempt, const std::string& step) {
        if (!vfs_->outside_operation(step.c_str()))
            throw RetryableError("the power is gone", {.outcome = Outcome::refused});
        ledger_->invoked(attempt.instance_id, step, attempt.number);
    }
    Json pay(Context& ctx, int n) {
        const StepOptions charge{.provider = "bank", .idempotency_window = std::chrono::hours(23)};
        ctx.step("charge", charge, [&](const Attempt& attempt) {
            call(attempt, "charge");
            const std::int64_t now_ms = clock_->now_ms();
            if (last_call_ms_ && now_ms - *last_call_ms_ < between_calls.count())
                ledger_->breach(Breach::repeated_effect, "the bank was called too soon");
            last_call_ms_ = now_ms;
            if (++asked_ <= 3)
                throw RetryableError("down",
                                     {.outcome = Outcome::refused, .retry_after = Ms(1000)});
            charged_.insert(attempt.instance_id);
        });
        ledger_->returned(ctx.instance_id(), "charge");
        const UpdateOptions plan{
            .entity = "plan",
            .version = compares_ ? n : 1,
            .step = {.provider = "post", .idempotency_window = std::chrono::hours(23)}};
        ctx.update("plan", plan, [&](const Attempt& attempt) {
            call(attempt, "plan");
            if (n < newest_) ledger_->breach(Breach::repeated_effect, "the plan went back in time");
            newest_ = n;
        });
        ledger_->returned(ctx.instance_id(), "plan");
        return n;
    }

    const bool knows_rate_, compares_;
    CrashVfs* vfs_ = nullptr;
    ManualClock* clock_ = nullptr;
    Ledger* ledger_ = nullptr;
    int asked_ = 0, newest_ = 0;
    std::optional<std::int64_t> last_call_ms_;
    std::set<std::string> charged_;
    std::set<int> synchronised_;
};

struct Tally {
    int cuts = 0, breaches = 0;
    std::string first;
};

Tally cut_often(Traffic& scenario, std::int64_t stride) {
    Machine machine;
    Tally tally;
    for (const Survival survival : {Survival::synced, Survival::everything, Survival::torn}) {
        for (std::int64_t after = 1 + static_cast<int>(survival);; after += stride) {
            // The second cut falls into the recovery, or soon after it.
            const auto story =
                machine.run(scenario, {{after, survival, 1}, {5 + after % 17, survival, 2}}, 1);
            if (!story.clean() && tally.breaches++ == 0) tally.first = story.text();
            if (story.cuts == 0) break;
            tally.cuts += story.cuts;
        }
    }
    return tally;
}

TEST(PowerLossAroundFlowControl, LeavesNothingThatDoesNotEndAndNothingTooFast) {
    Traffic scenario;
    const Tally tally = cut_often(scenario, 7);
    fmt::print("{} cuts around flow control: everything ends, at its pace\n", tally.cuts);
    EXPECT_EQ(tally.breaches, 0) << tally.first;
    EXPECT_GT(tally.cuts, 100);
}

TEST(PowerLossAroundFlowControl, IsCaughtWhereNoRateIsKept) {
    Traffic careless(false);
    EXPECT_GT(cut_often(careless, 101).breaches, 0);
}

TEST(PowerLossAroundFlowControl, IsCaughtWhereVersionsAreNotCompared) {
    Traffic careless(true, false);
    EXPECT_GT(cut_often(careless, 101).breaches, 0);
}

}  // namespace
}  // namespace steplog::testing
