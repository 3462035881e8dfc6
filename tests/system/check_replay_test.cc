// workflow-server --check-replay over a database whose instances other code has begun: at rest, and
// beside a server that runs. It needs none of the providers' settings.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "steps/stripe_event.h"
#include "tests/engine/house.h"
#include "tests/support/process.h"
#include "tests/system/live_server.h"

namespace steplog {
namespace {

using testing::Finished;
using ::testing::HasSubstr;
using testing::House;

const std::string program = STEPLOG_BIN_DIR "/workflow-server";

class ReplayProgram : public ::testing::Test {
  protected:
    // Another program's provision_customer, which keeps a mere number of the account.
    ReplayProgram() {
        house.add("provision_customer", [](Context& ctx, const Json&) {
            ctx.step("create_clerk_user", [](const Attempt&) { return 7; });
            const RetryPolicy hourly{.base = std::chrono::hours(1), .cap = std::chrono::hours(1)};
            ctx.step("update_customer", {.retry = hourly},
                     [](const Attempt&) { throw RetryableError("busy", {}); });
            return Json();
        });
    }
    void start(const std::string& id, int version = newest_version) {
        std::ifstream file(STEPLOG_SOURCE_DIR
                           "/tests/data/events/06_checkout.session.completed.json");
        const std::string event(std::istreambuf_iterator<char>(file), {});
        NewInstance instance = *steps::intake(event, {}).instance;
        instance.id = id;
        instance.version = version;
        if (version != newest_version) instance.key = "";  // behind nobody
        instance.input = event;
        house.engine().accept(std::nullopt, instance);
        house.engine().run_until_idle();
        house.store().flush();
    }
    void close() { house.damage("SELECT 1"); }
    Finished look(std::vector<std::string> more = {}) {
        more.insert(more.begin(), {program, "--check-replay", "--database", house.database()});
        return testing::run(more, {});
    }

    House house;
};

TEST_F(ReplayProgram, FindsNothingInAnEmptyDatabase) {
    house.engine();
    close();
    const Finished done = look();
    EXPECT_EQ(done.exit.code, 0) << done.errors;
    EXPECT_EQ(done.output, "0 unfinished instances, and none would break\n");
}

TEST_F(ReplayProgram, TellsWhatWouldBreakAndWhere) {
    start("provision_customer/evt_1");
    start("provision_customer/evt_2", 9);
    close();
    const Finished done = look();
    EXPECT_EQ(done.exit.code, 1) << done.errors;
    EXPECT_THAT(done.output,
                HasSubstr("provision_customer/evt_1  provision_customer version 1, sleeping\n"
                          "  undecodable_result at create_clerk_user: "));
    EXPECT_THAT(done.output, HasSubstr("provision_customer/evt_2  provision_customer version 9, "
                                       "stuck, stuck with this already\n  unknown_version: "));
    EXPECT_THAT(done.output, HasSubstr("\n1 of 2 unfinished instances would break\n"));
    const Finished again = look({"--json"});
    EXPECT_EQ(again.exit.code, 1) << again.errors;
    const Json report = Json::parse(again.output, nullptr, false);
    EXPECT_EQ(report.at("looked_at"), 2);
    EXPECT_EQ(report.at("would_break"), 1);
    EXPECT_EQ(report.at("findings").at(0).at("code"), "undecodable_result");
    EXPECT_EQ(report.at("findings").at(0).at("step"), "create_clerk_user");
    EXPECT_EQ(report.at("findings").at(1).at("already"), true);
}

TEST_F(ReplayProgram, LooksBesideTheServerThatRuns) {
    start("provision_customer/evt_1");
    const Finished done = look();
    EXPECT_EQ(done.exit.code, 1) << done.errors;
    EXPECT_EQ(house.state("provision_customer/evt_1"), "sleeping");
}

TEST_F(ReplayProgram, IsContentWithWhatItsOwnReleaseHasBegun) {
    testing::TemporaryDirectory directory;
    testing::LiveServer server(testing::server_environment(directory / "steplog.db"));
    std::ifstream file(STEPLOG_SOURCE_DIR "/tests/data/events/06_checkout.session.completed.json");
    const std::string event(std::istreambuf_iterator<char>(file), {});
    EXPECT_THAT(server.post_signed(event), HasSubstr("200"));
    const Finished done = testing::run(
        {program, "--check-replay", "--database", (directory / "steplog.db").string()}, {});
    EXPECT_EQ(done.exit.code, 0) << done.output << done.errors;
    EXPECT_EQ(done.output, "1 unfinished instances, and none would break\n");
}

TEST_F(ReplayProgram, SaysWhenItCouldNotLook) {
    const Finished missing =
        testing::run({program, "--check-replay", "--database", "/nowhere/steplog.db"}, {});
    EXPECT_EQ(missing.exit.code, 2);
    EXPECT_THAT(missing.errors, HasSubstr("there is no database at /nowhere/steplog.db"));
    const Finished wrong_key =
        testing::run({program, "--check-replay"}, {{"STEPLOG_ENCRYPTION_KEY", "short"}});
    EXPECT_EQ(wrong_key.exit.code, 2);
    EXPECT_THAT(wrong_key.errors, HasSubstr("STEPLOG_ENCRYPTION_KEY"));
    EXPECT_THAT(wrong_key.errors, ::testing::Not(HasSubstr("STRIPE_SECRET_KEY")));
    EXPECT_EQ(testing::run({program, "--json"}, {}).exit.code, 2);
}

}  // namespace
}  // namespace steplog
