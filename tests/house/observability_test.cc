// tools/observability names only metrics that the server has, and Prometheus takes its rules.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <regex>
#include <set>

#include "engine/types.h"

namespace steplog::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::Contains;
using ::testing::IsSupersetOf;
using ::testing::Not;

const fs::path source = STEPLOG_SOURCE_DIR;

std::string text_of(const fs::path& file) {
    std::ifstream in(file);
    return {std::istreambuf_iterator<char>(in), {}};
}

// The families; of a histogram's series their family.
std::set<std::string> metrics_in(const std::string& text) {
    static const std::regex name("steplog_[a-z_]+[a-z]");
    static const std::regex series("_(bucket|sum|count)$");
    std::set<std::string> found;
    for (std::sregex_iterator each(text.begin(), text.end(), name), end; each != end; ++each)
        found.insert(std::regex_replace(each->str(), series, ""));
    return found;
}

TEST(Observability, NamesOnlyMetricsThatThereAre) {
    const auto there = metrics_in(text_of(source / "server/metrics.cc"));
    ASSERT_THAT(there, Contains("steplog_paid_without_account_seconds"));
    EXPECT_THAT(there, Not(Contains("steplog_odd")));
    EXPECT_THAT(there,
                IsSupersetOf(metrics_in(std::regex_replace(
                    text_of(source / "tools/observability/rules.yml"), std::regex("#.*"), ""))));
    EXPECT_THAT(there,
                IsSupersetOf(metrics_in(text_of(source / "tools/observability/dashboard.json"))));
}

TEST(Observability, HasADashboardWithoutTwoPanelsOfOneNumber) {
    const Json dashboard = Json::parse(text_of(source / "tools/observability/dashboard.json"));
    std::set<int> numbers;
    for (const Json& panel : dashboard.at("panels")) {
        EXPECT_TRUE(numbers.insert(panel.at("id").get<int>()).second);
        EXPECT_FALSE(panel.at("targets").empty()) << panel.at("title");
    }
    EXPECT_GT(numbers.size(), 10u);
}

TEST(Observability, HasRulesThatFireWhenTheyShall) {
    if (std::system("command -v promtool >/dev/null") != 0)
        GTEST_SKIP() << "SKIPPED: no promtool (Debian's package prometheus)";
    const std::string folder = (source / "tools/observability").string();
    EXPECT_EQ(std::system(("promtool check rules " + folder + "/rules.yml").c_str()), 0);
    EXPECT_EQ(std::system(("promtool test rules " + folder + "/rules_test.yml").c_str()), 0);
}

}  // namespace
}  // namespace steplog::testing
