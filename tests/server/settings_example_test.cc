// The file of all settings, and secrets that systemd hands over.
#include "server/settings_example.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "server/settings.h"
#include "tests/support/temporary_directory.h"

namespace steplog::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

/// What a file of NAME=value lines sets once its settings are no comments any more.
Environment uncommented(const std::string& file) {
    Environment all;
    std::istringstream lines(file);
    for (std::string line; std::getline(lines, line);) {
        const auto equals = line.find('=');
        if (line.empty() || line.substr(0, 2) == "# " || equals == std::string::npos) continue;
        EXPECT_EQ(line[0], '#') << line;
        all[line.substr(1, equals - 1)] = line.substr(equals + 1);
    }
    return all;
}

Environment without_secrets() { return {{"EMAIL", "off"}}; }

TEST(ExampleSettings, NameEachSettingWithItsDefaultAndNoSecretsValue) {
    const std::string file = example_settings();
    const Environment set = uncommented(file);
    for (const auto& variable : variables()) {
        const std::string name(variable.name);
        EXPECT_EQ(set.count(name), variable.secret ? 0U : 1U) << name;
        if (variable.secret)
            EXPECT_THAT(file, HasSubstr("\n# " + name + ", a secret: "));
        else
            EXPECT_EQ(set.at(name), variable.default_value);
    }
}

TEST(ExampleSettings, MeanTheSameAsNoneWhenTheyAreNoComments) {
    Environment set = uncommented(example_settings());
    set["EMAIL"] = "off";
    const auto read = read_settings(set, {}, false);
    const auto bare = read_settings(without_secrets(), {}, false);
    EXPECT_EQ(read.problems, bare.problems);
    EXPECT_EQ(describe(read.settings), describe(bare.settings));
}

class Credentials : public ::testing::Test {
  protected:
    Environment environment_with(const std::string& prefix) {
        for (const auto& [name, value] :
             std::map<std::string, std::string>{{"STRIPE_SECRET_KEY", "sk_test_NotARealKey00001"},
                                                {"STRIPE_WEBHOOK_SECRET", "whsec_NotARealSecret"},
                                                {"CLERK_SECRET_KEY", "sk_test_NotARealKey00002"}})
            std::ofstream(directory_ / (prefix + name)) << value << "\n";
        return {{"EMAIL", "off"}, {"CREDENTIALS_DIRECTORY", directory_.path().string()}};
    }
    testing::TemporaryDirectory directory_;
};

TEST_F(Credentials, AreTakenByTheirNames) {
    const auto read = read_settings(environment_with(""), {}, false);
    EXPECT_THAT(read.problems, IsEmpty());
    EXPECT_THAT(read.settings.stripe_webhook_secrets, ElementsAre("whsec_NotARealSecret"));
    EXPECT_EQ(read.settings.clerk_secret_key, "sk_test_NotARealKey00002");
}

TEST_F(Credentials, AreTakenFromADirectoryThatWasLoadedWhole) {
    EXPECT_THAT(read_settings(environment_with("steplog_"), {}, false).problems, IsEmpty());
}

TEST_F(Credentials, GiveWayToWhatTheEnvironmentSays) {
    Environment environment = environment_with("");
    environment["CLERK_SECRET_KEY"] = "sk_test_TheEnvironments1";
    const auto read = read_settings(environment, {}, false);
    EXPECT_THAT(read.problems, IsEmpty());
    EXPECT_EQ(read.settings.clerk_secret_key, "sk_test_TheEnvironments1");
}

TEST_F(Credentials, ThatAreEmptyAreTold) {
    const Environment environment = environment_with("");
    std::ofstream(directory_ / "CLERK_SECRET_KEY") << "\n";
    EXPECT_THAT(read_settings(environment, {}, false).problems,
                ElementsAre(HasSubstr("CLERK_SECRET_KEY: ")));
}

TEST_F(Credentials, ThatAreMissingAreMissing) {
    const Environment environment = {{"EMAIL", "off"}, {"CREDENTIALS_DIRECTORY", "/nonexistent"}};
    const auto read = read_settings(environment, {}, false);
    EXPECT_EQ(read.problems, read_settings(without_secrets(), {}, false).problems);
    EXPECT_THAT(read.problems, Not(IsEmpty()));
}

}  // namespace
}  // namespace steplog::server
