// What Stripe never delivered is found in its list and provisioned, through crashes; what was
// delivered, or was bought before there was a server, is left alone.
#include <SQLiteCpp/SQLiteCpp.h>
#include <gmock/gmock.h>

#include <filesystem>

#include "engine/inspect.h"
#include "server/missed_events.h"
#include "tests/steps/provision_world.h"

namespace steplog::server {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using ::testing::HasSubstr;

class MissedEvents : public testing::ProvisionWorld {
  protected:
    MissedEvents() { begin(); }

    /// As if the server ended and was started again on the same file.
    void begin() {
        engine.reset();
        store.reset();
        store = open_sqlite_store(
            {.database = database, .writer_thread = false, .synchronous = "OFF"}, clock);
        Registry registry;
        steps::register_provision_customer(registry, providers);
        steps::register_missed_events(registry, providers.stripe, inbox, clock, policy);
        engine = std::make_unique<Engine>(
            *store, clock, random, std::move(registry),
            EngineOptions{.workers = 0, .on_transition = [this](const Transitioned& transition) {
                              transitions.push_back(transition);
                              if (on_transition) on_transition(transition);
                          }});
        inbox.attach(*engine);
        engine->schedule({steps::missed_events_schedule("7 * * * *", "UTC")});
    }

    sandbox::Purchase bought(const std::string& buyer) {
        clock.advance(minutes(1));
        return world.purchase({.email = buyer});
    }
    sandbox::Purchase delivered(const std::string& buyer) {
        auto purchase = bought(buyer);
        accept(purchase.events);
        run(minutes(2));
        return purchase;
    }
    std::string sql(const std::string& query) {
        store->flush();
        SQLite::Database reader(database, SQLite::OPEN_READONLY);
        SQLite::Statement statement(reader, query);
        return statement.executeStep() ? statement.getColumn(0).getString() : "";
    }
    static void copy_database(const std::string& from, const std::string& to) {
        for (const char* part : {"", "-wal"})
            std::filesystem::copy_file(from + part, to + part,
                                       std::filesystem::copy_options::overwrite_existing);
        std::filesystem::remove(to + "-shm");
    }
    Json output(const std::string& id) {
        store->flush();
        return Json::parse(Inspector(database, clock).show(id).output.text.value_or("null"),
                           nullptr, false);
    }

    const std::string database = (directory.path() / "steplog.db").string();
    std::vector<steps::Inbox::Found> found;
    EngineInbox inbox{database, clock, [this](const auto& one) { found.push_back(one); }};
    std::function<void(const Transitioned&)> on_transition;
};

TEST_F(MissedEvents, OfAWeekWithoutWebhooksAreTakenIn) {
    delivered("first@example.com");
    run(hours(3));
    ASSERT_GE(found.size(), 2u);
    for (const auto& one : found) EXPECT_EQ(one.missing, 0);
    const std::size_t before = found.size();

    // The server is down, or unreachable, for a week in which customers go on buying.
    std::vector<sandbox::Purchase> missed;
    for (int day = 0; day < 7; ++day) {
        clock.advance(hours(24));
        for (int i = 0; i < 20; ++i)
            missed.push_back(
                bought("d" + std::to_string(day) + "c" + std::to_string(i) + "@example.com"));
    }
    clock.advance(hours(1));
    begin();
    run(hours(2));
    EXPECT_EQ(world.users().size(), 1u + 7 * 20);
    EXPECT_EQ(world.emails().size(), 1u + 7 * 20);
    for (const auto& purchase : missed)
        EXPECT_NE(metadata_user(purchase.customer), "") << purchase.customer;
    for (const auto& [key, count] : world.effects()) EXPECT_EQ(count, 1) << key;
    ASSERT_GE(found.size(), before + 2);
    EXPECT_GE(found[before].missing, 7 * 20);
    EXPECT_EQ(found.back().missing, 0) << "they are in the inbox now";
}

TEST_F(MissedEvents, AreFoldedWithTheirDeliveryWhenThatComesAfterAll) {
    delivered("first@example.com");
    const auto late = bought("late@example.com");
    run(hours(2));
    EXPECT_EQ(world.users().size(), 2u);
    const std::string events = sql("SELECT count(*) FROM events");
    accept(late.events);
    EXPECT_EQ(sql("SELECT sum(conflicts) FROM events"), "0") << "the bytes differ, and that is all";
    run(hours(1));
    EXPECT_EQ(world.users().size(), 2u);
    EXPECT_EQ(world.emails().size(), 2u);
}

TEST_F(MissedEvents, AreNotThoseFromBeforeThereWasAServer) {
    for (int i = 0; i < 5; ++i) bought("old" + std::to_string(i) + "@example.com");
    clock.advance(hours(24));
    run(hours(3));
    EXPECT_TRUE(world.users().empty()) << "comparisons begin with the first one";
    delivered("first@example.com");
    run(hours(3));
    EXPECT_GT(requests("GET /v1/events"), 0);
    EXPECT_EQ(world.users().size(), 1u);
}

TEST_F(MissedEvents, AreNotThoseWhoseThinFormWasDelivered) {
    delivered("first@example.com");
    clock.advance(minutes(1));
    const auto thin =
        world.purchase({.email = "thin@example.com", .forms = sandbox::EventForms::thin});
    accept(thin.events);
    run(hours(3));
    for (const auto& one : found) EXPECT_EQ(one.missing, 0);
}

TEST_F(MissedEvents, AreEachTakenOnceWhenTheServerDiesBehindAPage) {
    delivered("first@example.com");
    for (int i = 0; i < 60; ++i) bought("c" + std::to_string(i) + "@example.com");
    bool remembered = false;
    on_transition = [&](const Transitioned& t) {
        if (remembered || t.what != "completed" || t.step != "compare/2") return;
        remembered = true;
        copy_database(database, database + ".moment");
    };
    run(hours(2));
    ASSERT_TRUE(remembered);
    engine.reset();
    store.reset();
    copy_database(database + ".moment", database);
    on_transition = nullptr;
    begin();
    run(hours(2));
    EXPECT_EQ(world.users().size(), 61u);
    EXPECT_EQ(world.emails().size(), 61u);
    EXPECT_EQ(sql("SELECT count(*) FROM instances WHERE workflow='provision_customer'"),
              sql("SELECT count(*) FROM events WHERE disposition='routed'"));
}

TEST_F(MissedEvents, CannotBeFoundByAKeyThatMayNotListThem) {
    delivered("first@example.com");
    world.add_fault({.kind = sandbox::FaultKind::status,
                     .provider = {},
                     .route = "GET /v1/events",
                     .times = 1,
                     .status = 403,
                     .effect = {},
                     .retry_after_s = {}});
    run(hours(1));
    EXPECT_EQ(sql("SELECT error_code FROM instances WHERE workflow='find_missed_events' AND "
                  "state='failed'"),
              "forbidden");
    EXPECT_EQ(sql("SELECT count(*) FROM breakers"), "0") << "purchases go on";
}

TEST_F(MissedEvents, TellOfADisabledEndpoint) {
    world.set_webhook_endpoint("https://shop.example/api/stripe-webhook", false);
    delivered("first@example.com");
    run(hours(1));
    ASSERT_FALSE(found.empty());
    EXPECT_EQ(found.back().endpoints_disabled, 1);
    EXPECT_EQ(output(found.back().instance).value("endpointsDisabled", 0), 1);
    world.set_webhook_endpoint("https://shop.example/api/stripe-webhook", true);
    run(hours(1));
    EXPECT_EQ(found.back().endpoints_disabled, 0);
}

}  // namespace
}  // namespace steplog::server
