// Encryption at rest: what lies in the file, who can read it, and what happens without the key.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "engine/inspect.h"
#include "engine/inspect_json.h"
#include "tests/engine/house.h"

namespace steplog {
namespace {

using ::testing::HasSubstr;
using testing::House;
using ::testing::Not;

const std::string first_key = std::string(63, '1') + "0";
const std::string second_key = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY=";

std::vector<MasterKey> keys(const std::string& setting) { return parse_master_keys(setting); }

TEST(MasterKeys, AreHexOrBase64SeparatedByCommas) {
    EXPECT_TRUE(keys("").empty());
    EXPECT_TRUE(keys(" \n").empty());
    const auto both = keys(first_key + " , " + second_key + "\n");
    ASSERT_EQ(both.size(), 2u);
    EXPECT_EQ(both[1].key.bytes(), "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef");
    EXPECT_NE(both[0].id, both[1].id);
    EXPECT_EQ(both[0].id.size(), 16u);
    const std::string upper(64, 'A'), lower(64, 'a');
    EXPECT_EQ(keys(upper)[0].id, keys(lower)[0].id);
    const std::string of_urls = "__79_Pv6-fj39vX08_Lx8O_u7ezr6uno5-bl5OPi4eA";
    EXPECT_EQ(keys(of_urls)[0].key.bytes().substr(0, 3), "\xff\xfe\xfd");
}

TEST(MasterKeys, ThatAreNoneAreRefusedWithoutBeingShown) {
    for (const std::string& wrong :
         {std::string("short"), first_key + "0", first_key.substr(1) + "g", first_key + ",",
          "," + first_key, first_key + "," + first_key, std::string(44, '*')}) {
        try {
            keys(wrong);
            FAIL() << wrong;
        } catch (const std::invalid_argument& error) {
            EXPECT_THAT(error.what(), Not(HasSubstr("1111"))) << wrong;
            EXPECT_THAT(error.what(), Not(HasSubstr("short")));
        }
    }
}

TEST(Seal, OpensOnlyWithItsKeyInItsPlaceAndWhole) {
    const SecretKey key = SecretKey::random();
    for (const std::string& plain :
         {std::string(), std::string("{}"), std::string(70'000, 'x'), std::string("a\0b", 3)}) {
        const std::string sealed = seal(key, "payloads|1|1", plain);
        EXPECT_EQ(unseal(key, "payloads|1|1", sealed), plain);
        EXPECT_NE(sealed, seal(key, "payloads|1|1", plain)) << "a nonce was used twice";
        EXPECT_FALSE(unseal(SecretKey::random(), "payloads|1|1", sealed));
        EXPECT_FALSE(unseal(key, "payloads|2|1", sealed));
        EXPECT_FALSE(unseal(key, "payloads|1|1", sealed.substr(1)));
        EXPECT_FALSE(unseal(key, "payloads|1|1", sealed.substr(0, sealed.size() - 1)));
        std::string bent = sealed;
        bent[bent.size() / 2] = static_cast<char>(bent[bent.size() / 2] ^ 1);
        EXPECT_FALSE(unseal(key, "payloads|1|1", bent));
    }
    EXPECT_FALSE(unseal(key, "", ""));
}

class Encryption : public ::testing::Test {
  protected:
    static std::unique_ptr<House> open(const std::string& setting,
                                       const std::filesystem::path& database) {
        SqliteOptions options;
        options.encryption_keys = keys(setting);
        auto house = std::make_unique<House>(options, database);
        house->add("greet", [](Context& ctx, const Json& input) {
            const auto name = ctx.step("look_up", [&](const Attempt&) {
                return "result-marker " + input.at("name").get<std::string>();
            });
            ctx.step("send",
                     {.once = "greeting/" + ctx.key(), .request = {{"to", "request-marker"}}},
                     [](const Attempt&) { return std::string("once-marker"); });
            return Json("output-marker " + name);
        });
        return house;
    }
    void reopen(const std::string& setting) {
        house.reset();
        house = open(setting, database);
    }
    /// An event with its instance, run to its end.
    void greet(const std::string& event, const std::string& subject) {
        const Json body = {{"id", event}, {"name", "input-marker"}};
        house->engine().accept(
            NewEvent{.source = "test",
                     .id = event,
                     .type = "t",
                     .subject = subject,
                     .reason = "",
                     .body = body.dump()},
            NewInstance{
                .id = "greet/" + event, .workflow = "greet", .key = "k:" + subject, .input = {}});
        house->run_to_the_end();
    }
    std::vector<std::string> markers_in_the_file() const {
        std::vector<std::string> found;
        std::string bytes;
        for (const char* part : {"", "-wal"}) {
            std::ifstream file(database.string() + part, std::ios::binary);
            bytes.append(std::istreambuf_iterator<char>(file), {});
        }
        for (const char* marker :
             {"input-marker", "result-marker", "request-marker", "once-marker", "output-marker"})
            if (bytes.find(marker) != bytes.npos) found.push_back(marker);
        return found;
    }
    InstanceDetail show(const std::string& id, const std::string& setting) {
        house->store().flush();
        return Inspector(database, house->clock, "", keys(setting)).show(id);
    }
    bool promises_hold(const std::string& setting) {
        house->store().flush();
        return Inspector(database, house->clock, "", keys(setting)).check().holds();
    }
    std::string refusal_of(const std::string& setting) {
        try {
            reopen(setting);
            house->store();
        } catch (const OpenError& error) {
            return error.what();
        }
        return "";
    }

    testing::TemporaryDirectory directory;
    std::filesystem::path database = directory / "test.db";
    std::unique_ptr<House> house = open(first_key, database);
};

TEST_F(Encryption, LeavesNothingOfAPayloadInTheFile) {
    greet("evt_1", "cus_1");
    EXPECT_EQ(house->state("greet/evt_1"), "completed");
    EXPECT_THAT(markers_in_the_file(), ::testing::IsEmpty());
    EXPECT_EQ(house->sql("SELECT count(*) FROM payloads WHERE data_key_id IS NULL"), "0");
    EXPECT_EQ(house->sql("SELECT group_concat(subject) FROM data_keys"), "cus_1");
    house.reset();
    EXPECT_THAT(markers_in_the_file(), ::testing::IsEmpty());
}

TEST_F(Encryption, IsOffWithoutAKey) {
    reopen("");
    greet("evt_1", "cus_1");
    EXPECT_EQ(markers_in_the_file().size(), 5u);
    EXPECT_EQ(house->sql("SELECT count(*) FROM data_keys"), "0");
}

TEST_F(Encryption, ShowsPayloadsToWhoHasTheKey) {
    greet("evt_1", "cus_1");
    const InstanceDetail seen = show("greet/evt_1", first_key);
    EXPECT_THAT(*seen.input.text, HasSubstr("input-marker"));
    EXPECT_THAT(*seen.output.text, HasSubstr("output-marker"));
    EXPECT_EQ(seen.damage, "");
    EXPECT_TRUE(promises_hold(first_key));
}

TEST_F(Encryption, ShowsOthersThatSomethingIsThere) {
    greet("evt_1", "cus_1");
    for (const std::string& setting : {std::string(), second_key}) {
        const InstanceDetail seen = show("greet/evt_1", setting);
        EXPECT_TRUE(seen.input.encrypted);
        EXPECT_FALSE(seen.input.text);
        EXPECT_FALSE(seen.input.forgotten);
        EXPECT_EQ(seen.damage, "");
        EXPECT_EQ(json_of(seen).at("input"), "encrypted");
        EXPECT_THAT(json_of(seen).dump(), Not(HasSubstr("marker")));
        EXPECT_TRUE(promises_hold(setting));
    }
}

TEST_F(Encryption, RefusesAFileWhoseKeyIsNotThere) {
    greet("evt_1", "cus_1");
    EXPECT_THAT(refusal_of(""), HasSubstr("no key is set: set STEPLOG_ENCRYPTION_KEY"));
    EXPECT_THAT(refusal_of(second_key), HasSubstr("none of those that are set is that one"));
    EXPECT_THAT(refusal_of(second_key), HasSubstr(keys(first_key)[0].id));
    EXPECT_THAT(refusal_of(second_key), Not(HasSubstr(first_key)));
    EXPECT_EQ(refusal_of(second_key + "," + first_key), "");
}

TEST_F(Encryption, ReadsWhatWasWrittenBeforeItWasSwitchedOn) {
    reopen("");
    bool fails = true;
    const auto add_stubborn = [&] {
        house->add("stubborn", [&](Context& ctx, const Json&) {
            ctx.step("s", [](const Attempt&) { return std::string("result-marker"); });
            ctx.step("t", {.retry = RetryPolicy{.attempts_max = 1}}, [&](const Attempt&) {
                if (fails) throw RetryableError("no", {.outcome = Outcome::refused});
            });
            return Json("output-marker");
        });
    };
    add_stubborn();
    house->start("old", "stubborn", {{"name", "input-marker"}}, "k:cus_1");
    house->run_to_the_end();
    reopen(first_key);
    add_stubborn();
    fails = false;
    house->resume("old");
    house->run_to_the_end();
    EXPECT_EQ(house->state("old"), "completed");
    EXPECT_EQ(*show("old", first_key).output.text, "\"output-marker\"");
    EXPECT_TRUE(promises_hold(first_key));
    const auto found = markers_in_the_file();
    EXPECT_THAT(found, Not(::testing::Contains("output-marker")));
    EXPECT_THAT(found, ::testing::Contains("input-marker"));
}

TEST_F(Encryption, GivesEverySubjectAKeyOfItsOwn) {
    for (int event = 1; event <= 6; ++event)
        greet("evt_" + std::to_string(event), "cus_" + std::to_string(event % 2));
    EXPECT_EQ(house->sql("SELECT count(*) FROM data_keys"), "2");
    EXPECT_EQ(house->sql("SELECT count(DISTINCT wrapped_key) FROM data_keys"), "2");
    EXPECT_EQ(house->sql("SELECT count(DISTINCT wrapping_key_id) FROM data_keys"), "1");
}

TEST_F(Encryption, LosesNothingWhenTheWriteThatMadeAKeyIsRefused) {
    NewEvent event{.source = "test",
                   .id = "evt_1",
                   .type = "t",
                   .subject = "cus_1",
                   .disposition = NewEvent::Disposition::ignored,
                   .reason = "r",
                   .body = std::string(17 * 1024 * 1024, 'x')};
    EXPECT_THROW(house->engine().accept(event, std::nullopt), StoreError);
    EXPECT_EQ(house->sql("SELECT count(*) FROM data_keys"), "0");
    greet("evt_1", "cus_1");
    EXPECT_EQ(house->state("greet/evt_1"), "completed");
    EXPECT_TRUE(promises_hold(first_key));
}

TEST_F(Encryption, NoticesAPayloadThatWasMovedOrBent) {
    greet("evt_1", "cus_1");
    greet("evt_2", "cus_1");
    house->damage(
        "UPDATE payloads SET body=(SELECT body FROM payloads p JOIN events e ON e.payload=p.id "
        "WHERE e.id='evt_2') WHERE id=(SELECT payload FROM events WHERE id='evt_1')");
    EXPECT_FALSE(promises_hold(first_key));
    EXPECT_TRUE(show("greet/evt_1", first_key).input.damaged);
    EXPECT_FALSE(show("greet/evt_2", first_key).input.damaged);
}

TEST_F(Encryption, IsWrappedAnewWhenKeysAreRotated) {
    for (int event = 1; event <= 5; ++event)
        greet("evt_" + std::to_string(event), "cus_" + std::to_string(event));
    reopen(second_key + "," + first_key);
    greet("evt_6", "cus_6");
    int rounds = 0;
    for (Rotated rotated{.left = 1}; rotated.left > 0; ++rounds)
        rotated = house->store().rotate_keys({.limit = 2, .actor = "test"}).get();
    EXPECT_EQ(rounds, 3);
    EXPECT_EQ(house->sql("SELECT group_concat(DISTINCT action) FROM audit"), "rotate-key");
    EXPECT_EQ(house->sql("SELECT group_concat(DISTINCT wrapping_key_id) FROM data_keys"),
              keys(second_key)[0].id);
    EXPECT_NE(refusal_of(first_key), "");
    reopen(second_key);
    EXPECT_TRUE(promises_hold(second_key));
    EXPECT_THAT(*show("greet/evt_1", second_key).input.text, HasSubstr("input-marker"));
    greet("evt_7", "cus_1");
    EXPECT_EQ(house->state("greet/evt_7"), "completed");
}

}  // namespace
}  // namespace steplog
