// Who may include what. CMake keeps libraries apart, but httplib, json and SQLite are headers on
// the system's path, and all rooms share one include directory: only this test stops a stray one.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <string>
#include <vector>

namespace steplog::testing {
namespace {

namespace fs = std::filesystem;

using ::testing::IsEmpty;
using Sources = std::vector<std::pair<std::string, std::vector<std::string>>>;

/// What each file of these rooms includes: "<httplib.h>", "\"engine/store.h\"".
Sources sources_of(const std::vector<std::string>& rooms) {
    Sources sources;
    static const std::regex include(R"(^\s*#\s*include\s*(<[^>]+>|"[^"]+"))");
    const fs::path root = STEPLOG_SOURCE_DIR;
    for (const std::string& room : rooms) {
        for (const auto& file : fs::recursive_directory_iterator(root / room)) {
            if (file.path().extension() != ".h" && file.path().extension() != ".cc") continue;
            auto& [name, includes] = sources.emplace_back();
            name = fs::relative(file.path(), root).string();
            std::ifstream text(file.path());
            std::smatch match;
            for (std::string line; std::getline(text, line);)
                if (std::regex_search(line, match, include)) includes.push_back(match[1]);
        }
    }
    return sources;
}

const std::vector<std::string> all_rooms = {"engine", "steps", "server", "tools", "migrations"};

/// A library that may be included by the files that match, and by no others.
struct Confined {
    std::string header;      // a regular expression for what stands between < and >
    std::string allowed_in;  // a regular expression for the file's name
};

const std::vector<Confined> confined = {
    {R"(httplib\.h)", R"(steps/http_.*|server/.*|tools/(sandbox|bench)/.*)"},
    {R"(sqlite3\.h|SQLiteCpp/.*)", R"(engine/.*|tools/bench/.*)"},
    {R"(openssl/.*)",
     R"(engine/(digest|cipher|encryption|sealed).*|steps/(http_|signing).*|server/(signature|front_tls|admin).*|tools/(sandbox|bench)/.*)"},
    {R"(curl/.*)", R"(steps/smtp_client\.cc)"},
    {R"(spdlog/.*)", R"(server/log\.cc)"},
    {R"(prometheus/.*)", R"(server/metrics\.cc)"},
    {R"(CLI/.*)", R"(server/main\.cc|tools/.*)"},
};

TEST(Includes, KeepEachLibraryInItsPlace) {
    std::vector<std::string> strays;
    for (const auto& [file, includes] : sources_of(all_rooms))
        for (const std::string& include : includes)
            for (const Confined& library : confined) {
                if (!std::regex_match(include, std::regex("<(" + library.header + ")>"))) continue;
                if (!std::regex_match(file, std::regex(library.allowed_in)))
                    strays.push_back(fmt::format("{} includes {}", file, include));
            }
    EXPECT_THAT(strays, IsEmpty());
}

TEST(Includes, PointFromRoomToRoomInOneDirection) {
    const std::vector<std::pair<std::string, std::string>> may_include = {
        {"migrations", "migrations"},
        {"engine", "engine|migrations"},
        {"steps", "engine|steps"},
        {"server", "engine|steps|server"},
        {"tools", "engine|steps|server|tools|migrations"},
    };
    std::vector<std::string> strays;
    for (const auto& [room, allowed] : may_include) {
        const std::regex good("\"(" + allowed + ")/.*\"");
        for (const auto& [file, includes] : sources_of({room}))
            for (const std::string& include : includes)
                if (include.front() == '"' && !std::regex_match(include, good))
                    strays.push_back(fmt::format("{} includes {}", file, include));
    }
    EXPECT_THAT(strays, IsEmpty());
}

TEST(Includes, KeepTheSeamOfTheStoreFreeOfWhatIsBehindIt) {
    // store.h is what another store would implement: it knows words and errors, and no SQLite.
    // What a schedule is, and what a program allows and limits, belongs to the words.
    const std::set<std::string> allowed = {"\"engine/errors.h\"",   "\"engine/types.h\"",
                                           "\"engine/schedule.h\"", "\"engine/flow.h\"",
                                           "\"engine/limits.h\"",   "\"engine/orders.h\""};
    std::vector<std::string> strays;
    for (const auto& [file, includes] : sources_of({"engine"})) {
        const bool above = std::regex_match(
            file, std::regex(R"(engine/(context|step_run|replay|worker|engine|workflow)\.(h|cc))"));
        for (const std::string& include : includes) {
            const bool behind = std::regex_match(
                include, std::regex(R"("engine/(sqlite|group_commit|statements|file_).*")"));
            if ((above && behind) ||
                (file == "engine/store.h" && include.front() == '"' && !allowed.contains(include)))
                strays.push_back(fmt::format("{} includes {}", file, include));
        }
    }
    EXPECT_THAT(strays, IsEmpty());
}

TEST(Includes, AreSeenByThisTest) {
    // The patterns above would find nothing, and these tests nothing wrong, in files that they
    // miss.
    const Sources sources = sources_of(all_rooms);
    EXPECT_GT(sources.size(), 150U);
    const auto includes_httplib = [](const auto& source) {
        return std::count(source.second.begin(), source.second.end(), "<httplib.h>") > 0;
    };
    EXPECT_GT(std::count_if(sources.begin(), sources.end(), includes_httplib), 3);
}

}  // namespace
}  // namespace steplog::testing
