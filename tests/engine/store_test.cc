// What the store promises on its own: folding, fencing, the chain, and what the schema refuses.
#include <gtest/gtest.h>

#include <filesystem>
#include <set>

#include "tests/engine/house.h"

namespace steplog {
namespace {

using testing::House;
using testing::ManualClock;
using testing::TemporaryDirectory;

NewEvent event(const std::string& id, const std::string& body = "{}") {
    return {.source = "stripe", .id = id, .type = "t", .body = body};
}

StoreError::Kind kind_of(std::future<Advanced> future) {
    try {
        future.get();
    } catch (const StoreError& error) {
        return error.kind();
    }
    ADD_FAILURE() << "nothing was thrown";
    return StoreError::Kind::closed;
}

TEST(Store, AcceptsAnEventAndItsInstanceOnceHoweverOftenItIsDelivered) {
    House house;
    int runs = 0;
    house.add("w", [&](Context&, const Json& input) { return ++runs, input; });
    const NewInstance instance{.id = "w/e1", .workflow = "w"};
    EXPECT_FALSE(house.engine().accept(event("e1", R"({"a":1})"), instance).duplicate);
    EXPECT_TRUE(house.engine().accept(event("e1", R"({"a":1})"), instance).duplicate);
    house.run_to_the_end();
    const Accepted again = house.engine().accept(event("e1", R"({"a":2})"), instance);
    EXPECT_TRUE(again.duplicate);
    EXPECT_TRUE(again.conflict);
    EXPECT_EQ(runs, 1);
    EXPECT_EQ(house.sql("SELECT body FROM payloads WHERE id=(SELECT input_payload FROM instances)"),
              R"({"a":1})");
    EXPECT_EQ(house.sql("SELECT conflicts FROM events"), "1");
}

TEST(Store, TakesAnEventFromTheProvidersListAndItsDeliveryForOne) {
    House house;
    int runs = 0;
    house.add("w", [&](Context&, const Json& input) { return ++runs, input; });
    const auto accept = [&](const std::string& id, const std::string& body, bool listed) {
        NewEvent one = event(id, body);
        one.listed = listed;
        return house.engine().accept(one, NewInstance{.id = "w/" + id, .workflow = "w"});
    };
    EXPECT_FALSE(accept("e1", R"({"listed":1})", true).duplicate);
    EXPECT_FALSE(accept("e2", R"({"delivered":1})", false).duplicate);
    for (const auto& again :
         {accept("e1", R"({"delivered":1})", false), accept("e2", R"({"listed":1})", true)}) {
        EXPECT_TRUE(again.duplicate);
        EXPECT_FALSE(again.conflict);
    }
    house.run_to_the_end();
    EXPECT_EQ(runs, 2);
    EXPECT_EQ(house.sql("SELECT sum(conflicts) FROM events"), "0");
}

TEST(Store, KeepsIgnoredAndQuarantinedEventsWithoutAnInstance) {
    House house;
    NewEvent ignored = event("e1");
    ignored.disposition = NewEvent::Disposition::ignored;
    ignored.reason = "no workflow wants it";
    house.engine().accept(ignored, std::nullopt);
    EXPECT_EQ(house.sql("SELECT disposition || ': ' || reason FROM events"),
              "ignored: no workflow wants it");
    NewEvent routed_nowhere = event("e2");
    EXPECT_THROW(house.engine().accept(routed_nowhere, std::nullopt), StoreError);
    EXPECT_EQ(house.sql("SELECT count(*) FROM events"), "1");
}

TEST(Store, CommitsIntoALogThatWasWrittenInAdvance) {
    House house;
    const std::filesystem::path wal = house.database() + "-wal";
    std::set<std::uintmax_t> sizes;
    for (int i = 0; i < 100; ++i) {
        house.start("i" + std::to_string(i), "w");
        sizes.insert(std::filesystem::file_size(wal));
    }
    EXPECT_GT(*sizes.rbegin(), 1'000'000u);
    EXPECT_LT(sizes.size(), 20u) << "commits make the file longer";
}

TEST(Store, RefusesToFinishAStepTwice) {
    House house;
    house.start("i", "w");
    const Claimed claimed = house.store().claim({}).get().claimed.at(0);
    Advance finish{.instance = claimed.seq, .epoch = claimed.epoch};
    finish.entries.push_back({.step = "a", .kind = EntryKind::completed, .payload = "1"});
    house.store().advance(finish).get();
    EXPECT_EQ(kind_of(house.store().advance(finish)), StoreError::Kind::constraint);
    EXPECT_EQ(house.log("i"), "completed a");
}

TEST(Store, RefusesWhoHoldsAnOldClaim) {
    House house;
    house.start("i", "w");
    const Claimed old = house.store().claim({}).get().claimed.at(0);
    house.restart();
    const Claimed fresh = house.store().claim({}).get().claimed.at(0);
    EXPECT_EQ(fresh.epoch, old.epoch + 1);
    EXPECT_EQ(kind_of(house.store().advance({.instance = old.seq, .epoch = old.epoch})),
              StoreError::Kind::fenced);
    house.store().advance({.instance = fresh.seq, .epoch = fresh.epoch}).get();
}

TEST(Store, NeverHandsOutWhatItsOwnThreadsHoldHoweverLongTheyTake) {
    House house;
    house.start("i", "w");
    EXPECT_EQ(house.store().claim({.limit = 9}).get().claimed.size(), 1u);
    house.clock.advance(std::chrono::hours(24));
    EXPECT_EQ(house.store().claim({.limit = 9}).get().claimed.size(), 0u);
}

TEST(Store, HandsAFreshInstanceOverInTheTransactionThatAcceptsIt) {
    House house;
    const NewInstance instance{.id = "i", .workflow = "w", .input = "[1]"};
    const Accepted accepted = house.store().accept(std::nullopt, instance, true).get();
    ASSERT_TRUE(accepted.claimed);
    EXPECT_EQ(accepted.claimed->epoch, 1);
    EXPECT_EQ(accepted.claimed->input, "[1]");
    EXPECT_EQ(house.state("i"), "running");
}

TEST(Store, GoesOnAtOnceWithWhatRanWhenItsOwnerDied) {
    House house;
    house.start("i", "w");
    house.store().claim({}).get();
    house.restart();
    EXPECT_EQ(house.store().claim({}).get().claimed.at(0).deaths, 1);
}

TEST(Store, DelaysAStart) {
    House house;
    house.store()
        .accept(std::nullopt,
                NewInstance{.id = "i", .workflow = "w", .input = "1", .delay = Ms(500)}, true)
        .get();
    EXPECT_EQ(house.store().claim({}).get().claimed.size(), 0u);
    house.clock.advance(Ms(500));
    EXPECT_EQ(house.store().claim({}).get().claimed.size(), 1u);
}

TEST(Store, DecidesAboutASchedulesTimeInTheTransactionThatClaimsWhatItStarts) {
    House house;
    house.store().define_schedules({{.name = "s", .workflow = "w", .cron = "0 9 * * *"}}).get();
    const std::int64_t nine_ms = house.clock.now_ms() + 9 * 3'600'000;
    house.clock.set_ms(nine_ms);
    EXPECT_EQ(house.store().claim({.limit = 0}).get().next_due_ms, nine_ms);
    EXPECT_EQ(house.sql("SELECT count(*) FROM instances"), "0") << "only looked";
    const ClaimResult result = house.store().claim({.limit = 1}).get();
    ASSERT_EQ(result.schedules.size(), 1u);
    EXPECT_EQ(result.schedules.front().at_ms, nine_ms);
    ASSERT_EQ(result.claimed.size(), 1u);
    EXPECT_EQ(result.claimed.front().id, result.schedules.front().instance);
    EXPECT_EQ(result.next_due_ms, nine_ms + 24 * 3'600'000);
}

TEST(Store, StartsOnceWhateverHappensToWhatASchedulesTimeStarted) {
    House house;
    const Schedule schedule{.name = "s", .workflow = "w", .cron = "0 9 * * *"};
    house.store().define_schedules({schedule}).get();
    const std::int64_t begin_ms = house.clock.now_ms();
    house.clock.set_ms(begin_ms + 9 * 3'600'000);
    house.store().claim({.limit = 1}).get();
    house.clock.set_ms(begin_ms);
    house.store().define_schedules({schedule}).get();
    house.clock.set_ms(begin_ms + 9 * 3'600'000);
    EXPECT_EQ(house.store().claim({.limit = 1}).get().schedules.size(), 0u);
    EXPECT_EQ(house.sql("SELECT started FROM schedules"), "1");
}

TEST(Store, DefinesNoneOfTheSchedulesWhenOneIsWrong) {
    House house;
    auto future = house.store().define_schedules(
        {{.name = "s", .workflow = "w", .cron = "@daily"}, {.name = "t", .workflow = "w"}});
    EXPECT_THROW(future.get(), StoreError);
    EXPECT_EQ(house.sql("SELECT count(*) FROM schedules"), "0");
    EXPECT_EQ(house.store()
                  .change_schedule({.kind = ScheduleChange::Kind::pause, .name = "s"})
                  .get()
                  .refused.empty(),
              false);
}

struct Damage {
    const char* statement;
    const char* expected;
};

class DamagedLog : public ::testing::TestWithParam<Damage> {};

TEST_P(DamagedLog, MakesTheInstanceStuckBeforeAnyCall) {
    House house;
    int calls = 0;
    bool down = true;
    house.add("w", [&](Context& ctx, const Json&) {
        ctx.step("a", [&](const Attempt&) { return ++calls; });
        ctx.step("b", [&](const Attempt&) {
            ++calls;
            if (down) throw RetryableError("down", {});
        });
        return Json();
    });
    house.start("i", "w");
    house.engine().run_until_idle();
    EXPECT_EQ(calls, 2);
    down = false;
    house.damage("DROP TRIGGER entries_are_immutable");
    house.damage("DROP TRIGGER entries_outlive_their_instance");
    house.damage(GetParam().statement);
    house.run_to_the_end();
    EXPECT_EQ(calls, 2);
    EXPECT_EQ(house.error_code("i"), "log_damaged");
    EXPECT_NE(house.sql("SELECT error FROM instances").find(GetParam().expected), std::string::npos)
        << house.sql("SELECT error FROM instances");
    EXPECT_EQ(house.resume("i").skipped.at(0).reason.substr(0, 11), "log_damaged");
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, DamagedLog,
    ::testing::Values(
        Damage{"UPDATE entries SET at_ms=at_ms+1 WHERE n=2", "entry 2"},
        Damage{"UPDATE payloads SET body=x'32' WHERE id=(SELECT payload FROM entries WHERE n=2)",
               "entry 2"},
        Damage{"UPDATE entries SET data='{}' WHERE n=1", "entry 1"},
        Damage{"DELETE FROM entries WHERE n=2", "entry 3"},
        Damage{"DELETE FROM entries WHERE n=4", "the end of its log"},
        Damage{"UPDATE payloads SET body=x'5b5d' WHERE id=(SELECT input_payload FROM instances)",
               "input"}));

TEST(Store, ForgottenPayloadLeavesTheChainWhole) {
    House house;
    bool down = true;
    house.add("w", [&](Context& ctx, const Json&) {
        if (down) ctx.step("a", [](const Attempt&) { return std::string("personal"); });
        ctx.step("b", [&](const Attempt&) {
            if (down) throw RetryableError("down", {});
        });
        return Json();
    });
    house.start("i", "w");
    house.engine().run_until_idle();
    house.damage("UPDATE payloads SET body=NULL WHERE id=(SELECT payload FROM entries WHERE n=2)");
    down = false;
    house.run_to_the_end();
    EXPECT_EQ(house.state("i"), "completed");
}

TEST(Schema, RefusesToRewriteHistory) {
    House house;
    bool ended = false;
    house.add("w", [&](Context& ctx, const Json&) {
        ctx.step("a", [](const Attempt&) {});
        if (!ended) ctx.stuck("no", "no");
        return Json();
    });
    house.start("i", "w");
    house.run_to_the_end();
    EXPECT_THROW(house.damage("UPDATE entries SET step='b'"), SQLite::Exception);
    EXPECT_THROW(house.damage("DELETE FROM entries"), SQLite::Exception);
    EXPECT_THROW(house.damage("INSERT INTO entries SELECT "
                              "99,instance,2,step,kind,attempt,generation,at_ms,data,payload,"
                              "payload_hash,hash FROM entries WHERE n=1"),
                 SQLite::Exception);
    ended = true;
    house.resume("i");
    house.run_to_the_end();
    EXPECT_THROW(
        house.damage("UPDATE instances SET state='pending', due_at_ms=1, finished_at_ms=NULL"),
        SQLite::Exception);
    EXPECT_THROW(house.damage("UPDATE audit SET actor='nobody'"), SQLite::Exception);
}

TEST(Store, PurgesWhatHasEndedLongAgoAndKeepsFoldingItsEvent) {
    House house;
    house.add("w", [&](Context& ctx, const Json&) {
        ctx.step("a", {.once = "k"}, [](const Attempt&) { return 1; });
        return Json();
    });
    house.engine().accept(event("e1"), NewInstance{.id = "w/e1", .workflow = "w"});
    house.run_to_the_end();
    house.clock.advance(std::chrono::hours(24));
    EXPECT_EQ(house.store().purge({.older_than = std::chrono::hours(1)}).get().instances, 1);
    EXPECT_EQ(
        house.sql("SELECT (SELECT count(*) FROM instances) || (SELECT count(*) FROM entries)"),
        "00");
    EXPECT_TRUE(
        house.engine().accept(event("e1"), NewInstance{.id = "w/e1", .workflow = "w"}).duplicate);
    EXPECT_EQ(house.sql("SELECT state FROM once_keys"), "completed");
    house.clock.advance(events_kept_min);
    EXPECT_EQ(house.store().purge({.older_than = std::chrono::hours(1)}).get().events, 1);
    EXPECT_EQ(house.sql("SELECT count(*) FROM events"), "0");
    EXPECT_EQ(house.sql("SELECT count(*) FROM audit"), "0") << "nobody asked for it";
}

// --- opening
// --------------------------------------------------------------------------------------

std::string refusal(const std::filesystem::path& path, bool create = true) {
    ManualClock clock;
    try {
        open_sqlite_store({.database = path, .writer_thread = false, .create = create}, clock);
    } catch (const OpenError& error) {
        return error.what();
    }
    return "opened";
}

TEST(Opening, RefusesASecondOwnerByName) {
    House house;
    house.engine();
    EXPECT_NE(refusal(house.database()).find("is in use by process " + std::to_string(getpid())),
              std::string::npos)
        << refusal(house.database());
}

TEST(Opening, RefusesWhatIsNoDatabaseOfOurs) {
    TemporaryDirectory directory;
    EXPECT_NE(refusal(directory / "none.db", false).find("there is no database"),
              std::string::npos);
    EXPECT_NE(refusal(directory / "no/such/place.db").find("does not exist"), std::string::npos);
    std::filesystem::create_directory(directory / "folder.db");
    EXPECT_NE(refusal(directory / "folder.db").find("not a regular file"), std::string::npos);
    {
        SQLite::Database(directory / "other.db", SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE)
            .exec("CREATE TABLE t(a)");
    }
    EXPECT_NE(refusal(directory / "other.db").find("of another program"), std::string::npos);
    if (FILE* text = fopen((directory / "text.db").c_str(), "w")) {
        for (int i = 0; i < 1000; ++i) fputs("this is not a database\n", text);
        fclose(text);
    }
    EXPECT_NE(refusal(directory / "text.db").find("is not a Steplog database"), std::string::npos);
    std::filesystem::create_symlink(directory / "real.db", directory / "link.db");
    EXPECT_NE(refusal(directory / "link.db").find("not a regular file"), std::string::npos);
}

TEST(Opening, RefusesANewerSchema) {
    House house;
    house.engine();
    house.damage("PRAGMA user_version=99");
    EXPECT_NE(refusal(house.database()).find("use the newer program"), std::string::npos);
}

}  // namespace
}  // namespace steplog
