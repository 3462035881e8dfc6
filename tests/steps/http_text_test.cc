// Base URLs from the settings, and how text gets into targets and form bodies.
#include <gtest/gtest.h>

#include <stdexcept>

#include "steps/address.h"
#include "steps/encoding.h"
#include "steps/http.h"

namespace steplog::steps {

namespace {

std::string refusal(const std::string& url) {
    try {
        parse_base_url(url);
    } catch (const std::invalid_argument& error) {
        return error.what();
    }
    return "";
}

}  // namespace

TEST(BaseUrl, IsHttpsAnywhere) {
    const BaseUrl plain = parse_base_url("https://API.stripe.com");
    EXPECT_TRUE(plain.tls);
    EXPECT_EQ(plain.host, "api.stripe.com");
    EXPECT_EQ(plain.port, 443);
    EXPECT_EQ(plain.authority(), "api.stripe.com");
    EXPECT_EQ(parse_base_url("https://api.clerk.com:8443/").authority(), "api.clerk.com:8443");
    EXPECT_EQ(parse_base_url("https://[2001:db8::1]:444").authority(), "[2001:db8::1]:444");
}

TEST(BaseUrl, IsHttpOnLoopbackOnly) {
    EXPECT_FALSE(parse_base_url("http://127.0.0.1:4010").tls);
    EXPECT_EQ(parse_base_url("http://127.9.8.7").port, 80);
    EXPECT_EQ(parse_base_url("http://[::1]:1").host, "::1");
    EXPECT_EQ(parse_base_url("http://LOCALHOST:4010").host, "localhost");
    for (const char* url :
         {"http://api.stripe.com", "http://127.0.0.1.example.com", "http://10.0.0.1",
          "http://localhost.example.com", "http://2130706433", "http://0x7f.0.0.1", "http://127.1",
          "http://0.0.0.0", "http://[::ffff:127.0.0.1]", "http://[::2]"}) {
        EXPECT_NE(refusal(url).find("use https://"), std::string::npos) << url << refusal(url);
    }
}

TEST(BaseUrl, RefusesWhatIsNotJustSchemeHostAndPort) {
    for (const char* url : {"",
                            "api.stripe.com",
                            "ftp://a",
                            "https://",
                            "https:///",
                            "https://:443",
                            "https://a:0",
                            "https://a:65536",
                            "https://a:",
                            "https://a:4x",
                            "https://a:-1",
                            "https://a/v1",
                            "https://a?b",
                            "https://a#b",
                            "https://a\\b",
                            "https://a b",
                            "https://a\r\nX: y",
                            "https://[::1",
                            "https://[a]",
                            "https://[::1]x",
                            "https://::1",
                            "https://-a",
                            "https://a..b",
                            "https://.a",
                            "https://\xc3\xa4.de",
                            "https://127.0.0.1%00.example.com",
                            "https://user:password@api.stripe.com",
                            "https://key@a"}) {
        EXPECT_NE(refusal(url), "") << url;
    }
}

TEST(BaseUrl, DoesNotRepeatAPasswordInItsRefusal) {
    EXPECT_EQ(refusal("https://user:hunter2@a").find("hunter2"), std::string::npos);
    EXPECT_NE(refusal("https://user:hunter2@a").find("password"), std::string::npos);
}

TEST(Encoding, EscapesAllThatCouldEndAPathSegmentOrAQueryValue) {
    EXPECT_EQ(percent_encode("aZ09-._~"), "aZ09-._~");
    EXPECT_EQ(percent_encode("a b+c/../?d=e&f#g%"), "a%20b%2Bc%2F..%2F%3Fd%3De%26f%23g%25");
    EXPECT_EQ(percent_encode(std::string_view("\0\r\n\xff", 4)), "%00%0D%0A%FF");
    EXPECT_EQ(percent_encode("\xc3\xa4"), "%C3%A4");
    EXPECT_EQ(percent_encode(""), "");
}

TEST(Encoding, WritesFormsAsStripeReadsThem) {
    EXPECT_EQ(form_encode({{"metadata[clerk_user_id]", "user_1"}, {"expand[0]", "customer"}}),
              "metadata[clerk_user_id]=user_1&expand[0]=customer");
    EXPECT_EQ(form_encode({{"a b", "c d+e"}, {"x&y=z", "[1]&~"}}),
              "a+b=c+d%2Be&x%26y%3Dz=%5B1%5D%26%7E");
    EXPECT_EQ(form_encode({{"unset", ""}}), "unset=");
    EXPECT_EQ(form_encode({}), "");
}

TEST(Encoding, KnowsAProvidersId) {
    EXPECT_TRUE(is_provider_id("cus_NffrFeUfNV2Hib"));
    EXPECT_TRUE(is_provider_id(std::string(255, 'a')));
    for (const std::string& text :
         {std::string(), std::string(256, 'a'), std::string("../v1"), std::string("a b"),
          std::string("cus_1\n"), std::string("cus-1"), std::string("cus_1\0", 6),
          std::string("k\xc3\xa4se"), std::string("a?b")}) {
        EXPECT_FALSE(is_provider_id(text)) << text;
    }
}

TEST(HttpReply, FindsAHeaderWhateverItsCase) {
    HttpReply reply;
    reply.headers = {{"Retry-After", "3"}, {"retry-after", "4"}, {"X", ""}};
    EXPECT_EQ(reply.header("RETRY-AFTER"), "3");
    EXPECT_EQ(reply.header("x"), "");
    EXPECT_EQ(reply.header("Retry"), "");
}

}  // namespace steplog::steps
