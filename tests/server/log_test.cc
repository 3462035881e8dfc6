#include "server/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <thread>

#include "engine/engine.h"
#include "server/trace_spans.h"

namespace steplog::server {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

/// A log whose lines a test reads.
struct Captured {
    explicit Captured(LogFormat format, LogLevel level = LogLevel::debug)
        : log({level, format, [this](const std::string& line) { lines.push_back(line); }}) {}
    std::vector<std::string> lines;
    Log log;
};

TEST(Log, WritesOneJsonObjectALine) {
    Captured captured(LogFormat::json);
    captured.log.info("event accepted", {{"event", "evt_1"}, {"rows", 3}, {"again", true}});
    ASSERT_EQ(captured.lines.size(), 1U);
    const auto line = Json::parse(captured.lines.front());
    EXPECT_EQ(line.at("message"), "event accepted");
    EXPECT_EQ(line.at("level"), "info");
    EXPECT_EQ(line.at("event"), "evt_1");
    EXPECT_EQ(line.at("rows"), 3);
    EXPECT_EQ(line.at("again"), true);
    EXPECT_EQ(line.at("time").get<std::string>().size(),
              std::string("2026-11-23T16:43:44.123Z").size());
}

TEST(Log, WritesWordsAndPairsAsText) {
    Captured captured(LogFormat::text);
    captured.log.warn("signature refused",
                      {{"why", "too_old"}, {"reason", "two words"}, {"n", -1}, {"empty", ""}});
    EXPECT_THAT(
        captured.lines.at(0),
        HasSubstr(R"(warn  signature refused why=too_old reason="two words" n=-1 empty="")"));
}

TEST(Log, LeavesOutWhatIsBelowItsLevel) {
    Captured captured(LogFormat::text, LogLevel::warn);
    captured.log.info("not this");
    captured.log.debug("nor this");
    captured.log.error("but this");
    EXPECT_EQ(captured.lines.size(), 1U);
}

TEST(Log, DropsLinesThatNobodyReadsAndTellsHowMany) {
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    const std::string filling(2000, 'x');
    {
        Log log({.format = LogFormat::json, .descriptor = ends[1]});
        // Far more than a pipe holds; it would never return if it waited for a reader.
        for (int i = 0; i < 200; ++i) log.info(filling);
        std::string read(1 << 20, '\0');
        const ssize_t size = ::read(ends[0], read.data(), read.size());
        ASSERT_GT(size, 0);
        const auto written = std::count(read.begin(), read.begin() + size, '\n');
        log.info("somebody reads again");
        log.info("and goes on");
        read.resize(static_cast<std::size_t>(::read(ends[0], read.data(), read.size())));
        EXPECT_THAT(read, ::testing::ContainsRegex("log lines dropped[^\n]*\"count\":" +
                                                   std::to_string(200 - written)));
        EXPECT_THAT(read, HasSubstr("somebody reads again"));
        EXPECT_EQ(std::count(read.begin(), read.end(), '\n'), 3);
    }
    ::close(ends[0]);
    ::close(ends[1]);
}

TEST(Log, LetsNobodyForgeALineOrMoveTheCursor) {
    for (const auto format : {LogFormat::json, LogFormat::text}) {
        Captured captured(format);
        captured.log.info("a\nb\x1b[2J", {{"id",
                                           "x\r\n2026 error forged\x1b[31m\x7f\xc2\x9b"
                                           "31m\x01"}});
        for (const char c : captured.lines.at(0))
            EXPECT_TRUE(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f);
        EXPECT_THAT(captured.lines.at(0), Not(HasSubstr("\xc2\x9b")));
    }
}

TEST(Log, NeverThrowsBecauseOfBytesAndCutsWhatIsLong) {
    for (const auto format : {LogFormat::json, LogFormat::text}) {
        Captured captured(format);
        captured.log.info("{} %s \xff", {{"bytes", std::string("\xff\xfe\0x", 4)},
                                         {"long", std::string(1 << 20, 'x')}});
        EXPECT_LT(captured.lines.at(0).size(), 4096U);
        EXPECT_THAT(captured.lines.at(0), HasSubstr("(cut)"));
        EXPECT_THAT(captured.lines.at(0), HasSubstr("{} %s"));
        if (format == LogFormat::text) continue;
        EXPECT_FALSE(Json::parse(captured.lines.at(0), nullptr, false).is_discarded());
    }
}

TEST(Log, KeepsTheLinesOfManyThreadsApart) {
    Captured captured(LogFormat::json);
    {
        std::vector<std::jthread> writers;
        for (int writer = 0; writer < 4; ++writer) {
            writers.emplace_back([&captured, writer] {
                for (int i = 0; i < 50; ++i)
                    captured.log.info("line", {{"writer", writer}, {"i", i}});
            });
        }
    }
    EXPECT_EQ(captured.lines.size(), 200U);
    for (const auto& line : captured.lines) EXPECT_EQ(Json::parse(line).at("message"), "line");
}

Transitioned transitioned(const std::string& what, const std::string& step) {
    Transitioned transition;
    transition.instance = "provision_customer/evt_1";
    transition.workflow = "provision_customer";
    transition.step = step;
    transition.what = what;
    transition.attempt = 2;
    transition.epoch = 3;
    transition.took_ms = 45;
    return transition;
}

TEST(Log, TellsATransitionInOneLine) {
    Captured captured(LogFormat::text);
    log_transition(captured.log, transitioned("completed", "create_clerk_user"));
    EXPECT_THAT(captured.lines.at(0),
                HasSubstr("info  completed instance=provision_customer/evt_1"));
    EXPECT_THAT(captured.lines.at(0),
                HasSubstr("step=create_clerk_user attempt=2 epoch=3 took_ms=45"));
}

TEST(Log, NamesWhatLogServicesLookFor) {
    Captured captured(LogFormat::json);
    log_transition(captured.log, transitioned("stuck", "create_clerk_user"));
    const auto line = Json::parse(captured.lines.at(0));
    EXPECT_EQ(line.at("timestamp"), line.at("time"));
    EXPECT_THAT(line.at("message").get<std::string>(),
                ::testing::StartsWith("CRITICAL: USER NOT CREATED"));
    const Json expected = {{"level", "error"},
                           {"service", "steplog"},
                           {"instance", "provision_customer/evt_1"},
                           {"run_id", "provision_customer/evt_1"},
                           {"event_id", "evt_1"},
                           {"step", "create_clerk_user"},
                           {"attempt", 2},
                           {"trace_id", trace_id_of("provision_customer/evt_1")}};
    for (const auto& [name, value] : expected.items()) EXPECT_EQ(line.at(name), value) << name;
}

TEST(Log, ShoutsOnceWhenAProviderIsOutOfOrder) {
    Captured captured(LogFormat::text);
    Transitioned opened{.instance = "provider:clerk", .what = "breaker_opened"};
    opened.error_code = "http_503";
    log_transition(captured.log, opened);
    opened.error = "it does not take our key";
    log_transition(captured.log, opened);
    opened.what = "breaker_opened_again";
    log_transition(captured.log, opened);
    EXPECT_THAT(captured.lines.at(0), HasSubstr("error CRITICAL: a provider is out of order"));
    EXPECT_THAT(captured.lines.at(0), HasSubstr("instance=provider:clerk"));
    EXPECT_THAT(captured.lines.at(0), HasSubstr("error_code=http_503"));
    EXPECT_THAT(captured.lines.at(1), HasSubstr("error CRITICAL: a provider rejects our key"));
    EXPECT_THAT(captured.lines.at(2), Not(HasSubstr("CRITICAL")));
}

TEST(Log, ShoutsWhenAPayingCustomerHasNoAccount) {
    Captured captured(LogFormat::text);
    log_transition(captured.log, transitioned("stuck", "create_clerk_user"));
    log_transition(captured.log, transitioned("stuck", "send_email"));
    EXPECT_THAT(captured.lines.at(0), HasSubstr("error CRITICAL: USER NOT CREATED"));
    EXPECT_THAT(captured.lines.at(1), HasSubstr("error CRITICAL:"));
    EXPECT_THAT(captured.lines.at(1), Not(HasSubstr("USER NOT CREATED")));
}

}  // namespace
}  // namespace steplog::server
