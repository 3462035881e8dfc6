#include "engine/digest.h"

#include <gtest/gtest.h>

#include "tests/engine/house.h"

namespace steplog {
namespace {

using testing::House;

Hash secret_of(unsigned char byte) {
    Hash secret;
    secret.fill(byte);
    return secret;
}

TEST(ForgottenName, IsTheSameForTheSameIdAndAnotherForEveryOther) {
    const std::string name = forgotten_name(secret_of(1), "cus_1");
    EXPECT_EQ(name, forgotten_name(secret_of(1), "cus_1"));
    EXPECT_NE(name, forgotten_name(secret_of(1), "cus_2"));
    EXPECT_NE(name, forgotten_name(secret_of(2), "cus_1"));
    EXPECT_EQ(name.find("cus_1"), name.npos);
    EXPECT_TRUE(is_forgotten_name(name));
}

TEST(ForgottenName, OfAForgottenNameIsItself) {
    const std::string name = forgotten_name(secret_of(1), "cus_1");
    EXPECT_EQ(name, forgotten_name(secret_of(1), name));
    for (const char* other : {"forgotten:", "forgotten:0123", "forgotten", "",
                              "forgotten:0123456789abcdef0123456789abcdeX"})
        EXPECT_FALSE(is_forgotten_name(other)) << other;
}

TEST(ContentHash, OfForgottenDataIsTheOneThatItSays) {
    const Hash hash = content_hash(secret_of(1), "reserve", R"({"code":"x"})");
    const std::string forgotten = R"({"forgotten":")" + to_hex(hash) + R"(","code":"x"})";
    EXPECT_EQ(content_hash(secret_of(1), "any step", forgotten), hash);
    EXPECT_NE(content_hash(secret_of(1), "reserve", R"({"forgotten":"no hash"})"), hash);
    EXPECT_NE(content_hash(secret_of(1), "reserv", R"(e{"code":"x"})"), hash);
}

TEST(HashFromHex, ReadsWhatToHexWroteAndNothingElse) {
    const Hash hash = random_hash();
    EXPECT_EQ(hash_from_hex(to_hex(hash)), hash);
    const std::string hex = to_hex(hash);
    EXPECT_FALSE(hash_from_hex(hex.substr(1)));
    EXPECT_FALSE(hash_from_hex(hex + "0"));
    EXPECT_FALSE(hash_from_hex("+" + hex.substr(1)));
    EXPECT_FALSE(hash_from_hex("g" + hex.substr(1)));
}

// The triggers of the schema: history may lose its words, and nothing else.
class History : public ::testing::Test {
  protected:
    History() {
        house.add("w", [](Context& ctx, const Json&) {
            ctx.step("s", [](const Attempt&) { return 1; });
            return Json(1);
        });
        house.start("done", "w");
        house.run_to_the_end();
        house.add("later", [](Context& ctx, const Json&) -> Json {
            ctx.step("s", [](const Attempt&) { return 1; });
            ctx.stuck("no", "no");
        });
        house.restart();
        house.start("open", "later");
        house.run_to_the_end();
    }
    bool allows(const std::string& statement) {
        try {
            house.damage(statement);
            return true;
        } catch (const SQLite::Exception&) {
            return false;
        }
    }
    House house;
};

constexpr const char* of_done = " WHERE instance=(SELECT seq FROM instances WHERE id='done')";
constexpr const char* of_open = " WHERE instance=(SELECT seq FROM instances WHERE id='open')";

TEST_F(History, MayLoseTheWordsOfAnEntryThatEnded) {
    const std::string forget = R"(UPDATE entries SET data='{"forgotten":"x"}')";
    EXPECT_TRUE(allows(forget + of_done));
    EXPECT_FALSE(allows(forget + of_open));
    EXPECT_TRUE(allows(forget + ", step='forgotten:1'" + of_done + " AND n=1"));
}

TEST_F(History, LosesNothingElse) {
    const std::string forget = R"(UPDATE entries SET data='{"forgotten":"x"}', )";
    EXPECT_FALSE(allows(std::string(R"(UPDATE entries SET data='{"mine":1}')") + of_done));
    for (const char* change :
         {"step='t'", "n=n+10", "kind='failed'", "attempt=9", "generation=9", "at_ms=1",
          "payload=NULL", "payload_hash=zeroblob(32)", "hash=zeroblob(32)", "seq=seq+100"})
        EXPECT_FALSE(allows(forget + change + of_done + " AND kind='completed'")) << change;
}

TEST_F(History, OfPeopleMayLoseItsTargetOnly) {
    house.resume("open");
    EXPECT_FALSE(allows("UPDATE audit SET target='other'"));
    EXPECT_FALSE(allows("UPDATE audit SET target='forgotten:1', actor='me'"));
    EXPECT_FALSE(allows("UPDATE audit SET target='forgotten:1', action='x'"));
    EXPECT_TRUE(allows("UPDATE audit SET target='forgotten:1', detail='{}'"));
}

}  // namespace
}  // namespace steplog
