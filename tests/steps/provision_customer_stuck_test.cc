// The flagship workflow where a person must decide: when it becomes stuck, what it says, and that a
// resume asks again.
#include "steps/provision_customer.h"

#include "tests/steps/provision_world.h"

namespace steplog::steps {
namespace {

class ProvisionCustomerStuck : public testing::ProvisionWorld {};

TEST_F(ProvisionCustomerStuck, LeavesAnUnverifiedAccountToAPerson) {
    world.add_user({.email = "ada@example.com", .verified = false});
    const auto purchase = world.purchase();
    const std::string id = accept(body_of(purchase, "invoice.paid"));
    run();
    EXPECT_EQ(last(id).what, "stuck");
    EXPECT_EQ(last(id).step, "create_clerk_user");
    EXPECT_EQ(last(id).error_code, "email_unverified");
    EXPECT_NE(last(id).error.find("workflow-resume " + id), std::string::npos) << last(id).error;
    EXPECT_EQ(last(id).error.find("ada@"), std::string::npos);
    EXPECT_EQ(metadata_user(purchase.customer), "");

    ASSERT_TRUE(world.verify_email("ada@example.com"));
    resume(id);
    run();
    EXPECT_EQ(last(id).what, "finished") << last(id).error;
    expect_provisioned(purchase);
    EXPECT_EQ(times("completed", "recheck_purchase"), 1);
}

TEST_F(ProvisionCustomerStuck, AsksAgainForAnAddressWhenResumed) {
    const auto purchase = world.purchase({.email = std::nullopt});
    const std::string id = accept(body_of(purchase, "invoice.paid"));
    run();
    EXPECT_EQ(last(id).what, "stuck");
    EXPECT_EQ(last(id).step, "fetch_purchase");
    EXPECT_EQ(last(id).error_code, "no_email");
    EXPECT_NE(last(id).error.find("has no e-mail address in Stripe"), std::string::npos);
    EXPECT_NE(last(id).error.find("workflow-resume " + id), std::string::npos);
    resume(id);
    run();
    EXPECT_EQ(last(id).what, "stuck");
    EXPECT_TRUE(world.users().empty());

    set_email(purchase.customer, "ada%40example.com");
    resume(id);
    run();
    EXPECT_EQ(last(id).what, "finished") << last(id).error;
    expect_provisioned(purchase);
}

TEST_F(ProvisionCustomerStuck, NeedsNoAddressForACustomerWhoHasAnAccount) {
    const std::string user = world.add_user({.email = "ada@example.com"});
    const auto purchase = world.purchase({.email = std::nullopt});
    world.handle({.method = "POST",
                  .target = "/v1/customers/" + purchase.customer,
                  .headers = {{"Authorization", "Bearer sk_test_stripe"}},
                  .body = "metadata[clerk_user_id]=" + user});
    const std::string id = accept(body_of(purchase, "invoice.paid"));
    run();
    EXPECT_EQ(last(id).what, "finished") << last(id).error;
    EXPECT_EQ(metadata_user(purchase.subscription), user);
    EXPECT_TRUE(world.emails().empty());
}

TEST_F(ProvisionCustomerStuck, RefusesAnAddressThatMailCannotBeSentTo) {
    const auto purchase = world.purchase();
    Json event = Json::parse(body_of(purchase, "invoice.paid"));
    set_email(purchase.customer, "");
    event["data"]["object"]["customer_email"] = "ada@example.com\r\nBcc: x@example.com";
    const std::string id = accept(dump_json(event));
    run();
    EXPECT_EQ(last(id).what, "stuck");
    EXPECT_EQ(last(id).error_code, "email_invalid");
    EXPECT_EQ(last(id).error.find("ada@"), std::string::npos);
}

TEST_F(ProvisionCustomerStuck, TakesTheCorrectedAddressAfterClerkRefusedTheFirst) {
    const auto purchase = world.purchase();
    world.add_fault({.kind = sandbox::FaultKind::status,
                     .provider = sandbox::Provider::clerk,
                     .route = "POST /v1/users",
                     .times = 1,
                     .status = 422,
                     .effect = {},
                     .retry_after_s = {}});
    const std::string id = accept(body_of(purchase, "invoice.paid"));
    run();
    ASSERT_EQ(last(id).what, "stuck") << last(id).error;
    EXPECT_EQ(last(id).step, "create_clerk_user");
    EXPECT_NE(last(id).error.find("Clerk refused to create the account"), std::string::npos);
    set_email(purchase.customer, "ada%40corrected.example");
    resume(id);
    run();
    EXPECT_EQ(last(id).what, "finished") << last(id).error;
    expect_provisioned(purchase);
    EXPECT_EQ(value_at(*world.emails().at(0), {"to"}), Json::array({"ada@corrected.example"}));
}

TEST_F(ProvisionCustomerStuck, BecomesStuckForADeletedCustomer) {
    const auto purchase = world.purchase();
    remove("/v1/customers/" + purchase.customer);
    const std::string id = accept(body_of(purchase, "invoice.paid"));
    run();
    EXPECT_EQ(last(id).what, "stuck");
    EXPECT_EQ(last(id).error_code, "customer_deleted");
    EXPECT_TRUE(world.users().empty());
}

TEST_F(ProvisionCustomerStuck, LooksAgainAfterADayAndStopsForACancelledPurchase) {
    const auto purchase = world.purchase();
    world.add_fault({.kind = sandbox::FaultKind::down,
                     .provider = sandbox::Provider::clerk,
                     .route = "",
                     .effect = {},
                     .retry_after_s = {}});
    const std::string id = accept(body_of(purchase, "invoice.paid"));
    engine->run_until_idle();
    clock.advance(std::chrono::hours(23));
    engine->run_until_idle();
    EXPECT_EQ(times("started", "recheck_purchase"), 0);
    remove("/v1/subscriptions/" + purchase.subscription);
    clock.advance(std::chrono::hours(2));
    engine->run_until_idle();
    EXPECT_EQ(last(id).what, "stuck");
    EXPECT_EQ(last(id).step, "recheck_purchase");
    EXPECT_EQ(last(id).error_code, "no_longer_paid");
    world.clear_faults();
    resume(id);
    run();
    EXPECT_EQ(last(id).error_code, "no_longer_paid");
    EXPECT_TRUE(world.users().empty());
}

// A customer without an address waited at fetch_purchase for days and cancelled meanwhile; support
// added the address, resumed, and the account was made for a purchase that no longer stood.
TEST_F(ProvisionCustomerStuck, LooksAgainBeforeItFetchesForAResume) {
    const auto purchase = world.purchase({.email = std::nullopt});
    const std::string id = accept(body_of(purchase, "invoice.paid"));
    run();
    ASSERT_EQ(last(id).step, "fetch_purchase");
    set_email(purchase.customer, "ada%40example.com");
    remove("/v1/subscriptions/" + purchase.subscription);
    resume(id);
    run();
    EXPECT_EQ(last(id).what, "stuck");
    EXPECT_EQ(last(id).step, "recheck_purchase");
    EXPECT_EQ(last(id).error_code, "no_longer_paid");
    EXPECT_EQ(times("started", "fetch_purchase"), 1);
    EXPECT_TRUE(world.users().empty());
}

TEST_F(ProvisionCustomerStuck, LooksAgainOnceAThinEventHasSaidWhoBought) {
    const auto purchase =
        world.purchase({.email = std::nullopt, .forms = sandbox::EventForms::thin});
    const std::string id = accept(body_of(purchase, "v1.invoice.paid"));
    run();
    ASSERT_EQ(last(id).step, "fetch_purchase");
    set_email(purchase.customer, "ada%40example.com");
    remove("/v1/subscriptions/" + purchase.subscription);
    resume(id);
    run();
    EXPECT_EQ(last(id).what, "stuck");
    EXPECT_EQ(last(id).step, "recheck_purchase");
    EXPECT_EQ(last(id).error_code, "no_longer_paid");
    EXPECT_TRUE(world.users().empty());
}

TEST_F(ProvisionCustomerStuck, NamesStripesRemedyWhenStripeRefusesDuringTheSearch) {
    const auto purchase = world.purchase();
    world.add_fault({.kind = sandbox::FaultKind::status,
                     .provider = sandbox::Provider::stripe,
                     .route = "GET /v1/customers/*",
                     .times = 1,
                     .status = 400,
                     .effect = {},
                     .retry_after_s = {}});
    const std::string id = accept(body_of(purchase, "invoice.paid"));
    run();
    EXPECT_EQ(last(id).what, "stuck");
    EXPECT_EQ(last(id).step, "create_clerk_user");
    EXPECT_NE(last(id).error.find("Look at customer " + purchase.customer + " in Stripe"),
              std::string::npos)
        << last(id).error;
    EXPECT_EQ(last(id).error.find("in Clerk"), std::string::npos) << last(id).error;
}

TEST_F(ProvisionCustomerStuck, LooksAgainOnEachDayUnderAnotherName) {
    const auto purchase = world.purchase();
    world.add_fault({.kind = sandbox::FaultKind::down,
                     .provider = sandbox::Provider::clerk,
                     .route = "",
                     .effect = {},
                     .retry_after_s = {}});
    const std::string id = accept(body_of(purchase, "invoice.paid"));
    for (int day = 0; day <= 1; ++day) {
        engine->run_until_idle();
        EXPECT_EQ(times("completed", "recheck_purchase"), day);
        clock.advance(std::chrono::hours(25));
    }
    engine->run_until_idle();
    EXPECT_EQ(times("completed", "recheck_purchase"), 1);
    EXPECT_EQ(times("completed", "recheck_purchase/2"), 1);
    world.clear_faults();
    run(std::chrono::hours(2));
    EXPECT_EQ(last(id).what, "finished") << last(id).error;
    expect_provisioned(purchase);
}

TEST_F(ProvisionCustomerStuck, LeavesLaterEventsFreeWhenOneIsStuck) {
    const auto purchase = world.purchase({.email = std::nullopt});
    const std::string stuck = accept(body_of(purchase, "invoice.paid"));
    run();
    ASSERT_EQ(last(stuck).what, "stuck");
    Json event = Json::parse(body_of(purchase, "checkout.session.completed"));
    event["data"]["object"]["customer_details"]["email"] = "ada@example.com";
    const std::string later = accept(dump_json(event));
    run();
    EXPECT_EQ(last(later).what, "finished") << last(later).error;
    resume(stuck);
    run();
    EXPECT_EQ(last(stuck).what, "finished") << last(stuck).error;
    EXPECT_EQ(world.users().size(), 1U);
}

TEST_F(ProvisionCustomerStuck, NeverMixesTheLivemodes) {
    policy.livemode = std::nullopt;
    const auto purchase = world.purchase({.live = true});
    const std::string id = accept(body_of(purchase, "invoice.paid"));
    run();
    EXPECT_EQ(last(id).what, "stuck");
    EXPECT_EQ(last(id).error_code, "livemode_mismatch");
    EXPECT_TRUE(world.requests().empty());
}

TEST_F(ProvisionCustomerStuck, DoesNotReconcileACancelledSubscription) {
    const auto purchase = world.purchase();
    remove("/v1/subscriptions/" + purchase.subscription);
    const NewInstance instance =
        reconcile_instance(false, "", purchase.customer, purchase.subscription);
    engine->accept({}, instance);
    run();
    EXPECT_EQ(last(instance.id).error_code, "no_longer_paid");
    EXPECT_TRUE(world.users().empty());
}

TEST_F(ProvisionCustomerStuck, BecomesStuckOnAnInputThatIsNoPurchase) {
    engine->accept({}, NewInstance{.id = "provision_customer/by_hand",
                                   .workflow = "provision_customer",
                                   .input = R"({"customer":"cus_1"})"});
    run();
    EXPECT_EQ(last("provision_customer/by_hand").error_code, "input_not_understood");
}

}  // namespace
}  // namespace steplog::steps
