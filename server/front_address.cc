// See front_address.h.
#include "server/front_address.h"

#include <arpa/inet.h>
#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <stdexcept>

namespace steplog::server {

namespace {

constexpr std::array<std::uint8_t, 12> v4_prefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

std::optional<int> parse_number(std::string_view text, int most) {
    int value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    const bool whole = error == std::errc{} && end == text.data() + text.size();
    if (!whole || value < 0 || value > most) return std::nullopt;
    return value;
}

std::string_view strip(std::string_view text) {
    const auto first = text.find_first_not_of(" \t");
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

/// An entry of X-Forwarded-For may carry a port: "192.0.2.1:4711", "[2001:db8::1]:4711".
std::optional<Address> parse_forwarded(std::string_view entry) {
    if (auto address = parse_address(entry)) return address;
    const std::size_t colon = entry.rfind(':');
    if (colon == std::string_view::npos || !parse_number(entry.substr(colon + 1), 65535))
        return std::nullopt;
    const std::string_view host = entry.substr(0, colon);
    const bool bracketed = !host.empty() && host.front() == '[';
    if (!bracketed && host.find(':') != std::string_view::npos) return std::nullopt;
    return parse_address(host);
}

}  // namespace

bool Address::is_v4() const {
    return std::equal(v4_prefix.begin(), v4_prefix.end(), bytes.begin());
}

bool Address::is_loopback() const {
    if (is_v4()) return bytes[12] == 127;
    const bool zeros =
        std::all_of(bytes.begin(), bytes.end() - 1, [](auto byte) { return byte == 0; });
    return zeros && bytes[15] == 1;
}

std::optional<Address> parse_address(std::string_view text) {
    if (text.size() > 2 && text.front() == '[' && text.back() == ']') {
        text = text.substr(1, text.size() - 2);
    }
    const std::string copy(text);
    if (copy.find('\0') != std::string::npos) return std::nullopt;
    Address address;
    if (::inet_pton(AF_INET, copy.c_str(), address.bytes.data() + v4_prefix.size()) == 1) {
        std::copy(v4_prefix.begin(), v4_prefix.end(), address.bytes.begin());
        return address;
    }
    if (::inet_pton(AF_INET6, copy.c_str(), address.bytes.data()) == 1) return address;
    return std::nullopt;
}

std::string to_string(const Address& address) {
    std::array<char, INET6_ADDRSTRLEN> text{};
    const int family = address.is_v4() ? AF_INET : AF_INET6;
    const void* bytes = address.bytes.data() + (address.is_v4() ? v4_prefix.size() : 0);
    return ::inet_ntop(family, bytes, text.data(), text.size());
}

Address address_of(const sockaddr_storage& socket_address) {
    Address address;
    if (socket_address.ss_family == AF_INET) {
        const auto& v4 = reinterpret_cast<const sockaddr_in&>(socket_address);
        std::copy(v4_prefix.begin(), v4_prefix.end(), address.bytes.begin());
        std::memcpy(address.bytes.data() + v4_prefix.size(), &v4.sin_addr, 4);
    } else {
        const auto& v6 = reinterpret_cast<const sockaddr_in6&>(socket_address);
        std::memcpy(address.bytes.data(), &v6.sin6_addr, address.bytes.size());
    }
    return address;
}

int port_of(const sockaddr_storage& socket_address) {
    if (socket_address.ss_family == AF_INET) {
        return ntohs(reinterpret_cast<const sockaddr_in&>(socket_address).sin_port);
    }
    return ntohs(reinterpret_cast<const sockaddr_in6&>(socket_address).sin6_port);
}

std::string limit_key(const Address& address) {
    if (address.is_v4()) return to_string(address);
    Address network = address;
    std::fill(network.bytes.begin() + 8, network.bytes.end(), std::uint8_t{0});
    return to_string(network) + "/64";
}

AddressRanges::AddressRanges(const std::vector<std::string>& ranges) {
    for (const std::string& text : ranges) {
        const std::size_t slash = text.find('/');
        const auto address = parse_address(std::string_view(text).substr(0, slash));
        const int width = address && address->is_v4() ? 32 : 128;
        std::optional<int> bits = width;
        if (slash != std::string::npos)
            bits = parse_number(std::string_view(text).substr(slash + 1), width);
        if (!address || !bits) {
            throw std::runtime_error(fmt::format(
                "trusted proxy \"{}\" is neither an address nor a range such as 10.0.0.0/8", text));
        }
        ranges_.push_back({*address, *bits + 128 - width});
    }
}

bool AddressRanges::contains(const Address& address) const {
    return std::any_of(ranges_.begin(), ranges_.end(), [&](const Range& range) {
        for (int bit = 0; bit < range.bits; bit += 8) {
            const auto byte = static_cast<std::size_t>(bit / 8);
            const int kept = std::min(8, range.bits - bit);
            const auto mask = static_cast<std::uint8_t>(0xff << (8 - kept));
            if ((range.address.bytes[byte] & mask) != (address.bytes[byte] & mask)) return false;
        }
        return true;
    });
}

Address client_address(const Address& peer, const std::vector<std::string_view>& forwarded_for,
                       const AddressRanges& trusted) {
    Address client = peer;
    for (auto line = forwarded_for.rbegin(); line != forwarded_for.rend(); ++line) {
        std::string_view rest = *line;
        while (trusted.contains(client)) {
            const std::size_t comma = rest.rfind(',');
            const std::string_view entry =
                strip(comma == std::string_view::npos ? rest : rest.substr(comma + 1));
            const auto address = parse_forwarded(entry);
            if (!address) return client;
            client = *address;
            if (comma == std::string_view::npos) break;
            rest = rest.substr(0, comma);
        }
    }
    return client;
}

ListenAddress parse_listen(const std::string& listen) {
    const std::size_t colon = listen.rfind(':');
    std::string host = listen.substr(0, colon);
    if (host.empty() || host == "localhost") host = "127.0.0.1";
    const auto address = parse_address(host);
    int port = -1;
    if (colon != std::string::npos) {
        port = parse_number(std::string_view(listen).substr(colon + 1), 65535).value_or(-1);
    }
    const bool bare_v6 = address && !address->is_v4() && host.front() != '[';
    if (!address || port < 0 || bare_v6) {
        throw std::runtime_error(
            fmt::format("cannot listen on \"{}\": expected ADDRESS:PORT, such as 127.0.0.1:8080, "
                        "0.0.0.0:8080 or "
                        "[::1]:8080",
                        listen));
    }
    ListenAddress result;
    if (address->is_v4()) {
        auto& v4 = reinterpret_cast<sockaddr_in&>(result.address);
        v4.sin_family = AF_INET;
        v4.sin_port = htons(static_cast<std::uint16_t>(port));
        std::memcpy(&v4.sin_addr, address->bytes.data() + v4_prefix.size(), 4);
        result.length = sizeof(sockaddr_in);
    } else {
        auto& v6 = reinterpret_cast<sockaddr_in6&>(result.address);
        v6.sin6_family = AF_INET6;
        v6.sin6_port = htons(static_cast<std::uint16_t>(port));
        std::memcpy(&v6.sin6_addr, address->bytes.data(), address->bytes.size());
        result.length = sizeof(sockaddr_in6);
    }
    return result;
}

std::string to_string(const sockaddr_storage& socket_address) {
    const std::string host = to_string(address_of(socket_address));
    const int port = port_of(socket_address);
    return socket_address.ss_family == AF_INET6 ? fmt::format("[{}]:{}", host, port)
                                                : fmt::format("{}:{}", host, port);
}

}  // namespace steplog::server
