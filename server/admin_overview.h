// GET /api/admin/overview: the dashboard's first view. Used by the admin API; any thread. Looked up
// at most once a second, however many look.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>

#include "engine/inspect.h"
#include "engine/inspect_dashboard.h"
#include "server/http_answer.h"

namespace steplog::server {

class AdminOverview {
  public:
    /// `clock` must outlive it.
    AdminOverview(std::filesystem::path database, const Clock& clock)
        : database_(std::move(database)), clock_(clock) {}

    /// {"at", "states" (of what is unfinished), "ended" (all that is kept), "stuck" (groups),
    /// "stuck_since", "oldest_due_at", "recent", "hours", "workflows", "without_account" {"stuck",
    /// "failed", "waiting_since"}, "breakers", "limits", "paused_workflows", "heads"}. Throws
    /// InspectError.
    Answer answer();

  private:
    Json look();

    const std::filesystem::path database_;
    const Clock& clock_;
    std::mutex mutex_;
    // Guarded by mutex_.
    std::unique_ptr<Inspector> inspector_;
    std::unique_ptr<DashboardReader> reader_;
    std::int64_t looked_at_ms_ = 0;
    std::string seen_;
};

}  // namespace steplog::server
