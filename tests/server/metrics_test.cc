// What /metrics says: counted rightly, free of ids, and looked up in the database when asked.
#include "server/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "engine/engine.h"
#include "engine/sqlite_store.h"
#include "server/front.h"
#include "server/webhook.h"
#include "tests/support/manual_clock.h"
#include "tests/support/temporary_directory.h"

namespace steplog::server {
namespace {

using std::chrono::milliseconds;
using steplog::testing::ManualClock;
using steplog::testing::SeededRandom;
using steplog::testing::TemporaryDirectory;
using ::testing::HasSubstr;
using ::testing::Not;

Transitioned transition(const std::string& step, const std::string& what) {
    Transitioned transitioned;
    transitioned.instance = "provision_customer/evt_secret";
    transitioned.workflow = "provision_customer";
    transitioned.step = step;
    transitioned.what = what;
    transitioned.error = "a@b.example";
    transitioned.error_code = what == "stuck" ? "no_email" : "";
    transitioned.took_ms = 30;
    return transitioned;
}

TEST(Metrics, CountsDeliveriesByWhatBecameOfThem) {
    Metrics metrics("1.2.3");
    metrics.observe(WebhookOutcome::routed, milliseconds(3));
    metrics.observe(WebhookOutcome::routed, milliseconds(3));
    metrics.observe(WebhookOutcome::signature_refused, milliseconds(0));
    const std::string text = metrics.text();
    EXPECT_THAT(text, HasSubstr("steplog_webhooks_total{outcome=\"routed\"} 2\n"));
    EXPECT_THAT(text, HasSubstr("steplog_webhooks_total{outcome=\"signature_refused\"} 1\n"));
    EXPECT_THAT(text, HasSubstr("steplog_webhooks_total{outcome=\"ignored\"} 0\n"))
        << "a rate needs a series that is there before the first event";
    EXPECT_THAT(text, HasSubstr("steplog_webhook_seconds_bucket{le=\"0.0025\"} 1\n"));
    EXPECT_THAT(text, HasSubstr("steplog_webhook_seconds_bucket{le=\"+Inf\"} 3\n"));
    EXPECT_THAT(text, HasSubstr("steplog_build_info{version=\"1.2.3\"} 1\n"));
}

TEST(Metrics, HoldsNoIdAndNoText) {
    Metrics metrics("1");
    metrics.observe(transition("refund/re_1", "completed"));
    metrics.observe(transition("refund/re_2", "completed"));
    metrics.observe(transition("create_clerk_user", "stuck"));
    metrics.observe(transition("", "finished"));
    const std::string text = metrics.text();
    EXPECT_THAT(text, HasSubstr("steplog_step_attempts_total{outcome=\"completed\",step=\"refund\","
                                "workflow=\"provision_customer\"} 2\n"));
    EXPECT_THAT(text, HasSubstr("steplog_instances_stuck_total{error_code=\"no_email\""));
    EXPECT_THAT(text, HasSubstr("steplog_instances_ended_total{state=\"completed\""));
    for (const char* secret : {"re_1", "evt_secret", "a@b.example"})
        EXPECT_THAT(text, Not(HasSubstr(secret)));
}

class MetricsOfADatabase : public ::testing::Test {
  protected:
    void accept(const std::string& id, const std::string& key = "",
                const std::string& workflow = "provision_customer") {
        NewInstance instance{.id = id, .workflow = workflow, .key = key};
        instance.input = "{}";
        store_->accept(std::nullopt, instance, false).get();
    }
    std::string scrape() {
        clock_.advance(Ms(2000));  // one look in two seconds
        return route_.answer();
    }

    TemporaryDirectory directory_;
    ManualClock clock_;
    std::unique_ptr<Store> store_ = open_sqlite_store(
        {.database = directory_.path() / "steplog.db", .writer_thread = false}, clock_);
    Metrics metrics_{"1"};
    MetricsRoute route_{metrics_,
                        {.database = directory_.path() / "steplog.db",
                         .clock = clock_,
                         .front = [] { return FrontStats{}; },
                         .ready = [] { return true; }}};
};

TEST_F(MetricsOfADatabase, TellsHowLongACustomerHasWaitedForAnAccount) {
    EXPECT_THAT(scrape(), HasSubstr("steplog_paid_without_account_seconds 0\n"));
    accept("provision_customer/evt_1", "customer");
    accept("provision_customer/evt_2", "customer");
    clock_.advance(Ms(58'000));
    const std::string text = scrape();
    EXPECT_THAT(text, HasSubstr("steplog_paid_without_account_seconds 60\n"));
    EXPECT_THAT(text, HasSubstr("steplog_oldest_due_seconds 60\n"));
    EXPECT_THAT(text, HasSubstr("steplog_instances{state=\"pending\"} 1\n"));
    EXPECT_THAT(text, HasSubstr("steplog_instances{state=\"queued\"} 1\n"));
    EXPECT_THAT(text, HasSubstr("steplog_ready 1\n"));
}

TEST_F(MetricsOfADatabase, CountsNobodyWhoHasAnAccountOrPaidNoMore) {
    Registry registry;
    SeededRandom random(1);
    registry.add({.name = "provision_customer",
                  .on_failure = OnFailure::stuck,
                  .run = [](Context& ctx, const Json& input) -> Json {
                      if (input.value("unpaid", false)) ctx.stuck("no_longer_paid", "cancelled");
                      ctx.step("create_clerk_user", [](const Attempt&) { return 1; });
                      ctx.stuck("mail_refused", "later");
                  }});
    EngineOptions options;
    options.workers = 0;
    Engine engine(*store_, clock_, random, std::move(registry), std::move(options));
    NewInstance unpaid{.id = "provision_customer/unpaid", .workflow = "provision_customer"};
    unpaid.input = R"({"unpaid":true})";
    store_->accept(std::nullopt, unpaid, false).get();
    accept("provision_customer/evt_1");
    engine.run_until_idle();
    const std::string text = scrape();
    EXPECT_THAT(text, HasSubstr("steplog_instances{state=\"stuck\"} 2\n"));
    EXPECT_THAT(text, HasSubstr("steplog_paid_without_account_seconds 0\n"));
}

TEST_F(MetricsOfADatabase, ShowProvidersThatAreOutOfOrderAndHowManyWait) {
    EXPECT_THAT(scrape(), Not(HasSubstr("steplog_breaker_open")));
    store_->change_provider({.provider = "clerk"}).get();
    Registry registry;
    SeededRandom random(1);
    registry.add({.name = "w", .run = [](Context& ctx, const Json&) {
                      ctx.step("s", {.provider = "clerk"}, [](const Attempt&) {});
                      return Json();
                  }});
    Engine engine(*store_, clock_, random, std::move(registry), {.workers = 0});
    store_->accept(std::nullopt, NewInstance{.id = "w/2", .workflow = "w", .input = "{}"}, false)
        .get();
    engine.run_until_idle();
    std::string text = scrape();
    EXPECT_THAT(text, HasSubstr("steplog_breaker_open{provider=\"clerk\"} 1\n"));
    EXPECT_THAT(text, HasSubstr("steplog_parked_instances{provider=\"clerk\"} 1\n"));
    EXPECT_THAT(text, Not(HasSubstr("parked\"}"))) << "no attempt, so no attempt's outcome";
    store_->change_provider({.kind = ProviderChange::Kind::unpause, .provider = "clerk"}).get();
    for (int i = 0; i < 5; ++i) {
        clock_.advance(Ms(60'000));
        engine.run_until_idle();
    }
    text = scrape();
    EXPECT_THAT(text, HasSubstr("steplog_breaker_open{provider=\"clerk\"} 0\n"));
    EXPECT_THAT(text, HasSubstr("steplog_parked_instances{provider=\"clerk\"} 0\n"));
}

TEST_F(MetricsOfADatabase, ShowLimitsThatKeepInstancesWaiting) {
    EXPECT_THAT(scrape(), Not(HasSubstr("steplog_limited_instances")));
    Registry registry;
    SeededRandom random(1);
    registry.add({.name = "w", .run = [](Context&, const Json&) { return Json(); }});
    EngineOptions options{.workers = 0};
    options.flow.workflows["w"].rate = {.limit = 1};
    Engine engine(*store_, clock_, random, std::move(registry), std::move(options));
    for (const char* id : {"w/1", "w/2", "w/3"}) accept(id, "", "w");
    engine.run_until_idle();
    const std::string series =
        "steplog_limited_instances{limit=\"rate\",name=\"w\",of=\"workflow\"} ";
    EXPECT_THAT(scrape(), HasSubstr(series + "2\n"));
    for (int i = 0; i < 2; ++i) {
        clock_.advance(Ms(10'000));
        engine.run_until_idle();
    }
    EXPECT_THAT(scrape(), HasSubstr(series + "0\n"));
}

TEST_F(MetricsOfADatabase, AreWhatPromtoolAccepts) {
    if (std::system("command -v promtool >/dev/null") != 0)
        GTEST_SKIP() << "SKIPPED: no promtool (Debian's package prometheus)";
    accept("provision_customer/evt_1");
    metrics_.observe(WebhookOutcome::routed, milliseconds(3));
    metrics_.observe(transition("create_clerk_user", "completed"));
    metrics_.observe(transition("create_clerk_user", "stuck"));
    metrics_.observe(transition("", "finished"));
    metrics_.observe(FrontEvent{.kind = FrontEvent::Kind::refused, .status = 413});
    metrics_.observe_commit(3, std::chrono::microseconds(700));
    const auto file = directory_.path() / "metrics.txt";
    std::ofstream(file) << scrape();
    EXPECT_EQ(std::system(("promtool check metrics <" + file.string()).c_str()), 0);
}

}  // namespace
}  // namespace steplog::server
