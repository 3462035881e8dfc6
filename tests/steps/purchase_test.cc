// The few facts that provisioning needs, read from every shape in which Stripe tells them.
#include "steps/purchase.h"

#include <gtest/gtest.h>

#include <fstream>

#include "steps/email.h"
#include "steps/json_reading.h"

namespace steplog::steps {
namespace {

Json object_of(const std::string& name) {
    std::ifstream file(std::string(STEPLOG_SOURCE_DIR) + "/tests/data/events/" + name);
    return value_at(Json::parse(file), {"data", "object"});
}

Purchase from(EventKind kind, const Json& object) { return purchase_of(kind, object, false, ""); }

TEST(Purchase, ReadsACheckoutSession) {
    const Purchase purchase =
        from(EventKind::checkout_completed, object_of("06_checkout.session.completed.json"));
    EXPECT_EQ(purchase.source, "checkout");
    EXPECT_EQ(purchase.customer, "cus_TstAda0000000001");
    EXPECT_EQ(purchase.subscription, "sub_1TstAda000000000000000001");
    EXPECT_EQ(purchase.invoice, "in_1TstAda000000000000000001");
    EXPECT_EQ(purchase.email, "ada@example.com");
    EXPECT_EQ(purchase.first_name, "Ada");
    EXPECT_EQ(purchase.last_name, "Lovelace");
    EXPECT_FALSE(purchase.renewal);
    EXPECT_EQ(key_of(purchase), "stripe:false::cus_TstAda0000000001");
}

TEST(Purchase, LeavesNamesEmptyWhereNobodyGaveThem) {
    const Purchase purchase =
        from(EventKind::checkout_completed,
             object_of("07_checkout.session.completed.no_metadata_no_name.json"));
    EXPECT_EQ(purchase.email, "ada@example.com");
    EXPECT_EQ(purchase.first_name, "");
    EXPECT_EQ(purchase.last_name, "");
}

TEST(Purchase, ReadsAGuest) {
    const Purchase purchase =
        from(EventKind::checkout_completed,
             object_of("08_checkout.session.completed.guest_payment_mode.json"));
    EXPECT_EQ(purchase.customer, "");
    EXPECT_EQ(purchase.subscription, "");
    EXPECT_EQ(purchase.email, "stripe@example.com");
    EXPECT_EQ(purchase.first_name, "Jenny");
    EXPECT_EQ(purchase.last_name, "Rosen");
    EXPECT_EQ(buyer_of(purchase), purchase.session);
    EXPECT_TRUE(key_of(purchase).starts_with("stripe:false::cs_test_"));
}

TEST(Purchase, PrefersGivenNamesToASplitOne) {
    Json session = object_of("06_checkout.session.completed.json");
    session["metadata"] = {{"first_name", "Grace"}, {"last_name", "Hopper"}};
    EXPECT_EQ(from(EventKind::checkout_completed, session).last_name, "Hopper");
    session["metadata"] = Json::object();
    session["customer_details"]["individual_name"] = "Jean Bartik";
    EXPECT_EQ(from(EventKind::checkout_completed, session).first_name, "Jean");
    session["customer_details"]["individual_name"] = nullptr;
    session["collected_information"]["individual_name"] = "Betty Holberton";
    EXPECT_EQ(from(EventKind::checkout_completed, session).last_name, "Holberton");
    session["collected_information"] = nullptr;
    EXPECT_EQ(from(EventKind::checkout_completed, session).last_name, "Lovelace");
}

TEST(Purchase, FallsBackToTheSessionsOlderEmailField) {
    Json session = object_of("06_checkout.session.completed.json");
    session["customer_details"] = nullptr;
    session["customer_email"] = "older@example.com";
    EXPECT_EQ(from(EventKind::checkout_completed, session).email, "older@example.com");
}

TEST(Purchase, ReadsAnInvoiceOfTodayAndOfBefore2025) {
    Json invoice = object_of("04_invoice.paid.json");
    const Purchase today = from(EventKind::invoice_paid, invoice);
    EXPECT_EQ(today.subscription, "sub_1TstAda000000000000000001");
    EXPECT_EQ(today.email, "ada@example.com");
    EXPECT_EQ(today.first_name, "Ada");
    EXPECT_FALSE(today.renewal);

    invoice.erase("parent");
    invoice["subscription"] = "sub_1TstAda000000000000000001";
    invoice["subscription_details"] = {{"metadata", {{"firstName", "Augusta"}}}};
    const Purchase before = from(EventKind::invoice_paid, invoice);
    EXPECT_EQ(before.subscription, today.subscription);
    EXPECT_EQ(before.first_name, "Augusta");
}

TEST(Purchase, TakesEveryOtherBillingReasonForARenewal) {
    Json invoice = object_of("04_invoice.paid.json");
    for (const char* reason : {"subscription_cycle", "subscription_update", "manual"}) {
        invoice["billing_reason"] = reason;
        EXPECT_TRUE(from(EventKind::invoice_paid, invoice).renewal) << reason;
    }
    invoice["billing_reason"] = nullptr;
    EXPECT_TRUE(from(EventKind::invoice_paid, invoice).renewal);
}

TEST(Purchase, ReadsExpandedReferences) {
    Json session = object_of("06_checkout.session.completed.json");
    session["customer"] = {{"id", "cus_1"}, {"object", "customer"}};
    session["subscription"] = {{"id", "sub_1"}, {"object", "subscription"}};
    const Purchase purchase = from(EventKind::checkout_completed, session);
    EXPECT_EQ(purchase.customer, "cus_1");
    EXPECT_EQ(purchase.subscription, "sub_1");
}

TEST(Purchase, TakesTheCustomersEmailAndNameWhereItHasNone) {
    Purchase purchase = from(EventKind::subscription_created,
                             object_of("02_customer.subscription.created.incomplete.json"));
    EXPECT_EQ(purchase.email, "");
    add_customer(purchase, object_of("01_customer.created.json"));
    EXPECT_EQ(purchase.email, "ada@example.com");
    EXPECT_EQ(purchase.last_name, "Lovelace");
    add_customer(purchase, {{"email", "other@example.com"}, {"name", "Other Name"}});
    EXPECT_EQ(purchase.email, "ada@example.com");
    EXPECT_EQ(purchase.last_name, "Lovelace");
}

TEST(Purchase, DoesNotTakeAnAddressThatMailCannotBeSentTo) {
    Json session = object_of("06_checkout.session.completed.json");
    session["customer_details"]["email"] = "a@b.example\r\nBcc: x@y.example";
    const Purchase purchase = from(EventKind::checkout_completed, session);
    EXPECT_EQ(purchase.email, "");
    EXPECT_NE(purchase.email_problem, "");
}

TEST(Purchase, SurvivesItsStorage) {
    const Purchase purchase = from(EventKind::invoice_paid, object_of("04_invoice.paid.json"));
    EXPECT_EQ(Json(Json(purchase).get<Purchase>()), Json(purchase));
}

TEST(Purchase, ReadsNonsenseAsNothing) {
    const Json nonsense = Json::parse(
        R"({"id":1,"customer":[],"customer_details":"x","metadata":{"firstName":{}},"parent":[1]})");
    for (const EventKind kind : {EventKind::checkout_completed, EventKind::subscription_created,
                                 EventKind::invoice_paid, EventKind::none}) {
        const Purchase purchase = from(kind, nonsense);
        EXPECT_EQ(purchase.customer, "");
        EXPECT_EQ(purchase.email, "");
        EXPECT_EQ(purchase.first_name, "");
    }
}

TEST(Name, IsSplitAtItsLastSpace) {
    using Names = std::pair<std::string, std::string>;
    EXPECT_EQ(split_name("Ada Lovelace"), Names("Ada", "Lovelace"));
    EXPECT_EQ(split_name("Mary Jane Watson"), Names("Mary Jane", "Watson"));
    EXPECT_EQ(split_name("Ada   Lovelace"), Names("Ada", "Lovelace"));
    EXPECT_EQ(split_name("Pelé"), Names("Pelé", ""));
    EXPECT_EQ(split_name("山田 太郎"), Names("山田", "太郎"));
    EXPECT_EQ(split_name(""), Names("", ""));
}

TEST(Name, LosesControlCharactersAndEndsBetweenCharacters) {
    Json session = object_of("07_checkout.session.completed.no_metadata_no_name.json");
    session["metadata"] = {{"firstName", " A\r\nB\t "}};
    EXPECT_EQ(from(EventKind::checkout_completed, session).first_name, "A  B");
    std::string long_name;
    for (int i = 0; i < 200; ++i) long_name += "é";
    session["metadata"] = {{"firstName", "a" + long_name}};
    const std::string cut = from(EventKind::checkout_completed, session).first_name;
    EXPECT_LE(cut.size(), 200U);
    EXPECT_NO_THROW(Json(cut).dump());
}

TEST(EmailAddress, IsRefusedWhereItCouldDoHarm) {
    for (const std::string& good :
         std::vector<std::string>{"ada@example.com", "a.b+c@x.example", "=sum@example.com",
                                  "ünïcode@exämple.example", "a@b", "o'neil@example.com"}) {
        EXPECT_EQ(email_problem(good), "") << good;
    }
    for (const std::string& bad : std::vector<std::string>{
             std::string(""), std::string("@example.com"), std::string("ada@"), std::string("ada"),
             std::string("a@b@c"), std::string("a@b\r\nBcc:x"), std::string("a b@c.example"),
             std::string("Ada <a@b.example>"), std::string("a@.example"), std::string("a@b..c"),
             std::string("a@b,c@d"), std::string(310, 'a') + "@b.example", std::string("a\0@b", 4),
             std::string(65, 'a') + "@b.example"}) {
        EXPECT_NE(email_problem(bad), "") << bad;
    }
}

}  // namespace
}  // namespace steplog::steps
