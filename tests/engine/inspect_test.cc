// The read-only reader over databases that the real engine made: what it shows, what it refuses,
// and that it changes nothing.
#include "engine/inspect.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <thread>

#include "engine/inspect_file.h"
#include "engine/inspect_json.h"
#include "tests/engine/house.h"

namespace steplog {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::House;
using testing::ManualClock;
using ::testing::Not;
using ::testing::StartsWith;
using testing::TemporaryDirectory;
namespace fs = std::filesystem;

std::string bytes_of(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

void write_file(const fs::path& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary) << bytes;
}

std::vector<std::string> names_in(const fs::path& directory) {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(directory))
        names.push_back(entry.path().filename());
    std::sort(names.begin(), names.end());
    return names;
}

// A house with instances in most states. What the steps do is decided by the id.
class InspectorTest : public ::testing::Test {
  protected:
    InspectorTest() {
        house.defaults.retry = {.attempts_max = 3, .base = Ms(60'000), .cap = Ms(60'000)};
        house.add("order", [](Context& ctx, const Json& input) {
            const std::string what = input.value("what", "");
            const int reserved =
                ctx.step("reserve", {.provider = "stock"}, [&](const Attempt&) { return 7; });
            ctx.step(
                "pay", {.provider = "bank", .repeat = Repeat::at_most_once},
                [&](const Attempt&) -> Json {
                    if (what == "down")
                        throw RetryableError("the bank is closed", {.code = "unavailable",
                                                                    .outcome = Outcome::refused,
                                                                    .retry_after = Ms(300'000)});
                    if (what == "lost")
                        throw RetryableError("no answer",
                                             {.code = "timeout", .retry_after = Ms(0)});
                    if (what == "no")
                        throw PermanentError("card_declined",
                                             "the card of ann@example.com was declined");
                    return {
                        {"email", "ann@example.com"}, {"name", "Ann Smith"}, {"receipt", "r_1"}};
                });
            if (what == "odd") ctx.stuck("odd_order", "this order is odd");
            return Json{{"reserved", reserved}};
        });
    }

    Inspector inspector() { return Inspector(house.database(), house.clock); }
    void start(const std::string& id, const std::string& what, const std::string& key = "",
               OnStuck on_stuck = OnStuck::keep_key) {
        house.start(id, "order", {{"what", what}, {"email", "ann@example.com"}, {"amount", 12}},
                    key, on_stuck);
    }
    void fill() {
        start("order/done", "");
        start("order/odd", "odd", "customer:1");
        house.engine().run_until_idle();
        start("order/behind", "", "customer:1");
        start("order/down", "down");
        start("order/lost", "lost");
        start("order/no", "no");
        house.engine().run_until_idle();
        start("order/new", "");
        house.store().flush();
    }
    // What a server leaves behind when it ends in good order.
    void close() { house.damage("SELECT 1"); }

    House house;
};

TEST_F(InspectorTest, ListsNewestFirstAndFilters) {
    fill();
    Inspector look = inspector();
    const auto ids = [&](const InstanceFilter& filter) {
        std::vector<std::string> found;
        for (const InstanceRow& row : look.list(filter)) found.push_back(row.id);
        return found;
    };
    EXPECT_THAT(ids({}), ElementsAre("order/new", "order/no", "order/lost", "order/down",
                                     "order/behind", "order/odd", "order/done"));
    EXPECT_THAT(ids({.state = State::stuck}), ElementsAre("order/lost", "order/odd"));
    EXPECT_THAT(ids({.key = "customer:1"}), ElementsAre("order/behind", "order/odd"));
    EXPECT_THAT(ids({.step = "pay", .error_code = "unavailable"}), ElementsAre("order/down"));
    EXPECT_THAT(ids({.limit = 2}), ElementsAre("order/new", "order/no"));
    EXPECT_THAT(ids({.workflow = "other"}), ElementsAre());
    EXPECT_THAT(ids({.older_than = Ms(1)}), ElementsAre());
    house.clock.advance(Ms(60'000));
    EXPECT_EQ(ids({.older_than = Ms(60'000)}).size(), 7u);
}

TEST_F(InspectorTest, FindsByAnyClearEndingOrBeginning) {
    for (const char* id :
         {"order/evt_1Abc", "order/evt_10", "other/evt_20", "order/reconcile/cus_1/sub_1"})
        start(id, "");
    Inspector look = inspector();
    EXPECT_EQ(look.find("order/evt_10").id, "order/evt_10");
    EXPECT_EQ(look.find("evt_1Abc").id, "order/evt_1Abc");
    EXPECT_EQ(look.find("Abc").id, "order/evt_1Abc");
    EXPECT_EQ(look.find("other/").id, "other/evt_20");
    EXPECT_EQ(look.find("evt_1A").id, "order/evt_1Abc");
    EXPECT_EQ(look.find("cus_1").id, "order/reconcile/cus_1/sub_1");
    const auto failure_of = [&](const std::string& text) {
        try {
            return "found " + look.find(text).id;
        } catch (const InspectError& error) {
            return std::string(error.what());
        }
    };
    EXPECT_THAT(failure_of("evt_"), AllOf(HasSubstr("3 instances"), HasSubstr("other/evt_20")));
    EXPECT_THAT(failure_of("order/"), HasSubstr("3 instances"));
    EXPECT_THAT(failure_of("evt_9"), HasSubstr("no instance evt_9"));
    EXPECT_THAT(failure_of("%"), HasSubstr("no instance"));
    EXPECT_THAT(failure_of("' OR 1=1 --"), HasSubstr("no instance"));
    EXPECT_THAT(failure_of("a\x1b[31m\n"), HasSubstr("a\\x1b[31m\\x0a"));
    EXPECT_THAT(failure_of(""), HasSubstr("no instance"));
    EXPECT_THAT(failure_of(std::string(10'000, 'x')), HasSubstr("no instance"));
}

TEST_F(InspectorTest, PrefersAWholeLastPart) {
    for (const char* id : {"order/evt_1", "order/not_evt_1"}) start(id, "");
    EXPECT_EQ(inspector().find("evt_1").id, "order/evt_1");
}

TEST_F(InspectorTest, ShowsTheLogWithResultsAndHidesPeople) {
    fill();
    const Json json = json_of(inspector().show("done"));
    EXPECT_EQ(json.at("state"), "completed");
    EXPECT_EQ(json.at("input"),
              Json({{"what", ""}, {"email", "a***@example.com"}, {"amount", 12}}));
    EXPECT_EQ(json.at("output"), Json({{"reserved", 7}}));
    EXPECT_EQ(json.at("error"), nullptr);
    EXPECT_EQ(json.at("log_damage"), nullptr);
    EXPECT_EQ(json.at("created_at"), "2026-01-01T00:00:00.000Z");
    ASSERT_EQ(json.at("log").size(), 4u);
    const Json& paid = json.at("log").at(3);
    EXPECT_EQ(paid.at("seq"), 4);
    EXPECT_EQ(paid.at("step"), "pay");
    EXPECT_EQ(paid.at("kind"), "completed");
    EXPECT_EQ(paid.at("attempt"), 1);
    EXPECT_EQ(paid.at("data").at("result"),
              Json({{"email", "a***@example.com"}, {"name", "***"}, {"receipt", "r_1"}}));
    EXPECT_EQ(json.at("log").at(0).at("data").at("provider"), "stock");
    const Json no = json_of(inspector().show("order/no"));
    EXPECT_EQ(no.at("state"), "failed");
    EXPECT_THAT(dump(no), AllOf(HasSubstr("a***@example.com"), Not(HasSubstr("ann@"))));
}

TEST_F(InspectorTest, HasEveryPromisedField) {
    fill();
    for (const InstanceRow& row : inspector().list({})) {
        const Json json = json_of(row);
        for (const char* field : {"id", "workflow", "version", "state", "key", "step", "attempts",
                                  "error", "created_at", "updated_at", "due_at", "finished_at"})
            EXPECT_TRUE(json.contains(field)) << field;
    }
    const Json down = json_of(inspector().find("order/down"));
    EXPECT_EQ(down.at("error"), "the bank is closed");
    EXPECT_EQ(down.at("error_code"), "unavailable");
    EXPECT_EQ(down.at("attempts"), 1);
    EXPECT_EQ(down.at("due_at"), "2026-01-01T00:05:00.000Z");
    EXPECT_EQ(down.at("key"), nullptr);
    EXPECT_EQ(down.at("finished_at"), nullptr);
}

TEST_F(InspectorTest, SaysWhyForEveryStateAndWait) {
    fill();
    Inspector look = inspector();
    house.clock.advance(Ms(120'000));
    const auto why = [&](const char* id) { return look.why(id).explanation.sentence; };
    EXPECT_EQ(
        why("order/done"),
        "order/done completed at 2026-01-01T00:00:00.000Z (2 min ago), nothing is left to do");
    EXPECT_EQ(why("order/odd"),
              "order/odd is stuck at step pay since 2026-01-01T00:00:00.000Z (2 min) (odd_order: "
              "this order is "
              "odd), and 1 more of its key waits behind it; nothing happens by itself; when the "
              "cause is gone, "
              "run: workflow-resume order/odd");
    EXPECT_EQ(why("order/behind"),
              "order/behind is queued since 2026-01-01T00:00:00.000Z (2 min) for the key "
              "customer:1, held by "
              "order/odd (stuck); by itself it goes on when that one is resumed and ends; when the "
              "cause is "
              "gone, run: workflow-resume order/odd");
    EXPECT_EQ(why("order/down"),
              "order/down waits since 2026-01-01T00:00:00.000Z (2 min) between attempts at step "
              "pay (1 so far) "
              "(unavailable: the bank is closed); by itself it tries again at "
              "2026-01-01T00:05:00.000Z (in 3 "
              "min); to try at once, run: workflow-resume order/down");
    EXPECT_THAT(why("order/lost"), AllOf(HasSubstr("in_doubt"), HasSubstr("look"),
                                         HasSubstr("workflow-resume order/lost")));
    EXPECT_THAT(why("order/no"), AllOf(StartsWith("order/no failed at"), HasSubstr("card_declined"),
                                       Not(HasSubstr("ann@")), Not(HasSubstr("workflow-resume"))));
    EXPECT_THAT(why("order/new"), HasSubstr("free worker"));
    close();
    EXPECT_THAT(inspector().why("order/new").explanation.sentence,
                HasSubstr("once workflow-server runs"));
}

// Waits that no workflow of today can reach are rows all the same.
TEST_F(InspectorTest, SaysWhyForWaitsThatAreOnlyStored) {
    start("order/x", "down");
    house.engine().run_until_idle();
    const auto why_when = [&](const std::string& assignments) {
        house.damage("UPDATE instances SET due_at_ms=NULL, " + assignments);
        return inspector().why("order/x").explanation;
    };
    EXPECT_THAT(
        why_when("waits_for='circuit', waits_detail='bank'").sentence,
        AllOf(HasSubstr("provider bank is out of order"), HasSubstr("workflow-resume order/x")));
    EXPECT_THAT(why_when("waits_for='timer', due_at_ms=1767225700000").sentence,
                HasSubstr("goes on at 2026-01-01T00:01:40"));
    EXPECT_THAT(why_when("state='waiting', waits_for='signal', waits_detail='approved'").sentence,
                AllOf(HasSubstr("the signal approved"),
                      HasSubstr("workflow-admin signal order/x approved")));
    EXPECT_THAT(why_when("state='waiting', waits_for='child', waits_detail='order/child'").sentence,
                HasSubstr("its child order/child"));
    EXPECT_THAT(why_when("state='waiting', waits_for='once', waits_detail='mail/1'").sentence,
                HasSubstr("for mail/1"));
    EXPECT_THAT(why_when("state='sleeping', waits_for='pause'").sentence, HasSubstr("is paused"));
    EXPECT_THAT(why_when("state='running', due_at_ms=1, waits_for=NULL, owner=1").sentence,
                HasSubstr("when workflow-server starts"));
    EXPECT_THAT(why_when("state='cancelled', finished_at_ms=1, owner=NULL").sentence,
                HasSubstr("was cancelled"));
}

TEST_F(InspectorTest, CountsForStats) {
    fill();
    const Json stats = json_of(inspector().stats(), house.clock.now_ms());
    EXPECT_EQ(stats.at("instances"), 7);
    EXPECT_EQ(stats.at("by_state").at("stuck"), 2);
    EXPECT_EQ(stats.at("by_state").at("completed"), 1);
    EXPECT_EQ(stats.at("by_state").at("cancelled"), 0);
    EXPECT_EQ(stats.at("created_last_hour"), 7);
    EXPECT_EQ(stats.at("finished_last_hour"), 2);
    EXPECT_EQ(stats.at("due"), 1);
    EXPECT_EQ(stats.at("stuck").size(), 2u);
    EXPECT_GT(stats.at("entries"), 10);
    EXPECT_EQ(stats.at("owner").at("pid"), getpid());
    close();
    EXPECT_EQ(json_of(inspector().stats(), 0).at("owner"), nullptr);
}

TEST_F(InspectorTest, TellsAStepThatHadNothingToDoFromAnEffect) {
    house.add("guest", [](Context& ctx, const Json&) {
        ctx.step("link", [](const Attempt&) { return Json{{"skipped", "a guest has no record"}}; });
        ctx.step("count", [](const Attempt&) { return Json{{"skipped", 3}}; });
        return Json();
    });
    house.restart();
    house.start("guest/1", "guest", {{"what", ""}}, "shop:true::cus_5");
    house.engine().run_until_idle();
    const Json effects = json_of(inspector().customer("cus_5")).at("effects");
    ASSERT_EQ(effects.size(), 2u);
    EXPECT_EQ(effects.at(0).at("skipped"), true);
    EXPECT_EQ(effects.at(1).at("skipped"), false) << "a count is a result like any other";
}

TEST_F(InspectorTest, KnowsACustomersEventsInstancesAndEffects) {
    NewEvent event{.source = "shop",
                   .id = "evt_1",
                   .type = "paid",
                   .subject = "cus_1",
                   .body = R"({"what":"","email":"ann@example.com"})"};
    house.engine().accept(
        event, NewInstance{.id = "order/evt_1", .workflow = "order", .key = "shop:true::cus_1"});
    event.id = "evt_2";
    event.disposition = NewEvent::Disposition::ignored;
    event.reason = "nobody wants it";
    house.engine().accept(event, std::nullopt);
    NewEvent indirect{.source = "shop",
                      .id = "evt_3",
                      .type = "paid",
                      .subject = "session_1",
                      .body = R"({"what":""})"};
    house.engine().accept(
        indirect, NewInstance{.id = "order/evt_3", .workflow = "order", .key = "shop:true::cus_1"});
    start("order/reconcile/cus_1/sub_1", "");
    start("order/else", "", "shop:true::cus_11");
    house.engine().run_until_idle();
    const Json view = json_of(inspector().customer("cus_1"));
    EXPECT_EQ(view.at("events").size(), 3u);
    ASSERT_EQ(view.at("instances").size(), 3u);
    EXPECT_EQ(view.at("instances").at(0).at("id"), "order/evt_1");
    ASSERT_EQ(view.at("effects").size(), 6u);
    EXPECT_EQ(view.at("effects").at(1).at("provider"), "bank");
    EXPECT_THAT(dump(view), Not(HasSubstr("ann@")));
    EXPECT_THROW(inspector().customer("cus_9"), InspectError);

    EXPECT_EQ(json_of(inspector().show("evt_1")).at("event").at("type"), "paid");
    const auto all = inspector().events(false, 0), unrouted = inspector().events(true, 0);
    ASSERT_EQ(all.size(), 3u);
    EXPECT_EQ(all.front().id, "evt_3");
    EXPECT_EQ(all.back().instance, "order/evt_1");
    ASSERT_EQ(unrouted.size(), 1u);
    EXPECT_EQ(unrouted.front().reason, "nobody wants it");
    EXPECT_EQ(inspector().events(false, 1).size(), 1u);
}

TEST_F(InspectorTest, PlansWhatTheStoreWouldResume) {
    fill();
    for (const ResumeRequest& request :
         {ResumeRequest{}, ResumeRequest{.state = State::sleeping},
          ResumeRequest{.error_code = "odd_order"}, ResumeRequest{.limit = 1},
          ResumeRequest{.ids = {"order/lost", "order/done", "order/none", "order/new"}}}) {
        const Resumable planned = inspector().resumable(request);
        std::vector<std::string> ids, reasons;
        for (const InstanceRow& row : planned.instances) ids.push_back(row.id);
        for (const auto& skipped : planned.skipped)
            reasons.push_back(skipped.id + ": " + skipped.reason);
        house.store().flush();
        house.remember();
        const Resumed done = house.store().resume(request).get();
        house.die_as_remembered();
        EXPECT_EQ(ids, done.ids);
        std::vector<std::string> stored;
        for (const auto& skipped : done.skipped)
            stored.push_back(skipped.id + ": " + skipped.reason);
        EXPECT_THAT(reasons, ::testing::UnorderedElementsAreArray(stored));
    }
}

TEST_F(InspectorTest, ChangesNothingOfADatabaseThatNobodyOwns) {
    fill();
    close();
    const fs::path directory = fs::path(house.database()).parent_path();
    const auto names = names_in(directory);
    const std::string bytes = bytes_of(house.database());
    Inspector look = inspector();
    EXPECT_EQ(look.list({}).size(), 7u);
    EXPECT_TRUE(look.check().holds());
    look.stats();
    EXPECT_EQ(names_in(directory), names);
    EXPECT_EQ(bytes_of(house.database()), bytes);
}

TEST_F(InspectorTest, ReadsWhatACrashLeftInTheLogAndChangesNothing) {
    fill();
    house.remember();
    const fs::path moment = fs::path(house.database()).parent_path() / "moment.db";
    ASSERT_GT(fs::file_size(moment.string() + "-wal"), 0u);
    const std::string database = bytes_of(moment), wal = bytes_of(moment.string() + "-wal");
    {
        Inspector look(moment, house.clock);
        EXPECT_EQ(look.list({}).size(), 7u);
        EXPECT_TRUE(look.check().holds());
    }
    EXPECT_EQ(bytes_of(moment), database);
    EXPECT_EQ(bytes_of(moment.string() + "-wal"), wal);
}

TEST_F(InspectorTest, SeesWhatIsWrittenAfterItWasOpened) {
    start("order/1", "");
    close();
    Inspector look = inspector();
    EXPECT_EQ(look.list({}).size(), 1u);
    start("order/2", "");  // a server starts, writes …
    EXPECT_EQ(look.list({}).size(), 2u);
    close();  // … and ends
    EXPECT_EQ(look.list({}).size(), 2u);
    Inspector again = inspector();
    start("order/3", "");
    close();
    EXPECT_EQ(again.list({}).size(), 3u);
}

TEST_F(InspectorTest, LooksOnBesideALiveWriter) {
    house.engine();
    std::atomic<bool> done = false;
    std::string failure;
    std::thread reader([&] {
        try {
            while (!done) {
                Inspector look(house.database(), house.clock);
                look.list({});
                look.stuck();
                if (!look.check().holds()) failure = dump(json_of(look.check()));
            }
        } catch (const std::exception& error) {
            failure = error.what();
        }
    });
    for (int i = 0; i < 150; ++i) {
        start("order/" + std::to_string(i), i % 3 == 0 ? "odd" : "",
              "customer:" + std::to_string(i % 7));
        house.engine().run_until_idle();
    }
    done = true;
    reader.join();
    EXPECT_EQ(failure, "");
    EXPECT_EQ(inspector().list({}).size(), 150u);
}

std::string refusal_of(const fs::path& path) {
    ManualClock clock;
    try {
        Inspector look(path, clock);
        look.list({});
        return "accepted";
    } catch (const InspectError& error) {
        EXPECT_THAT(error.what(), Not(HasSubstr("\n")));
        return error.what();
    }
}

TEST_F(InspectorTest, RefusesWhatIsNoDatabaseOfOurs) {
    start("order/1", "");
    close();
    const TemporaryDirectory directory;
    const auto sql = [&](const char* name, const std::string& statement) {
        if (statement.starts_with("PRAGMA user_version"))
            fs::copy_file(house.database(), directory / name);
        SQLite::Database(directory / name, SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE)
            .exec(statement);
        return directory / name;
    };
    const auto file = [&](const char* name, const std::string& bytes) {
        write_file(directory / name, bytes);
        return directory / name;
    };
    EXPECT_THAT(refusal_of(directory / "missing.db"), HasSubstr("there is no database"));
    EXPECT_THAT(refusal_of(directory / "no/such/dir.db"), HasSubstr("there is no database"));
    EXPECT_THAT(refusal_of(file("empty.db", "")), HasSubstr("is empty"));
    EXPECT_THAT(refusal_of(file("text.db", "dear diary\n")), HasSubstr("not a Steplog database"));
    EXPECT_THAT(refusal_of(file("encrypted.db", std::string(8192, '\xa7'))),
                HasSubstr("encrypted"));
    EXPECT_THAT(refusal_of(sql("other.db", "CREATE TABLE t(x)")), HasSubstr("another program"));
    EXPECT_THAT(refusal_of(sql("newer.db", "PRAGMA user_version=999")), HasSubstr("newer"));
    EXPECT_THAT(refusal_of(sql("older.db", "PRAGMA user_version=0")), HasSubstr("older"));
    EXPECT_THAT(refusal_of(directory.path()), HasSubstr("a directory"));
    fs::create_symlink(house.database(), directory / "link.db");
    EXPECT_THAT(refusal_of(directory / "link.db"), HasSubstr("a symbolic link"));
    ASSERT_EQ(mkfifo((directory / "pipe.db").c_str(), 0600), 0);
    EXPECT_THAT(refusal_of(directory / "pipe.db"), HasSubstr("a pipe"));
    EXPECT_THAT(refusal_of("/dev/null"), HasSubstr("a device"));
    // A link on the way to it is no link to it; and names may hold what URIs treat specially.
    fs::create_directory_symlink(fs::path(house.database()).parent_path(), directory / "linked");
    EXPECT_EQ(refusal_of(directory / "linked/test.db"), "accepted");
    fs::copy_file(house.database(), directory / "a?b#c%41 d.db");
    EXPECT_EQ(refusal_of(directory / "a?b#c%41 d.db"), "accepted");
}

TEST_F(InspectorTest, NamesADamagedPage) {
    for (int i = 0; i < 200; ++i) start("order/" + std::to_string(i), "");
    house.engine().run_until_idle();
    close();
    std::string bytes = bytes_of(house.database());
    for (std::size_t at = 4096; at < bytes.size(); at += 2 * 4096)
        bytes.replace(at, 64, 64, '\xee');
    write_file(house.database(), bytes);
    EXPECT_THAT(refusal_of(house.database()), HasSubstr("damaged"));
    try {
        EXPECT_FALSE(inspector().check().holds());
    } catch (const InspectError& error) {
        EXPECT_THAT(error.what(), HasSubstr("damaged"));
    }
}

TEST_F(InspectorTest, EndsALookThatTakesTooLong) {
    start("order/1", "");
    ReadOnlyDatabase file(house.database());
    try {
        file.read(
            [](Statements& statements) {
                Query endless(statements,
                              "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n) "
                              "SELECT max(i) FROM n");
                return endless.next();
            },
            Ms(20));
        FAIL() << "an endless query came to an end";
    } catch (const InspectError& error) {
        EXPECT_EQ(error.kind(), InspectError::Kind::too_slow);
    }
    EXPECT_EQ(Inspector(house.database(), house.clock).list({}).size(), 1u);
}

}  // namespace
}  // namespace steplog
