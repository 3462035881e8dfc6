// See address.h.
#include "steps/address.h"

#include <arpa/inet.h>
#include <fmt/core.h>
#include <netinet/in.h>

#include <algorithm>
#include <charconv>
#include <stdexcept>

#include "steps/http_text.h"

namespace steplog::steps {

namespace {

constexpr std::size_t host_length_max = 253;

[[noreturn]] void refuse(std::string_view why) {
    throw std::invalid_argument(fmt::format("the base URL {}", why));
}

bool is_ipv4(const std::string& host) {
    in_addr address{};
    return inet_pton(AF_INET, host.c_str(), &address) == 1;
}

bool is_ipv6(const std::string& host) {
    in6_addr address{};
    return inet_pton(AF_INET6, host.c_str(), &address) == 1;
}

bool is_ipv6_loopback(const std::string& host) {
    in6_addr address{};
    return inet_pton(AF_INET6, host.c_str(), &address) == 1 && IN6_IS_ADDR_LOOPBACK(&address);
}

bool is_host_character(char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
}

bool is_host_name(std::string_view host) {
    return !host.empty() && host.size() <= host_length_max && host.front() != '.' &&
           host.front() != '-' && host.find("..") == std::string_view::npos &&
           std::all_of(host.begin(), host.end(), is_host_character);
}

int parse_port(std::string_view text) {
    constexpr int port_max = 65535;
    int port = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
    if (error != std::errc{} || end != text.data() + text.size() || port < 1 || port > port_max) {
        refuse("has a port that is not a number from 1 to 65535");
    }
    return port;
}

/// Takes the host off the front of `rest`, brackets removed, in lower case.
std::string take_host(std::string_view& rest) {
    const bool bracketed = rest.starts_with('[');
    const std::size_t end = bracketed ? rest.find(']') : std::min(rest.find(':'), rest.size());
    if (end == std::string_view::npos) refuse("has a '[' without its ']'");
    const std::string host = lower_case(bracketed ? rest.substr(1, end - 1) : rest.substr(0, end));
    rest.remove_prefix(bracketed ? end + 1 : end);
    if (bracketed ? !is_ipv6(host) : !is_host_name(host)) {
        refuse("has no valid host: write https://host or https://host:port");
    }
    return host;
}

}  // namespace

std::string BaseUrl::authority() const {
    std::string text = host.find(':') == std::string::npos ? host : fmt::format("[{}]", host);
    const int own_port = tls ? 443 : 80;
    if (port != own_port) text += fmt::format(":{}", port);
    return text;
}

BaseUrl parse_base_url(std::string_view url) {
    constexpr std::string_view https = "https://";
    constexpr std::string_view http = "http://";
    BaseUrl base;
    base.tls = url.starts_with(https);
    if (!base.tls && !url.starts_with(http)) {
        refuse("must begin with https:// (or http:// for a stand-in on this machine)");
    }
    std::string_view rest = url.substr(base.tls ? https.size() : http.size());
    if (rest.find('@') != std::string_view::npos) {
        refuse("must not contain a user or password: put the key into its own setting");
    }
    if (rest.ends_with('/')) rest.remove_suffix(1);
    if (rest.find_first_of("/?#\\") != std::string_view::npos) {
        refuse("must end after the host and port: leave the path away");
    }
    base.host = take_host(rest);
    base.port = base.tls ? 443 : 80;
    if (rest.starts_with(':')) {
        base.port = parse_port(rest.substr(1));
    } else if (!rest.empty()) {
        refuse("has no valid host: write https://host or https://host:port");
    }
    if (!base.tls && !is_loopback(base.host)) {
        refuse(
            "would send keys and customers' data in the clear: use https:// "
            "(http:// is accepted for 127.0.0.1, ::1 and localhost only)");
    }
    return base;
}

bool is_loopback(const std::string& host) {
    return host == "localhost" || is_ipv6_loopback(host) ||
           (is_ipv4(host) && host.starts_with("127."));
}

bool is_ip_address(const std::string& host) { return is_ipv4(host) || is_ipv6(host); }

}  // namespace steplog::steps
