// The flagship after a backup was restored: customers whom the lost history served, and whose
// events come again, keep their one account and their one e-mail.
#include <SQLiteCpp/SQLiteCpp.h>
#include <gmock/gmock.h>

#include "engine/backup.h"
#include "tests/steps/provision_world.h"

namespace steplog::testing {
namespace {

using std::chrono::hours;

class RestoredProvisioning : public ProvisionWorld {
  protected:
    std::filesystem::path database() const { return directory.path() / "steplog.db"; }
    void back_up() { steplog::back_up(database(), directory.path() / "backup.db", clock); }
    void restore() {
        engine.reset();
        store.reset();
        std::filesystem::copy_file(directory.path() / "backup.db", database(),
                                   std::filesystem::copy_options::overwrite_existing);
        open();
    }
    /// As a plain copy of a database at rest would be: it has no mark.
    void take_the_mark_away() {
        SQLite::Database((directory.path() / "backup.db").string(), SQLite::OPEN_READWRITE)
            .exec("DELETE FROM meta WHERE name='backup'");
    }
    sandbox::Purchase buy() {
        return world.purchase({.email = "customer" + std::to_string(++buyers) + "@example.com"});
    }
    /// Some purchases before the backup, one interrupted by it, some after it; then all events
    /// again.
    void lose_a_day(Ms until_restored) {
        for (int i = 0; i < 2; ++i) before.push_back(buy());
        for (const auto& purchase : before) accept(purchase.events);
        run();
        interrupted = buy();
        accept(interrupted.events);
        back_up();
        clock.advance(std::chrono::minutes(10));
        run();
        for (int i = 0; i < 3; ++i) after.push_back(buy());
        for (const auto& purchase : after) accept(purchase.events);
        run();
        users = world.users().size();
        emails = world.emails().size();
        effects = world.effects();
        clock.advance(until_restored);
        if (!marked) take_the_mark_away();
        restore();
        for (const auto* purchases : {&before, &after})
            for (const auto& purchase : *purchases) accept(purchase.events);
        accept(interrupted.events);
        run(hours(2));
    }

    std::vector<sandbox::Purchase> before, after;
    sandbox::Purchase interrupted;
    int buyers = 0;
    bool marked = true;
    std::size_t users = 0, emails = 0;
    std::map<std::string, int> effects;
};

TEST_F(RestoredProvisioning, RepeatsNothingOfTheLostDay) {
    lose_a_day(hours(12));
    EXPECT_EQ(users, 6u);
    EXPECT_EQ(world.users().size(), users);
    EXPECT_EQ(world.emails().size(), emails);
    EXPECT_EQ(emails, 6u);
    for (const auto& [key, count] : world.effects()) EXPECT_EQ(count, 1) << key;
    for (const auto& user : world.users())
        EXPECT_FALSE(steps::text_at(*user, {"external_id"}).empty());
    EXPECT_EQ(engine->run_until_idle(), 0);
}

TEST_F(RestoredProvisioning, AsksAPersonAboutMailThatCanNoLongerBeFolded) {
    lose_a_day(hours(30));
    EXPECT_EQ(world.users().size(), users);
    EXPECT_EQ(world.emails().size(), emails);
    int stuck = 0;
    for (const auto& transition : transitions)
        if (transition.what == "stuck") {
            EXPECT_EQ(transition.error_code, "in_doubt");
            EXPECT_EQ(transition.step, "send_email");
            ++stuck;
        }
    EXPECT_GE(stuck, 4) << "the interrupted purchase, and the three lost ones";
    transitions.clear();
    // Who buys after the restore is new: nothing is in doubt.
    clock.advance(hours(1));
    const auto fresh = buy();
    accept(fresh.events);
    run();
    EXPECT_EQ(world.users().size(), users + 1);
    EXPECT_EQ(world.emails().size(), emails + 1);
}

// The control: these tests see what the mark prevents.
TEST_F(RestoredProvisioning, WithoutTheMarkSendsMailAgain) {
    marked = false;
    lose_a_day(hours(30));
    EXPECT_GT(world.emails().size(), emails);
}

}  // namespace
}  // namespace steplog::testing
