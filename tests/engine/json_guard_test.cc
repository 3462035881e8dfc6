#include "engine/json_guard.h"

#include <gtest/gtest.h>

#include <chrono>

namespace steplog {
namespace {

std::string why_not(const std::string& text) {
    std::string why = "left over";
    const auto document = parse_guarded(text, why);
    EXPECT_EQ(document.has_value(), why.empty());
    return why;
}

std::string nested(std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); }

std::string many_values(std::size_t count) {
    std::string text = "[0";
    for (std::size_t i = 2; i < count; ++i) text += ",0";  // the array itself is one value
    return text + "]";
}

TEST(JsonGuard, LetsOrdinaryDocumentsPass) {
    for (const auto& text : {"null", "[]", "{}", "\"x\"", "-0.5e-3", " {\"a\":[1,{\"a\":2}]} \r\n",
                             "\"Zo\xC3\xAB \\ud83c\\udf89\"", "18446744073709551615"}) {
        EXPECT_EQ(why_not(text), "") << text;
    }
    std::string why;
    EXPECT_EQ(parse_guarded(R"({"id":"evt_1","n":[1,2.5,true]})", why),
              Json({{"id", "evt_1"}, {"n", {1, 2.5, true}}}));
}

TEST(JsonGuard, RefusesWhatIsNotExactlyOneJsonText) {
    using std::string_literals::operator""s;
    for (const auto& text :
         {" "s,        "{"s,         "{\"id\":"s, "{} {}"s,      "{}x"s,     "[1,]"s, "{\"a\":1,}"s,
          "// c\n{}"s, "{}/* c */"s, "NaN"s,      "[Infinity]"s, "-"s,       "01"s,   "+1"s,
          ".5"s,       "'x'"s,       "{a:1}"s,    "\"\n\""s,     "\"\\x\""s, "tru"s}) {
        EXPECT_EQ(why_not(text), "not JSON") << text;
    }
    EXPECT_EQ(why_not(""), "empty");
    EXPECT_EQ(why_not("\xEF\xBB\xBF{}"), "begins with a byte order mark");
    EXPECT_EQ(why_not("{}\0"s), "holds a NUL byte");
    EXPECT_EQ(why_not("{}\0{\"id\":2}"s), "holds a NUL byte");
}

TEST(JsonGuard, RefusesTextThatIsNotUnicode) {
    for (const auto& text :
         {"\"\xFF\"", "\"\xC3\"", "\"\xC0\xAF\"", "\"\xED\xA0\x80\"", "\"\xF5\x80\x80\x80\"",
          "\"\\ud800\"", "\"\\udc00\"", "\"\\ud800\\ud800\"", "\"\\ud800x\""}) {
        EXPECT_EQ(why_not(text), "not JSON") << text;
    }
}

TEST(JsonGuard, RefusesEscapedNulInKeysAndStrings) {
    EXPECT_EQ(why_not(R"({"id":"evt_1\u0000x"})"), "a string holds a NUL character");
    EXPECT_EQ(why_not(R"({"id\u0000":1})"), "a string holds a NUL character");
}

TEST(JsonGuard, RefusesAKeyTwiceInOneObject) {
    const std::string twice = "a key appears twice in one object";
    EXPECT_EQ(why_not(R"({"id":1,"id":2})"), twice);
    EXPECT_EQ(why_not(R"({"id":1,"\u0069d":2})"), twice);
    EXPECT_EQ(why_not(R"([{"x":{"b":1,"a":0,"b":1}}])"), twice);
    EXPECT_EQ(why_not(R"({"a":{"a":1},"b":{"a":1}})"), "");
    EXPECT_EQ(why_not(R"([{"a":1},{"a":1}])"), "");
}

TEST(JsonGuard, AllowsADepthOf64AndNoMore) {
    EXPECT_EQ(why_not(nested(64)), "");
    for (const std::size_t depth : {65, 100'000, 1'000'000}) {
        EXPECT_EQ(why_not(nested(depth)), "nested too deep") << depth;
    }
    std::string objects;
    for (int i = 0; i < 65; ++i) objects += "{\"a\":";
    EXPECT_EQ(why_not(objects), "nested too deep");
    EXPECT_EQ(why_not(std::string(1'000'000, '[')), "nested too deep");
}

TEST(JsonGuard, AllowsAHundredThousandValuesAndNoMore) {
    EXPECT_EQ(why_not(many_values(100'000)), "");
    EXPECT_EQ(why_not(many_values(100'001)), "too many values");
    std::string keys = "{\"k\":0";
    for (int i = 0; i < 200'000; ++i) keys += ",\"k" + std::to_string(i) + "\":0";
    EXPECT_EQ(why_not(keys + "}"), "too many values");
}

TEST(JsonGuard, BoundsNumbers) {
    EXPECT_EQ(why_not("[" + std::string(64, '1') + "]"), "");
    EXPECT_EQ(why_not("[" + std::string(65, '1') + "]"), "a number is too long");
    EXPECT_EQ(why_not("1e400"), "a number is out of range");
    EXPECT_EQ(why_not("-1e400"), "a number is out of range");
    EXPECT_EQ(why_not("\"" + std::string(1000, '1') + "\""), "");
    EXPECT_EQ(why_not("\"\\\"" + std::string(1000, '1') + "\""), "");
}

TEST(JsonGuard, IsCheapOnAMegabyteOfAnything) {
    const std::size_t size = 1 << 20;
    std::string deep_keys = "{";
    while (deep_keys.size() < size) deep_keys += "\"" + std::string(8, 'k') + "\":0,";
    const auto begin = std::chrono::steady_clock::now();
    for (const char c : {'1', '"', '[', '{', '\\', 'e', ' ', ',', '\xC3'}) {
        EXPECT_NE(why_not(std::string(size, c)), "");
    }
    EXPECT_NE(why_not(deep_keys), "");
    // Ten megabytes in all: generous for a debug build under sanitizers on a busy machine.
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
}

}  // namespace
}  // namespace steplog
