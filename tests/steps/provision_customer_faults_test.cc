// The flagship workflow among failing providers: every request of a run is broken in every way, one
// after the other, and it still comes to one account, one link each way, one e-mail.
#include "steps/provision_customer.h"

#include <fmt/core.h>

#include "tests/steps/provision_world.h"

namespace steplog::steps {
namespace {

using sandbox::Fault;
using sandbox::FaultKind;
using sandbox::Provider;

class ProvisionCustomerAmongFaults : public testing::ProvisionWorld {
  protected:
    std::string accept_one(const sandbox::Purchase& purchase, const std::string& type) {
        return accept(body_of(purchase, type));
    }

    static Fault fault(FaultKind kind, const std::string& route, int how_often) {
        return {.kind = kind,
                .provider = {},
                .route = route,
                .times = how_often,
                .effect = {},
                .delay = Ms(kind == FaultKind::slow ? 5000 : 0),
                .retry_after_s = {}};
    }
};

const std::vector<FaultKind>& all_kinds() {
    static const std::vector<FaultKind> kinds = {
        FaultKind::down,         FaultKind::hang,         FaultKind::status,
        FaultKind::rate_limited, FaultKind::unauthorized, FaultKind::reset,
        FaultKind::lost_answer,  FaultKind::truncated,    FaultKind::garbage,
        FaultKind::interim_only, FaultKind::oversized,    FaultKind::slow,
        FaultKind::interim};
    return kinds;
}

TEST_F(ProvisionCustomerAmongFaults, SurvivesEveryFaultOfEveryRequestTwiceInARow) {
    std::size_t runs = 0;
    for (const std::string route :
         {"GET /v1/customers/*", "GET /v1/users*", "POST /v1/users*", "POST /v1/customers/*",
          "GET /v1/subscriptions/*", "POST /v1/subscriptions/*", "POST /emails*"}) {
        for (const FaultKind kind : all_kinds()) {
            SCOPED_TRACE(route + " " + std::string(sandbox::to_string(kind)));
            ++runs;
            const auto purchase =
                world.purchase({.email = "buyer" + std::to_string(runs) + "@example.com"});
            world.add_fault(fault(kind, route, 2));
            const std::string id = accept_one(purchase, "checkout.session.completed");
            run();
            const auto left = world.faults();  // a probe that finds the effect asks no second time
            EXPECT_TRUE(left.empty() || left.front().times == 1) << "it never struck";
            EXPECT_EQ(last(id).what, "finished") << last(id).error_code << " " << last(id).error;
            ASSERT_EQ(world.users().size(), runs);
            expect_linked(*world.users().back(), purchase);
            EXPECT_EQ(world.emails().size(), runs);
            world.clear_faults();
            transitions.clear();
        }
    }
    for (const auto& [key, count] : world.effects()) EXPECT_EQ(count, 1) << key;
}

TEST_F(ProvisionCustomerAmongFaults, SurvivesEveryStatusThatIsNoAnswerOfEveryRequest) {
    std::size_t runs = 0;
    for (const std::string route :
         {"GET /v1/customers/*", "GET /v1/users*", "POST /v1/users*", "POST /v1/customers/*",
          "GET /v1/subscriptions/*", "POST /v1/subscriptions/*", "POST /emails*"}) {
        for (const int status : {302, 409, 500, 503}) {
            for (const bool effect : {false, true}) {
                SCOPED_TRACE(fmt::format("{} {} {}", route, status, effect ? "done" : "not done"));
                const auto purchase =
                    world.purchase({.email = fmt::format("b{}@example.com", ++runs)});
                Fault refusal = fault(FaultKind::status, route, 2);
                refusal.status = status;
                refusal.effect = effect;
                world.add_fault(refusal);
                const std::string id = accept_one(purchase, "checkout.session.completed");
                run();
                EXPECT_EQ(last(id).what, "finished")
                    << last(id).error_code << " " << last(id).error;
                ASSERT_EQ(world.users().size(), runs);
                expect_linked(*world.users().back(), purchase);
                EXPECT_EQ(world.emails().size(), runs);
                world.clear_faults();
                transitions.clear();
            }
        }
    }
    for (const auto& [key, count] : world.effects()) EXPECT_EQ(count, 1) << key;
}

TEST_F(ProvisionCustomerAmongFaults, DoesNotTakeStripesRememberedErrorForTheLastWord) {
    const auto purchase = world.purchase();
    Fault remembered = fault(FaultKind::status, "POST /v1/customers/*", 1);
    remembered.status = 500;
    remembered.remembered = true;
    remembered.effect = false;
    remembered.headers = {{"Stripe-Should-Retry", "false"}};
    world.add_fault(remembered);
    const std::string id = accept_one(purchase, "invoice.paid");
    run();
    EXPECT_EQ(last(id).what, "finished") << last(id).error;
    expect_provisioned(purchase);
}

TEST_F(ProvisionCustomerAmongFaults, KnowsThatItCreatedTheAccountThoughTheAnswerWasLost) {
    const auto purchase = world.purchase();
    const auto renewal = world.renew(purchase.subscription);
    world.add_fault(fault(FaultKind::lost_answer, "POST /v1/users", 1));
    const auto ids = accept(renewal.events);
    run();
    for (const auto& id : ids) EXPECT_EQ(last(id).what, "finished") << last(id).error;
    expect_provisioned(purchase);
    EXPECT_EQ(times("adopted", "create_clerk_user"), 1);
}

TEST_F(ProvisionCustomerAmongFaults, FindsTheGuestsAccountWhoseAnswerWasLost) {
    const auto purchase = world.purchase({.guest = true});
    world.add_fault(fault(FaultKind::lost_answer, "POST /v1/users", 1));
    accept(purchase.events);
    run();
    expect_provisioned(purchase);
    EXPECT_EQ(times("adopted", "create_clerk_user"), 1);
    EXPECT_EQ(requests("POST /v1/users"), 1);
}

TEST_F(ProvisionCustomerAmongFaults, SendsTheStoredEmailAgainUnderItsKey) {
    const auto purchase = world.purchase();
    world.add_fault(fault(FaultKind::lost_answer, "POST /emails", 1));
    const std::string id = accept_one(purchase, "invoice.paid");
    engine->run_until_idle();
    EXPECT_EQ(last(id).what, "retried");
    providers.email_from = "Changed <changed@acme.example>";
    run();
    EXPECT_EQ(last(id).what, "finished") << last(id).error;
    EXPECT_EQ(requests("POST /emails"), 2);
    expect_provisioned(purchase);
}

TEST_F(ProvisionCustomerAmongFaults, AsksAPersonWhenAnEmailIsInDoubtForTooLong) {
    const auto purchase = world.purchase();
    world.add_fault(fault(FaultKind::hang, "POST /emails", Fault::until_cleared));
    const std::string id = accept_one(purchase, "invoice.paid");
    engine->run_until_idle();
    EXPECT_EQ(last(id).what, "retried");
    clock.advance(std::chrono::hours(24));
    engine->run_until_idle();
    EXPECT_EQ(last(id).what, "stuck");
    EXPECT_EQ(last(id).error_code, "in_doubt");
    EXPECT_EQ(last(id).step, "send_email");
}

TEST_F(ProvisionCustomerAmongFaults, NeedsNobodyForAnAfternoonWithoutClerk) {
    const auto purchase = world.purchase();
    Fault down = fault(FaultKind::down, "", Fault::until_cleared);
    down.provider = Provider::clerk;
    world.add_fault(down);
    const auto ids = accept(purchase.events);
    run(std::chrono::hours(6));
    EXPECT_TRUE(world.users().empty());
    world.clear_faults();
    run(std::chrono::hours(2));
    for (const auto& id : ids) EXPECT_EQ(last(id).what, "finished") << last(id).error;
    expect_provisioned(purchase);
}

TEST_F(ProvisionCustomerAmongFaults, GoesOnWhereItStoodAfterARestart) {
    const auto purchase = world.purchase();
    world.add_fault(fault(FaultKind::status, "POST /v1/subscriptions/*", 1));
    const std::string id = accept_one(purchase, "invoice.paid");
    engine->run_until_idle();
    EXPECT_EQ(last(id).what, "retried");
    open();
    run();
    EXPECT_EQ(last(id).what, "finished") << last(id).error;
    expect_provisioned(purchase);
    EXPECT_EQ(requests("POST /v1/users"), 1);
    EXPECT_EQ(times("completed", "create_clerk_user"), 1);
}

}  // namespace
}  // namespace steplog::steps
