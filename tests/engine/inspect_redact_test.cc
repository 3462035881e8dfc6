// What is hidden and what is escaped before anything stored is shown.
#include "engine/inspect_redact.h"

#include <gtest/gtest.h>

#include "engine/inspect_json.h"

namespace steplog {
namespace {

TEST(Redact, HidesPeopleAndSecretsOnly) {
    EXPECT_EQ(redact_text("mail ann.b+c@example.com, or bob@x.org."),
              "mail a***@example.com, or b***@x.org.");
    EXPECT_EQ(redact_text("?email=ann%40example.com&x=1"), "?***%40example.com&x=1");
    EXPECT_EQ(redact_text("@clerk/backend a@ @b"), "@clerk/backend a@ @b");
    EXPECT_EQ(redact_text("évelyne@example.fr"), "é***@example.fr");
    const Json event = {{"customer", "cus_1"},
                        {"customer_details",
                         {{"name", "Ann"},
                          {"phone", "+4912"},
                          {"address", {{"line1", "Way 1"}, {"country", "DE"}}}}},
                        {"metadata", {{"firstName", "Ann"}, {"plan", "pro"}}},
                        {"client_secret", "pi_1_secret_2"},
                        {"amount", 5},
                        {"ann@example.com", true},
                        {"items", {{{"email", "a@b.c"}}}}};
    EXPECT_EQ(
        dump(redact(event, true)),
        R"({"a***@example.com":true,"amount":5,"client_secret":"***","customer":"cus_1","customer_details":{)"
        R"("address":{"country":"***","line1":"***"},"name":"***","phone":"***"},"items":[{"email":"a***@b.c"}],)"
        R"("metadata":{"firstName":"***","plan":"pro"}})");
    EXPECT_EQ(redact({{"name", "approved"}}, false).at("name"), "approved");
}

TEST(Printable, LeavesNothingThatATerminalActsOn) {
    EXPECT_EQ(printable("a\nb\x1b[2Jc\x7f"), "a\\x0ab\\x1b[2Jc\\x7f");
    EXPECT_EQ(printable("\xc2\x9b"
                        "31m"),
              "\\x9b31m");
    EXPECT_EQ(printable("caf\xc3\xa9"), "caf\xc3\xa9");
    EXPECT_EQ(printable("a\xff\xc3"), "a\xef\xbf\xbd\xef\xbf\xbd");
    EXPECT_EQ(printable("abcdef", 3), "abc…");
}

}  // namespace
}  // namespace steplog
