// workflow-resume as its users meet it: with the server stopped, with it running, and in between.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <mutex>

#include "engine/commands.h"
#include "engine/control.h"
#include "engine/file_lock.h"
#include "tests/tools/shop.h"
#include "tests/tools/terminal.h"

namespace steplog::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ResumeProgram : public ::testing::Test {
  protected:
    Finished resume(std::vector<std::string> arguments) {
        return shop.resume(std::move(arguments));
    }
    Json json(std::vector<std::string> arguments, int code = 0) {
        arguments.push_back("--json");
        const Finished done = resume(std::move(arguments));
        EXPECT_EQ(done.exit.code, code) << done.errors;
        return Json::parse(done.output, nullptr, false);
    }
    static std::string reason(const Json& result, const std::string& id) {
        for (const Json& one : result.at("skipped"))
            if (one.at("id") == id) return one.at("reason");
        return "";
    }

    Shop shop;
};

TEST_F(ResumeProgram, ResumesANamedOneWithTheServerStopped) {
    shop.close();
    const Finished done = resume({"evt_odd"});
    EXPECT_EQ(done.exit.code, 0) << done.errors;
    EXPECT_EQ(done.output, "resumed 1 instance\n");
    EXPECT_THAT(done.errors, HasSubstr("no server runs"));
    EXPECT_EQ(shop.house.state("order/evt_odd"), "pending");
    EXPECT_EQ(shop.house.sql("SELECT actor||' '||action||' '||target FROM audit"),
              "uid:" + std::to_string(getuid()) + " resume order/evt_odd");
    EXPECT_EQ(shop.inspect({"check"}).exit.code, 0);
}

TEST_F(ResumeProgram, ResumesThroughTheRunningServer) {
    const ControlServer server(control_socket_path(shop.database()),
                               [&](const Json& command, const std::string& actor) {
                                   return handle_command(shop.house.engine(), command, actor);
                               });
    const Json result = json({"evt_odd", "evt_lost"});
    EXPECT_EQ(result.at("resumed"), 2);
    EXPECT_EQ(result.at("ids"), Json({"order/evt_odd", "order/evt_lost"}));
    EXPECT_EQ(result.at("skipped"), Json::array());
    EXPECT_EQ(shop.house.state("order/evt_odd"), "pending");
    EXPECT_THAT(shop.house.log("order/evt_odd"), ::testing::EndsWith("resumed pay"));
}

TEST_F(ResumeProgram, FindsNamedOnesMissingOrUnwilling) {
    shop.close();
    Finished done = resume({"evt_none"});
    EXPECT_EQ(done.exit.code, 1);
    EXPECT_THAT(done.errors, HasSubstr("no instance evt_none"));
    EXPECT_EQ(resume({"order/evt_"}).exit.code, 1);
    for (const auto& [id, why] : std::map<std::string, std::string>{
             {"evt_done", "completed"}, {"evt_no", "failed"}, {"evt_behind", "queued"}}) {
        const Json result = json({id}, 1);
        EXPECT_EQ(result.at("resumed"), 0);
        EXPECT_THAT(reason(result, "order/" + id), HasSubstr(why));
    }
    const Json mixed = json({"evt_done", "evt_odd"});
    EXPECT_EQ(mixed.at("ids"), Json({"order/evt_odd"}));
    const Json partly = json({"evt_none", "evt_down"}, 1);
    EXPECT_EQ(partly.at("ids"), Json({"order/evt_down"}));
    EXPECT_EQ(reason(partly, "evt_none"), "not found");
    EXPECT_THAT(reason(json({"evt_down"}, 1), "order/evt_down"), HasSubstr("pending"));
}

// Row 80 of the bad inputs: what cannot be resumed, and two who resume the same one at once.
TEST_F(ResumeProgram, LeavesARunningOneAloneAndKnowsNoInstanceOfAQuarantinedEvent) {
    const NewEvent event{.source = "shop",
                         .id = "evt_strange",
                         .type = "",
                         .disposition = NewEvent::Disposition::quarantined,
                         .reason = "not JSON",
                         .body = "{"};
    shop.house.engine().accept(event, std::nullopt);
    shop.accept("evt_runs", "", "cus_9");
    ASSERT_EQ(shop.house.store().claim({.limit = 1}).get().claimed.size(), 1u);
    const ControlServer server(control_socket_path(shop.database()),
                               [&](const Json& command, const std::string& actor) {
                                   return handle_command(shop.house.engine(), command, actor);
                               });
    EXPECT_THAT(reason(json({"evt_runs"}, 1), "order/evt_runs"), HasSubstr("running"));
    EXPECT_THAT(reason(json({"evt_strange"}, 1), "evt_strange"), "not found");
    EXPECT_EQ(shop.house.state("order/evt_runs"), "running");
}

TEST_F(ResumeProgram, IsANoOpForTheSecondOfTwoAtOnce) {
    std::mutex one_at_a_time;  // this house commits in the thread that asks
    const ControlServer server(control_socket_path(shop.database()),
                               [&](const Json& command, const std::string& actor) {
                                   const std::lock_guard lock(one_at_a_time);
                                   return handle_command(shop.house.engine(), command, actor);
                               });
    for (const std::string id : {"order/evt_odd", "order/evt_lost", "order/evt_down"}) {
        const std::vector<std::string> command = {STEPLOG_BIN_DIR "/workflow-resume", id,
                                                  "--database", shop.database()};
        Process first(command), second(command);
        const auto one = first.wait(), other = second.wait();
        ASSERT_TRUE(one && other);
        EXPECT_EQ(one->code + other->code, 1) << first.output() << second.output();
        EXPECT_EQ(shop.house.sql("SELECT count(*) FROM entries WHERE kind='resumed' AND instance="
                                 "(SELECT seq FROM instances WHERE id='" +
                                 id + "')"),
                  "1");
        EXPECT_EQ(shop.house.state(id), "pending");
    }
}

TEST_F(ResumeProgram, ResumesInBulkWhatIsSafeAndNamesTheRest) {
    shop.close();
    const Json result = json({"--all", "--yes"});
    EXPECT_EQ(result.at("ids"), Json({"order/evt_odd", "order/evt_down"}));
    EXPECT_THAT(reason(result, "order/evt_lost"), HasSubstr("in_doubt"));
    EXPECT_THAT(reason(result, "order/evt_behind"), HasSubstr("queued"));
    const Json again = json({"--all", "--yes"});
    EXPECT_EQ(again.at("resumed"), 0);
    EXPECT_EQ(json({"evt_lost"}).at("resumed"), 1);
}

TEST_F(ResumeProgram, ObeysItsFilters) {
    const ControlServer server(control_socket_path(shop.database()),
                               [&](const Json& command, const std::string& actor) {
                                   return handle_command(shop.house.engine(), command, actor);
                               });
    for (const std::vector<std::string>& none :
         std::vector<std::vector<std::string>>{{"--workflow", "other"},
                                               {"--step", "reserve"},
                                               {"--error-code", "x"},
                                               {"--older-than", "36500d"}})
        EXPECT_EQ(json({"--all", "--yes", none[0], none[1]}).at("resumed"), 0) << none[0];
    EXPECT_EQ(json({"--all", "--yes", "--state", "sleeping"}).at("ids"), Json({"order/evt_down"}));
    EXPECT_EQ(json({"--all", "--yes", "--error-code", "odd_order", "--step", "pay", "--limit", "5",
                    "--rate", "10/s"})
                  .at("ids"),
              Json({"order/evt_odd"}));
}

TEST_F(ResumeProgram, TakesNoMoreThanItsLimit) {
    shop.close();
    EXPECT_EQ(json({"--all", "--yes", "--limit", "1"}).at("ids"), Json({"order/evt_odd"}));
    EXPECT_EQ(json({"--all", "--yes", "--limit", "1"}).at("ids"), Json({"order/evt_down"}));
}

TEST_F(ResumeProgram, WantsAYesForABulk) {
    shop.close();
    const std::string before = file_text(shop.database());
    const Finished refused = resume({"--all"});
    EXPECT_EQ(refused.exit.code, 1);
    EXPECT_THAT(refused.errors, HasSubstr("--yes"));
    EXPECT_EQ(file_text(shop.database()), before);
    const std::vector<std::string> all = {std::string(STEPLOG_BIN_DIR) + "/workflow-resume",
                                          "--all", "--database", shop.database()};
    const OnTerminal no = run_on_terminal(all, {}, "n\n");
    EXPECT_EQ(no.code, 1);
    EXPECT_THAT(no.output,
                AllOf(HasSubstr("Resume 2 instances? [y/N]"), HasSubstr("nothing was resumed")));
    EXPECT_EQ(file_text(shop.database()), before);
    const OnTerminal yes = run_on_terminal(all, {}, "y\n");
    EXPECT_EQ(yes.code, 0);
    EXPECT_THAT(yes.output, HasSubstr("resumed 2 instances"));
}

TEST_F(ResumeProgram, PlansWithoutChangingAnything) {
    shop.close();
    const std::string before = file_text(shop.database());
    const Finished plan = resume({"--all", "--plan"});
    EXPECT_EQ(plan.exit.code, 0) << plan.errors;
    expect_approved("plan.txt", plan.output);
    const Json planned = json({"--all", "--plan"});
    EXPECT_EQ(planned.at("would_resume"), 2);
    EXPECT_EQ(planned.at("resumed"), 0);
    EXPECT_EQ(planned.at("ids"), Json({"order/evt_odd", "order/evt_down"}));
    EXPECT_EQ(planned.at("instances").at(1).at("calls").at(0).at("provider"), "bank");
    EXPECT_EQ(json({"evt_lost", "--plan"}).at("ids"), Json({"order/evt_lost"}));
    EXPECT_EQ(json({"evt_none", "--plan"}, 1).at("would_resume"), 0);
    EXPECT_EQ(file_text(shop.database()), before);
}

TEST_F(ResumeProgram, KnowsTheCallsOfProvisionCustomer) {
    shop.house.add("provision_customer", [](Context& ctx, const Json&) {
        ctx.step("create_clerk_user", {.provider = "clerk"}, [](const Attempt&) { return 1; });
        ctx.step("update_customer", {.provider = "stripe"}, [](const Attempt&) -> int {
            throw PermanentError("resource_missing", "Stripe has no such customer");
        });
        return Json();
    });
    shop.house.workflows.back().on_failure = OnFailure::stuck;
    shop.house.restart();
    shop.house.start("provision_customer/evt_p", "provision_customer");
    shop.house.engine().run_until_idle();
    ASSERT_EQ(shop.house.state("provision_customer/evt_p"), "stuck");
    shop.close();
    expect_approved("plan_provision_customer.txt", resume({"evt_p", "--plan"}).output);
}

TEST_F(ResumeProgram, RefusesACountInOneShortSentence) {
    for (const char* count : {"0", "-1", "x", "1.5", "99999999999"}) {
        EXPECT_EQ(resume({"--all", "--limit", count}).errors,
                  "workflow-resume: --limit: wants a whole number from 1; see "
                  "workflow-resume --help\n");
    }
}

TEST_F(ResumeProgram, SaysThatARateNeedsAServer) {
    shop.close();
    const Finished done = resume({"--all", "--rate", "1/s", "--yes"});
    EXPECT_EQ(done.exit.code, 0);
    EXPECT_THAT(done.errors, HasSubstr("all at once: --rate needs a server"));
}

TEST_F(ResumeProgram, EndsWithTwoForWrongUsage) {
    for (const std::vector<std::string>& wrong :
         std::vector<std::vector<std::string>>{{},
                                               {"--yes"},
                                               {"evt_odd", "--all"},
                                               {"evt_odd", "--state", "stuck"},
                                               {"--all", "--state", "running"},
                                               {"--all", "--older-than", "1"},
                                               {"--all", "--limit", "0"},
                                               {"--all", "--rate", "0/s"},
                                               {"--all", "--rate", "fast"},
                                               {"--every"}}) {
        const Finished done = resume(wrong);
        EXPECT_EQ(done.exit.code, 2) << done.errors;
        EXPECT_THAT(done.errors, HasSubstr("--help"));
    }
    expect_approved("resume_help.txt", resume({"--help"}).output);
    EXPECT_THAT(resume({"--version"}).output, HasSubstr("workflow-resume "));
}

TEST_F(ResumeProgram, SaysWhatIsWrongWithTheDatabase) {
    const Finished done = resume({"x", "--database", "/no/such/file"});
    EXPECT_EQ(done.exit.code, 1);
    EXPECT_THAT(done.errors, HasSubstr("there is no database"));
    EXPECT_FALSE(std::filesystem::exists("/no/such/file"));
}

// An owner that goes away while it is asked: the command then takes the lock itself.
TEST_F(ResumeProgram, GoesOnWhenTheServerEndsMeanwhile) {
    shop.close();
    auto lock = std::make_unique<FileLock>(shop.database());
    const int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string path = control_socket_path(shop.database());
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    ASSERT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    ASSERT_EQ(listen(listener, 1), 0);
    Process process({std::string(STEPLOG_BIN_DIR) + "/workflow-resume", "evt_odd", "--database",
                     shop.database()});
    const int client = accept(listener, nullptr, nullptr);
    lock.reset();
    close(client);
    close(listener);
    const auto exit = process.wait();
    ASSERT_TRUE(exit);
    EXPECT_EQ(exit->code, 0) << process.errors();
    EXPECT_EQ(process.output(), "resumed 1 instance\n");
}

}  // namespace
}  // namespace steplog::testing
