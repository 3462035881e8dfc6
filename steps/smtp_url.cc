// See smtp_url.h.
#include "steps/smtp_url.h"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

#include "steps/address.h"
#include "steps/http_text.h"

namespace steplog::steps {
namespace {

constexpr int port_smtps = 465, port_submission = 587, port_relay = 25;

[[noreturn]] void refuse(const std::string& why) { throw std::invalid_argument(why); }

int hex_digit(char c) {
    if (is_digit(c)) return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

std::string percent_decoded(std::string_view text) {
    std::string decoded;
    for (std::size_t i = 0; i < text.size(); ++i) {
        char c = text[i];
        if (c == '%') {
            const int high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
            const int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
            if (high < 0 || low < 0)
                refuse(
                    "has a % in its user or password that is not followed by two hex digits: "
                    "write % itself as %25");
            c = static_cast<char>(high * 16 + low);
            i += 2;
        }
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
            refuse("has a control character in its user or password");
        decoded += c;
    }
    return decoded;
}

void take_user(std::string_view& authority, SmtpServer& server) {
    const std::size_t at = authority.rfind('@');
    if (at == std::string_view::npos) return;
    const std::string_view user = authority.substr(0, at);
    const std::size_t colon = std::min(user.find(':'), user.size());
    if (user.find('@') != std::string_view::npos)
        refuse("has more than one @: write the one of the user as %40");
    server.user = percent_decoded(user.substr(0, colon));
    if (colon < user.size()) server.password = percent_decoded(user.substr(colon + 1));
    if (server.user.empty()) refuse("has an @ without a user before it");
    authority.remove_prefix(at + 1);
}

/// Host and port look as they do in any other URL.
void take_host(std::string_view authority, SmtpServer& server) {
    try {
        const BaseUrl base = parse_base_url(fmt::format("https://{}", authority));
        server.host = base.host;
        const bool says_port =
            authority.rfind(':') != std::string_view::npos && !authority.ends_with(']');
        server.port = says_port ? base.port : 0;
    } catch (const std::invalid_argument&) {
        refuse("has no valid host or port: write smtp://user:password@host:587");
    }
}

std::string own_name(std::string_view path) {
    const bool plain = std::all_of(path.begin(), path.end(), [](char c) {
        return is_letter(c) || is_digit(c) || c == '-' || c == '.';
    });
    if (!plain)
        refuse(
            "has a path that is no host name: after the / stands what this machine calls "
            "itself, or nothing");
    return std::string(path);
}

SmtpServer::Tls tls_of(bool implicit, std::string_view query, const std::string& host) {
    using Tls = SmtpServer::Tls;
    if (!query.empty() && query != "tls=off" && query != "tls=required")
        refuse("has something after the ? that is neither tls=off nor tls=required");
    if (implicit) {
        if (query == "tls=off") refuse("begins with smtps, and says tls=off: write smtp://");
        return Tls::implicit;
    }
    if (query.empty()) return is_loopback(host) ? Tls::off : Tls::starttls;
    return query == "tls=off" ? Tls::off : Tls::starttls;
}

/// What stands before and behind the first `mark`.
std::string_view cut_at(std::string_view& rest, char mark) {
    const std::size_t at = std::min(rest.find(mark), rest.size());
    const std::string_view behind = rest.substr(std::min(at + 1, rest.size()));
    rest = rest.substr(0, at);
    return behind;
}

}  // namespace

std::string SmtpServer::authority() const {
    const bool is_ipv6 = host.find(':') != std::string::npos;
    return is_ipv6 ? fmt::format("[{}]:{}", host, port) : fmt::format("{}:{}", host, port);
}

SmtpServer parse_smtp_url(std::string_view url) {
    constexpr std::string_view smtp = "smtp://", smtps = "smtps://";
    const bool implicit = url.starts_with(smtps);
    if (!implicit && !url.starts_with(smtp))
        refuse("must begin with smtp:// or smtps://, like smtp://user:password@host:587");
    std::string_view rest = url.substr(implicit ? smtps.size() : smtp.size());
    if (rest.find('#') != std::string_view::npos)
        refuse("has a #: within user or password write it as %23");
    const std::string_view query = cut_at(rest, '?');
    const std::string_view path = cut_at(rest, '/');

    SmtpServer server;
    take_user(rest, server);
    take_host(rest, server);
    server.own_name = own_name(path);
    server.tls = tls_of(implicit, query, server.host);
    const bool near = is_loopback(server.host);
    if (server.port == 0) server.port = implicit ? port_smtps : near ? port_relay : port_submission;
    if (server.tls == SmtpServer::Tls::off && !near && !server.user.empty())
        refuse("would send the password in the clear: leave tls=off away, or the user");
    return server;
}

}  // namespace steplog::steps
