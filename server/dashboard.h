// The dashboard: the page and what belongs to it, and signing in and out. What the page shows and
// does it asks of the admin API (admin.h), which lets its session in. Off without a key.
// Registered by the wiring; answers on any of the front's threads at once.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "server/admin_guard.h"
#include "server/admin_request.h"
#include "server/admin_sessions.h"
#include "server/http_answer.h"
#include "server/log.h"

namespace steplog::server {

/// A file of server/dashboard/, embedded at build time.
struct DashboardAsset {
    std::string_view name;  // "page.html"
    std::string_view content;
};
const std::vector<DashboardAsset>& dashboard_assets();

/// The section on error codes of the engine's README, embedded at build time, as JSON: the
/// paragraph of each code, by its name.
std::string error_help();

class Dashboard {
  public:
    /// What it refers to must outlive it. `https`: we serve TLS ourselves.
    Dashboard(AdminGuard& guard, AdminSessions& sessions, bool https, Log& log)
        : guard_(guard), sessions_(sessions), https_(https), log_(log) {}

    /// Registers the routes. This object must outlive the front's last answer.
    void add_to(httplib::Server& routes);

    /// GET /dashboard and /dashboard/<file>, for anybody: nothing in them is secret. POST
    /// /dashboard/login {"key"} answers {"csrf"} and sets the cookie, or 401 and 429 as AdminGuard
    /// says; GET /dashboard/session answers {"signed_in", "csrf"}; POST /dashboard/logout. 403 for
    /// what another page asks.
    Answer answer(const AdminRequest& request);

  private:
    Answer route(const AdminRequest& request);
    Answer log_in(const AdminRequest& request);
    Answer log_out(const AdminRequest& request);
    Answer session(const AdminRequest& request);
    std::string cookie(const AdminRequest& request, std::string_view token, Ms age) const;

    AdminGuard& guard_;
    AdminSessions& sessions_;
    const bool https_;
    Log& log_;
    const std::string error_help_ = error_help();
};

}  // namespace steplog::server
