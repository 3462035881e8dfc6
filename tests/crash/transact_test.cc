// The power goes around changes of a program's own tables: a line is there exactly when the step
// that wrote it is finished, and once. The workflow counts the lines itself, in later steps.
#include <SQLiteCpp/SQLiteCpp.h>
#include <gtest/gtest.h>

#include "tests/crash/campaign.h"
#include "tests/crash/power_cut.h"

namespace steplog::testing {
namespace {

class Bookkeeper : public Scenario {
  public:
    /// The control forgets, now and then, that a line was written.
    explicit Bookkeeper(bool writes_again = false) : writes_again_(writes_again) {}

    void begin(CrashVfs& vfs, ManualClock&, Ledger& ledger, std::uint64_t) override {
        vfs_ = &vfs;
        ledger_ = &ledger;
        ends_ = calls_ = 0;
    }
    Registry registry() override {
        Registry registry;
        registry.add(
            {.name = "bookkeeper", .run = [this](Context& ctx, const Json&) { return book(ctx); }});
        return registry;
    }
    std::vector<Delivery> deliveries() override {
        return {{.event = {.source = "test",
                           .id = "evt_1",
                           .type = "begin",
                           .subject = "",
                           .reason = "",
                           .body = "{}"},
                 .instance = NewInstance{.id = "bookkeeper/evt_1", .workflow = "bookkeeper"},
                 .run = true}};
    }
    void check_world(Ledger& ledger) override {
        if (ends_ == 0) ledger.breach(Breach::unfinished, "the books were never closed");
    }

  private:
    Json book(Context& ctx) {
        ++calls_;
        ctx.transact("open", [](SQLite::Database& db) {
            db.exec("CREATE TABLE app_book(line TEXT)");  // a second time it would throw
        });
        write(ctx, "first");
        ctx.step("mail", [&](const Attempt& attempt) {
            if (!vfs_->outside_operation("mail"))
                throw RetryableError("the power is gone", {.outcome = Outcome::refused});
            ledger_->invoked(attempt.instance_id, "mail", attempt.number);
        });
        ledger_->returned(ctx.instance_id(), "mail");
        write(ctx, "second");
        const auto lines = ctx.transact("close", [](SQLite::Database& db) {
            return db.execAndGet("SELECT group_concat(line) FROM app_book").getString();
        });
        if (lines != "first,second")
            ledger_->breach(Breach::repeated_effect, "the book says " + lines);
        ++ends_;
        return lines;
    }

    void write(Context& ctx, const std::string& line) {
        const bool again = writes_again_ && calls_ > 1;
        ctx.transact(again ? line + " again" : line, [&](SQLite::Database& db) {
            db.exec("INSERT INTO app_book VALUES ('" + line + "')");
        });
    }

    const bool writes_again_;
    CrashVfs* vfs_ = nullptr;
    Ledger* ledger_ = nullptr;
    int ends_ = 0, calls_ = 0;
};

struct Tally {
    int cuts = 0, breaches = 0;
};

Tally cut_everywhere(bool writes_again) {
    Machine machine;
    Tally tally;
    for (const Survival survival : {Survival::synced, Survival::everything, Survival::torn}) {
        for (std::int64_t after = 1;; ++after) {
            Bookkeeper scenario(writes_again);
            // The second cut falls into the recovery, or soon after it.
            const auto story =
                machine.run(scenario, {{after, survival, 1}, {5 + after % 17, survival, 2}}, 1);
            tally.breaches += !story.clean();
            if (story.cuts == 0) break;
            tally.cuts += story.cuts;
        }
    }
    return tally;
}

TEST(PowerLossAroundAChange, AtEveryOperationLeavesLineAndCheckpointOrNeither) {
    const Tally tally = cut_everywhere(false);
    fmt::print("{} cuts around changes of a program's own tables: each line there once\n",
               tally.cuts);
    EXPECT_EQ(tally.breaches, 0);
    EXPECT_GT(tally.cuts, 200);
}

TEST(PowerLossAroundAChange, IsCaughtWhereALineIsWrittenAgain) {
    EXPECT_GT(cut_everywhere(true).breaches, 0);
}

}  // namespace
}  // namespace steplog::testing
