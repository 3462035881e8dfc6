// The events of a purchase, as a server would get them.
#include <gmock/gmock.h>

#include <set>

#include "tests/sandbox/client.h"

namespace steplog::sandbox {
namespace {

using ::testing::ElementsAre;

std::vector<std::string> types_of(const Purchase& purchase) {
    std::vector<std::string> types;
    for (const Event& event : purchase.events) types.push_back(event.type);
    return types;
}

Json object_of(const Purchase& purchase, const std::string& type) {
    for (const Event& event : purchase.events) {
        if (event.type == type) return event_json(event).at("data").at("object");
    }
    return nullptr;
}

TEST(Purchase, IsToldBySixEvents) {
    Client client;
    const Purchase bought = client.sandbox.purchase({.session_metadata = {{"firstName", "Ada"}}});
    EXPECT_THAT(types_of(bought),
                ElementsAre("customer.created", "customer.subscription.created",
                            "invoice.payment_succeeded", "invoice.paid",
                            "customer.subscription.updated", "checkout.session.completed"));
    EXPECT_EQ(object_of(bought, "customer.subscription.created").at("status"), "incomplete");
    EXPECT_EQ(object_of(bought, "customer.subscription.updated").at("status"), "active");
    const Json invoice = object_of(bought, "invoice.paid");
    EXPECT_EQ(invoice.at("customer_email"), "ada@example.com");
    EXPECT_EQ(invoice.at("billing_reason"), "subscription_create");
    EXPECT_EQ(invoice.at("parent").at("subscription_details").at("subscription"),
              bought.subscription);
    const Json session = object_of(bought, "checkout.session.completed");
    EXPECT_EQ(session.at("customer"), bought.customer);
    EXPECT_EQ(session.at("subscription"), bought.subscription);
    EXPECT_EQ(session.at("customer_details").at("email"), "ada@example.com");
    EXPECT_EQ(session.at("payment_status"), "paid");
    EXPECT_EQ(session.at("metadata").at("firstName"), "Ada");
    for (const std::string& path :
         {"/v1/customers/" + bought.customer, "/v1/subscriptions/" + bought.subscription,
          "/v1/invoices/" + bought.invoice, "/v1/checkout/sessions/" + bought.session}) {
        EXPECT_EQ(client.stripe("GET", path).status, 200) << path;
    }
}

TEST(Purchase, OfAGuestHasNoCustomer) {
    Client client;
    const Purchase bought = client.sandbox.purchase({.guest = true});
    EXPECT_THAT(types_of(bought), ElementsAre("checkout.session.completed"));
    const Json session = object_of(bought, "checkout.session.completed");
    EXPECT_TRUE(session.at("customer").is_null());
    EXPECT_TRUE(session.at("subscription").is_null());
    EXPECT_EQ(session.at("mode"), "payment");
}

TEST(Purchase, OnTrialNeedsNoPayment) {
    Client client;
    const Purchase bought = client.sandbox.purchase({.trialing = true});
    EXPECT_EQ(object_of(bought, "customer.subscription.created").at("status"), "trialing");
    EXPECT_EQ(object_of(bought, "checkout.session.completed").at("payment_status"),
              "no_payment_required");
    EXPECT_EQ(object_of(bought, "invoice.paid").at("amount_paid"), 0);
}

TEST(Purchase, WithDelayedPaymentIsUnpaidFirst) {
    Client client;
    const Purchase bought = client.sandbox.purchase({.async = AsyncPayment::pending});
    EXPECT_THAT(types_of(bought), ElementsAre("customer.created", "customer.subscription.created",
                                              "checkout.session.completed"));
    EXPECT_EQ(object_of(bought, "checkout.session.completed").at("payment_status"), "unpaid");
    EXPECT_EQ(client.stripe("GET", "/v1/subscriptions/" + bought.subscription).body.at("status"),
              "incomplete");
    const Purchase paid = client.sandbox.settle_payment(bought.session);
    EXPECT_THAT(types_of(paid),
                ElementsAre("checkout.session.async_payment_succeeded", "invoice.payment_succeeded",
                            "invoice.paid", "customer.subscription.updated"));
    EXPECT_EQ(paid.customer, bought.customer);
    EXPECT_EQ(client.stripe("GET", "/v1/subscriptions/" + bought.subscription).body.at("status"),
              "active");
    EXPECT_THROW(client.sandbox.settle_payment(bought.session), std::invalid_argument);
    EXPECT_EQ(types_of(client.sandbox.purchase({.async = AsyncPayment::fails})).back(),
              "invoice.payment_failed");
}

TEST(Purchase, RenewsByASecondInvoice) {
    Client client;
    const Purchase bought = client.sandbox.purchase();
    const Purchase renewed = client.sandbox.renew(bought.subscription);
    EXPECT_THAT(types_of(renewed), ElementsAre("customer.subscription.updated",
                                               "invoice.payment_succeeded", "invoice.paid"));
    EXPECT_EQ(object_of(renewed, "invoice.paid").at("billing_reason"), "subscription_cycle");
    EXPECT_NE(renewed.invoice, bought.invoice);
    EXPECT_EQ(renewed.customer, bought.customer);
    EXPECT_EQ(client.stripe("GET", "/v1/invoices?subscription=" + bought.subscription)
                  .body.at("data")
                  .size(),
              2u);
}

TEST(Purchase, CanBeToldThinOrInBothForms) {
    Client client;
    const Purchase both = client.sandbox.purchase({.forms = EventForms::both});
    ASSERT_EQ(both.events.size(), 12u);
    const Json thin = event_json(both.events.back());
    EXPECT_EQ(thin.at("object"), "v2.core.event");
    EXPECT_EQ(thin.at("type"), "v1.checkout.session.completed");
    EXPECT_EQ(thin.at("snapshot_event"), both.events[10].id);
    const auto related = client.stripe("GET", string_at(thin.at("related_object"), "url"));
    EXPECT_EQ(related.body.at("id"), both.session);
    const auto fetched = client.stripe("GET", "/v2/core/events/" + string_at(thin, "id"));
    EXPECT_EQ(fetched.body, thin);
    const Purchase only = client.sandbox.purchase({.forms = EventForms::thin});
    EXPECT_EQ(only.events.size(), 6u);
    EXPECT_EQ(only.events[0].type, "v1.customer.created");
}

TEST(Purchase, CanBeToldAsAnOldApiVersionDid) {
    Client client;
    const Purchase bought = client.sandbox.purchase({.old_api_version = true});
    const Json invoice = object_of(bought, "invoice.paid");
    EXPECT_EQ(invoice.at("subscription"), bought.subscription);
    EXPECT_FALSE(invoice.contains("parent"));
    const Json subscription = object_of(bought, "customer.subscription.created");
    EXPECT_TRUE(subscription.contains("current_period_end"));
    EXPECT_FALSE(subscription.at("items").at("data")[0].contains("current_period_end"));
    EXPECT_EQ(event_json(bought.events[0]).at("api_version"), "2024-06-20");
}

TEST(Purchase, BelongsToItsConnectAccountAndMode) {
    Client client;
    const Purchase bought = client.sandbox.purchase({.account = "acct_1", .live = true});
    const Json event = event_json(bought.events[0]);
    EXPECT_EQ(event.at("account"), "acct_1");
    EXPECT_EQ(event.at("livemode"), true);
    const std::string path = "/v1/customers/" + bought.customer;
    EXPECT_EQ(client.stripe("GET", path).status, 404);
    EXPECT_EQ(client
                  .stripe("GET", path, "",
                          {{"Authorization", "Bearer sk_live_x"}, {"Stripe-Account", "acct_1"}})
                  .status,
              200);
}

TEST(Purchase, CanLackEmailAndNameAndReuseACustomer) {
    Client client;
    const Purchase bought = client.sandbox.purchase({.email = std::nullopt, .name = std::nullopt});
    EXPECT_TRUE(object_of(bought, "customer.created").at("email").is_null());
    EXPECT_TRUE(object_of(bought, "invoice.paid").at("customer_email").is_null());
    const Purchase again = client.sandbox.purchase({.customer = bought.customer});
    EXPECT_EQ(again.customer, bought.customer);
    EXPECT_EQ(again.events.size(), 5u) << "nobody was created";
    EXPECT_THROW(client.sandbox.purchase({.customer = "cus_x"}), std::invalid_argument);
}

TEST(Purchase, MakesOtherEventsOnDemand) {
    Client client;
    EXPECT_THROW(client.sandbox.make_event("invoice.paid"), std::invalid_argument);
    const Purchase bought = client.sandbox.purchase();
    const Event twin = client.sandbox.make_event("invoice.paid");
    EXPECT_EQ(twin.object_id, bought.invoice);
    EXPECT_NE(twin.id, bought.events[3].id) << "another event about the same change";
    EXPECT_EQ(client.sandbox.make_event("v1.customer.subscription.deleted").type,
              "v1.customer.subscription.deleted");
}

TEST(Purchase, HasIdsThatNeverRepeat) {
    Client client;
    std::set<std::string> ids;
    for (int i = 0; i < 60; ++i) {
        const Purchase bought = client.sandbox.purchase();
        ids.insert({bought.customer, bought.subscription, bought.invoice, bought.session});
        for (const Event& event : bought.events) ids.insert(event.id);
    }
    EXPECT_EQ(ids.size(), 60u * 10);
}

TEST(Events, AreSignedAsTheOfficialLibrarySigns) {
    // Made with npm stripe 23.1.0, webhooks.generateTestHeaderString.
    const std::string body =
        "{\"id\":\"evt_1\",\"object\":\"event\",\"type\":\"customer.created\","
        "\"data\":{\"object\":{\"name\":\"Zoë 🎉\"}}}";
    EXPECT_EQ(stripe_signature(body, {"whsec_5WbX5kEWLlfzsGNjH64I8lOOqUB6e8FH"}, 1793520290),
              "t=1793520290,v1=67ff7c2e72c58d07e137ba79eaa00d1e66b49bcd5929c369667f67f313cad218");
    EXPECT_EQ(stripe_signature("x", {"whsec_a", "whsec_b"}, 1).size(), 3u + 2 * (4 + 64));
    const steps::Headers headers = delivery_headers(body, {"whsec_a"}, 1);
    EXPECT_EQ(header_of(headers, "Content-Type"), "application/json; charset=utf-8");
}

}  // namespace
}  // namespace steplog::sandbox
