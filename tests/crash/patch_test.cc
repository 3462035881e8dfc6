// The power goes around a patch: whatever is lost, an instance goes the old way or the new one,
// never both. With the new code from the beginning, and deployed after the first power loss.
#include <gtest/gtest.h>

#include "tests/crash/campaign.h"
#include "tests/crash/power_cut.h"

namespace steplog::testing {
namespace {

class Patched : public Scenario {
  public:
    struct Options {
        bool deployed_later = false;
        bool remembers_nothing = false;  // the control: code that decides anew each time
    };
    explicit Patched(Options options) : options_(options) {}

    void begin(CrashVfs& vfs, ManualClock&, Ledger& ledger, std::uint64_t) override {
        vfs_ = &vfs;
        ledger_ = &ledger;
        lives_ = old_way_ = new_way_ = 0;
    }
    Registry registry() override {
        const bool is_patched = lives_++ > 0 || !options_.deployed_later;
        Registry registry;
        registry.add({.name = "order", .run = [this, is_patched](Context& ctx, const Json&) {
                          return order(ctx, is_patched);
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
                 .instance = NewInstance{.id = "order/evt_1", .workflow = "order"},
                 .run = true}};
    }
    void check_world(Ledger& ledger) override {
        if ((old_way_ > 0) == (new_way_ > 0))
            ledger.breach(
                Breach::repeated_effect,
                fmt::format("{} times the old way, {} times the new one", old_way_, new_way_));
    }
    bool went_the_old_way() const { return old_way_ > 0; }

  private:
    Json order(Context& ctx, bool is_patched) {
        do_step(ctx, "reserve");
        if (options_.remembers_nothing ? is_patched : is_patched && ctx.patched("p"))
            new_way_ += do_step(ctx, "new way");
        else
            old_way_ += do_step(ctx, "old way");
        do_step(ctx, "close");
        return {};
    }

    // How often its effect began in this call.
    int do_step(Context& ctx, const std::string& name) {
        int begun = 0;
        try {
            ctx.step(name, [&](const Attempt& attempt) {
                if (!vfs_->outside_operation("request " + name))
                    throw RetryableError("the power is gone", {.outcome = Outcome::refused});
                ledger_->invoked(attempt.instance_id, name, attempt.number);
                ++begun;
            });
        } catch (...) {
            count(name, begun);
            throw;
        }
        ledger_->returned(ctx.instance_id(), name);
        return begun;
    }
    void count(const std::string& name, int begun) {
        if (name == "old way") old_way_ += begun;
        if (name == "new way") new_way_ += begun;
    }

    const Options options_;
    CrashVfs* vfs_ = nullptr;
    Ledger* ledger_ = nullptr;
    int lives_ = 0, old_way_ = 0, new_way_ = 0;
};

struct Tally {
    int cuts = 0, old_ways = 0, breaches = 0;
};

Tally cut_everywhere(const Patched::Options& options) {
    Machine machine;
    Tally tally;
    for (const Survival survival : {Survival::synced, Survival::everything, Survival::torn}) {
        for (std::int64_t after = 1;; ++after) {
            Patched scenario(options);
            // The second cut falls into the recovery, or soon after it.
            const auto story =
                machine.run(scenario, {{after, survival, 1}, {5 + after % 17, survival, 2}}, 1);
            tally.breaches += !story.clean();
            if (story.cuts == 0) break;
            tally.cuts += story.cuts;
            tally.old_ways += scenario.went_the_old_way();
        }
    }
    return tally;
}

TEST(PowerLossAroundAPatch, AtEveryOperationLeavesTheNewWayTheOnlyOne) {
    const Tally tally = cut_everywhere({});
    fmt::print("{} cuts around a patch that was there from the beginning: the new way each time\n",
               tally.cuts);
    EXPECT_EQ(tally.breaches, 0);
    EXPECT_EQ(tally.old_ways, 0);
    EXPECT_GT(tally.cuts, 150);
}

TEST(PowerLossAroundAPatch, AtEveryOperationMixesNoWaysWhenItIsDeployedLater) {
    const Tally tally = cut_everywhere({.deployed_later = true});
    fmt::print(
        "{} cuts around a patch deployed after the first: {} times the old way was begun "
        "and kept, the others went the new one\n",
        tally.cuts, tally.old_ways);
    EXPECT_EQ(tally.breaches, 0);
    EXPECT_GT(tally.old_ways, 0);
    EXPECT_LT(tally.old_ways, tally.cuts);
}

TEST(PowerLossAroundAPatch, IsCaughtWhereTheCodeDecidesAnew) {
    EXPECT_GT(cut_everywhere({.deployed_later = true, .remembers_nothing = true}).breaches, 0);
}

}  // namespace
}  // namespace steplog::testing
