// Who is signed in; see admin_sessions.h.
#include "server/admin_sessions.h"

#include <openssl/crypto.h>
#include <strings.h>

#include <algorithm>

namespace steplog::server {

AdminSessions::Opened AdminSessions::open(std::size_t key) {
    const Opened opened{.token = to_hex(random_hash()), .csrf = to_hex(random_hash())};
    const std::int64_t now_ms = clock_.now_ms();
    const std::lock_guard lock(mutex_);
    std::erase_if(sessions_, [&](const auto& one) { return has_ended(one.second, now_ms); });
    if (sessions_.size() >= sessions_max)
        sessions_.erase(std::min_element(sessions_.begin(), sessions_.end(),
                                         [](const auto& one, const auto& other) {
                                             return one.second.used_at_ms < other.second.used_at_ms;
                                         }));
    sessions_[sha256(opened.token)] = {{key, opened.csrf}, now_ms, now_ms};
    return opened;
}

std::optional<AdminSessions::Session> AdminSessions::find(const BrowserSaid& browser) {
    const std::string_view token = session_token(browser.cookie);
    if (token.empty()) return std::nullopt;
    const std::int64_t now_ms = clock_.now_ms();
    const std::lock_guard lock(mutex_);
    // What is compared here is the hash of a guess: how long it takes tells nothing of a token.
    const auto found = sessions_.find(sha256(token));
    if (found == sessions_.end()) return std::nullopt;
    if (has_ended(found->second, now_ms)) {
        sessions_.erase(found);
        return std::nullopt;
    }
    found->second.used_at_ms = now_ms;
    return found->second.session;
}

void AdminSessions::close(const BrowserSaid& browser) {
    const std::lock_guard lock(mutex_);
    sessions_.erase(sha256(session_token(browser.cookie)));
}

// A clock that was set back must not lengthen a session.
bool AdminSessions::has_ended(const Kept& kept, std::int64_t now_ms) const {
    return now_ms < kept.opened_at_ms || now_ms - kept.opened_at_ms >= lifetime.count() ||
           now_ms - kept.used_at_ms >= idle_max.count();
}

bool is_same_origin(const BrowserSaid& browser) {
    if (!browser.fetch_site.empty()) return browser.fetch_site == "same-origin";
    if (browser.origin.empty()) return true;
    const auto scheme_end = browser.origin.find("://");
    if (scheme_end == std::string::npos) return false;
    const std::string site = browser.origin.substr(scheme_end + 3);
    return !site.empty() && strcasecmp(site.c_str(), browser.host.c_str()) == 0;
}

bool is_our_page(const BrowserSaid& browser, const AdminSessions::Session& session) {
    const Hash given = sha256(browser.csrf), wanted = sha256(session.csrf);
    return CRYPTO_memcmp(given.data(), wanted.data(), wanted.size()) == 0 &&
           is_same_origin(browser);
}

std::string_view session_token(std::string_view cookies) {
    std::string_view token;
    while (!cookies.empty()) {
        const auto end = std::min(cookies.find(';'), cookies.size());
        std::string_view cookie = cookies.substr(0, end);
        cookies.remove_prefix(std::min(end + 1, cookies.size()));
        cookie.remove_prefix(std::min(cookie.find_first_not_of(' '), cookie.size()));
        const auto equals = cookie.find('=');
        if (cookie.substr(0, equals) != AdminSessions::cookie_name) continue;
        // Two of one name: another site below the same domain may have set one.
        if (!token.empty() || equals == std::string_view::npos) return {};
        token = cookie.substr(equals + 1);
    }
    return token;
}

}  // namespace steplog::server
