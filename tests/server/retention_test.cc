#include "server/retention.h"

#include <gtest/gtest.h>

#include "engine/engine.h"
#include "engine/sqlite_store.h"
#include "tests/support/manual_clock.h"
#include "tests/support/temporary_directory.h"

namespace steplog::server {
namespace {

using std::chrono::hours;

constexpr Ms day = hours(24);

class RetentionSweep : public ::testing::Test {
  protected:
    RetentionSweep() {
        SqliteOptions options;
        options.database = directory_ / "steplog.db";
        options.writer_thread = false;
        store_ = open_sqlite_store(options, clock_);
        Registry registry;
        registry.add(
            {.name = "nothing", .run = [](Context&, const Json&) { return Json::object(); }});
        EngineOptions engine_options;
        engine_options.workers = 0;
        engine_ =
            std::make_unique<Engine>(*store_, clock_, random_, std::move(registry), engine_options);
    }

    Accepted deliver(const std::string& id) {
        NewEvent event{
            .source = "stripe", .id = id, .type = "x", .subject = "", .reason = "", .body = "{}"};
        NewInstance instance;
        instance.id = "nothing/" + id;
        instance.workflow = "nothing";
        return engine_->accept(event, instance);
    }
    int sweep(Ms retention) { return Retention::sweep(*store_, retention, {}); }

    steplog::testing::TemporaryDirectory directory_;
    steplog::testing::ManualClock clock_;
    steplog::testing::SeededRandom random_{1};
    std::unique_ptr<Store> store_;
    std::unique_ptr<Engine> engine_;
};

TEST_F(RetentionSweep, LeavesWhatIsNotFinished) {
    deliver("evt_1");
    clock_.advance(365 * day);
    EXPECT_EQ(sweep(day), 0);
    EXPECT_EQ(engine_->run_until_idle(), 1);
}

TEST_F(RetentionSweep, DeletesInstancesEarlierThanEventIds) {
    deliver("evt_1");
    engine_->run_until_idle();
    EXPECT_EQ(sweep(day), 0);
    clock_.advance(2 * day);
    EXPECT_GT(sweep(day), 0);
    EXPECT_TRUE(deliver("evt_1").duplicate)
        << "the id was forgotten while Stripe may still send it again";
    EXPECT_EQ(engine_->run_until_idle(), 0);
    clock_.advance(30 * day);
    EXPECT_GT(sweep(day), 0);
    EXPECT_EQ(sweep(day), 0);
}

TEST_F(RetentionSweep, StopsWhenAskedTo) {
    deliver("evt_1");
    engine_->run_until_idle();
    clock_.advance(60 * day);
    std::stop_source stopped;
    stopped.request_stop();
    EXPECT_EQ(Retention::sweep(*store_, day, stopped.get_token()), 0);
}

}  // namespace
}  // namespace steplog::server
