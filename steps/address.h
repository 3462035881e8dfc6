// Where a provider lives: the base URL from the settings, checked. Used by the settings (so that a
// wrong one is reported at start) and by the HTTP client (so that nothing gets past it). Any
// thread.
#pragma once

#include <string>
#include <string_view>

namespace steplog::steps {

struct BaseUrl {
    bool tls = true;
    std::string host;  // a name in lower case, an IPv4 address, or an IPv6 address without brackets
    int port = 443;

    /// For the Host header: brackets around IPv6, the port only where it is not the scheme's own.
    std::string authority() const;
};

/// Takes "https://host[:port]", and "http://…" only where the host is loopback: 127.0.0.0/8, ::1 or
/// localhost. A single '/' may follow. Throws std::invalid_argument for everything else, with one
/// sentence that says what is wrong and what to write; the URL itself, which may carry a password,
/// is not repeated in it.
BaseUrl parse_base_url(std::string_view url);

/// Whether `host`, as BaseUrl has it, is this machine: 127.0.0.0/8, ::1 or localhost.
bool is_loopback(const std::string& host);

/// Whether `host` is an IPv4 or IPv6 address rather than a name.
bool is_ip_address(const std::string& host);

}  // namespace steplog::steps
