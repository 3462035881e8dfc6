// What the dashboard's views are made of: the figures of the last day, the list by pages, and the
// next attempt at once.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/server/dashboard_world.h"

namespace steplog::server {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<std::string> ids_in(const Json& page) {
    std::vector<std::string> ids;
    for (const Json& one : page["instances"]) ids.push_back(one["id"]);
    return ids;
}

using DashboardViews = DashboardWorld;

TEST_F(DashboardViews, ShowsHowTheLastDayWent) {
    completed_one();
    const std::string stuck = stuck_one();
    const Json seen = ask(get("/api/admin/overview"), 200);
    EXPECT_EQ(seen["states"]["stuck"], 1);
    EXPECT_EQ(seen["recent"]["completed"], 1);
    EXPECT_EQ(seen["recent"]["failed"], 0);
    EXPECT_EQ(seen["recent"]["whole"], true);
    EXPECT_TRUE(seen["recent"]["took_ms_p50"].is_number());
    EXPECT_EQ(seen["workflows"][0]["workflow"], "provision_customer");
    EXPECT_EQ(seen["without_account"]["stuck"], 1);
    EXPECT_TRUE(seen["without_account"]["waiting_since"].is_string());
    EXPECT_EQ(seen["stuck"][0]["error_code"], "no_email");
    EXPECT_EQ(seen["heads"], Json({"provision_customer"}));
    EXPECT_EQ(seen["hours"].size(), 24U);
    std::int64_t ended = 0;
    for (const Json& hour : seen["hours"]) ended += hour["finished"].get<std::int64_t>();
    EXPECT_EQ(ended, 1);

    ask(post("/api/admin/instances/" + stuck + "/cancel"), 200);
    EXPECT_EQ(ask(get("/api/admin/overview"), 200), seen);  // looked up once a second
    clock.advance(Ms(1000));
    const Json later = ask(get("/api/admin/overview"), 200);
    EXPECT_EQ(later["recent"]["cancelled"], 1);
    EXPECT_EQ(later["without_account"]["stuck"], 0);
    clock.advance(std::chrono::hours(25));
    EXPECT_EQ(ask(get("/api/admin/overview"), 200)["recent"]["completed"], 0);
}

TEST_F(DashboardViews, CallsFiguresASampleWhereMoreHasEnded) {
    load(12'000);
    const Json seen = ask(get("/api/admin/overview"), 200);
    EXPECT_EQ(seen["recent"]["whole"], false);
    EXPECT_EQ(seen["recent"]["looked_at"], 10'000);
    EXPECT_EQ(seen["recent"]["took_ms_p95"], 1000);
    EXPECT_EQ(seen["ended"]["completed"], 11'999);
    EXPECT_EQ(seen["ended"]["failed"], 1);
    std::int64_t ended = 0;
    for (const Json& hour : seen["hours"]) ended += hour["finished"].get<std::int64_t>();
    EXPECT_EQ(ended, 12'000);
}

TEST_F(DashboardViews, PagesThroughTheList) {
    std::vector<std::string> newest_first;
    for (int i = 0; i < 5; ++i) newest_first.insert(newest_first.begin(), completed_one());
    std::vector<std::string> seen;
    Json next = nullptr;
    for (int pages = 0; pages < 3; ++pages) {
        std::multimap<std::string, std::string> query = {{"limit", "2"}};
        if (!next.is_null()) query.emplace("before", next.dump());
        const Json page = browse(query);
        for (const std::string& id : ids_in(page)) seen.push_back(id);
        next = page["next"];
    }
    EXPECT_EQ(seen, newest_first);
    EXPECT_TRUE(next.is_null());
    EXPECT_THAT(ids_in(browse({{"state", "failed"}})), IsEmpty());
    EXPECT_EQ(ids_in(browse({{"workflow", "provision_customer"}})), newest_first);
    EXPECT_THAT(ids_in(browse({{"older_than", "1h"}})), IsEmpty());
}

TEST_F(DashboardViews, PagesThroughWhatIsUnfinishedInOneOrder) {
    std::vector<std::string> newest_first;
    for (int i = 0; i < 3; ++i) {
        accept(body_of(world.purchase(), "checkout.session.completed"));
        engine->run_until_idle();
        const auto no_email = world.purchase({.email = std::nullopt});
        newest_first.insert(newest_first.begin(),
                            accept(body_of(no_email, "checkout.session.completed")));
        engine->run_until_idle();
        newest_first.insert(newest_first.begin(), sleeping_one());
    }
    std::vector<std::string> seen;
    Json next = 1'000'000;
    for (int pages = 0; pages < 9 && !next.is_null(); ++pages) {
        const Json page =
            browse({{"state", "unfinished"}, {"limit", "2"}, {"before", next.dump()}});
        for (const std::string& id : ids_in(page)) seen.push_back(id);
        next = page["next"];
    }
    EXPECT_EQ(seen, newest_first);
    EXPECT_EQ(ids_in(browse({{"state", "stuck"}})).size(), 3U);
    EXPECT_THAT(ids_in(browse({{"state", "unfinished"}, {"text", "evt_"}})).size(), 6U);
}

TEST_F(DashboardViews, FindsByIdKeyAndCustomer) {
    const std::string id = completed_one();
    completed_one();
    const std::string event = id.substr(id.find('/') + 1);
    const std::string customer = sql("SELECT subject FROM events WHERE id='" + event + "'");
    const std::string key = sql("SELECT key FROM instances WHERE id='" + id + "'");
    for (const std::string& text :
         {id, id.substr(0, id.size() - 2), event, event.substr(0, event.size() - 1),
          event.substr(event.size() - 5), customer, key})
        EXPECT_THAT(ids_in(browse({{"text", text}})), ElementsAre(id)) << text;
    EXPECT_EQ(ids_in(browse({{"text", "provision_customer/"}})).size(), 2U);
    EXPECT_THAT(ids_in(browse({{"text", event}, {"state", "stuck"}})), IsEmpty());
    EXPECT_THAT(ids_in(browse({{"text", "'; DROP TABLE instances"}})), IsEmpty());
    EXPECT_EQ(browse({{"text", "evt"}, {"limit", "1"}})["cut"], true);
}

TEST_F(DashboardViews, LooksAtSoManyAndGoesOnBehindThem) {
    const std::string stuck = stuck_one();
    load(45'000);
    const Json page = browse({{"state", "stuck"}});
    EXPECT_THAT(ids_in(page), ElementsAre(stuck));  // by its index, behind all of them
    EXPECT_TRUE(page["next"].is_null());
    EXPECT_THAT(ids_in(browse({{"state", "unfinished"}})), ElementsAre(stuck));

    EXPECT_THAT(ids_in(browse({{"state", "failed"}})), ElementsAre("old/000007"));
    EXPECT_THAT(ids_in(browse({{"state", "failed"}, {"older_than", "1h"}})), IsEmpty());

    std::vector<std::string> found;
    int questions = 0;
    for (Json next = 1'000'000; !next.is_null() && questions < 10; ++questions) {
        const Json more = browse({{"workflow", "provision_customer"}, {"before", next.dump()}});
        for (const std::string& id : ids_in(more)) found.push_back(id);
        next = more["next"];
    }
    EXPECT_THAT(found, ElementsAre(stuck));
    EXPECT_EQ(questions, 3);
    EXPECT_THAT(ids_in(browse({{"text", "000009"}})), ElementsAre("old/000009"));
}

TEST_F(DashboardViews, RefusesQuestionsThatItDoesNotUnderstand) {
    for (const std::multimap<std::string, std::string>& query :
         {std::multimap<std::string, std::string>{{"state", "all"}},
          {{"before", "x"}},
          {{"before", "-1"}},
          {{"older_than", "soon"}},
          {{"limit", "0"}},
          {{"page", "1"}}})
        ask(get("/api/admin/browse", query), 400);
    ask(get("/api/admin/overview", {{"x", "1"}}), 400);
    ask(post("/api/admin/browse"), 405);
    ask(post("/api/admin/overview"), 405);
}

TEST_F(DashboardViews, RetriesAtOnceWhatWaitsForItsNextAttempt) {
    world.add_fault({.kind = sandbox::FaultKind::status, .provider = {}, .status = 503});
    const std::string id = accept(body_of(world.purchase(), "checkout.session.completed"));
    engine->run_until_idle();
    ASSERT_EQ(state(id), "sleeping");
    world.clear_faults({});
    const std::string path = "/api/admin/instances/" + id + "/retry-now";
    EXPECT_EQ(ask(post(path), 200)["retried"], 1);
    engine->run_until_idle();
    EXPECT_EQ(state(id), "completed");
    ask(post(path), 409);
    ask(post(path, {}, R"({"reason":"x"})"), 400);
    ask(get(path), 405);
}

}  // namespace
}  // namespace steplog::server
