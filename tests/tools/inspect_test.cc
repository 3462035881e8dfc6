// workflow-inspect as its users meet it: the built program, its output, its exit codes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/tools/shop.h"
#include "tests/tools/terminal.h"

namespace steplog::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class InspectProgram : public ::testing::Test {
  protected:
    static void SetUpTestSuite() {
        shop = std::make_unique<Shop>();
        shop->define_schedules();
        shop->close();
    }
    static void TearDownTestSuite() { shop.reset(); }

    static std::string output(std::vector<std::string> arguments, int code = 0) {
        const Finished done = shop->inspect(std::move(arguments));
        EXPECT_EQ(done.exit.code, code) << done.errors;
        return done.output;
    }
    static Json json(std::vector<std::string> arguments, int code = 0) {
        arguments.push_back("--json");
        return Json::parse(output(std::move(arguments), code), nullptr, false);
    }

    static inline std::unique_ptr<Shop> shop;
};

TEST_F(InspectProgram, PrintsForPeopleAsApproved) {
    expect_approved("list.txt", output({"list"}));
    expect_approved("list_none.txt", output({"list", "--state", "cancelled"}));
    expect_approved("stuck.txt", output({"stuck"}));
    expect_approved("show_completed.txt", output({"show", "evt_done"}));
    expect_approved("show_in_doubt.txt", output({"show", "evt_lost"}));
    expect_approved("show_queued.txt", output({"show", "evt_behind"}));
    expect_approved("events.txt", output({"events"}));
    expect_approved("customer.txt", output({"customer", "cus_2"}));
    expect_approved("schedules.txt", output({"schedules"}));
    expect_approved("versions.txt", output({"versions"}));
    std::string why;
    for (const char* id : {"evt_done", "evt_odd", "evt_behind", "evt_down", "evt_lost", "evt_no"})
        why += output({"why", id});
    expect_approved("why.txt", why);
    expect_approved("stats.txt",
                    std::regex_replace(output({"stats"}), std::regex(R"(\d+ (KiB|B))"), "SIZE"));
    expect_approved("check.txt",
                    std::regex_replace(output({"check"}), std::regex("transaction of [^;]*"),
                                       "transaction of TIME"));
    expect_approved("help.txt", output({"--help"}));
}

TEST_F(InspectProgram, ShowsSchedulesWithTheirNextTimes) {
    const Json schedules = json({"schedules"});
    ASSERT_EQ(schedules.size(), 2u);
    const Json& nightly = schedules.at(0);
    EXPECT_EQ(nightly.at("name"), "nightly");
    EXPECT_EQ(nightly.at("time_zone"), "Europe/Berlin");
    EXPECT_EQ(nightly.at("next_at"), "2026-01-01T02:30:00.000Z");
    EXPECT_EQ(nightly.at("upcoming").size(), 5u);
    EXPECT_EQ(nightly.at("upcoming").at(1), "2026-01-02T02:30:00.000Z");
    EXPECT_NE(schedules.at(1).at("paused_at"), nullptr);
    EXPECT_EQ(schedules.at(1).at("next_at"), nullptr);
}

TEST_F(InspectProgram, TellsWhichVersionsAreNeeded) {
    Shop served;
    served.house.engine().accept(
        std::nullopt, NewInstance{.id = "moved", .workflow = "order", .version = 2, .input = "{}"});
    served.house.engine().accept(
        std::nullopt, NewInstance{.id = "v", .workflow = "mail", .version = 1, .input = "{}"});
    served.house.engine().run_until_idle();
    served.house.store().cancel({.ids = {"v"}, .actor = "test"}).get();
    served.house.store()
        .accept(std::nullopt,
                NewInstance{.id = "w", .workflow = "mail", .version = 2, .input = "{}"}, false)
        .get();
    served.close();
    const Json versions =
        Json::parse(served.inspect({"versions", "--json"}).output, nullptr, false);
    ASSERT_EQ(versions.size(), 4u);
    EXPECT_EQ(versions.at(0).at("workflow"), "mail");
    EXPECT_EQ(versions.at(0).at("unfinished"), 0);
    EXPECT_EQ(versions.at(0).at("finished"), 1);
    EXPECT_EQ(versions.at(0).at("safe_to_remove"), true);
    EXPECT_EQ(versions.at(1).at("unfinished"), 1);
    EXPECT_EQ(versions.at(1).at("states"), Json({{"pending", 1}}));
    EXPECT_EQ(versions.at(1).at("safe_to_remove"), false);
    EXPECT_EQ(versions.at(2).at("version"), 1);
    EXPECT_EQ(versions.at(2).at("unfinished"), 4);
    EXPECT_EQ(versions.at(2).at("newest"), false);
    EXPECT_NE(versions.at(2).at("oldest_unfinished_at"), nullptr);
    const Json with_schedules = json({"versions"});
    EXPECT_EQ(with_schedules.at(0).at("schedules"), Json({"nightly", "weekly"}));
}

TEST_F(InspectProgram, PrintsJsonForPrograms) {
    const Json list = json({"list"});
    ASSERT_EQ(list.size(), 6u);
    EXPECT_EQ(list.at(0).at("id"), "order/evt_behind");
    EXPECT_EQ(json({"list", "--state", "queued"}).size(), 1u);
    EXPECT_EQ(json({"list", "--limit", "2"}).size(), 2u);
    EXPECT_EQ(json({"list", "--older-than", "3h"}), Json::array());
    EXPECT_EQ(
        json({"list", "--older-than", "1h", "--workflow", "order", "--key", "shop:cus_1"}).size(),
        1u);
    EXPECT_EQ(json({"stuck"}).size(), 2u);
    EXPECT_EQ(json({"events", "--unrouted"}).size(), 1u);
    EXPECT_EQ(json({"show", "evt_done"}).at("log").size(), 4u);
    EXPECT_EQ(json({"why", "evt_odd"}).at("command"), "workflow-resume order/evt_odd");
    EXPECT_EQ(json({"stats"}).at("by_state").at("stuck"), 2);
    EXPECT_EQ(json({"customer", "cus_2"}).at("instances").size(), 2u);
    EXPECT_EQ(json({"check"}).at("ok"), true);
    EXPECT_EQ(json({"watch", "--rounds", "1"}).at("instances"), 6);
}

TEST_F(InspectProgram, SaysByItsExitCodeThatSomeAreStuck) {
    EXPECT_EQ(shop->inspect({"stuck"}).exit.code, 0);
    EXPECT_EQ(shop->inspect({"stuck", "--exit-code"}).exit.code, 3);
    Shop empty;
    empty.house.resume("order/evt_odd");
    empty.house.resume("order/evt_lost");
    EXPECT_EQ(empty.inspect({"stuck", "--exit-code"}).exit.code, 0);
}

TEST_F(InspectProgram, EndsWithTwoForWrongUsageAndOneForAllElse) {
    for (const std::vector<std::string>& wrong :
         std::vector<std::vector<std::string>>{{},
                                               {"lst"},
                                               {"show"},
                                               {"list", "--state", "broken"},
                                               {"list", "--limit", "-1"},
                                               {"list", "--limit", "many"},
                                               {"list", "--older-than", "soon"},
                                               {"why", "a", "b"},
                                               {"list", "--wide"},
                                               {"watch", "--rounds", "0"}}) {
        const Finished done = shop->inspect(wrong);
        EXPECT_EQ(done.exit.code, 2) << done.errors;
        EXPECT_EQ(done.output, "");
        EXPECT_THAT(done.errors, HasSubstr("--help"));
    }
    EXPECT_THAT(shop->inspect({"list", "--limit", "-1"}).errors,
                HasSubstr("--limit: wants a whole number from 0; see workflow-inspect --help"));
    for (const std::vector<std::string>& failing :
         std::vector<std::vector<std::string>>{{"show", "evt_none"},
                                               {"why", "order/evt_"},
                                               {"customer", "cus_9"},
                                               {"show", "../x"},
                                               {"show", ""},
                                               {"list", "--database", "/no/such/file"},
                                               {"list", "--database", "postgres://x"}}) {
        const Finished done = shop->inspect(failing);
        EXPECT_EQ(done.exit.code, 1) << done.errors;
        EXPECT_EQ(done.output, "");
        EXPECT_EQ(std::count(done.errors.begin(), done.errors.end(), '\n'), 1) << done.errors;
    }
}

TEST_F(InspectProgram, TakesItsOptionsBeforeAndBehindTheVerb) {
    const Finished done = run_tool(
        "workflow-inspect", {"--database", shop->database(), "--json", "list", "--limit", "1"});
    EXPECT_EQ(done.exit.code, 0) << done.errors;
    EXPECT_EQ(Json::parse(done.output).size(), 1u);
    EXPECT_THAT(run_tool("workflow-inspect", {"--version"}).output, HasSubstr("workflow-inspect "));
    EXPECT_EQ(run_tool("workflow-inspect", {"list", "--help"}).exit.code, 0);
}

TEST_F(InspectProgram, HidesPeopleEverywhere) {
    const auto hidden = AllOf(Not(HasSubstr("ann@")), Not(HasSubstr("Smith")));
    for (const std::vector<std::string>& verb :
         std::vector<std::vector<std::string>>{{"list"},
                                               {"stuck"},
                                               {"stats"},
                                               {"events"},
                                               {"customer", "cus_1"},
                                               {"show", "evt_done"},
                                               {"show", "evt_no"}}) {
        std::vector<std::string> as_json = verb;
        as_json.push_back("--json");
        EXPECT_THAT(output(verb), hidden);
        EXPECT_THAT(output(as_json), hidden);
    }
    EXPECT_THAT(output({"show", "evt_done"}), HasSubstr("a***@example.com"));
}

TEST_F(InspectProgram, NamesEveryBrokenPromise) {
    Shop broken;
    broken.house.damage("UPDATE instances SET due_at_ms=NULL WHERE id='order/evt_down'");
    const Finished done = broken.inspect({"check"});
    EXPECT_EQ(done.exit.code, 1);
    EXPECT_THAT(done.output, AllOf(HasSubstr("BROKEN  nobody_forgotten"),
                                   HasSubstr("order/evt_down is sleeping")));
    EXPECT_THAT(done.errors, HasSubstr("backup"));
}

TEST_F(InspectProgram, WritesNothingAndLeavesNothingBehind) {
    const auto directory = std::filesystem::path(shop->database()).parent_path();
    const auto files = [&] {
        std::map<std::string, std::string> all;
        for (const auto& file : std::filesystem::directory_iterator(directory))
            all[file.path()] = file_text(file.path());
        return all;
    };
    const auto before = files();
    for (const char* verb : {"list", "stuck", "stats", "events", "check"}) output({verb});
    EXPECT_EQ(files(), before);
}

TEST_F(InspectProgram, WorksBesideTheServerAndAfterItsDeath) {
    Shop live;  // its engine has the lock and an open write-ahead log
    EXPECT_EQ(live.inspect({"check"}).exit.code, 0);
    EXPECT_THAT(live.inspect({"stats"}).output,
                HasSubstr("(process " + std::to_string(getpid()) + ")"));
    live.house.remember();
    const auto moment = std::filesystem::path(live.database()).parent_path() / "moment.db";
    const Finished dead = run_tool("workflow-inspect", {"list", "--json", "--database", moment});
    EXPECT_EQ(Json::parse(dead.output).size(), 6u) << dead.errors;
}

TEST_F(InspectProgram, UsesColoursOnATerminalOnly) {
    const std::vector<std::string> list = {std::string(STEPLOG_BIN_DIR) + "/workflow-inspect",
                                           "list", "--database", shop->database()};
    EXPECT_THAT(output({"list"}), Not(HasSubstr("\x1b")));
    EXPECT_THAT(run_on_terminal(list, {{"TERM", "xterm"}}, "").output, HasSubstr("\x1b[31m"));
    EXPECT_THAT(run_on_terminal(list, {{"TERM", "xterm"}, {"NO_COLOR", "1"}}, "").output,
                Not(HasSubstr("\x1b")));
}

TEST_F(InspectProgram, WatchesUntilItIsToldToStop) {
    const Finished done = shop->inspect({"watch", "--interval", "1ms", "--rounds", "3"});
    EXPECT_EQ(done.exit.code, 0);
    std::size_t looks = 0;
    for (std::size_t at = 0; (at = done.output.find("6 instances", at)) != std::string::npos; ++at)
        ++looks;
    EXPECT_EQ(looks, 3u);
}

}  // namespace
}  // namespace steplog::testing
