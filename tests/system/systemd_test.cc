// The unit file as systemd itself judges it, and the built programs' own hardening.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iostream>
#include <regex>
#include <sstream>

#include "tests/support/process.h"
#include "tests/support/sanitizers.h"
#include "tests/support/temporary_directory.h"

namespace steplog {
namespace {

const std::string analyze = "/usr/bin/systemd-analyze";
const std::string unit = STEPLOG_SOURCE_DIR "/tools/systemd/workflow-server.service";

std::string text_of(const std::filesystem::path& file) {
    std::ostringstream text;
    text << std::ifstream(file).rdbuf();
    return text.str();
}

/// systemd's exposure of a unit file, 0 (none) to 10.
double exposure_of(const std::string& file) {
    const auto judged = testing::run({analyze, "security", "--offline=yes", "--no-pager", file}, {},
                                     std::chrono::seconds(60));
    std::smatch found;
    if (!std::regex_search(judged.output, found,
                           std::regex("Overall exposure level for \\S+: ([0-9.]+)")))
        throw std::runtime_error("systemd-analyze said: " + judged.output + judged.errors);
    return std::stod(found[1]);
}

TEST(SystemdUnit, IsJudgedOkOrBetter) {
    if (!std::filesystem::exists(analyze))
        GTEST_SKIP() << "*** SKIPPED: no systemd-analyze here; tools/install all installs it";
    constexpr double ok = 2.0;  // systemd says OK below it, and MEDIUM from there on
    EXPECT_LT(exposure_of(unit), ok);

    const testing::TemporaryDirectory directory;
    const auto bare = directory / "workflow-server.service";
    std::ofstream(bare) << "[Service]\nExecStart=/usr/bin/workflow-server\n";
    EXPECT_GT(exposure_of(bare.string()), ok) << "the judge finds everything good";
}

TEST(SystemdUnit, RestartsWatchesAndHandsSecretsOverAsFiles) {
    const std::string text = text_of(unit);
    for (const char* line :
         {"\nType=notify\n", "\nRestart=always\n", "\nRestartSec=1s\n",
          "\nStartLimitIntervalSec=0\n", "\nWatchdogSec=30s\n", "\nMemoryMax=1G\n",
          "\nUMask=0077\n", "\nLimitCORE=0\n", "\nStateDirectoryMode=0700\n",
          "\nMemoryDenyWriteExecute=yes\n", "\nProtectSystem=strict\n", "\nUser=steplog\n",
          "\nLoadCredential=steplog:/etc/steplog/credentials\n"})
        EXPECT_THAT(text, ::testing::HasSubstr(line));
    EXPECT_FALSE(std::regex_search(text, std::regex("Environment=[A-Z_]*(SECRET|API_KEY)=")));
}

TEST(BuiltServer, IsPositionIndependentWithItsTablesReadOnly) {
    if (testing::built_with_sanitizers) GTEST_SKIP() << "a build for sanitizers is not hardened";
    const std::string program = STEPLOG_BIN_DIR "/workflow-server";
    const auto headers = testing::run({"/usr/bin/readelf", "-W", "-h", "-l", "-d", program});
    EXPECT_THAT(headers.output, ::testing::HasSubstr("DYN (Position-Independent Executable file)"));
    EXPECT_THAT(headers.output, ::testing::HasSubstr("GNU_RELRO"));
    EXPECT_THAT(headers.output, ::testing::HasSubstr("NOW"));
    EXPECT_FALSE(std::regex_search(headers.output, std::regex("GNU_STACK.* RWE ")))
        << "the stack is executable";
}

}  // namespace
}  // namespace steplog
