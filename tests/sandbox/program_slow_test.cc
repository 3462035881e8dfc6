// workflow-sandbox as a user meets it: serve, the other verbs, exit codes, what goes to which
// stream.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>

#include "engine/types.h"
#include "tests/support/process.h"

namespace steplog::sandbox {
namespace {

using ::testing::HasSubstr;

const std::string program = std::string(STEPLOG_BIN_DIR) + "/workflow-sandbox";

class Program : public ::testing::Test {
  protected:
    void SetUp() override {
        const auto line = served_.read_line();
        ASSERT_TRUE(line.has_value());
        bases_ = Json::parse(*line);
    }
    testing::Finished run(std::vector<std::string> arguments) {
        arguments.insert(arguments.begin(), program);
        return testing::run(arguments, {{"STEPLOG_SANDBOX", bases_.at("sandbox")}});
    }

    testing::Process served_{{program, "serve", "--listen", "127.0.0.1:0"}};
    Json bases_;
};

TEST_F(Program, PrintsTheBasesAndEndsOnSigterm) {
    for (const char* name : {"sandbox", "stripe", "clerk", "resend"}) {
        EXPECT_THAT(bases_.at(name).get<std::string>(), HasSubstr("http://127.0.0.1:"));
    }
    served_.signal(SIGTERM);
    const auto end = served_.wait();
    ASSERT_TRUE(end.has_value());
    EXPECT_EQ(end->code, 0);
}

TEST_F(Program, BuysPlansFaultsAndShowsTheState) {
    const auto bought = run({"purchase", "--email", "eve@example.com", "--json"});
    EXPECT_EQ(bought.exit.code, 0) << bought.errors;
    EXPECT_EQ(Json::parse(bought.output).at("events").size(), 6u);
    EXPECT_THAT(run({"purchase", "--guest"}).output, HasSubstr("checkout.session.completed"));
    EXPECT_THAT(run({"fault", "down", "--provider", "clerk", "--times", "2"}).output,
                HasSubstr("down of clerk on every route 2 times"));
    EXPECT_EQ(run({"user", "ada@example.com", "--unverified"}).exit.code, 0);
    const Json state = Json::parse(run({"state", "--json"}).output);
    EXPECT_EQ(state.at("counts").at("customers"), 1);
    EXPECT_EQ(state.at("counts").at("users"), 1);
    EXPECT_EQ(state.at("faults")[0].at("kind"), "down");
    EXPECT_EQ(run({"fault", "clear"}).output, "");
    EXPECT_THAT(run({"state"}).output, HasSubstr("customers"));
    EXPECT_EQ(run({"reset"}).exit.code, 0);
}

TEST_F(Program, SaysWhatIsWrongOnStderr) {
    const auto unknown = run({"fault", "flood"});
    EXPECT_EQ(unknown.exit.code, 1);
    EXPECT_EQ(unknown.output, "");
    EXPECT_THAT(unknown.errors, HasSubstr("lost_answer"));
    EXPECT_EQ(run({"send"}).exit.code, 2);
    EXPECT_EQ(run({"send", "/no/such/file"}).exit.code, 1);
    EXPECT_THAT(run({"send", "--type", "invoice.paid"}).errors, HasSubstr("purchase first"));
    EXPECT_EQ(run({"purchase", "--colour", "red"}).exit.code, 2);
    EXPECT_EQ(run({}).exit.code, 2);
    const auto nowhere = testing::run({program, "state"});
    EXPECT_EQ(nowhere.exit.code, 2);
    EXPECT_THAT(nowhere.errors, HasSubstr("STEPLOG_SANDBOX"));
    const auto silent = testing::run({program, "state", "--sandbox", "http://127.0.0.1:1"});
    EXPECT_EQ(silent.exit.code, 1);
    EXPECT_THAT(silent.errors, HasSubstr("workflow-sandbox serve"));
    const auto no_secret =
        testing::run({program, "serve", "--webhook", "http://127.0.0.1:1/api/stripe-webhook"});
    EXPECT_EQ(no_secret.exit.code, 2);
    EXPECT_THAT(no_secret.errors, HasSubstr("--webhook-secret"));
}

TEST_F(Program, HelpsWithExamplesAndSaysItsVersion) {
    const auto help = run({"--help"});
    EXPECT_EQ(help.exit.code, 0);
    EXPECT_THAT(help.output, HasSubstr("Examples:"));
    EXPECT_THAT(run({"--version"}).output, HasSubstr("workflow-sandbox "));
}

}  // namespace
}  // namespace steplog::sandbox
