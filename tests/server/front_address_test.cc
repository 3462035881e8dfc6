// Addresses, ranges, the client behind proxies, and the limiter that counts by address.
#include "server/front_address.h"

#include <gtest/gtest.h>

#include <stdexcept>

#include "server/rate_limiter.h"

namespace steplog::server {
namespace {

Address address(std::string_view text) { return parse_address(text).value(); }

std::string client(std::string_view peer, const std::vector<std::string_view>& forwarded_for,
                   const std::vector<std::string>& trusted) {
    return to_string(client_address(address(peer), forwarded_for, AddressRanges(trusted)));
}

TEST(Address, ReadsAndWritesBothFamilies) {
    EXPECT_EQ(to_string(address("192.0.2.1")), "192.0.2.1");
    EXPECT_EQ(to_string(address("::ffff:192.0.2.1")), "192.0.2.1");
    EXPECT_EQ(to_string(address("[2001:DB8::1]")), "2001:db8::1");
    for (const char* bad :
         {"", "a.example", "192.0.2", "192.0.2.1.1", "192.0.2.1:80", "2001:db8::1::", "[]"}) {
        EXPECT_FALSE(parse_address(bad)) << bad;
    }
    EXPECT_TRUE(address("127.8.9.10").is_loopback());
    EXPECT_TRUE(address("::1").is_loopback());
    EXPECT_FALSE(address("::2").is_loopback());
    EXPECT_FALSE(address("128.0.0.1").is_loopback());
}

TEST(Address, IsCountedByHostOrNetwork) {
    EXPECT_EQ(limit_key(address("192.0.2.1")), "192.0.2.1");
    EXPECT_EQ(limit_key(address("2001:db8:1:2:3:4:5:6")), limit_key(address("2001:db8:1:2::9")));
    EXPECT_NE(limit_key(address("2001:db8:1:2::1")), limit_key(address("2001:db8:1:3::1")));
}

TEST(AddressRanges, HoldsRangesToTheBit) {
    const AddressRanges ranges({"10.0.0.0/8", "192.0.2.7", "172.16.0.0/12", "2001:db8::/33"});
    for (const char* in : {"10.255.0.1", "192.0.2.7", "172.31.1.1", "2001:db8:7fff::1"})
        EXPECT_TRUE(ranges.contains(address(in))) << in;
    for (const char* out : {"11.0.0.1", "192.0.2.6", "172.32.0.1", "2001:db8:8000::1", "::1"})
        EXPECT_FALSE(ranges.contains(address(out))) << out;
    EXPECT_TRUE(AddressRanges({"0.0.0.0/0"}).contains(address("203.0.113.9")));
    EXPECT_FALSE(AddressRanges({"0.0.0.0/0"}).contains(address("2001:db8::1")));
    for (const char* bad :
         {"", "a.example", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "::/129", "10.0.0.0/8x"}) {
        EXPECT_THROW(AddressRanges({bad}), std::runtime_error) << bad;
    }
}

TEST(ClientAddress, BelievesOnlyTrustedProxies) {
    EXPECT_EQ(client("203.0.113.9", {"1.2.3.4"}, {"10.0.0.0/8"}), "203.0.113.9");
    EXPECT_EQ(client("10.0.0.1", {"198.51.100.7"}, {"10.0.0.0/8"}), "198.51.100.7");
    // What the client itself wrote stands on the left and is not reached.
    EXPECT_EQ(client("10.0.0.1", {"1.2.3.4, 198.51.100.7"}, {"10.0.0.0/8"}), "198.51.100.7");
    EXPECT_EQ(client("10.0.0.1", {"198.51.100.7 , 10.0.0.2,10.0.0.3"}, {"10.0.0.0/8"}),
              "198.51.100.7");
    EXPECT_EQ(client("10.0.0.1", {"1.2.3.4", "198.51.100.7", "10.0.0.2"}, {"10.0.0.0/8"}),
              "198.51.100.7");
    EXPECT_EQ(client("10.0.0.1", {"198.51.100.7:4711"}, {"10.0.0.1"}), "198.51.100.7");
    EXPECT_EQ(client("10.0.0.1", {"[2001:db8::1]:4711"}, {"10.0.0.1"}), "2001:db8::1");
    EXPECT_EQ(client("10.0.0.1", {"unknown"}, {"10.0.0.1"}), "10.0.0.1");
    EXPECT_EQ(client("10.0.0.1", {"1.2.3.4, unknown, 10.0.0.2"}, {"10.0.0.0/8"}), "10.0.0.2");
    EXPECT_EQ(client("10.0.0.1", {}, {"10.0.0.1"}), "10.0.0.1");
    EXPECT_EQ(client("10.0.0.1", {""}, {"10.0.0.1"}), "10.0.0.1");
}

TEST(ListenAddress, SaysWhatItExpects) {
    EXPECT_EQ(to_string(parse_listen("0.0.0.0:8080").address), "0.0.0.0:8080");
    EXPECT_EQ(to_string(parse_listen("[::1]:1").address), "[::1]:1");
    EXPECT_EQ(to_string(parse_listen(":0").address), "127.0.0.1:0");
    EXPECT_EQ(to_string(parse_listen("localhost:80").address), "127.0.0.1:80");
    for (const char* bad : {"", "8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536",
                            "127.0.0.1:-1", "a.example:80", "::1:80"}) {
        EXPECT_THROW(parse_listen(bad), std::runtime_error) << bad;
    }
}

TEST(RateLimiter, AllowsABurstAndThenARate) {
    RateLimiter limiter(20, 3);
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(limiter.allow("192.0.2.1", 1000));
    EXPECT_FALSE(limiter.allow("192.0.2.1", 1000));
    EXPECT_TRUE(limiter.allow("192.0.2.2", 1000));
    EXPECT_FALSE(limiter.allow("192.0.2.1", 1049));
    EXPECT_TRUE(limiter.allow("192.0.2.1", 1099));
    EXPECT_FALSE(limiter.allow("192.0.2.1", 500)) << "a clock that steps back refills nothing";
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(limiter.allow("192.0.2.1", 1'000'000));
    EXPECT_FALSE(limiter.allow("192.0.2.1", 1'000'000))
        << "a long rest refills no more than the burst";
}

TEST(RateLimiter, CountsAnIpv6NetworkAsOne) {
    RateLimiter limiter(1, 1);
    EXPECT_TRUE(limiter.allow("2001:db8::1", 0));
    EXPECT_FALSE(limiter.allow("2001:db8::2", 0));
    EXPECT_TRUE(limiter.allow("2001:db8:0:1::1", 0));
}

TEST(RateLimiter, RemembersARepeatOffenderAmongManyAddresses) {
    RateLimiter limiter(0.001, 1);
    EXPECT_TRUE(limiter.allow("192.0.2.1", 0));
    for (int i = 0; i < 60'000; ++i) {
        limiter.allow("10." + std::to_string(i / 65536) + "." + std::to_string(i / 256 % 256) +
                          "." + std::to_string(i % 256),
                      0);
        if (i % 5'000 == 0) {
            EXPECT_FALSE(limiter.allow("192.0.2.1", 0)) << i;
        }
    }
}

}  // namespace
}  // namespace steplog::server
