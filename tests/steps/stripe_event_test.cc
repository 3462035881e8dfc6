// What becomes of a signed body: every recorded event with its routing, and the bodies that must be
// quarantined rather than understood halfway.
#include "steps/stripe_event.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "engine/digest.h"
#include "steps/json_reading.h"

namespace steplog::steps {
namespace {

using Disposition = NewEvent::Disposition;

std::string read_file(const std::string& name) {
    const std::string path = std::string(STEPLOG_SOURCE_DIR) + "/tests/data/events/" + name;
    std::ifstream file(path, std::ios::binary);
    EXPECT_TRUE(file) << path;
    return {std::istreambuf_iterator<char>(file), {}};
}

Json event_json(const std::string& name) { return Json::parse(read_file(name)); }

Intake take(const Json& body, const RoutingPolicy& policy = {}) {
    return intake(dump_json(body), policy);
}

constexpr const char* checkout = "06_checkout.session.completed.json";
constexpr const char* invoice = "04_invoice.paid.json";
constexpr const char* subscription = "02_customer.subscription.created.incomplete.json";
constexpr const char* thin = "18_thin.v1.checkout.session.completed.json";

struct Expected {
    Disposition disposition;
    std::string subject;
};

TEST(StripeEvent, RoutesEveryRecordedEventAsItsTypeAsks) {
    const std::string ada = "cus_TstAda0000000001";
    const std::string session =
        "cs_test_a1TstAda00000000000000000000000000000000000000000000000001";
    const Disposition ignored = Disposition::ignored;
    const Disposition routed = Disposition::routed;
    const std::map<std::string, Expected> table = {
        {"01_customer.created.json", {ignored, ada}},
        {subscription, {ignored, ada}},
        {"03_invoice.payment_succeeded.json", {routed, ada}},
        {invoice, {routed, ada}},
        {"05_customer.subscription.updated.active.json", {ignored, ada}},
        {checkout, {routed, ada}},
        {"07_checkout.session.completed.no_metadata_no_name.json", {routed, ada}},
        {"08_checkout.session.completed.guest_payment_mode.json", {routed, session}},
        {"09_checkout.session.completed.async_unpaid.json", {ignored, ada}},
        {"10_checkout.session.async_payment_succeeded.json", {routed, ada}},
        {"11_checkout.session.async_payment_failed.json", {ignored, ada}},
        {"12_invoice.payment_failed.json", {ignored, ada}},
        {"13_customer.subscription.deleted.json", {ignored, ada}},
        {"14_duplicate_object_distinct_event.invoice.paid.json", {routed, ada}},
        {"16_trialing.checkout.session.completed.no_payment_required.json", {routed, ada}},
        {"17_subscription_update_caused_by_our_own_write.json", {ignored, ada}},
        {thin, {routed, session}},
        {"99_official.fixtures3.event.plan.created.json",
         {ignored, "price_1PgafmB7WZ01zgkW6dKueIc5"}}};
    int files = 0;
    for (const auto& entry : std::filesystem::directory_iterator(std::string(STEPLOG_SOURCE_DIR) +
                                                                 "/tests/data/events")) {
        const std::string name = entry.path().filename();
        if (entry.path().extension() != ".json" || name.starts_with('_')) continue;
        SCOPED_TRACE(name);
        ++files;
        ASSERT_TRUE(table.contains(name));
        const Expected& expected = table.at(name);
        const std::string body = read_file(name);
        const Intake taken = intake(body, {.livemode = false});
        EXPECT_EQ(taken.event.disposition, expected.disposition) << taken.event.reason;
        EXPECT_EQ(taken.event.subject, expected.subject);
        EXPECT_EQ(taken.event.source, "stripe");
        EXPECT_EQ(taken.event.id, text_at(Json::parse(body), {"id"}));
        EXPECT_EQ(taken.event.type, text_at(Json::parse(body), {"type"}));
        EXPECT_EQ(taken.event.body, body);
        ASSERT_EQ(taken.instance.has_value(), expected.disposition == routed);
        if (!taken.instance) {
            EXPECT_EQ(taken.note, "ignored");
            EXPECT_NE(taken.event.reason, "");
            continue;
        }
        EXPECT_EQ(taken.note, "");
        EXPECT_EQ(taken.event.reason, "");
        EXPECT_EQ(taken.instance->id, "provision_customer/" + taken.event.id);
        EXPECT_EQ(taken.instance->workflow, "provision_customer");
        EXPECT_EQ(taken.instance->version, newest_version);
        EXPECT_EQ(taken.instance->key, "stripe:false::" + expected.subject);
        EXPECT_EQ(taken.instance->on_stuck, OnStuck::release_key);
        EXPECT_FALSE(taken.instance->input) << "its input is the event's body";
    }
    EXPECT_EQ(files, static_cast<int>(table.size()));
}

TEST(StripeEvent, StartsSubscriptionsOnlyWhenActiveOrTrialing) {
    for (const auto& [status, disposition] :
         std::map<std::string, Disposition>{{"active", Disposition::routed},
                                            {"trialing", Disposition::routed},
                                            {"incomplete", Disposition::ignored},
                                            {"past_due", Disposition::ignored},
                                            {"paused", Disposition::ignored},
                                            {"a_status_of_next_year", Disposition::ignored}}) {
        Json event = event_json(subscription);
        event["data"]["object"]["status"] = status;
        EXPECT_EQ(take(event).event.disposition, disposition) << status;
    }
}

TEST(StripeEvent, TreatsUnknownPaymentStatusAndSetupSessionsAsNotPaid) {
    Json event = event_json(checkout);
    event["data"]["object"]["payment_status"] = "half_paid";
    EXPECT_EQ(take(event).event.disposition, Disposition::ignored);
    event["data"]["object"]["payment_status"] = "no_payment_required";
    event["data"]["object"]["mode"] = "setup";
    EXPECT_EQ(take(event).event.disposition, Disposition::ignored);
}

TEST(StripeEvent, KeepsTheOtherLivemodeApart) {
    Json live = event_json(checkout);
    live["livemode"] = true;
    const Intake refused = take(live, {.livemode = false});
    EXPECT_EQ(refused.event.disposition, Disposition::ignored);
    EXPECT_EQ(refused.event.reason, "a live event, and the key is a test key");
    EXPECT_EQ(take(event_json(thin), {.livemode = true}).event.reason,
              "a test event, and the key is a live key");
    const Intake unknown_key = take(live, {});
    ASSERT_TRUE(unknown_key.instance);
    EXPECT_EQ(unknown_key.instance->key, "stripe:true::cus_TstAda0000000001");
}

TEST(StripeEvent, IgnoresWhatOurOwnWritesCause) {
    Json event = event_json(invoice);
    event["request"]["idempotency_key"] = "steplog:provision_customer/evt_1:update_customer";
    EXPECT_EQ(take(event).event.reason, "caused by our own write");
    event["request"]["idempotency_key"] = "steplog:another_workflow/1:step";
    EXPECT_EQ(take(event).event.disposition, Disposition::routed);
    event["request"] = nullptr;
    EXPECT_EQ(take(event).event.disposition, Disposition::routed);

    Json thin_event = event_json(thin);
    thin_event["reason"] = {
        {"type", "request"},
        {"request", {{"id", "req_1"}, {"idempotency_key", "steplog:provision_customer/evt_1:x"}}}};
    EXPECT_EQ(take(thin_event).event.reason, "caused by our own write");
}

TEST(StripeEvent, KeepsConnectedAccountsApart) {
    Json event = event_json(checkout);
    event["account"] = "acct_1Connected";
    EXPECT_EQ(take(event).instance->key, "stripe:false:acct_1Connected:cus_TstAda0000000001");
    Json thin_event = event_json(thin);
    thin_event["context"] = "acct_1Connected";
    ASSERT_TRUE(take(thin_event).instance);
    EXPECT_TRUE(take(thin_event).instance->key.starts_with("stripe:false:acct_1Connected:cs_"));
    event["account"] = "acct_1\r\nX-Evil: 1";
    EXPECT_EQ(take(event).event.disposition, Disposition::quarantined);
}

TEST(StripeEvent, RoutesTheThinFormOfEveryWantedType) {
    const std::map<std::string, std::string> paths = {
        {"v1.checkout.session.completed", "/v1/checkout/sessions/cs_1"},
        {"v1.checkout.session.async_payment_succeeded", "/v1/checkout/sessions/cs_1"},
        {"v1.customer.subscription.created", "/v1/subscriptions/cs_1"},
        {"v1.invoice.paid", "/v1/invoices/cs_1"},
        {"v1.invoice.payment_succeeded", "/v1/invoices/cs_1"}};
    for (const auto& [type, path] : paths) {
        Json event = event_json(thin);
        event["type"] = type;
        event["related_object"] = {{"id", "cs_1"}, {"type", "x"}, {"url", path}};
        const Intake taken = take(event);
        ASSERT_TRUE(taken.instance) << type << ": " << taken.event.reason;
        EXPECT_EQ(taken.instance->key, "stripe:false::cs_1");
    }
    Json other = event_json(thin);
    other["type"] = "v1.customer.subscription.past_due";
    EXPECT_EQ(take(other).event.disposition, Disposition::ignored);
    other["type"] = "v2.core.health.event_generation_failure.resolved";
    other.erase("related_object");
    EXPECT_EQ(take(other).event.disposition, Disposition::ignored);
}

TEST(StripeEvent, QuarantinesWhatIsNoEvent) {
    const std::vector<std::string> bodies = {"",
                                             "null",
                                             "[]",
                                             "\"x\"",
                                             "7",
                                             "{",
                                             "{\"id\":\"evt_1\"",
                                             "{}x",
                                             "// c\n{}",
                                             "{\"a\":NaN}",
                                             "\xef\xbb\xbf{}",
                                             "{\"id\":1,\"id\":2}",
                                             "{\"id\":\"evt\\u0000_1\"}",
                                             "{\"id\":\"\\ud800\"}",
                                             "{\"id\":\"\xff\"}",
                                             std::string(65, '[') + std::string(65, ']'),
                                             std::string(100000, '['),
                                             "{}",
                                             R"({"object":"event"})"};
    for (const std::string& body : bodies) {
        const Intake taken = intake(body, {});
        SCOPED_TRACE(body.substr(0, 60));
        EXPECT_EQ(taken.event.disposition, Disposition::quarantined);
        EXPECT_EQ(taken.note, "quarantined");
        EXPECT_NE(taken.event.reason, "");
        EXPECT_EQ(taken.event.id, "sha256:" + to_hex(sha256(body)));
        EXPECT_EQ(taken.event.body, body);
        EXPECT_FALSE(taken.instance);
    }
}

TEST(StripeEvent, QuarantinesAWantedEventThatLacksWhatItNeeds) {
    using Change = std::function<void(Json&)>;
    const std::vector<std::pair<std::string, Change>> changes = {
        {"no id", [](Json& e) { e.erase("id"); }},
        {"empty id", [](Json& e) { e["id"] = ""; }},
        {"id is a number", [](Json& e) { e["id"] = 7; }},
        {"id is too long", [](Json& e) { e["id"] = std::string(256, 'a'); }},
        {"id with SQL", [](Json& e) { e["id"] = "evt_1' OR 1=1 --"; }},
        {"id with markup", [](Json& e) { e["id"] = "<script>"; }},
        {"id with a line break", [](Json& e) { e["id"] = "evt_1\n"; }},
        {"no type", [](Json& e) { e.erase("type"); }},
        {"type is a list", [](Json& e) { e["type"] = Json::array(); }},
        {"type with a line break", [](Json& e) { e["type"] = "invoice.paid\n"; }},
        {"another object", [](Json& e) { e["object"] = "customer"; }},
        {"no created", [](Json& e) { e.erase("created"); }},
        {"created is a text", [](Json& e) { e["created"] = "1"; }},
        {"created is a fraction", [](Json& e) { e["created"] = 1.9; }},
        {"created is negative", [](Json& e) { e["created"] = -1; }},
        {"created is 2^63", [](Json& e) { e["created"] = std::uint64_t{1} << 63U; }},
        {"no livemode", [](Json& e) { e.erase("livemode"); }},
        {"livemode is a text", [](Json& e) { e["livemode"] = "false"; }},
        {"no data", [](Json& e) { e.erase("data"); }},
        {"data is a list", [](Json& e) { e["data"] = Json::array(); }},
        {"no object", [](Json& e) { e["data"].erase("object"); }},
        {"the object is a text", [](Json& e) { e["data"]["object"] = "cs_1"; }},
        {"an object of another type", [](Json& e) { e["data"]["object"]["object"] = "charge"; }},
        {"the object has no id", [](Json& e) { e["data"]["object"].erase("id"); }},
        {"customer is a number", [](Json& e) { e["data"]["object"]["customer"] = 5; }},
        {"customer is no id", [](Json& e) { e["data"]["object"]["customer"] = "cus/../x"; }},
        {"subscription is no id", [](Json& e) { e["data"]["object"]["subscription"] = "a b"; }}};
    for (const char* file : {checkout, invoice}) {
        for (const auto& [what, change] : changes) {
            SCOPED_TRACE(std::string(file) + ": " + what);
            Json event = event_json(file);
            change(event);
            const Intake taken = take(event);
            EXPECT_EQ(taken.event.disposition, Disposition::quarantined) << taken.event.reason;
            EXPECT_FALSE(taken.instance);
            EXPECT_NE(taken.event.reason, "");
        }
    }
    Json without_customer = event_json(invoice);
    without_customer["data"]["object"]["customer"] = nullptr;
    EXPECT_EQ(take(without_customer).event.reason, "it names no customer");
    Json without_status = event_json(subscription);
    without_status["data"]["object"].erase("status");
    EXPECT_EQ(take(without_status).event.disposition, Disposition::quarantined);
    Json without_payment_status = event_json(checkout);
    without_payment_status["data"]["object"].erase("payment_status");
    EXPECT_EQ(take(without_payment_status).event.disposition, Disposition::quarantined);
}

TEST(StripeEvent, QuarantinesAThinEventThatPointsElsewhere) {
    for (const std::string url :
         {"https://evil.example/v1/invoices/in_1", "//evil.example/in_1", "/v1/../admin/in_1",
          "/v1/invoices/in_1?x=1", "/v1/invoices/in_1%00", "/v3/invoices/in_1", "/v1/invoices/in_2",
          "/v1//in_1", "v1/invoices/in_1", "/v1/invoices/in_1\r\nHost: x"}) {
        Json event = event_json(thin);
        event["type"] = "v1.invoice.paid";
        event["related_object"] = {{"id", "in_1"}, {"type", "invoice"}, {"url", url}};
        EXPECT_EQ(take(event).event.disposition, Disposition::quarantined) << url;
    }
    Json event = event_json(thin);
    event["related_object"] = nullptr;
    EXPECT_EQ(take(event).event.disposition, Disposition::quarantined);
    event = event_json(thin);
    event["created"] = 1793520000;
    EXPECT_EQ(take(event).event.disposition, Disposition::quarantined);
}

TEST(StripeEvent, IgnoresUnwantedTypesWithoutLookingIntoThem) {
    const Intake taken = intake(
        R"({"id":"evt_1","object":"event","type":"of.next.year","api_version":"2031-01-01"})", {});
    EXPECT_EQ(taken.event.disposition, Disposition::ignored);
    EXPECT_EQ(taken.event.id, "evt_1");
    EXPECT_EQ(taken.event.reason, "no workflow wants this type");
}

TEST(StripeEvent, KeepsTheIdOfAQuarantinedBodyThatHasOne) {
    Json event = event_json(checkout);
    event["created"] = "yesterday";
    const Intake taken = take(event);
    EXPECT_EQ(taken.event.id, "evt_1Tst00000000000000000006");
    EXPECT_EQ(taken.event.type, "checkout.session.completed");
}

TEST(StripeEvent, MakesReconciliationInstancesOfTheCustomersKey) {
    const NewInstance instance = reconcile_instance(true, "", "cus_1", "sub_1");
    EXPECT_EQ(instance.id, "provision_customer/reconcile/cus_1/sub_1");
    EXPECT_EQ(instance.key, "stripe:true::cus_1");
    EXPECT_EQ(instance.on_stuck, OnStuck::release_key);
    ASSERT_TRUE(instance.input);
    EXPECT_EQ(text_at(Json::parse(*instance.input), {"subscription"}), "sub_1");
}

}  // namespace
}  // namespace steplog::steps
