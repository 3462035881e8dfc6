// The flagship workflow on a real engine: every way of buying comes to one account, linked both
// ways, and one welcome e-mail; and what a person must decide waits for a person.
#include "steps/provision_customer.h"

#include <algorithm>

#include "tests/steps/provision_world.h"

namespace steplog::steps {
namespace {

using sandbox::AsyncPayment;
using sandbox::EventForms;
using sandbox::PurchaseOptions;

class ProvisionCustomer : public testing::ProvisionWorld {};

TEST_F(ProvisionCustomer, GivesABuyerOneLinkedAccountAndOneEmail) {
    const auto purchase = world.purchase();
    const auto ids = accept(purchase.events);
    EXPECT_EQ(ids.size(), 3U) << "two invoice events and the checkout";
    run();
    for (const auto& id : ids) EXPECT_EQ(last(id).what, "finished") << id;
    expect_provisioned(purchase);
    const Json& user = *world.users().at(0);
    EXPECT_EQ(text_at(user, {"first_name"}), "Ada");
    EXPECT_EQ(text_at(user, {"last_name"}), "Lovelace");
    EXPECT_TRUE(
        text_at(user, {"private_metadata", "steplog_instance"}).starts_with("provision_customer/"));
    EXPECT_EQ(times("completed", "fetch_purchase"), 0) << "the events had all that is needed";
    EXPECT_EQ(times("adopted", "send_email"), 2);
    EXPECT_EQ(requests("POST /v1/customers/{id}"), 1) << "what stands is not written again";
    EXPECT_EQ(requests("POST /v1/subscriptions/{id}"), 1);
    for (const auto& [key, count] : world.effects()) {
        EXPECT_TRUE(key.find("steplog:") != std::string::npos) << key;
    }
}

TEST_F(ProvisionCustomer, ComesToTheSameInEveryOrder) {
    const auto purchase = world.purchase();
    ASSERT_EQ(purchase.events.size(), 6U);
    std::vector<std::size_t> order = {0, 1, 2, 3, 4, 5};
    const sandbox::Sandbox before = world;
    // The three events that start something, in each of their orders, between the three that do
    // not.
    std::vector<std::size_t> routed, others;
    for (std::size_t i = 0; i < 6; ++i) {
        const auto taken = intake(purchase.events[i].body, policy);
        (taken.instance ? routed : others).push_back(i);
    }
    ASSERT_EQ(routed.size(), 3U);
    int orders = 0;
    do {
        SCOPED_TRACE(::testing::PrintToString(routed));
        world = before;
        const testing::TemporaryDirectory fresh;
        store.reset();
        engine.reset();
        store = open_sqlite_store(
            {.database = fresh.path() / "steplog.db", .writer_thread = false, .synchronous = "OFF"},
            clock);
        Registry registry;
        register_provision_customer(registry, providers);
        engine = std::make_unique<Engine>(*store, clock, random, std::move(registry),
                                          EngineOptions{.workers = 0});
        for (const std::size_t i : routed) accept(purchase.events[i].body);
        for (const std::size_t i : others) accept(purchase.events[i].body);
        for (const std::size_t i : routed) accept(purchase.events[i].body);  // delivered again
        run();
        expect_provisioned(purchase);
        ++orders;
        engine.reset();
        store.reset();
    } while (std::next_permutation(routed.begin(), routed.end()));
    EXPECT_EQ(orders, 6);
}

TEST_F(ProvisionCustomer, GivesAGuestAnAccountAndRecordsWhatItSkips) {
    const auto purchase = world.purchase({.guest = true});
    const auto ids = accept(purchase.events);
    ASSERT_EQ(ids.size(), 1U);
    run();
    EXPECT_EQ(last(ids[0]).what, "finished");
    expect_provisioned(purchase);
    EXPECT_EQ(text_at(*world.users().at(0), {"external_id"}), "") << "free for a customer id later";
    EXPECT_EQ(times("completed", "update_customer"), 1);
    EXPECT_EQ(times("completed", "update_subscription"), 1);
}

TEST_F(ProvisionCustomer, WaitsForDelayedMoney) {
    const auto purchase = world.purchase({.async = AsyncPayment::pending});
    EXPECT_TRUE(accept(purchase.events).empty());
    const auto settled = world.settle_payment(purchase.session);
    EXPECT_FALSE(accept(settled.events).empty());
    run();
    expect_provisioned(purchase);
}

TEST_F(ProvisionCustomer, DoesNothingForMoneyThatNeverCame) {
    const auto purchase = world.purchase({.async = AsyncPayment::fails});
    EXPECT_TRUE(accept(purchase.events).empty());
    run();
    EXPECT_TRUE(world.users().empty());
}

TEST_F(ProvisionCustomer, ServesATrial) {
    const auto purchase = world.purchase({.trialing = true});
    EXPECT_FALSE(accept(purchase.events).empty());
    run();
    expect_provisioned(purchase);
}

TEST_F(ProvisionCustomer, ReadsTheShapesOfOlderVersions) {
    const auto purchase = world.purchase({.old_api_version = true});
    accept(purchase.events);
    run();
    expect_provisioned(purchase);
}

TEST_F(ProvisionCustomer, FetchesWhatThinEventsLeaveOut) {
    const auto purchase = world.purchase({.forms = EventForms::thin});
    const auto ids = accept(purchase.events);
    EXPECT_FALSE(ids.empty());
    run();
    for (const auto& id : ids) EXPECT_EQ(last(id).what, "finished") << id << last(id).error;
    expect_provisioned(purchase);
    EXPECT_EQ(times("completed", "fetch_purchase"), static_cast<int>(ids.size()));
}

TEST_F(ProvisionCustomer, TakesBothFormsOfOneEventForOneSetOfEffects) {
    const auto purchase = world.purchase({.forms = EventForms::both});
    const auto ids = accept(purchase.events);
    EXPECT_GE(ids.size(), 6U);
    run();
    for (const auto& id : ids) EXPECT_EQ(last(id).what, "finished") << id;
    expect_provisioned(purchase);
}

TEST_F(ProvisionCustomer, EndsWithoutEffectWhenAThinEventsObjectIsNotPaid) {
    const auto purchase =
        world.purchase({.async = AsyncPayment::pending, .forms = EventForms::thin});
    const auto ids = accept(purchase.events);
    EXPECT_FALSE(ids.empty());
    run();
    for (const auto& id : ids) EXPECT_EQ(last(id).what, "finished") << id;
    EXPECT_TRUE(world.users().empty());
    EXPECT_TRUE(world.emails().empty());
}

TEST_F(ProvisionCustomer, StartsASubscriptionThatIsActiveAtOnce) {
    const auto purchase = world.purchase();
    Json event = Json::parse(body_of(purchase, "customer.subscription.created"));
    event["data"]["object"]["status"] = "active";
    const std::string id = accept(dump_json(event));
    run();
    EXPECT_EQ(last(id).what, "finished") << last(id).error;
    EXPECT_EQ(times("completed", "fetch_purchase"), 1) << "subscriptions have no e-mail address";
    expect_provisioned(purchase);
}

TEST_F(ProvisionCustomer, ActsForAConnectedAccount) {
    const auto purchase = world.purchase({.account = "acct_1Connected"});
    accept(purchase.events);
    run();
    expect_provisioned(purchase, "acct_1Connected");
    EXPECT_EQ(metadata_user(purchase.customer), "nothing") << "our own account is left alone";
}

TEST_F(ProvisionCustomer, MailsARenewalOnlyIfItMadeTheAccount) {
    const auto purchase = world.purchase();
    accept(body_of(purchase, "invoice.paid"));
    run();
    const auto renewal = world.renew(purchase.subscription);
    const auto ids = accept(renewal.events);
    EXPECT_FALSE(ids.empty());
    run();
    for (const auto& id : ids) EXPECT_EQ(last(id).what, "finished") << id;
    expect_provisioned(purchase);
}

TEST_F(ProvisionCustomer, ProvisionsOnARenewalWhatWasMissed) {
    const auto purchase = world.purchase();
    const auto renewal = world.renew(purchase.subscription);
    accept(renewal.events);
    run();
    expect_provisioned(purchase);
}

TEST_F(ProvisionCustomer, DoesNotWelcomeAnOldAccountBecauseOfARenewal) {
    world.add_user({.email = "ada@example.com"});
    const auto purchase = world.purchase();
    accept(world.renew(purchase.subscription).events);
    run();
    EXPECT_EQ(world.users().size(), 1U);
    EXPECT_EQ(metadata_user(purchase.customer), text_at(*world.users().at(0), {"id"}));
    EXPECT_TRUE(world.emails().empty());
}

TEST_F(ProvisionCustomer, LinksAnAccountWhoseAddressIsVerified) {
    const std::string user = world.add_user({.email = "ada@example.com"});
    const auto purchase = world.purchase();
    accept(purchase.events);
    run();
    expect_provisioned(purchase);
    EXPECT_EQ(text_at(*world.users().at(0), {"id"}), user);
}

TEST_F(ProvisionCustomer, AddsToAnAccountThatBelongsToAnotherIdAlready) {
    const std::string user = world.add_user({.email = "ada@example.com",
                                             .external_id = "ours_7",
                                             .private_metadata = {{"plan", "old"}}});
    const auto purchase = world.purchase();
    accept(purchase.events);
    run();
    ASSERT_EQ(world.users().size(), 1U);
    const Json& found = *world.users().at(0);
    EXPECT_EQ(text_at(found, {"external_id"}), "ours_7");
    EXPECT_EQ(value_at(found, {"private_metadata", "stripe_customer_ids"}),
              Json::array({purchase.customer}));
    EXPECT_EQ(text_at(found, {"private_metadata", "plan"}), "old");
    EXPECT_EQ(metadata_user(purchase.customer), user);
    EXPECT_EQ(metadata_user(purchase.subscription), user);
}

TEST_F(ProvisionCustomer, SharesOneAccountAmongCustomersOfOneAddress) {
    const auto first = world.purchase();
    const auto second = world.purchase({.email = "Ada@Example.com"});
    const auto third = world.purchase();
    ASSERT_NE(first.customer, second.customer);
    accept(first.events);
    accept(second.events);
    accept(third.events);
    run();
    ASSERT_EQ(world.users().size(), 1U);
    const Json& user = *world.users().at(0);
    EXPECT_EQ(text_at(user, {"external_id"}), first.customer);
    EXPECT_EQ(value_at(user, {"private_metadata", "stripe_customer_ids"}),
              Json::array({second.customer, third.customer}));
    for (const auto& purchase : {first, second, third}) {
        EXPECT_EQ(metadata_user(purchase.customer), text_at(user, {"id"}));
    }
    EXPECT_EQ(world.emails().size(), 3U) << "once per customer";
}

TEST_F(ProvisionCustomer, GivesAGuestWhoSubscribesLaterTheSameAccount) {
    accept(world.purchase({.guest = true}).events);
    run();
    const auto purchase = world.purchase();
    accept(purchase.events);
    run();
    ASSERT_EQ(world.users().size(), 1U);
    EXPECT_EQ(text_at(*world.users().at(0), {"external_id"}), purchase.customer);
}

TEST_F(ProvisionCustomer, FollowsTheCustomersOwnLinkFirst) {
    const std::string linked = world.add_user({.email = "work@example.com"});
    world.add_user({.email = "ada@example.com"});
    const auto purchase = world.purchase();
    world.handle({.method = "POST",
                  .target = "/v1/customers/" + purchase.customer,
                  .headers = {{"Authorization", "Bearer sk_test_stripe"}},
                  .body = "metadata[clerk_user_id]=" + linked});
    accept(purchase.events);
    run();
    EXPECT_EQ(world.users().size(), 2U);
    EXPECT_EQ(metadata_user(purchase.subscription), linked);
}

TEST_F(ProvisionCustomer, ReplacesALinkToAUserWhoIsGone) {
    const std::string gone = world.add_user({.email = "ada@example.com"});
    const auto purchase = world.purchase();
    world.handle({.method = "POST",
                  .target = "/v1/customers/" + purchase.customer,
                  .headers = {{"Authorization", "Bearer sk_test_stripe"}},
                  .body = "metadata[clerk_user_id]=" + gone});
    remove("/v1/users/" + gone);
    accept(purchase.events);
    run();
    ASSERT_EQ(world.users().size(), 1U);
    EXPECT_NE(metadata_user(purchase.customer), gone);
    EXPECT_EQ(metadata_user(purchase.customer), text_at(*world.users().at(0), {"id"}));
}

TEST_F(ProvisionCustomer, SaysSoWhenEmailIsOff) {
    providers.email = nullptr;
    const auto purchase = world.purchase();
    const std::string id = accept(body_of(purchase, "invoice.paid"));
    run();
    EXPECT_EQ(last(id).what, "finished");
    EXPECT_EQ(times("completed", "send_email"), 1);
    EXPECT_TRUE(world.emails().empty());
}

TEST_F(ProvisionCustomer, ReconcilesACustomerWithoutAnEvent) {
    const auto purchase = world.purchase();
    engine->accept({}, reconcile_instance(false, "", purchase.customer, purchase.subscription));
    run();
    expect_provisioned(purchase);
    engine->accept({}, reconcile_instance(false, "", purchase.customer, purchase.subscription));
    run();
    expect_provisioned(purchase);
}

}  // namespace
}  // namespace steplog::steps
