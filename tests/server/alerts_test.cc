// Who is told of what, and how often: once for each cause with a count, again when it has grown
// tenfold, and when it is over; across restarts; directly where nothing can be stored.
#include "server/alerts.h"

#include <SQLiteCpp/SQLiteCpp.h>
#include <gmock/gmock.h>

#include "engine/commands.h"
#include "engine/sqlite_store.h"
#include "server/metrics.h"
#include "tests/support/manual_clock.h"
#include "tests/support/temporary_directory.h"

namespace steplog::server {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;
using steps::TroubleKind;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

class Pager : public steps::AlertChannel {
  public:
    explicit Pager(std::string name) : name_(std::move(name)) {}
    std::string name() const override { return name_; }
    void tell(const steps::Alert& alert, const std::string& key, const steps::Call&) override {
        if (down) throw RetryableError("busy", {.code = "busy"});
        if (refuses) throw PermanentError("http_404", "no such hook");
        told.push_back(steps::headline(alert));
        keys.insert(key);
    }
    std::vector<std::string> told;
    std::set<std::string> keys;
    bool down = false, refuses = false;

  private:
    const std::string name_;
};

class AlertsTest : public ::testing::Test {
  protected:
    AlertsTest() {
        for (const auto* name : {"pager", "mail"}) {
            auto channel = std::make_unique<Pager>(name);
            (std::string(name) == "pager" ? pager : mail) = channel.get();
            channels_.push_back(std::move(channel));
        }
        open();
    }
    void open() {
        SqliteOptions options;
        options.database = directory_ / "steplog.db";
        options.writer_thread = false;
        store_ = open_sqlite_store(options, clock);
        Registry registry;
        const auto stuck_while_broken = [this](Context& ctx, const Json&) {
            ctx.step("charge/1", [this](const Attempt&) {
                if (broken) throw PermanentError("card_declined", "no");
            });
            return Json();
        };
        registry.add({.name = "order", .on_failure = OnFailure::stuck, .run = stuck_while_broken});
        registry.add({.name = "provision_customer", .run = [](Context& ctx, const Json&) {
                          ctx.sleep_for("long", hours(10));
                          ctx.step("create_clerk_user", [](const Attempt&) {});
                          return Json();
                      }});
        steps::register_tell_people(registry, channels_);
        engine = std::make_unique<Engine>(*store_, clock, random_, std::move(registry),
                                          EngineOptions{.workers = 0});
        alerts = std::make_unique<Alerts>(Alerts::Sources{.database = directory_ / "steplog.db",
                                                          .keys = {},
                                                          .engine = *engine,
                                                          .clock = clock,
                                                          .log = log_,
                                                          .paused = [this] { return paused; },
                                                          .waiting_max = minutes(15)},
                                          channels_);
    }
    void restart() {
        alerts.reset();
        engine.reset();
        store_.reset();
        open();
    }
    void orders(int count) {
        for (int i = 0; i < count; ++i)
            engine->accept(std::nullopt, NewInstance{.id = "order/" + std::to_string(++made_),
                                                     .workflow = "order",
                                                     .input = "{}"});
        engine->run_until_idle();
    }
    void resume_all() {
        engine->resume({.actor = "test"});
        engine->run_until_idle();
    }
    // As the server looks, every five seconds.
    void pass(Ms time) {
        for (const auto until = clock.now_ms() + time.count(); clock.now_ms() < until;) {
            clock.advance(seconds(5));
            alerts->look();
            engine->run_until_idle();
        }
    }

    steplog::testing::TemporaryDirectory directory_;
    steplog::testing::ManualClock clock;
    steplog::testing::SeededRandom random_{1};
    std::vector<std::string> log_lines;
    Log log_{{.level = LogLevel::info,
              .format = LogFormat::text,
              .capture = [this](const std::string& line) { log_lines.push_back(line); }}};
    steps::AlertChannels channels_;
    Pager *pager = nullptr, *mail = nullptr;
    std::unique_ptr<Store> store_;
    std::unique_ptr<Engine> engine;
    std::unique_ptr<Alerts> alerts;
    bool broken = true, paused = false;
    int made_ = 0;
};

const std::string stuck_1 = "CRITICAL: 1 instance of order is stuck at charge/* (card_declined)";

TEST_F(AlertsTest, TellEachChannelOnceAndWhenItIsOver) {
    orders(1);
    pass(minutes(30));
    EXPECT_THAT(pager->told, ElementsAre(stuck_1));
    EXPECT_THAT(mail->told, ElementsAre(stuck_1));
    broken = false;
    resume_all();
    pass(minutes(30));
    ASSERT_EQ(pager->told.size(), 2u);
    EXPECT_THAT(pager->told[1], HasSubstr("nothing of order is stuck at charge/* (card_declined)"));
    EXPECT_EQ(mail->told, pager->told);
}

TEST_F(AlertsTest, TellWithinTheMinute) {
    orders(1);
    pass(seconds(15));
    EXPECT_EQ(pager->told.size(), 1u);
}

TEST_F(AlertsTest, CountRatherThanRepeat) {
    orders(3);
    pass(minutes(1));
    orders(26);
    pass(minutes(1));
    EXPECT_EQ(pager->told.size(), 1u) << "29 are not yet ten times 3";
    orders(1);
    pass(minutes(1));
    ASSERT_EQ(pager->told.size(), 2u);
    EXPECT_THAT(pager->told[1], HasSubstr("30 instances of order are stuck"));
    broken = false;
    resume_all();
    pass(minutes(1));
    ASSERT_EQ(pager->told.size(), 3u);
    EXPECT_THAT(pager->told[2], HasSubstr("there were 30"));
}

TEST_F(AlertsTest, TellOfItAnewWhenItComesAgain) {
    orders(1);
    pass(minutes(1));
    broken = false;
    resume_all();
    pass(minutes(1));
    broken = true;
    orders(1);
    pass(minutes(1));
    EXPECT_EQ(pager->told.size(), 3u);
    EXPECT_EQ(pager->told[2], stuck_1);
    EXPECT_EQ(pager->keys.size(), 3u);
}

TEST_F(AlertsTest, DoNotTellOfWhatIsOverBeforeAnybodyCouldLook) {
    orders(1);
    alerts->look();
    broken = false;
    resume_all();
    pass(minutes(5));
    EXPECT_THAT(pager->told, IsEmpty());
}

TEST_F(AlertsTest, KnowAfterARestartWhatWasTold) {
    orders(1);
    pass(minutes(1));
    restart();
    pass(minutes(1));
    EXPECT_EQ(pager->told.size(), 1u);
    broken = false;
    resume_all();
    restart();
    pass(minutes(1));
    ASSERT_EQ(pager->told.size(), 2u);
    EXPECT_THAT(pager->told[1], HasSubstr("over after"));
}

TEST_F(AlertsTest, KeepNoChannelWaitingForAnother) {
    mail->down = true;
    orders(1);
    pass(minutes(1));
    EXPECT_EQ(pager->told.size(), 1u);
    EXPECT_THAT(mail->told, IsEmpty());
    mail->down = false;
    pass(hours(1));
    EXPECT_EQ(mail->told.size(), 1u) << "it was not lost";
    EXPECT_EQ(pager->told.size(), 1u);
}

TEST_F(AlertsTest, PassOverAChannelThatRefusesForGood) {
    mail->refuses = true;
    orders(1);
    pass(minutes(1));
    broken = false;
    resume_all();
    pass(minutes(1));
    EXPECT_EQ(pager->told.size(), 2u);
    EXPECT_EQ(Inspector(directory_ / "steplog.db", clock).unfinished_of("tell_people").size(), 0u);
}

TEST_F(AlertsTest, TellOfAPayingCustomerWhoWaits) {
    engine->accept(std::nullopt,
                   NewInstance{.id = "p/1", .workflow = "provision_customer", .input = "{}"});
    engine->run_until_idle();
    pass(minutes(14));
    EXPECT_THAT(pager->told, IsEmpty());
    pass(minutes(2));
    EXPECT_THAT(pager->told, ElementsAre("CRITICAL: a paying customer has been without an account "
                                         "for 15 min"));
}

TEST_F(AlertsTest, TellOfAProviderThatIsDownButNotOfOneThatWasPaused) {
    store_
        ->change_provider(
            {.kind = ProviderChange::Kind::pause, .provider = "clerk", .actor = "uid:1"})
        .get();
    pass(minutes(1));
    EXPECT_THAT(pager->told, IsEmpty());
    store_
        ->change_provider(
            {.kind = ProviderChange::Kind::unpause, .provider = "clerk", .actor = "uid:1"})
        .get();
    pass(minutes(1));
    ASSERT_EQ(pager->told.size(), 1u) << "it is being tried";
    EXPECT_THAT(pager->told[0], HasSubstr("clerk is out of order"));
}

TEST_F(AlertsTest, TellOfEventsThatCouldNotBeUnderstoodUntilThereHaveBeenNoneForAnHour) {
    for (int i = 0; i < 3; ++i) alerts->note(TroubleKind::quarantined);
    alerts->note(TroubleKind::conflict);
    pass(minutes(59));
    EXPECT_THAT(pager->told, UnorderedElementsAre(
                                 "3 events were signed properly and could not be understood",
                                 "1 event came again with another body; the first one is kept"));
    pass(minutes(2));
    EXPECT_EQ(pager->told.size(), 4u);
}

TEST_F(AlertsTest, KnowOfQuarantinedEventsThatCameBeforeAStop) {
    engine->accept(NewEvent{.source = "stripe",
                            .id = "evt_odd",
                            .type = "",
                            .subject = "",
                            .disposition = NewEvent::Disposition::quarantined,
                            .reason = "not JSON",
                            .body = "odd"},
                   std::nullopt);
    restart();
    pass(minutes(1));
    EXPECT_EQ(pager->told.size(), 1u);
}

TEST_F(AlertsTest, TellDirectlyThatNothingCanBeStored) {
    paused = true;
    pager->down = true;
    pass(minutes(1));
    EXPECT_EQ(mail->told.size(), 1u);
    EXPECT_THAT(mail->told[0], HasSubstr("events cannot be stored"));
    pager->down = false;
    pass(minutes(1));
    EXPECT_EQ(pager->told.size(), 1u);
    paused = false;
    pass(minutes(1));
    EXPECT_EQ(pager->told.size(), 2u);
    EXPECT_EQ(mail->told.size(), 2u);
    EXPECT_THAT(mail->told[1], HasSubstr("events are stored again"));
    EXPECT_EQ(Inspector(directory_ / "steplog.db", clock).list({}).size(), 0u);
}

TEST_F(AlertsTest, HoldNoIdAndNoWordOfWhatHappened) {
    orders(2);
    pass(minutes(1));
    SQLite::Database reader(directory_ / "steplog.db", SQLite::OPEN_READONLY);
    EXPECT_EQ(reader
                  .execAndGet("SELECT count(*) FROM payloads JOIN instances ON "
                              "input_payload=payloads.id WHERE workflow='tell_people' AND "
                              "(body LIKE '%order/1%' OR body LIKE '%charge/1%')")
                  .getInt(),
              0);
}

TEST_F(AlertsTest, TakeAnOutageWhoseAnswersChangeForOne) {
    SQLite::Database writer(directory_ / "steplog.db", SQLite::OPEN_READWRITE);
    writer.exec(
        "INSERT INTO breakers(provider,state,openings,opened_at_ms,next_at_ms,reason) "
        "VALUES ('clerk','open',1,1,9000000000000,'http_503')");
    alerts->look();
    pass(seconds(10));
    writer.exec("UPDATE breakers SET reason='timeout'");
    pass(minutes(1));
    EXPECT_EQ(pager->told.size(), 1u);
}

TEST_F(AlertsTest, GoOnBesideOneThatSomebodyStartedByHand) {
    for (const auto* input : {"{}", "7"})
        engine->accept(std::nullopt, NewInstance{.id = std::string("tell_people/") + input,
                                                 .workflow = "tell_people",
                                                 .input = input});
    alerts->look();
    engine->run_until_idle();
    orders(1);
    pass(minutes(1));
    EXPECT_EQ(pager->told.size(), 1u);
    EXPECT_THAT(log_lines, IsEmpty());
    EXPECT_EQ(Inspector(directory_ / "steplog.db", clock).find("tell_people/7").error_code,
              "odd_order");
}

TEST_F(AlertsTest, SayOnceThatTheyCannotLook) {
    alerts = std::make_unique<Alerts>(Alerts::Sources{.database = directory_ / "other.db",
                                                      .keys = {},
                                                      .engine = *engine,
                                                      .clock = clock,
                                                      .log = log_,
                                                      .paused = [] { return false; },
                                                      .waiting_max = minutes(15)},
                                      channels_);
    pass(minutes(5));
    EXPECT_EQ(log_lines.size(), 1u);
}

}  // namespace
}  // namespace steplog::server
