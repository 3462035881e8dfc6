// Counts and lists over many instances of all states: the same as plain SQL over the whole file
// finds, however they came, ended, and were deleted.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/inspect.h"
#include "tests/engine/house.h"

namespace steplog {
namespace {

using std::chrono::hours;
using ::testing::ElementsAre;
using testing::House;
using ::testing::IsEmpty;

// Some of each state: what an input says is how its instance goes on.
class InspectMany : public ::testing::Test {
  protected:
    InspectMany() {
        for (const int version : {1, 2}) house.add("order", go, version);
        const std::vector<std::string> ways = {"end", "fail", "stuck", "sleep", "wait", "cancel"};
        for (int i = 0; i < 120; ++i) {
            const std::string& way = ways[static_cast<std::size_t>(i) % ways.size()];
            NewInstance one{.id = "order/" + std::to_string(i),
                            .workflow = "order",
                            .version = i % 5 == 0 ? 2 : 1,
                            .key = i % 4 == 0 ? "key" + std::to_string(i % 3) : "",
                            .input = Json{{"way", way}}.dump()};
            house.engine().accept(NewEvent{.source = "shop",
                                           .id = "evt_" + std::to_string(i),
                                           .type = "order",
                                           .body = *one.input},
                                  one);
            if (i % 10 == 0) house.engine().run_until_idle();
        }
        house.engine().accept(NewEvent{.source = "shop",
                                       .id = "evt_ignored",
                                       .type = "other",
                                       .disposition = NewEvent::Disposition::ignored,
                                       .reason = "nobody wants it",
                                       .body = "{}"},
                              std::nullopt);
        house.engine().run_until_idle();
        for (int i = 5; i < 120; i += 6)
            house.engine().cancel({.ids = {"order/" + std::to_string(i)}, .actor = "test"});
        house.engine().run_until_idle();
    }

    static Json go(Context& ctx, const Json& input) {
        const std::string way = input.value("way", "");
        ctx.step("look", [](const Attempt&) { return 1; });
        if (way == "fail")
            ctx.step("no", [](const Attempt&) { throw PermanentError("refused", "no"); });
        if (way == "stuck") ctx.stuck("odd_order", "look at it");
        if (way == "sleep") ctx.sleep_for("nap", hours(48));
        if (way == "wait" || way == "cancel") ctx.wait_for<Json>("go");
        return Json();
    }

    std::int64_t count(const std::string& sql) { return std::stoll(house.sql("SELECT " + sql)); }

    void expect_true_counts() {
        Inspector inspector(house.database(), house.clock);
        const Stats stats = inspector.stats();
        std::int64_t all = 0;
        for (const auto& [state, found] : stats.by_state) {
            EXPECT_EQ(found, count("count(*) FROM instances NOT INDEXED WHERE state='" +
                                   std::string(to_string(state)) + "'"))
                << to_string(state);
            all += found;
        }
        EXPECT_EQ(stats.instances, all);
        EXPECT_EQ(stats.instances, count("count(*) FROM instances"));
        EXPECT_EQ(stats.entries, count("coalesce(sum(log_length), 0) FROM instances"));
        for (const auto& [disposition, found] : stats.events)
            EXPECT_EQ(found, count("count(*) FROM events WHERE disposition='" + disposition + "'"));
        for (const VersionView& view : inspector.versions()) {
            const std::string of = "count(*) FROM instances WHERE workflow='" + view.workflow +
                                   "' AND version=" + std::to_string(view.version);
            EXPECT_EQ(view.finished, count(of + " AND finished_at_ms NOTNULL"));
            std::int64_t unfinished = 0;
            for (const auto& [state, found] : view.unfinished) unfinished += found;
            EXPECT_EQ(unfinished, count(of + " AND finished_at_ms IS NULL"));
        }
        for (const Check& check : inspector.check().checks)
            EXPECT_THAT(check.examples, IsEmpty()) << check.name;
    }

    House house{{.synchronous = "OFF"}};
};

TEST_F(InspectMany, CountsWhatIsThere) {
    const Stats stats = Inspector(house.database(), house.clock).stats();
    for (const State state : {State::completed, State::failed, State::stuck, State::sleeping,
                              State::waiting, State::queued, State::cancelled})
        EXPECT_GT(stats.by_state.at(state), 0) << to_string(state);
    expect_true_counts();
}

TEST_F(InspectMany, CountsWhatRetentionLeft) {
    house.clock.advance(hours(24 * 40));
    house.run_to_the_end();
    while (house.store().purge({.older_than = hours(24 * 30), .limit = 7}).get().instances > 0) {
    }
    EXPECT_LT(count("count(*) FROM instances"), 120);
    expect_true_counts();
}

TEST_F(InspectMany, CountsWhatWasThereBeforeItCounted) {
    house.restart();
    house.damage(
        "PRAGMA user_version=5; ALTER TABLE events DROP COLUMN listed; DROP INDEX "
        "instances_by_state; DROP TABLE ended_instances; DROP "
        "TABLE received_events; DROP TRIGGER instances_that_end_are_counted; DROP TRIGGER "
        "ended_instances_that_come_are_counted; DROP TRIGGER ended_instances_that_go_are_counted; "
        "DROP TRIGGER events_that_come_are_counted; DROP TRIGGER events_that_go_are_counted");
    house.engine().run_until_idle();
    expect_true_counts();
}

TEST_F(InspectMany, ListsAsALookAtAllWould) {
    Inspector inspector(house.database(), house.clock);
    const auto all = inspector.list({});
    ASSERT_EQ(all.size(), 120u);
    for (const char* state : {"", "completed", "failed", "stuck", "sleeping", "waiting", "queued",
                              "cancelled", "running", "pending"})
        for (const char* key : {"", "key0", "key2", "nobody"})
            for (const int limit : {0, 1, 3}) {
                const InstanceFilter filter{
                    .state = parse_state(state), .key = key, .limit = limit};
                std::vector<std::string> wanted, found;
                for (const InstanceRow& row : all)
                    if ((!filter.state || row.state == *filter.state) &&
                        (filter.key.empty() || row.key == filter.key) &&
                        (limit == 0 || static_cast<int>(wanted.size()) < limit))
                        wanted.push_back(row.id);
                for (const InstanceRow& row : inspector.list(filter)) found.push_back(row.id);
                EXPECT_EQ(found, wanted) << state << " " << key << " " << limit;
            }
}

// Longer ago than is looked through: by indexes alone.
TEST_F(InspectMany, KnowsACustomerOfLongAgo) {
    house.start("order/old", "order", {{"way", "end"}}, "shop:true::cus_old");
    house.start("order/old/child", "order", {{"way", "end"}});
    house.start("order/plain", "order", {{"way", "end"}}, "cus_old");
    house.start("order/other", "order", {{"way", "end"}}, "shop:true::cus_older");
    house.engine().run_until_idle();
    house.restart();
    house.damage(
        "UPDATE instances SET parent=(SELECT seq FROM instances WHERE id='order/old') WHERE "
        "id='order/old/child';"
        "INSERT INTO once_keys(key,state,instance_id,step,idempotency_key,result,updated_at_ms) "
        "VALUES ('welcome/shop/cus_old','completed','order/old','mail','k',1,1),"
        "('welcome/shop/cus_older','completed','order/other','mail','k',1,1);"
        "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM n WHERE n<21000) "
        "INSERT INTO instances(id,workflow,version,state,log_hash,input_hash,created_at_ms,"
        "updated_at_ms,finished_at_ms,key) SELECT 'later/'||n, 'order', 1, 'completed', "
        "zeroblob(32), zeroblob(32), 1, 1, 1, 'bank:'||n FROM n");
    Inspector inspector(house.database(), house.clock);
    const CustomerView view = inspector.customer("cus_old");
    std::vector<std::string> ids;
    for (const InstanceRow& row : view.instances) ids.push_back(row.id);
    EXPECT_THAT(ids, ElementsAre("order/old", "order/old/child", "order/plain"));
    ASSERT_EQ(view.once.size(), 1u);
    EXPECT_EQ(view.once.front().key, "welcome/shop/cus_old");
    EXPECT_EQ(inspector.customer("18").instances.size(), 1u)
        << "bank:18; order/18 is known by its id alone, and not among the newest";
    EXPECT_THROW(inspector.customer("cus_ol"), InspectError);
}

// Keys with a head of their own each: more than are read by leaps, so all there is is looked at.
TEST_F(InspectMany, KnowsACustomerAmongThousandsOfKindsOfKeys) {
    house.start("order/old", "order", {{"way", "end"}}, "shop:true::cus_old");
    house.engine().run_until_idle();
    house.restart();
    house.damage(
        "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM n WHERE n<21000) "
        "INSERT INTO instances(id,workflow,version,state,log_hash,input_hash,created_at_ms,"
        "updated_at_ms,finished_at_ms,key) SELECT 'later/'||n, 'order', 1, 'completed', "
        "zeroblob(32), zeroblob(32), 1, 1, 1, 'bank'||n||':x' FROM n;"
        "INSERT INTO once_keys(key,state,instance_id,step,idempotency_key,result,updated_at_ms) "
        "VALUES ('welcome/shop/cus_old','completed','order/old','mail','k',1,1)");
    Inspector inspector(house.database(), house.clock);
    const CustomerView view = inspector.customer("cus_old");
    ASSERT_EQ(view.instances.size(), 1u);
    EXPECT_EQ(view.instances.front().id, "order/old");
    EXPECT_EQ(view.once.size(), 1u);
}

}  // namespace
}  // namespace steplog
