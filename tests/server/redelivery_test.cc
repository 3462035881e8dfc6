// An event that Stripe delivers again after its instance has come to an end, whatever the end, and
// after retention took the instance (row 70 of the bad inputs): folded, and nothing starts anew.
#include <gtest/gtest.h>

#include "engine/sqlite_store.h"
#include "server/signature.h"
#include "server/webhook.h"
#include "tests/support/manual_clock.h"
#include "tests/support/temporary_directory.h"

namespace steplog::server {
namespace {

const std::string secret = "whsec_NotARealSecret0000";
const std::string received = R"({"received":true})";
const std::string already_processed = R"({"received":true,"note":"already_processed"})";

class Redelivery : public ::testing::Test {
  protected:
    Redelivery()
        : store_(open_sqlite_store({.database = directory_ / "steplog.db", .writer_thread = false},
                                   clock_)),
          engine_(*store_, clock_, random_, registry(), without_threads()),
          log_({LogLevel::error, LogFormat::json, [](const std::string&) {}}),
          webhook_(engine_, clock_, log_, options()) {}

    Registry registry() {
        Registry registry;
        registry.add({.name = "provision_customer", .run = [this](Context& ctx, const Json&) {
                          ++runs_;
                          if (end_ == "failed") throw PermanentError("no", "no");
                          if (end_ == "stuck") ctx.stuck("odd", "somebody must look");
                          return Json::object();
                      }});
        return registry;
    }
    static EngineOptions without_threads() {
        EngineOptions options;
        options.workers = 0;
        return options;
    }
    static StripeWebhookOptions options() {
        StripeWebhookOptions options;
        options.secrets = {secret};
        return options;
    }

    std::string deliver(const std::string& id) {
        const std::string body =
            R"({"id":")" + id +
            R"(","object":"event","created":1793520000,"livemode":false,"type":"invoice.paid",)"
            R"("data":{"object":{"id":"in_1","object":"invoice","customer":"cus_1"}}})";
        const auto answer = webhook_.answer(
            stripe_signature_header(body, secret, clock_.now_ms() / 1000), body, "192.0.2.1");
        EXPECT_EQ(answer.status, 200);
        return answer.body;
    }

    testing::TemporaryDirectory directory_;
    testing::ManualClock clock_;
    testing::SeededRandom random_{1};
    std::string end_;
    int runs_ = 0;
    std::unique_ptr<Store> store_;
    Engine engine_;
    Log log_;
    StripeWebhook webhook_;
};

TEST_F(Redelivery, StartsNothingHoweverTheInstanceEnded) {
    for (const std::string end : {"completed", "failed", "stuck"}) {
        end_ = end;
        runs_ = 0;
        EXPECT_EQ(deliver("evt_" + end), received);
        engine_.run_until_idle();
        EXPECT_EQ(deliver("evt_" + end), already_processed);
        EXPECT_EQ(engine_.run_until_idle(), 0);
        EXPECT_EQ(runs_, 1) << end;
    }
}

TEST_F(Redelivery, StartsNothingAfterRetentionTookTheInstance) {
    EXPECT_EQ(deliver("evt_1"), received);
    engine_.run_until_idle();
    clock_.advance(std::chrono::hours(24));
    ASSERT_EQ(store_->purge({.older_than = std::chrono::hours(1)}).get().instances, 1);
    EXPECT_EQ(deliver("evt_1"), already_processed);
    EXPECT_EQ(engine_.run_until_idle(), 0);
    EXPECT_EQ(runs_, 1);
}

}  // namespace
}  // namespace steplog::server
