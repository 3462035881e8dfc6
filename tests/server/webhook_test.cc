// The webhook over a real socket, with the real front, engine and store behind it: the inputs that
// a hostile or broken sender makes, and what each is answered.
#include "server/webhook.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <httplib.h>

#include <algorithm>
#include <fstream>
#include <mutex>
#include <sstream>
#include <thread>

#include "engine/json_guard.h"
#include "engine/sqlite_store.h"
#include "server/front.h"
#include "server/health.h"
#include "server/signature.h"
#include "tests/support/manual_clock.h"
#include "tests/support/temporary_directory.h"

namespace steplog::server {
namespace {

using std::string_literals::operator""s;
using ::testing::HasSubstr;

const std::string secret = "whsec_NotARealSecret0000";
const std::string older_secret = "whsec_NotARealSecret_old";

/// An event that no workflow wants, with this id.
std::string unwanted(const std::string& id) {
    return R"({"id":")" + id +
           R"(","object":"event","api_version":"2026-10-28.endive","created":1793520000,)" +
           R"("data":{"object":{"id":"cus_1","object":"customer"}},"livemode":false,"type":"customer.created"})";
}

std::string event_file(const std::string& name) {
    std::ifstream file(STEPLOG_SOURCE_DIR "/tests/data/events/" + name);
    EXPECT_TRUE(file) << name;
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

/// A provider's stand-in for the workflow's name: it does nothing, at once.
Registry registry_with_provision_customer() {
    Registry registry;
    registry.add({.name = "provision_customer",
                  .run = [](Context&, const Json&) { return Json::object(); }});
    return registry;
}

EngineOptions without_threads() {
    EngineOptions options;
    options.workers = 0;
    return options;
}

FrontOptions on_a_free_port() {
    FrontOptions options;
    options.listen = "127.0.0.1:0";
    options.workers = 4;
    return options;
}

/// The same body, with a number behind the event ids that these tests use.
std::string with_another_id(std::string body, std::size_t number) {
    for (const auto* id : {"evt_1Tst00000000000000000006", "evt_1"}) {
        const auto at = body.find(id);
        if (at == std::string::npos) continue;
        return body.insert(at + std::string_view(id).size(), "n" + std::to_string(number));
    }
    return body;
}

class Webhook : public ::testing::Test {
  protected:
    Webhook()
        : store_(open_sqlite_store({.database = directory_ / "steplog.db"}, clock_)),
          engine_(*store_, clock_, random_, registry_with_provision_customer(), without_threads()),
          log_({LogLevel::debug, LogFormat::text,
                [this](const std::string& line) {
                    const std::lock_guard lock(mutex_);
                    lines_.push_back(line);
                }}),
          front_(on_a_free_port()),
          webhook_(engine_, clock_, log_, options()) {
        webhook_.add_to(front_.routes());
        add_health_routes(front_.routes(), *store_, engine_);
        front_.start();
        const auto address = front_.address();
        client_ = std::make_unique<httplib::Client>("http://" + address);
        client_->set_read_timeout(60);  // under valgrind the largest bodies take some seconds
    }

    StripeWebhookOptions options() {
        StripeWebhookOptions options;
        options.secrets = {secret, older_secret};
        options.routing.livemode = false;
        options.is_exempt = [this](std::string_view) { return exempt_.load(); };
        return options;
    }

    std::string sign(const std::string& body, const std::string& with = secret,
                     std::int64_t age_s = 0) const {
        return stripe_signature_header(body, with, clock_.now_ms() / 1000 - age_s);
    }

    /// "400 {…}": status and body.
    std::string post(const std::string& body, const httplib::Headers& headers) {
        const auto result =
            client_->Post(stripe_webhook_path, headers, body, "application/json; charset=utf-8");
        if (!result) return "no answer: " + httplib::to_string(result.error());
        last_headers_ = result->headers;
        return std::to_string(result->status) + " " + result->body;
    }
    std::string post_with_signature(const std::string& body, const std::string& header) {
        return post(body, {{"Stripe-Signature", header}});
    }
    std::string post_signed(const std::string& body) {
        return post_with_signature(body, sign(body));
    }

    std::string logged() {
        const std::lock_guard lock(mutex_);
        std::string all;
        for (const auto& line : lines_) all += line + "\n";
        return all;
    }

    int instances_run() { return engine_.run_until_idle(); }

    steplog::testing::TemporaryDirectory directory_;
    steplog::testing::ManualClock clock_;
    steplog::testing::SeededRandom random_{1};
    std::unique_ptr<Store> store_;
    Engine engine_;
    std::mutex mutex_;
    std::vector<std::string> lines_;
    Log log_;
    std::atomic<bool> exempt_ = true;
    Front front_;
    StripeWebhook webhook_;
    std::unique_ptr<httplib::Client> client_;
    httplib::Headers last_headers_;
};

const std::string refused = R"(400 {"error":"bad or missing Stripe-Signature"})";
const std::string received = R"(200 {"received":true})";
const std::string ignored = R"(200 {"received":true,"note":"ignored"})";
const std::string quarantined = R"(200 {"received":true,"note":"quarantined"})";
const std::string already_processed = R"(200 {"received":true,"note":"already_processed"})";

TEST_F(Webhook, AnswersAnEventThatStartsAWorkflowOnceItIsStored) {
    const auto body = event_file("06_checkout.session.completed.json");
    EXPECT_EQ(post_signed(body), received);
    EXPECT_EQ(instances_run(), 1);
    EXPECT_EQ(post_signed(body), already_processed);
    EXPECT_EQ(instances_run(), 0);
    EXPECT_THAT(logged(), HasSubstr("event accepted event=evt_"));
}

TEST_F(Webhook, KeepsAndIgnoresWhatNoWorkflowWants) {
    EXPECT_EQ(post_signed(unwanted("evt_1")), ignored);
    EXPECT_EQ(post_signed(unwanted("evt_1")), already_processed);
    EXPECT_EQ(instances_run(), 0);
}

TEST_F(Webhook, IgnoresEventsOfTheOtherLivemode) {
    auto event = Json::parse(event_file("06_checkout.session.completed.json"));
    event["livemode"] = true;
    event["data"]["object"]["livemode"] = true;
    EXPECT_EQ(post_signed(event.dump()), ignored);
    EXPECT_EQ(instances_run(), 0);
}

TEST_F(Webhook, RefusesAnythingWithoutAGoodSignatureInOneAndTheSameWay) {
    const auto body = unwanted("evt_1");
    const auto good = sign(body);
    const auto hex = good.substr(good.find("v1=") + 3);
    const auto time = good.substr(0, good.find(','));
    std::string many = time;
    for (int i = 0; i < 1000; ++i) many += ",v1=0";

    EXPECT_EQ(post(body, {}), refused);
    EXPECT_EQ(post_with_signature(body, ""), refused);
    for (const auto& header :
         {"t="s, "t=,v1=" + hex, time, "v1=" + hex, time + ",v0=" + hex, time + ",v1=", many,
          time + ",v1=" + hex.substr(1), time + ",v1=" + hex + "0",
          time + ",v1=" + std::string(64, 'z'), "t=-1,v1=" + hex, "t=0,v1=" + hex,
          "t=99999999999999999999,v1=" + hex, time + ", v1=" + hex}) {
        EXPECT_EQ(post_with_signature(body, header), refused) << header;
    }
    EXPECT_EQ(post_with_signature(body, sign(body, secret, 301)), refused);
    EXPECT_EQ(post_with_signature(body, sign(body, "whsec_ofAnotherEndpoint0")), refused);
    EXPECT_EQ(post_with_signature(body, sign(body, "")), refused);
    EXPECT_EQ(post_with_signature(body + " ", good), refused);
    EXPECT_EQ(post_with_signature(Json::parse(body).dump(2), good), refused);

    EXPECT_EQ(post(body, {{"Stripe-Signature", good}, {"Stripe-Signature", good}}), refused);
    EXPECT_EQ(post_with_signature(body, "t%3D1,v1=" + hex), refused);

    EXPECT_EQ(post_with_signature(body, good), ignored) << "something before was stored";
    EXPECT_EQ(logged().find(hex), std::string::npos);
}

TEST_F(Webhook, JudgesTheSignatureBeforeItLooksAtTheBody) {
    for (const auto& body : {"not json"s, std::string(1'000'000, '['), "\xff"s}) {
        EXPECT_EQ(post_with_signature(body, sign("{}")), refused);
    }
}

TEST_F(Webhook, TakesAnyValidSecretAndAnyOfSeveralSignatures) {
    const auto body = unwanted("evt_1");
    const auto good = sign(body);
    const auto comma = good.find(',');
    const auto rolled = good.substr(0, comma) + ",v1=" + std::string(64, '0') + good.substr(comma);
    EXPECT_EQ(post_with_signature(body, rolled), ignored);
    EXPECT_EQ(post_with_signature(unwanted("evt_2"), sign(unwanted("evt_2"), older_secret)),
              ignored);
    EXPECT_EQ(post_with_signature(unwanted("evt_3"), sign(unwanted("evt_3"), secret, 300)),
              ignored);
    EXPECT_EQ(post_with_signature(unwanted("evt_4"), sign(unwanted("evt_4"), secret, -100'000)),
              ignored);
}

TEST_F(Webhook, QuarantinesWhatIsSignedAndCannotBeUnderstood) {
    const auto with_id = [](const std::string& id) {
        return R"({"object":"event","type":"x.y","id":)" + id + "}";
    };
    std::vector<std::string> bodies = {"",
                                       "null",
                                       "[]",
                                       "\"x\"",
                                       "7",
                                       "{",
                                       "{}",
                                       unwanted("evt_1") + "x",
                                       "// c\n" + unwanted("evt_1"),
                                       "NaN",
                                       "\xEF\xBB\xBF" + unwanted("evt_1"),
                                       std::string(65, '[') + std::string(65, ']'),
                                       std::string(100'000, '['),
                                       "{\"id\":\"evt_\xff\"}",
                                       R"({"id":"evt_\ud800"})",
                                       "{\"id\":\"evt_1\0\"}"s,
                                       R"({"id":"evt_1\u0000"})",
                                       R"({"id":"evt_1","id":"evt_2"})",
                                       with_id("1"),
                                       with_id("null"),
                                       with_id("\"\""),
                                       with_id("{}"),
                                       with_id("\"" + std::string(10'000, 'x') + "\""),
                                       with_id(R"("evt_1' OR 1=1")"),
                                       with_id(R"("<script>")"),
                                       with_id(R"("evt_1\n2026 error forged")"),
                                       R"({"id":"evt_1","object":"event"})",
                                       R"({"id":"evt_1","object":"event","type":7})",
                                       std::string(100'000, '1')};
    for (const std::string created : {"9223372036854775808", "1e400", "1.9", "\"1\"", "-1"}) {
        auto event = event_file("06_checkout.session.completed.json");
        const auto at = event.find("\"created\": 1793520000");
        ASSERT_NE(at, std::string::npos);
        bodies.push_back(event.replace(at, std::string("\"created\": 1793520000").size(),
                                       "\"created\": " + created));
    }
    std::string many_keys = R"({"id":"evt_1")";
    for (int i = 0; i < 100'000; ++i) many_keys += ",\"" + std::to_string(i) + "\":0";
    bodies.push_back(many_keys + "}");

    for (std::size_t i = 0; i < bodies.size(); ++i) {
        // An id that can be read is taken for good, also by a body that cannot be understood.
        const auto body = with_another_id(bodies[i], i);
        EXPECT_EQ(post_signed(body), quarantined) << body.substr(0, 100);
        EXPECT_EQ(post_signed(body), already_processed) << body.substr(0, 100);
    }
    EXPECT_EQ(instances_run(), 0);
    EXPECT_EQ(logged().find("2026 error forged"), std::string::npos);
    EXPECT_EQ(post_signed(unwanted("evt_1")), ignored);
}

TEST_F(Webhook, KeepsTheFirstOfTwoBodiesUnderOneIdAndSaysSo) {
    EXPECT_EQ(post_signed(unwanted("evt_1")), ignored);
    EXPECT_EQ(post_signed(unwanted("evt_1") + " "), already_processed);
    EXPECT_THAT(logged(), HasSubstr("dedupe_conflict"));
}

TEST_F(Webhook, LimitsFailingSignaturesOfAnAddressAndNeverGoodOnes) {
    exempt_ = false;
    const auto body = unwanted("evt_1");
    for (int i = 0; i < 20; ++i) EXPECT_EQ(post_with_signature(body, "t=1,v1=0"), refused);
    EXPECT_THAT(post_with_signature(body, "t=1,v1=0"), HasSubstr("429 {\"error\""));
    EXPECT_EQ(last_headers_.count("Retry-After"), 1U);
    EXPECT_EQ(post_signed(body), ignored);
    clock_.advance(Ms(1000));
    EXPECT_EQ(post_with_signature(body, "t=1,v1=0"), refused);
    exempt_ = true;
    for (int i = 0; i < 40; ++i) EXPECT_EQ(post_with_signature(body, "t=1,v1=0"), refused);
}

TEST_F(Webhook, AsksTheSenderToComeAgainWhenItIsStopping) {
    engine_.stop(Ms(0));
    EXPECT_THAT(post_signed(unwanted("evt_1")), HasSubstr("503 {\"error\""));
    EXPECT_EQ(last_headers_.count("Retry-After"), 1U);
    const auto ready = client_->Get("/readyz");
    ASSERT_TRUE(ready);
    EXPECT_EQ(ready->status, 503);
    EXPECT_THAT(ready->body, HasSubstr("stopping"));
}

TEST_F(Webhook, FoldsOneEventThatManySendAtOnce) {
    const auto body = event_file("06_checkout.session.completed.json");
    const auto header = sign(body);
    std::atomic<int> first = 0, again = 0;
    {
        std::vector<std::jthread> senders;
        for (int i = 0; i < 16; ++i) {
            senders.emplace_back([&] {
                httplib::Client client("http://" + front_.address());
                const auto result = client.Post(stripe_webhook_path, {{"Stripe-Signature", header}},
                                                body, "application/json");
                if (!result) return;
                if ("200 " + result->body == received) ++first;
                if ("200 " + result->body == already_processed) ++again;
            });
        }
    }
    EXPECT_EQ(first, 1);
    EXPECT_EQ(again, 15);
    EXPECT_EQ(instances_run(), 1);
}

TEST_F(Webhook, RepeatsNothingOfAnEventInTheLog) {
    EXPECT_EQ(post_signed(event_file("06_checkout.session.completed.json")), received);
    EXPECT_EQ(logged().find("ada@example.com"), std::string::npos);
    EXPECT_EQ(logged().find("Lovelace"), std::string::npos);
    EXPECT_EQ(logged().find(secret), std::string::npos);
}

TEST_F(Webhook, HasNeighboursThatAnswerAsTheyShould) {
    const auto answer = [&](const httplib::Result& result) {
        return result ? std::to_string(result->status) + " " + result->body : "no answer"s;
    };
    EXPECT_EQ(answer(client_->Get("/healthz")), R"(200 {"status":"ok"})");
    EXPECT_EQ(answer(client_->Get("/readyz")), R"(200 {"status":"ready"})");
    EXPECT_THAT(answer(client_->Get(stripe_webhook_path)), HasSubstr("405 {\"error\""));
    EXPECT_THAT(answer(client_->Post("/healthz", "{}", "application/json")),
                HasSubstr("405 {\"error\""));
    for (const auto* path : {"/", "/api/stripe-webhook/", "/api/Stripe-Webhook",
                             "/api/stripe-webhook/x", "/metrics"}) {
        EXPECT_THAT(answer(client_->Get(path)), HasSubstr("404 {\"error\"")) << path;
    }
    EXPECT_THAT(answer(client_->Post("//api/stripe-webhook", "{}", "application/json")),
                HasSubstr("404 {\"error\""));
}

TEST(Readiness, SaysWhy) {
    EXPECT_EQ(readyz(Store::Health::ok, false).status, 200);
    for (const auto& answer :
         {readyz(Store::Health::full, false), readyz(Store::Health::failed, false),
          readyz(Store::Health::ok, true)}) {
        EXPECT_EQ(answer.status, 503);
        EXPECT_TRUE(Json::parse(answer.body).at("reason").is_string());
    }
}

}  // namespace
}  // namespace steplog::server
