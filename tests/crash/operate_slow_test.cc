// The power goes while people edit, pause, unpause and fork: what they were told is done holds, and
// nothing of a paused instance or workflow runs.
#include <gtest/gtest.h>

#include "tests/crash/campaign.h"
#include "tests/crash/power_cut.h"

namespace steplog::testing {
namespace {

using Kind = OperateRequest::Kind;

class Operators : public Scenario {
  public:
    /// The control lets go of what was paused as soon as the power has gone.
    explicit Operators(bool forgets_pauses = false) : forgets_pauses_(forgets_pauses) {}

    void begin(CrashVfs& vfs, ManualClock&, Ledger& ledger, std::uint64_t) override {
        vfs_ = &vfs;
        ledger_ = &ledger;
        lives_ = 0;
        resting_.clear();
    }
    Registry registry() override {
        ++lives_;
        Registry registry;
        registry.add({.name = "order", .run = [this](Context& ctx, const Json& input) {
                          return order(ctx, input.value("to", ""));
                      }});
        return registry;
    }
    std::vector<Delivery> deliveries() override {
        return {deliver("1", "nobody"),
                deliver("2", "",
                        [this](Engine& engine) {
                            engine.run_until_idle();
                            operate(engine, {.kind = Kind::edit,
                                             .ids = {"order/1"},
                                             .payload = R"({"to":"ann"})"});
                            engine.resume({.ids = {"order/1"}});
                            operate(engine, {.kind = Kind::pause, .ids = {"order/1"}});
                            resting_ = "order/1";
                        }),
                deliver("3", "ann",
                        [this](Engine& engine) {
                            operate(engine, {.kind = Kind::pause_workflow, .ids = {"order"}});
                            resting_ = "order";
                            operate(engine, {.kind = Kind::unpause, .ids = {"order/1"}});
                        }),
                deliver("4", "",
                        [this](Engine& engine) {
                            resting_.clear();
                            operate(engine, {.kind = Kind::unpause_workflow, .ids = {"order"}});
                        }),
                deliver("5", "", [this](Engine& engine) {
                    engine.run_until_idle();
                    operate(engine, {.kind = Kind::fork,
                                     .ids = {"order/1"},
                                     .step = "mail",
                                     .new_id = "order/1/again"});
                })};
    }
    void check_world(Ledger& ledger) override {
        if (mails_.size() != 3)
            ledger.breach(Breach::unfinished, fmt::format("{} mails were sent", mails_.size()));
    }

  private:
    static Delivery deliver(const std::string& number, const std::string& to,
                            std::function<void(Engine&)> first = {}) {
        Delivery delivery{.event = {.source = "test",
                                    .id = number,
                                    .type = "begin",
                                    .subject = "",
                                    .disposition = NewEvent::Disposition::ignored,
                                    .reason = "it only gives people their turn",
                                    .body = Json{{"to", to}}.dump()},
                          .run = true,
                          .first = std::move(first)};
        if (to.empty()) return delivery;
        delivery.event.disposition = NewEvent::Disposition::routed;
        delivery.event.reason = "";
        delivery.instance = NewInstance{.id = "order/" + number, .workflow = "order"};
        return delivery;
    }
    // A second time it is refused, as it should be.
    void operate(Engine& engine, OperateRequest operation) const {
        const bool pauses = operation.kind == Kind::pause || operation.kind == Kind::pause_workflow;
        if (pauses && forgets_pauses_ && lives_ > 1) return;
        engine.operate(std::move(operation));
    }

    Json order(Context& ctx, const std::string& to) {
        do_step(ctx, "reserve");
        if (to == "nobody") ctx.stuck("odd", "nobody gets a mail");
        do_step(ctx, "mail");
        return {};
    }
    void do_step(Context& ctx, const std::string& name) {
        const std::string id = ctx.instance_id();
        ctx.step(name, [&](const Attempt& attempt) {
            if (!vfs_->outside_operation("request " + name))
                throw RetryableError("the power is gone", {.outcome = Outcome::refused});
            ledger_->invoked(id, name, attempt.number);
            if (resting_ == id || resting_ == "order")
                ledger_->breach(Breach::repeated_effect, id + " runs although it is paused");
            if (id == "order/1/again" && name == "reserve")
                ledger_->breach(Breach::repeated_effect, "what was finished was done again");
            if (name == "mail") mails_.insert(id);
        });
        ledger_->returned(id, name);
    }

    const bool forgets_pauses_;
    CrashVfs* vfs_ = nullptr;
    Ledger* ledger_ = nullptr;
    int lives_ = 0;
    std::string resting_;  // an instance or a workflow; "": nothing
    std::set<std::string> mails_;
};

struct Tally {
    int cuts = 0, breaches = 0;
    std::string first;
};

Tally cut_everywhere(bool forgets_pauses) {
    Machine machine;
    Tally tally;
    for (const Survival survival : {Survival::synced, Survival::everything, Survival::torn}) {
        for (std::int64_t after = 1;; ++after) {
            Operators scenario(forgets_pauses);
            // The second cut falls into the recovery, or soon after it.
            const auto story =
                machine.run(scenario, {{after, survival, 1}, {5 + after % 17, survival, 2}}, 1);
            tally.breaches += !story.clean();
            if (!story.clean() && tally.first.empty()) tally.first = story.text();
            if (forgets_pauses && tally.breaches > 0) return tally;
            if (story.cuts == 0) break;
            tally.cuts += story.cuts;
        }
    }
    return tally;
}

TEST(PowerLossWhilePeopleOperate, AtEveryOperationKeepsWhatTheyWereTold) {
    const Tally tally = cut_everywhere(false);
    fmt::print("{} cuts around an edit, pauses and a fork: each holds once it was acknowledged\n",
               tally.cuts);
    EXPECT_EQ(tally.breaches, 0) << tally.first;
    EXPECT_GT(tally.cuts, 1000);
}

TEST(PowerLossWhilePeopleOperate, IsCaughtWhereAPauseIsForgotten) {
    EXPECT_GT(cut_everywhere(true).breaches, 0);
}

}  // namespace
}  // namespace steplog::testing
