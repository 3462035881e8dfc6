// Network addresses as the front needs them: one form for IPv4 and IPv6, ranges, the client's true
// address behind proxies, and what to listen on. Pure values; any thread.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace steplog::server {

/// An IPv6 address; IPv4 stands in it as ::ffff:a.b.c.d.
struct Address {
    std::array<std::uint8_t, 16> bytes{};

    bool is_v4() const;
    bool is_loopback() const;  // 127.0.0.0/8, ::1
    friend bool operator==(const Address&, const Address&) = default;
};

/// "192.0.2.1", "2001:db8::1", "[2001:db8::1]"; nothing for anything else, names included.
std::optional<Address> parse_address(std::string_view text);
std::string to_string(const Address& address);
Address address_of(const sockaddr_storage& socket_address);
int port_of(const sockaddr_storage& socket_address);

/// What limits per address count by: an IPv4 address, or an IPv6 /64 (what one customer of a
/// network gets).
std::string limit_key(const Address& address);

class AddressRanges {
  public:
    /// "10.0.0.0/8", "192.0.2.1", "2001:db8::/32". Throws std::runtime_error naming the first bad
    /// one.
    explicit AddressRanges(const std::vector<std::string>& ranges);
    bool contains(const Address& address) const;

  private:
    struct Range {
        Address address;
        int bits;  // of 128
    };
    std::vector<Range> ranges_;
};

/// The client behind `peer`: where peer is trusted, the last address in X-Forwarded-For that is not
/// a trusted one itself. What cannot be read as an address ends the search: the last good one
/// holds.
Address client_address(const Address& peer, const std::vector<std::string_view>& forwarded_for,
                       const AddressRanges& trusted);

struct ListenAddress {
    sockaddr_storage address{};
    socklen_t length = 0;
};

/// "127.0.0.1:8080", "[::1]:8080", "localhost:8080", ":0". Throws std::runtime_error saying what is
/// expected.
ListenAddress parse_listen(const std::string& listen);

/// "127.0.0.1:8080", "[::1]:8080".
std::string to_string(const sockaddr_storage& socket_address);

}  // namespace steplog::server
