// Every error code that the engine can write has its paragraph in engine/README.md, under a heading
// of that name, and every such heading is a code that the engine writes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <string>

namespace steplog::testing {
namespace {

namespace fs = std::filesystem;

using ::testing::ElementsAre;
using ::testing::UnorderedElementsAreArray;
using Codes = std::set<std::string>;

std::string content_of(const fs::path& file) {
    std::ifstream in(file);
    return {std::istreambuf_iterator<char>(in), {}};
}

// The ways in which the engine's source spells a code: the first argument, or the one behind a
// context, an instance or a step's name; what a code is set to.
void collect_codes(const std::string& source, Codes& codes) {
    static const std::regex spellings[] = {
        std::regex(R"(\bstuck(?:_for|_entry)?\((?:\s*[\w.:"]*,)?\s*"([a-z_]+)\")"),
        std::regex(R"(\bmake_stuck\(\s*\w+,\s*"([a-z_]+)\")"),
        std::regex(R"(\b(?:PermanentError|StepFailed|ChildFailed)\((?:[^"();]*,)?\s*"([a-z_]+)\")"),
        std::regex(R"(\b\w*code\w* = "([a-z_]+)\")"), std::regex(R"(\{"code", "([a-z_]+)\")")};
    for (const std::regex& spelling : spellings)
        for (std::sregex_iterator found(source.begin(), source.end(), spelling), end; found != end;
             ++found)
            codes.insert((*found)[1]);
}

Codes codes_of_the_engine() {
    Codes codes = {"child_failed", "child_cancelled"};  // put together from how the child ended
    for (const auto& file : fs::directory_iterator(fs::path(STEPLOG_SOURCE_DIR) / "engine")) {
        const auto kind = file.path().extension();
        if (kind == ".cc" || kind == ".h") collect_codes(content_of(file.path()), codes);
    }
    return codes;
}

Codes headings(const std::string& readme) {
    const auto begin = readme.find("\n## Error codes\n");
    if (begin == readme.npos) return {};
    const std::string section = readme.substr(begin, readme.find("\n## ", begin + 1) - begin);
    static const std::regex heading(R"(\n### ([a-z_]+)\n[^\n#])");
    Codes codes;
    for (std::sregex_iterator found(section.begin(), section.end(), heading), end; found != end;
         ++found)
        codes.insert((*found)[1]);
    return codes;
}

TEST(ErrorCodes, HaveAParagraphEach) {
    const Codes written = codes_of_the_engine();
    ASSERT_GT(written.size(), 20U);
    EXPECT_THAT(headings(content_of(fs::path(STEPLOG_SOURCE_DIR) / "engine/README.md")),
                UnorderedElementsAreArray(written));
}

TEST(ErrorCodes, AreReadByThisTest) {
    Codes codes;
    collect_codes(
        "stuck(\"a\", message); context_.stuck(\n  \"b\", m); stuck(context, \"c\", m);"
        "stuck_entry(step, \"d\", m); make_stuck(due, \"e\", m); {.code = \"f\"};"
        "throw PermanentError(\"g\", m); throw StepFailed(step, \"h\", m);"
        "const char* x_code = \"i\"; {{\"code\", \"j\"}}; stuck(context, error.code(), m);"
        "log(\"stuck\"); code == \"k\";",
        codes);
    EXPECT_THAT(codes, ElementsAre("a", "b", "c", "d", "e", "f", "g", "h", "i", "j"));
    EXPECT_THAT(headings("# x\n## Error codes\nWords.\n\n### a_b\nWhy.\n\n### empty\n\n## Next\n"
                         "### other\nNo.\n"),
                ElementsAre("a_b"));
}

}  // namespace
}  // namespace steplog::testing
