// workflow-admin as its users meet it: with the server stopped and with it running.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "engine/commands.h"
#include "engine/control.h"
#include "tests/tools/shop.h"

namespace steplog::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class AdminProgram : public ::testing::Test {
  protected:
    Finished admin(std::vector<std::string> arguments,
                   std::map<std::string, std::string> environment = {}) {
        environment.emplace("STEPLOG_DATABASE", shop.database());
        return run_tool("workflow-admin", std::move(arguments), environment);
    }
    Json json(std::vector<std::string> arguments, int code = 0) {
        arguments.push_back("--json");
        const Finished done = admin(std::move(arguments));
        EXPECT_EQ(done.exit.code, code) << done.errors;
        return Json::parse(done.output, nullptr, false);
    }
    std::unique_ptr<ControlServer> serve() {
        return std::make_unique<ControlServer>(control_socket_path(shop.database()),
                                               [&](const Json& command, const std::string& actor) {
                                                   return handle_command(shop.house.engine(),
                                                                         command, actor);
                                               });
    }
    const std::string me = "uid:" + std::to_string(getuid());

    Shop shop;
};

TEST_F(AdminProgram, HasCustomersReconciledOnceAServerStarts) {
    shop.close();
    const Finished begun = admin({"reconcile", "--dry-run", "--limit", "10"});
    EXPECT_EQ(begun.exit.code, 0) << begun.errors;
    EXPECT_THAT(begun.output, StartsWith("started reconcile_accounts/look/"));
    const Finished again = admin({"reconcile", "--dry-run"});
    EXPECT_EQ(again.exit.code, 0) << again.errors;
    EXPECT_THAT(again.output, StartsWith("under way: reconcile_accounts/look/"));
    const Json quiet = json({"reconcile", "--quiet"});
    EXPECT_EQ(quiet.value("started", false), true);
    EXPECT_THAT(quiet.value("instance", ""), StartsWith("reconcile_accounts/quiet/"));
    EXPECT_EQ(shop.house.sql("SELECT group_concat(key) FROM instances WHERE "
                             "workflow='reconcile_accounts'"),
              "reconcile_accounts:look,reconcile_accounts:quiet");
    EXPECT_EQ(admin({"reconcile", "--quiet", "--dry-run"}).exit.code, 2);
}

// The shop's instances ended long before this test runs: anything is older than an hour.

TEST_F(AdminProgram, PurgesWithTheServerStoppedAndSaysWhoDidIt) {
    shop.close();
    const Finished plan = admin({"purge", "--older-than", "1h", "--plan"});
    EXPECT_EQ(plan.output,
              "would delete 2 finished instances and 3 inbox rows; nothing was changed\n")
        << plan.errors;
    EXPECT_EQ(shop.house.sql("SELECT count(*) FROM audit"), "0");
    shop.close();
    const Finished done = admin({"purge", "--older-than", "1h", "--reason", "room"});
    EXPECT_EQ(done.exit.code, 0) << done.errors;
    EXPECT_EQ(done.output, "deleted 2 finished instances and 3 inbox rows\n");
    EXPECT_EQ(shop.house.sql("SELECT count(*) FROM instances WHERE finished_at_ms NOTNULL"), "0");
    EXPECT_EQ(shop.house.sql("SELECT count(*) FROM owners WHERE program='workflow-admin'"), "1")
        << "it opens the database once, however many batches there are";
    EXPECT_EQ(shop.house.sql("SELECT actor||' '||action||' '||detail FROM audit"),
              me + R"( purge {"events":3,"instances":2,"reason":"room"})");
    EXPECT_EQ(shop.inspect({"check"}).exit.code, 0);
    shop.close();
    EXPECT_EQ(json({"purge"}).at("instances"), 0);
}

TEST_F(AdminProgram, PurgesThroughTheRunningServerAsThatOnesClockSays) {
    const auto server = serve();
    EXPECT_EQ(json({"purge", "--older-than", "1h"}).at("instances"), 0);
    shop.house.clock.advance(std::chrono::hours(2));
    const Json result = json({"purge", "--older-than", "1h"});
    EXPECT_EQ(result.at("instances"), 2);
    EXPECT_EQ(result.at("events"), 0) << "ids are kept for 30 days";
    EXPECT_EQ(shop.house.sql("SELECT actor FROM audit"), me);
}

TEST_F(AdminProgram, PurgesByDefaultAsTheServersSettingSays) {
    shop.close();
    EXPECT_EQ(admin({"purge", "--plan"}, {{"STEPLOG_RETENTION", "36500d"}}).output,
              "would delete 0 finished instances and 0 inbox rows; nothing was changed\n");
    const Finished wrong = admin({"purge", "--plan"}, {{"STEPLOG_RETENTION", "soon"}});
    EXPECT_EQ(wrong.exit.code, 1);
    EXPECT_THAT(wrong.errors, HasSubstr("STEPLOG_RETENTION"));
}

TEST_F(AdminProgram, VerifiesADatabaseAtRest) {
    shop.close();
    const Finished whole = admin({"verify", shop.database()});
    EXPECT_EQ(whole.exit.code, 0) << whole.errors;
    EXPECT_THAT(whole.output, HasSubstr("ok      hash_chain"));
    shop.house.damage(
        "DROP TRIGGER entries_are_immutable; UPDATE entries SET attempt=7 WHERE seq=2");
    const Finished broken = admin({"verify", shop.database()});
    EXPECT_EQ(broken.exit.code, 1);
    EXPECT_THAT(broken.output, HasSubstr("BROKEN  hash_chain"));
    EXPECT_THAT(broken.errors, HasSubstr("(schema, hash_chain, "));
    EXPECT_EQ(json({"verify", shop.database()}, 1).at("ok"), false);
}

TEST_F(AdminProgram, BacksUpBesideTheRunningServerAndAtRest) {
    const auto directory = std::filesystem::path(shop.database()).parent_path();
    const std::string first = directory / "first.db", second = directory / "second.db";
    shop.house.engine();
    const Finished done = admin({"backup", first});
    EXPECT_EQ(done.exit.code, 0) << done.errors;
    EXPECT_THAT(done.output, ::testing::MatchesRegex("backed up to .*first.db: [0-9]+ KiB, copied "
                                                     "in [0-9.]+ s, checked in [0-9.]+ s\n"));
    const Finished again = admin({"backup", first});
    EXPECT_EQ(again.exit.code, 1);
    EXPECT_THAT(again.errors, HasSubstr("overwrites nothing"));
    shop.close();
    EXPECT_GT(json({"backup", second}).at("bytes"), 100'000);
    const Finished verified = admin({"verify", second});
    EXPECT_EQ(verified.exit.code, 0) << verified.errors;
    EXPECT_THAT(verified.output, HasSubstr("this is a backup, taken at 20"));
    EXPECT_TRUE(json({"verify", second}).at("backup").contains("taken_at"));
    for (const auto& file : std::filesystem::directory_iterator(directory))
        EXPECT_THAT(file.path().string(), ::testing::Not(HasSubstr("partial")));
}

TEST_F(AdminProgram, SaysThatItRemovedWhatAKilledBackupLeft) {
    shop.close();
    const auto directory = std::filesystem::path(shop.database()).parent_path();
    const std::string dead = directory / "b.db.partial-7", other = directory / "c.db.partial-8";
    std::ofstream(dead) << "left";
    std::ofstream(other) << "left";
    const Finished done = admin({"backup", directory / "b.db"});
    EXPECT_EQ(done.exit.code, 0) << done.errors;
    EXPECT_THAT(done.errors, HasSubstr("removed " + dead));
    EXPECT_THAT(done.errors, HasSubstr(other + " is of a backup that is under way or was killed"));
    EXPECT_FALSE(std::filesystem::exists(dead));
    EXPECT_TRUE(std::filesystem::exists(other));
    const Json result = json({"backup", directory / "d.db"});
    EXPECT_EQ(result.at("removed"), Json::array());
    EXPECT_EQ(result.at("left"), Json::array({other}));
}

// A person decides about it: it may be needed to find out what was lost.
TEST_F(AdminProgram, SaysWhereADamagedWriteAheadLogIsKeptAndDeletesNothingOfIt) {
    shop.close();
    const std::string kept = shop.database() + "-wal.damaged";
    EXPECT_THAT(admin({"purge", "--older-than", "1h", "--plan"}).errors, ::testing::IsEmpty());
    std::ofstream(kept) << "cus_2";
    EXPECT_THAT(admin({"purge", "--older-than", "1h", "--plan"}).errors, ::testing::IsEmpty())
        << "it is younger than that";
    std::filesystem::last_write_time(
        kept, std::filesystem::file_time_type::clock::now() - std::chrono::hours(2));
    EXPECT_THAT(admin({"purge", "--older-than", "1h", "--plan"}).errors, HasSubstr(kept));
    EXPECT_EQ(json({"purge", "--older-than", "1h"}).at("kept_wal"), kept);
    EXPECT_FALSE(json({"purge", "--older-than", "3h"}).contains("kept_wal"));
    const Finished forgotten = admin({"forget", "cus_2", "--cancel"});
    EXPECT_EQ(forgotten.exit.code, 0) << forgotten.errors;
    EXPECT_THAT(forgotten.errors, HasSubstr(kept + " is a copy of a damaged write-ahead log"));
    EXPECT_EQ(json({"forget", "cus_2"}).at("kept_wal"), kept);
    EXPECT_TRUE(std::filesystem::exists(kept));
}

TEST_F(AdminProgram, CancelsWithAReasonAndSaysWhatItCouldNot) {
    shop.close();
    const Finished done = admin({"cancel", "evt_odd", "evt_done", "--reason", "refunded"});
    EXPECT_EQ(done.exit.code, 0) << done.errors;
    EXPECT_THAT(done.output, HasSubstr("cancelled 1 instance\n"));
    EXPECT_THAT(done.output, HasSubstr("skipped 1:\n  order/evt_done  completed"));
    EXPECT_EQ(shop.house.state("order/evt_odd"), "cancelled");
    EXPECT_EQ(shop.house.sql("SELECT actor||' '||json_extract(detail,'$.reason') FROM audit "
                             "WHERE action='cancel'"),
              me + " refunded");
    shop.close();
    EXPECT_THAT(shop.inspect({"why", "evt_odd"}).output, HasSubstr("refunded"));
    const Finished again = admin({"cancel", "evt_odd"});
    EXPECT_EQ(again.exit.code, 1) << "none was cancelled";
    const Json result = json({"cancel", "evt_down", "evt_none"}, 1);
    EXPECT_EQ(result.at("cancelled"), 1);
    EXPECT_EQ(result.at("skipped").at(0).at("reason"), "not found");
    EXPECT_EQ(shop.inspect({"check"}).exit.code, 0);
}

TEST_F(AdminProgram, CancelsThroughTheRunningServer) {
    const auto server = serve();
    EXPECT_EQ(json({"cancel", "evt_down"}).at("ids").size(), 1u);
    EXPECT_EQ(shop.house.state("order/evt_down"), "cancelled");
}

TEST_F(AdminProgram, MovesInstancesToAnotherVersionWithAReason) {
    shop.close();
    const Finished done =
        admin({"move", "evt_odd", "evt_done", "--to-version", "2", "--reason", "ticket 7"});
    EXPECT_EQ(done.exit.code, 0) << done.errors;
    EXPECT_EQ(done.output,
              "moved 1 instance to version 2\n"
              "  order/evt_odd  is still stuck; to go on, run: workflow-resume order/evt_odd\n"
              "skipped 1:\n"
              "  order/evt_done  completed: it has ended\n");
    EXPECT_EQ(shop.house.sql("SELECT version FROM instances WHERE id='order/evt_odd'"), "2");
    EXPECT_EQ(shop.house.sql("SELECT actor||' '||detail FROM audit WHERE action='move'"),
              me + R"( {"code":"odd_order","from":1,"reason":"ticket 7","to":2,"was":"stuck"})");
    shop.close();
    EXPECT_THAT(shop.inspect({"show", "evt_odd"}).output, HasSubstr("from version 1 to version 2"));
    const Json result = json({"move", "evt_down", "evt_none", "--to-version", "2"}, 1);
    EXPECT_EQ(result.at("moved"), 1);
    EXPECT_EQ(result.at("skipped").at(0).at("reason"), "not found");
    EXPECT_EQ(admin({"move", "evt_down"}).exit.code, 2);
    EXPECT_EQ(admin({"move", "evt_down", "--to-version", "0"}).exit.code, 2);
    EXPECT_EQ(shop.inspect({"check"}).exit.code, 0);
}

TEST_F(AdminProgram, MovesThroughTheRunningServerToVersionsThatItHas) {
    shop.house.add(
        "order", [](Context&, const Json&) { return Json(); }, 2);
    shop.house.restart();
    const auto server = serve();
    EXPECT_EQ(json({"move", "evt_down", "--to-version", "2"}).at("moved"), 1);
    const Json refused = json({"move", "evt_down", "--to-version", "3"}, 1);
    EXPECT_EQ(refused.at("skipped").at(0).at("reason"),
              "the program that runs has no version 3 of workflow order");
}

TEST_F(AdminProgram, SkipsAndFailsStepsWithTheServerStopped) {
    shop.close();
    const Finished done = admin({"skip", "evt_lost", "--step", "pay", "--result",
                                 R"({"receipt":"by hand"})", "--reason", "ticket 7"});
    EXPECT_EQ(done.exit.code, 0) << done.errors;
    EXPECT_EQ(done.output, "skipped pay of order/evt_lost: it goes on\n");
    const std::string file = shop.database() + ".json";
    std::ofstream(file) << R"({"receipt":"from a file"})";
    const Json refused = json({"skip", "evt_down", "--step", "reserve", "--result", "@" + file}, 1);
    EXPECT_THAT(refused.at("refused").get<std::string>(), HasSubstr("finished"));
    EXPECT_EQ(
        json({"fail", "evt_down", "--step", "pay", "--message", "the bank is gone"}).at("done"),
        true);
    shop.house.run_to_the_end();
    EXPECT_EQ(shop.house.state("order/evt_lost"), "completed");
    EXPECT_EQ(shop.house.error_code("order/evt_down"), "decided");
    EXPECT_EQ(shop.house.sql("SELECT group_concat(actor||' '||action) FROM audit WHERE action IN "
                             "('skip','fail')"),
              me + " skip," + me + " fail");
    shop.close();
    EXPECT_THAT(shop.inspect({"show", "evt_lost"}).output, HasSubstr("by hand"));
    EXPECT_EQ(shop.inspect({"check"}).exit.code, 0);
    EXPECT_EQ(admin({"skip", "evt_down", "--step", "pay", "--result", "{"}).exit.code, 2);
    EXPECT_EQ(admin({"skip", "evt_down", "--step", "pay"}).exit.code, 2);
    EXPECT_EQ(admin({"skip", "evt_down", "--step", "pay", "--result", "@/none"}).exit.code, 1);
}

TEST_F(AdminProgram, StartsAndRetriesWithTheServerStopped) {
    shop.close();
    const Finished done = admin({"start", "order", "--id", "order/by-hand", "--input", "{}"});
    EXPECT_EQ(done.exit.code, 0) << done.errors;
    EXPECT_EQ(done.output, "started order/by-hand\n");
    const Finished again = admin({"start", "order", "--id", "order/by-hand"});
    EXPECT_EQ(again.exit.code, 1);
    EXPECT_THAT(again.errors, HasSubstr("was started before"));
    const Json fresh = json({"start", "order"});
    EXPECT_THAT(fresh.at("instance").get<std::string>(), ::testing::StartsWith("order/"));
    const Json retried = json({"retry-now", "evt_down", "evt_odd"}, 1);
    EXPECT_EQ(retried.at("retried"), 1);
    EXPECT_EQ(retried.at("skipped").size(), 1u);
    shop.house.run_to_the_end();  // the program's clock is years ahead of the shop's
    EXPECT_EQ(shop.house.state("order/by-hand"), "completed");
    EXPECT_EQ(shop.house.sql("SELECT count(*) FROM audit WHERE action IN ('start','retry-now')"),
              "3");
}

TEST_F(AdminProgram, StartsWithADeadlineAndAPolicyForWhatIsInUse) {
    shop.close();
    EXPECT_EQ(admin({"start", "order", "--id", "order/timed", "--start-at", "2099-01-01T08:00:00Z",
                     "--deadline", "2h", "--priority", "-3", "--key", "till"})
                  .exit.code,
              0);
    EXPECT_EQ(
        shop.house.sql("SELECT priority||' '||(deadline_ms-created_at_ms)||' '||due_at_ms FROM "
                       "instances WHERE id='order/timed'"),
        "-3 7200000 " + shop.house.sql("SELECT deadline_ms FROM instances WHERE "
                                       "id='order/timed'"))
        << "due at its deadline, which is earlier";
    shop.close();
    EXPECT_THAT(json({"start", "order", "--id", "order/timed", "--id-conflict", "reject"}, 1)
                    .at("refused")
                    .get<std::string>(),
                HasSubstr("is there already: it is pending"));
    const Finished joined = admin({"start", "order", "--key", "till", "--key-conflict", "join"});
    EXPECT_EQ(joined.exit.code, 1);
    EXPECT_THAT(joined.errors, HasSubstr("nothing was started: order/timed has the key till"));
    EXPECT_EQ(
        json({"start", "order", "--id", "order/timed", "--id-conflict", "replace"}).at("instance"),
        "order/timed/run:00000002");
    EXPECT_THAT(shop.inspect({"show", "order/timed"}).output,
                HasSubstr("> order/timed/run:00000002, pending"));
    for (const auto& wrong : std::vector<std::vector<std::string>>{{"--priority", "2000"},
                                                                   {"--deadline", "0s"},
                                                                   {"--start-at", "tomorrow"},
                                                                   {"--id-conflict", "overwrite"},
                                                                   {"--key-conflict", "cancel"}}) {
        std::vector<std::string> arguments = {"start", "order"};
        arguments.insert(arguments.end(), wrong.begin(), wrong.end());
        EXPECT_EQ(admin(arguments).exit.code, 2) << wrong.front();
    }
}

TEST_F(AdminProgram, StartsAndSkipsThroughTheRunningServer) {
    const auto server = serve();
    EXPECT_EQ(json({"start", "order", "--input", R"({"what":"odd"})"}).at("started"), true);
    EXPECT_EQ(json({"start", "order", "--version", "7"}, 1).at("refused"),
              "the program that runs has no version 7 of workflow order; it has 1");
    EXPECT_THAT(json({"start", "nothing"}, 1).at("refused").get<std::string>(),
                HasSubstr("no workflow nothing; it has order"));
    EXPECT_EQ(json({"skip", "evt_lost", "--step", "pay", "--result", "null"}).at("done"), true);
    shop.house.engine().run_until_idle();
    EXPECT_EQ(shop.house.state("order/evt_lost"), "completed");
}

TEST_F(AdminProgram, PausesTriggersAndPreviewsSchedules) {
    shop.define_schedules();
    shop.close();
    const Finished preview = admin({"schedule", "preview", "nightly", "--count", "2"});
    EXPECT_EQ(preview.output, "2026-01-01T02:30:00.000Z\n2026-01-02T02:30:00.000Z\n")
        << preview.errors;
    EXPECT_EQ(json({"schedule", "preview", "nightly"}).at("upcoming").size(), 10u);
    const Finished paused = admin({"schedule", "pause", "nightly", "--reason", "stocktaking"});
    EXPECT_EQ(paused.output, "paused nightly\n") << paused.errors;
    EXPECT_EQ(shop.house.sql("SELECT actor||' '||action||' '||target||' '||detail FROM audit "
                             "ORDER BY seq DESC LIMIT 1"),
              me + R"( schedule-pause nightly {"reason":"stocktaking"})");
    shop.close();
    const Finished again = admin({"schedule", "pause", "nightly"});
    EXPECT_EQ(again.exit.code, 1);
    EXPECT_THAT(again.errors, HasSubstr("nightly is not paused: it is paused already"));
    EXPECT_THAT(admin({"schedule", "unpause", "nightly"}).output,
                HasSubstr("unpaused nightly: the next time is 20"));
    const Finished unknown = admin({"schedule", "trigger", "daily"});
    EXPECT_EQ(unknown.exit.code, 1);
    EXPECT_THAT(unknown.errors, HasSubstr("workflow-inspect schedules"));
    EXPECT_EQ(admin({"schedule", "preview", "daily"}).exit.code, 1);
    EXPECT_EQ(shop.inspect({"check"}).exit.code, 0);
}

TEST_F(AdminProgram, TriggersAScheduleThroughTheRunningServer) {
    shop.define_schedules();
    const auto server = serve();
    const Json first = json({"schedule", "trigger", "nightly"});
    EXPECT_EQ(first.at("done"), "trigger");
    EXPECT_EQ(first.at("next_at"), "2026-01-01T02:30:00.000Z");
    EXPECT_EQ(shop.house.state(first.at("instance")), "pending");
    const Finished beside = admin({"schedule", "trigger", "nightly"});
    EXPECT_EQ(beside.exit.code, 1);
    EXPECT_THAT(beside.errors, HasSubstr("is unfinished, and its overlap policy is skip"));
    EXPECT_EQ(shop.house.sql("SELECT count(*) FROM audit WHERE action='schedule-trigger'"), "1");
}

TEST_F(AdminProgram, VerifiesNothingThatIsInUse) {
    shop.house.engine();
    const Finished done = admin({"verify", shop.database()});
    EXPECT_EQ(done.exit.code, 1);
    EXPECT_THAT(done.errors, HasSubstr("workflow-inspect --database"));
}

TEST_F(AdminProgram, SaysHowItIsUsed) {
    for (const std::vector<std::string>& wrong :
         std::vector<std::vector<std::string>>{{},
                                               {"drop"},
                                               {"purge", "--older-than", "soon"},
                                               {"verify"},
                                               {"schedule"},
                                               {"schedule", "pause"},
                                               {"schedule", "preview", "x", "--count", "0"},
                                               {"purge", "--reason", std::string(1001, 'x')}}) {
        const Finished done = admin(wrong);
        EXPECT_EQ(done.exit.code, 2);
        EXPECT_THAT(done.errors, HasSubstr("--help"));
    }
    expect_approved("admin_help.txt", run_tool("workflow-admin", {"--help"}).output);
    EXPECT_THAT(admin({"--version"}).output, HasSubstr("workflow-admin"));
    const Finished missing = run_tool("workflow-admin", {"purge", "--database", "/nowhere/x.db"});
    EXPECT_EQ(missing.exit.code, 1);
}

}  // namespace
TEST_F(AdminProgram, PausesAProviderAndLetsItGo) {
    shop.close();
    EXPECT_EQ(admin({"pause", "--provider", "bank", "--reason", "they migrate"}).output,
              "paused the provider bank: 0 instances are parked\n");
    EXPECT_EQ(shop.house.sql("SELECT actor||' '||action||' '||target||' '||detail FROM audit"),
              me + R"( provider-pause bank {"reason":"they migrate"})");
    const Finished again = admin({"pause", "--provider", "bank"});
    EXPECT_EQ(again.exit.code, 1);
    const auto server = serve();
    EXPECT_THAT(admin({"pause", "--provider", "bank"}).errors, HasSubstr("paused already"));
    const Finished stats = shop.inspect({"stats"});
    EXPECT_THAT(stats.output, HasSubstr("bank is out of order: paused")) << stats.errors;
    EXPECT_EQ(json({"unpause", "--provider", "bank"}),
              Json({{"provider", "bank"}, {"done", "unpause"}, {"parked", 0}}));
    EXPECT_EQ(admin({"unpause", "--provider", "bank"}).exit.code, 1);
    EXPECT_EQ(admin({"pause"}).exit.code, 2) << "what to pause must be said";
}

}  // namespace steplog::testing
