// Reconciliation on demand: who is missing, what is started, what is left alone, through crashes.
#include "server/admin_reconcile.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/server/admin_world.h"

namespace steplog::server {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class ReconcileTest : public AdminWorld {
  protected:
    /// Buys, and is never told to us.
    sandbox::Purchase unheard(const std::string& buyer) { return world.purchase({.email = buyer}); }

    sandbox::Purchase provisioned(const std::string& buyer) {
        auto purchase = world.purchase({.email = buyer});
        accept(body_of(purchase, "checkout.session.completed"));
        run();
        return purchase;
    }
    static std::string id_of(const sandbox::Purchase& purchase) {
        return "provision_customer/reconcile/" + purchase.customer + "/" + purchase.subscription;
    }
    static std::string email_of(int number) {
        return "customer" + std::to_string(number) + "@example.org";
    }
};

TEST_F(ReconcileTest, OnlyLooksWhenAskedToLook) {
    provisioned("there@example.org");
    const auto missing = unheard("missing@example.org");
    const Json found = reconcile(true);
    EXPECT_EQ(found["dryRun"], true);
    EXPECT_EQ(found["checked"], 2);
    EXPECT_EQ(found["missing"], Json::array({{{"customerId", missing.customer},
                                              {"email", "missing@example.org"},
                                              {"subscriptionId", missing.subscription},
                                              {"subscriptionStatus", "active"}}}));
    EXPECT_THAT(found["started"], IsEmpty());
    EXPECT_THAT(found["errors"], IsEmpty());
    EXPECT_EQ(world.users().size(), 1U);
    EXPECT_EQ(sql("SELECT count(*) FROM instances WHERE workflow='provision_customer'"), "1");
}

TEST_F(ReconcileTest, ProvisionsWhoIsMissingOnce) {
    provisioned("there@example.org");
    const auto missing = unheard("missing@example.org");
    EXPECT_THAT(reconcile(false)["started"], ElementsAre(id_of(missing)));
    run();
    EXPECT_EQ(world.users().size(), 2U);
    EXPECT_EQ(world.emails().size(), 2U);
    EXPECT_NE(metadata_user(missing.customer), "");
    const Json again = reconcile(false);
    EXPECT_EQ(again["checked"], 2);
    EXPECT_THAT(again["missing"], IsEmpty());
    EXPECT_THAT(again["started"], IsEmpty());
    EXPECT_EQ(world.emails().size(), 2U);
}

TEST_F(ReconcileTest, SendsNoMailWhenAskedToBeQuiet) {
    const auto missing = unheard("missing@example.org");
    const Json done = ask(post("/api/admin/fix-missing-clerk-accounts", {{"quiet", "true"}}), 200);
    EXPECT_THAT(done["started"], ElementsAre(id_of(missing)));
    run();
    EXPECT_EQ(world.users().size(), 1U);
    EXPECT_NE(metadata_user(missing.customer), "");
    EXPECT_EQ(world.emails().size(), 0U);
}

TEST_F(ReconcileTest, LinksAnAccountThatIsThereAndSendsItNoMail) {
    const auto missing = unheard("early@example.org");
    world.add_user({.email = "early@example.org"});
    EXPECT_THAT(reconcile(false)["started"], ElementsAre(id_of(missing)));
    run();
    EXPECT_EQ(world.users().size(), 1U);
    EXPECT_EQ(world.emails().size(), 0U);
    EXPECT_THAT(reconcile(true)["missing"], IsEmpty());
}

TEST_F(ReconcileTest, ResumesWhatIsStuckRatherThanStartASecond) {
    const auto purchase = world.purchase({.email = std::nullopt});
    const std::string id = accept(body_of(purchase, "checkout.session.completed"));
    run();
    ASSERT_EQ(state(id), "stuck");
    set_email(purchase.customer, "now%40example.org");
    const Json found = reconcile(false);
    EXPECT_THAT(found["started"], ElementsAre(id));
    EXPECT_THAT(found["resumed"], ElementsAre(id));
    EXPECT_EQ(
        sql("SELECT actor LIKE 'reconcile_accounts/repair/%' FROM audit WHERE target='" + id + "'"),
        "1");
    run();
    EXPECT_EQ(sql("SELECT count(*) FROM instances WHERE workflow='provision_customer'"), "1");
}

TEST_F(ReconcileTest, LeavesAloneWhatIsUnderWay) {
    const auto purchase = unheard("slow@example.org");
    break_next(sandbox::FaultKind::status, "POST /v1/users");
    const std::string id = accept(body_of(purchase, "checkout.session.completed"));
    engine->run_until_idle();
    ASSERT_EQ(state(id), "sleeping");
    const Json found = reconcile(false);
    EXPECT_THAT(found["missing"], SizeIs(1));
    EXPECT_THAT(found["started"], IsEmpty());
    EXPECT_THAT(found["running"], ElementsAre(id));
}

TEST_F(ReconcileTest, ChecksNoMoreCustomersThanAsked) {
    for (int i = 0; i < 5; ++i) unheard(email_of(i));
    const Json found = reconcile(true, 3);
    EXPECT_EQ(found["checked"], 3);
    EXPECT_THAT(found["missing"], SizeIs(3));
}

TEST_F(ReconcileTest, SaysWhatToAskForWhenItTakesLong) {
    unheard("missing@example.org");
    on_pause = [] {};
    api.reset();
    reconciliation.reset();
    reconciliation.emplace(
        *engine, desk, clock, random,
        Reconciliation::Options{.file = {database}, .patience = Ms(0), .pause = [](Ms) {}});
    api.emplace(guard, *instances, *reconciliation);
    const auto request =
        post("/api/admin/fix-missing-clerk-accounts", {{"dryRun", "true"}, {"limit", "10"}});
    const std::string id = ask(request, 202)["instance"];
    EXPECT_EQ(ask(request, 202)["instance"], id);  // joined, not begun again
    engine->run_until_idle();
    const Json shown = ask(get("/api/admin/instances/" + id), 200);
    EXPECT_EQ(shown["state"], "completed");
    EXPECT_EQ(shown["output"]["checked"], 1);
}

TEST_F(ReconcileTest, LooksOnASchedule) {
    std::vector<steps::InstanceDesk::Found> told;
    on_found = [&](const auto& found) { told.push_back(found); };
    unheard("missing@example.org");
    engine->schedule({steps::reconcile_schedule({.dry_run = true}, "0 9 * * *", "Europe/Berlin")});
    clock.set_ms(engine->next_due_ms().value());
    engine->run_until_idle();
    ASSERT_THAT(told, SizeIs(1));
    EXPECT_TRUE(told.front().dry_run);
    EXPECT_EQ(told.front().missing, 1U);
    EXPECT_EQ(told.front().started, 0U);
    EXPECT_EQ(state(told.front().instance), "completed");
    EXPECT_EQ(told.front().instance.find("reconcile_accounts/schedule/reconcile/20"), 0U);
    EXPECT_THAT(world.users(), IsEmpty());
}

TEST_F(ReconcileTest, RepairsOnASchedule) {
    unheard("missing@example.org");
    engine->schedule({steps::reconcile_schedule({}, "0 9 * * *", "UTC")});
    clock.set_ms(engine->next_due_ms().value());
    run();
    EXPECT_THAT(world.users(), SizeIs(1));
    EXPECT_THAT(world.emails(), SizeIs(1));
}

TEST_F(ReconcileTest, NeverLooksOnAScheduleBesideAnOrderThatIsUnderWay) {
    unheard("missing@example.org");
    engine->schedule({steps::reconcile_schedule({.dry_run = true}, "0 9 * * *", "UTC")});
    clock.set_ms(engine->next_due_ms().value());
    // Claimed in one go: the order by hand is under way when nine o'clock is decided about.
    desk.start(steps::reconcile_order({.dry_run = true, .limit = 10}, "by_hand"));
    store->claim({.limit = 9}).get();
    EXPECT_EQ(sql("SELECT group_concat(id) FROM instances"), "reconcile_accounts/look/by_hand");
    EXPECT_EQ(sql("SELECT skipped FROM schedules"), "1");
    // And the other way round: what the clock started is joined.
    engine->schedule({});
    begin();
    engine->run_until_idle();
    engine->schedule({steps::reconcile_schedule({.dry_run = true}, "0 9 * * *", "UTC")});
    const auto triggered =
        store->change_schedule({.kind = ScheduleChange::Kind::trigger, .name = "reconcile"}).get();
    reconcile(true, 10);
    EXPECT_EQ(sql("SELECT count(*) FROM instances"), "2");
    EXPECT_EQ(state(triggered.instance), "completed");
}

TEST_F(ReconcileTest, GoesOnAtThePageWhereItWasInterrupted) {
    for (int i = 0; i < 120; ++i) unheard(email_of(i));
    // The second page meets an outage, and the server ends before its next try.
    on_transition = [&](const Transitioned& transition) {
        if (transition.step == "check/1" && transition.what == "completed")
            world.add_fault({.provider = sandbox::Provider::stripe, .route = {}});
    };
    const auto request = post("/api/admin/fix-missing-clerk-accounts", {{"limit", "1000"}});
    const Answer first = api->answer(request);
    ASSERT_EQ(first.status, 202) << first.body;
    world.clear_faults();
    ASSERT_GT(sql("SELECT count(*) FROM instances WHERE workflow='provision_customer'"), "0");
    const int looks = requests("GET /v1/subscriptions");
    begin();
    run();
    EXPECT_EQ(requests("GET /v1/subscriptions"), looks + 2);  // pages 2 and 3 of 50
    const std::string id = Json::parse(first.body).at("instance");
    const Json shown = ask(get("/api/admin/instances/" + id), 200);
    EXPECT_EQ(shown["output"]["checked"], 120);
    EXPECT_THAT(shown["output"]["started"], SizeIs(120));
    EXPECT_EQ(world.users().size(), 120U);
    EXPECT_EQ(world.emails().size(), 120U);
    for (const auto& [key, count] : world.effects()) EXPECT_EQ(count, 1) << key;
}

}  // namespace
}  // namespace steplog::server
