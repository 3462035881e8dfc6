// Who is signed in to the dashboard: sessions kept in memory, so that a restart signs everybody
// out. A session is worth the key that it was opened with. Used by the dashboard, which opens and
// closes them, and by the admin API, which lets them in; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "engine/clock.h"
#include "engine/digest.h"
#include "engine/types.h"
#include "server/admin_request.h"

namespace steplog::server {

class AdminSessions {
  public:
    static constexpr Ms lifetime = std::chrono::hours(12);
    static constexpr Ms idle_max = std::chrono::hours(1);
    /// Beyond it the one that was idle for longest ends.
    static constexpr std::size_t sessions_max = 100;
    static constexpr std::string_view cookie_name = "steplog_session";

    explicit AdminSessions(const Clock& clock) : clock_(clock) {}

    struct Opened {
        std::string token;  // 256 random bits, for the cookie; only its hash is kept
        std::string csrf;
    };
    /// `key` is the one of AdminGuard::Verdict.
    Opened open(std::size_t key);

    struct Session {
        std::size_t key = 0;
        std::string csrf;
    };
    /// The session that the request's cookie names, and notes that it was used. Nothing where there
    /// is no such cookie, more than one, or the session has ended.
    std::optional<Session> find(const BrowserSaid& browser);

    void close(const BrowserSaid& browser);

  private:
    struct Kept {
        Session session;
        std::int64_t opened_at_ms = 0, used_at_ms = 0;
    };
    bool has_ended(const Kept& kept, std::int64_t now_ms) const;

    const Clock& clock_;
    std::mutex mutex_;
    std::map<Hash, Kept> sessions_;  // by the token's hash; guarded by mutex_
};

/// Whether the browser says that a page of this server asks, as far as it says anything: by
/// Sec-Fetch-Site, or, where there is none, by Origin.
bool is_same_origin(const BrowserSaid& browser);

/// The same, and it sent the session's own token, which no other page can read. Compared in
/// constant time.
bool is_our_page(const BrowserSaid& browser, const AdminSessions::Session& session);

/// The value of the session's cookie; "" for none, and for several.
std::string_view session_token(std::string_view cookies);

}  // namespace steplog::server
