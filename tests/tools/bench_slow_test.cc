// workflow-bench as people run it, in its smallest case. What it measures is never judged here:
// only that it measures, beside a limit, and says it in the documented form.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "engine/types.h"
#include "tests/support/process.h"
#include "tests/support/temporary_directory.h"

namespace steplog::testing {
namespace {

Json measured(const std::vector<std::string>& arguments) {
    const TemporaryDirectory directory;
    std::vector<std::string> command = {STEPLOG_BIN_DIR "/workflow-bench", "--quick", "--json",
                                        "--database", directory / "bench.db"};
    command.insert(command.end(), arguments.begin(), arguments.end());
    const Finished finished = run(command, {}, std::chrono::minutes(2));
    EXPECT_EQ(finished.exit.code, 0) << finished.errors;
    EXPECT_TRUE(std::filesystem::is_empty(directory.path())) << "it must leave nothing behind";
    Json lines = Json::array();
    std::istringstream text(finished.output);
    for (std::string line; std::getline(text, line);) lines.push_back(Json::parse(line));
    return lines;
}

TEST(Bench, MeasuresTheEngineBesideTheBareLoop) {
    const Json lines = measured({"engine", "--in-flight", "8", "--steps", "3"});
    ASSERT_EQ(lines.size(), 1U);
    const Json& line = lines[0];
    EXPECT_EQ(line.at("bench"), "engine");
    EXPECT_EQ(line.at("case"), "in_flight=8");
    EXPECT_EQ(line.at("unit"), "workflows/s");
    EXPECT_EQ(line.at("sync"), "full");
    for (const char* number :
         {"value", "limit", "ratio", "p50_ms", "p95_ms", "p99_ms", "commits", "batch", "sync_ms"})
        EXPECT_GT(line.at(number).get<double>(), 0) << number;
    EXPECT_LE(line.at("p50_ms"), line.at("p99_ms"));
}

TEST(Bench, NeedsAtMostTwoCommitsMoreThanSteps) {
    // One at a time nobody shares a commit. A lazy outcome that waits for a slow thread for longer
    // than a millisecond is committed alone: a few of those are the machine's.
    const Json line = measured({"latency", "--steps", "4"}).at(0);
    EXPECT_GE(line.at("commits").get<double>(), 5.9);
    EXPECT_LE(line.at("commits").get<double>(), 6.9);
}

TEST(Bench, MeasuresTheWebhookBesideABareServer) {
    const Json lines = measured({"webhook", "--in-flight", "4"});
    ASSERT_EQ(lines.size(), 2U);
    EXPECT_EQ(lines[0].at("case"), "connections=4");
    EXPECT_GT(lines[0].at("ratio").get<double>(), 0);
    EXPECT_EQ(lines[1].at("case"), "connections=4,half_rate");
}

TEST(Bench, KillsAProcessAndSeesItsWorkGoOn) {
    const Json lines = measured({"recovery"});
    ASSERT_EQ(lines.size(), 2U);
    EXPECT_GT(lines[0].at("value").get<double>(), 0);
}

TEST(Bench, RefusesAMeasureThatItDoesNotHave) {
    const Finished finished = run({STEPLOG_BIN_DIR "/workflow-bench", "speed"});
    EXPECT_EQ(finished.exit.code, 2);
    EXPECT_NE(finished.errors.find("engine"), std::string::npos) << finished.errors;
}

}  // namespace
}  // namespace steplog::testing
