// The power goes while signals are sent and waited for: what was acknowledged to its sender is
// taken once, by the wait that it belongs to, however often its sender sends it again.
#include <gtest/gtest.h>

#include "tests/crash/campaign.h"
#include "tests/crash/power_cut.h"

namespace steplog::testing {
namespace {

constexpr int letters = 3;

NewEvent event(const std::string& id) {
    return {.source = "test",
            .id = id,
            .type = "letter",
            .subject = "",
            .disposition = NewEvent::Disposition::ignored,
            .reason = "it only says that the letter was sent",
            .body = "{}"};
}

/// One instance waits for three letters, each sent under an id until its sender knows that it is
/// durable. The control sends without ids.
class Correspondence : public Scenario {
  public:
    explicit Correspondence(bool with_ids = true) : with_ids_(with_ids) {}

    void begin(CrashVfs& vfs, ManualClock&, Ledger& ledger, std::uint64_t) override {
        vfs_ = &vfs;
        ledger_ = &ledger;
        read_.clear();
    }
    Registry registry() override {
        Registry registry;
        registry.add({.name = "reader", .version = 1, .run = [this](Context& ctx, const Json&) {
                          return read(ctx);
                      }});
        return registry;
    }
    std::vector<Delivery> deliveries() override {
        NewEvent opening = event("evt_0");
        opening.disposition = NewEvent::Disposition::routed;
        std::vector<Delivery> deliveries = {
            {.event = opening,
             .instance = NewInstance{.id = "reader/evt_0", .workflow = "reader"}}};
        for (int i = 1; i <= letters; ++i)
            deliveries.push_back({.event = event(fmt::format("evt_{}", i)),
                                  .run = i > 1,  // the first is there before it is waited for
                                  .first = [this, i](Engine& engine) { send(engine, i); }});
        return deliveries;
    }
    void check_world(Ledger& ledger) override {
        for (int i = 1; i <= letters; ++i)
            if (read_[i] != i)
                ledger.breach(Breach::repeated_effect,
                              fmt::format("letter {} was read in place of {}", read_[i], i));
    }

  private:
    void send(Engine& engine, int number) {
        const auto signalled =
            engine.signal({.instance = "reader/evt_0",
                           .name = "letter",
                           .payload = std::to_string(number),
                           .dedupe_id = with_ids_ ? fmt::format("id_{}", number) : ""});
        if (!signalled.refused.empty() && with_ids_)
            ledger_->breach(Breach::lost_event, "a letter was refused: " + signalled.refused);
    }

    Json read(Context& ctx) {
        for (int i = 1; i <= letters; ++i) {
            const int letter =
                *ctx.wait_for<int>(fmt::format("letter/{}", i), {.signal = "letter"});
            const std::string step = fmt::format("read/{}", i);
            ctx.step(step, [&](const Attempt& attempt) {
                if (!vfs_->outside_operation(step))
                    throw RetryableError("the power is gone", {.outcome = Outcome::refused});
                ledger_->invoked(attempt.instance_id, step, attempt.number);
                read_[i] = letter;
            });
            ledger_->returned(ctx.instance_id(), step);
        }
        return {};
    }

    const bool with_ids_;
    CrashVfs* vfs_ = nullptr;
    Ledger* ledger_ = nullptr;
    std::map<int, int> read_;  // number of the wait → of the letter
};

// Returns the cuts that happened; stops at the first story that is not clean.
int cut_everywhere(Scenario& scenario, bool& clean, std::string& text) {
    Machine machine;
    int cuts = 0;
    for (const Survival survival : {Survival::synced, Survival::everything, Survival::torn}) {
        for (std::int64_t after = 1;; ++after) {
            const auto story =
                machine.run(scenario, {{after, survival, 1}, {5 + after % 17, survival, 2}}, 1);
            clean = story.clean();
            text = fmt::format("cut after {}, survival {}{}", after, static_cast<int>(survival),
                               story.text());
            if (!clean) return cuts;
            if (story.cuts == 0) break;
            cuts += story.cuts;
        }
    }
    return cuts;
}

TEST(PowerLossAmongSignals, AtEveryOperationEachIsTakenOnceInOrder) {
    Correspondence scenario;
    bool clean = false;
    std::string text;
    const int cuts = cut_everywhere(scenario, clean, text);
    EXPECT_TRUE(clean) << text;
    fmt::print("{} cuts among {} signals: each was taken once, in order\n", cuts, letters);
    EXPECT_GT(cuts, 300);
}

TEST(PowerLossAmongSignals, CatchesASenderWithoutIds) {
    Correspondence scenario(false);
    bool clean = true;
    std::string text;
    cut_everywhere(scenario, clean, text);
    EXPECT_FALSE(clean);
}

}  // namespace
}  // namespace steplog::testing
