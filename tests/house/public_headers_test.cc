// The headers that a program which embeds the engine includes (engine/CMakeLists.txt lists them):
// what they ask of it, and that they say what each thing is. That each compiles alone, as
// installed, is for tests/consumer.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace steplog::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::set<std::string> public_headers() {
    std::set<std::string> headers;
    std::istringstream list(STEPLOG_PUBLIC_HEADERS);
    for (std::string header; std::getline(list, header, ',');) headers.insert("engine/" + header);
    return headers;
}

std::string text_of(const std::string& header) {
    std::ifstream file(std::string(STEPLOG_SOURCE_DIR) + "/" + header);
    return {std::istreambuf_iterator<char>(file), {}};
}

/// The first lines of what is declared in a namespace without a comment: none right above it, none
/// behind it, and it does not follow a declaration that shares its comment.
std::vector<std::string> undocumented(const std::string& text) {
    static const std::regex literals(R"("(\\.|[^"\\])*"|'(\\.|[^'\\])*'|//.*)");
    static const std::regex nothing_new(
        R"((#|namespace |\}|using namespace |class \w+;|struct \w+;).*)");
    std::vector<std::string> found;
    std::istringstream lines(text);
    int depth = 0, namespaces = 0;
    bool between = true;  // what came before has ended
    std::string above;
    for (std::string line; std::getline(lines, line); above = line) {
        const std::string code = std::regex_replace(line, literals, "");
        const bool comment = code.empty() && !line.empty();
        if (depth == namespaces && between && !code.empty() &&
            !std::regex_match(code, nothing_new)) {
            const bool shares = above.ends_with(";") && !above.ends_with("};");
            if (!above.starts_with("//") && !shares && line.find("//") == std::string::npos)
                found.push_back(line);
        }
        if (code.starts_with("namespace ") && code.ends_with("{")) ++namespaces;
        depth += static_cast<int>(std::count(code.begin(), code.end(), '{') -
                                  std::count(code.begin(), code.end(), '}'));
        namespaces = std::min(namespaces, depth);
        if (!code.empty() && !comment)
            between = code.starts_with("#") || depth < namespaces ||
                      (depth == namespaces && (code.find_first_of(";}") != std::string::npos ||
                                               code.starts_with("namespace ")));
    }
    return found;
}

TEST(PublicHeaders, SayWhatEachDeclarationIs) {
    ASSERT_GT(public_headers().size(), 20U);
    for (const std::string& header : public_headers())
        EXPECT_THAT(undocumented(text_of(header)), IsEmpty()) << header;
}

TEST(PublicHeaders, NeedNoOtherLibraryThanJson) {
    static const std::regex include(R"(#\s*include\s*[<"]([^>"]+)[>"])");
    static const std::regex standard(R"([a-z_]+|nlohmann/json\.hpp)");
    std::vector<std::string> strays;
    for (const std::string& header : public_headers()) {
        const std::string text = text_of(header);
        for (std::sregex_iterator found(text.begin(), text.end(), include), end; found != end;
             ++found)
            if (!std::regex_match((*found)[1].str(), standard) &&
                !public_headers().contains((*found)[1]))
                strays.push_back(fmt::format("{} includes {}", header, (*found)[1].str()));
    }
    EXPECT_THAT(strays, IsEmpty());
}

TEST(PublicHeaders, AreReadByThisTest) {
    EXPECT_THAT(undocumented("#pragma once\n"
                             "namespace house {\n"
                             "class Forward;\n"
                             "\n"
                             "/// One.\n"
                             "struct One {\n"
                             "    int a;\n"
                             "};\n"
                             "struct Two {\n"
                             "};\n"
                             "\n"
                             "/// Both.\n"
                             "int three(const char* text = \"{\");\n"
                             "int four();\n"
                             "\n"
                             "template <class T>\n"
                             "void five(T);\n"
                             "\n"
                             "inline int six() {\n"
                             "    return 6;\n"
                             "}\n"
                             "\n"
                             "inline constexpr int seven = 7;  // days\n"
                             "enum class Eight { a, b };\n"
                             "}  // namespace house\n"),
                ElementsAre("struct Two {", "template <class T>", "inline int six() {",
                            "enum class Eight { a, b };"));
}

}  // namespace
}  // namespace steplog::testing
