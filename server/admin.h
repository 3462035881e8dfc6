// The admin API: what is asked for under /api/admin, by whom, and which part answers it. Off
// without a key. Registered by the wiring; answers on any of the front's threads at once.
#pragma once

#include <string>

#include "server/admin_guard.h"
#include "server/admin_instances.h"
#include "server/admin_overview.h"
#include "server/admin_reconcile.h"
#include "server/admin_request.h"
#include "server/admin_sessions.h"

namespace steplog::server {

class AdminApi {
  public:
    /// All must outlive it. Without `sessions` only a key lets in, without `overview` that path is
    /// not there.
    AdminApi(AdminGuard& guard, AdminInstances& instances, Reconciliation& reconciliation,
             AdminSessions* sessions = nullptr, AdminOverview* overview = nullptr)
        : guard_(guard),
          instances_(instances),
          reconciliation_(reconciliation),
          sessions_(sessions),
          overview_(overview) {}

    /// Registers the routes. This object must outlive the front's last answer.
    void add_to(httplib::Server& routes);

    /// CONTRACT's answers, as JSON, never with a byte of the request in them. 401 and 429 as
    /// AdminGuard says, unless a session of the dashboard asks, whose changes need its token (403);
    /// 400 for a parameter or a body that is not understood or that nobody knows (a misspelt dryRun
    /// must not become a real run); 404, 405, 409; 503 when the database cannot be read or written
    /// just now.
    Answer answer(const AdminRequest& request);

  private:
    /// Who asks.
    struct Asker {
        std::size_t key = 0;  // the one that they came with, or signed in with
        const char* actor = admin_actor;
    };
    std::optional<Answer> refuse(const AdminRequest& request, Asker& asker);
    Answer route(const AdminRequest& request, const Asker& asker);
    Answer list(const AdminRequest& request);
    Answer browse(const AdminRequest& request);
    Answer instance(const AdminRequest& request, std::string id, const Asker& asker);
    Answer change(const AdminRequest& request, const std::string& id, const std::string& verb,
                  const Asker& asker);
    Answer reconcile(const AdminRequest& request, std::size_t key);

    AdminGuard& guard_;
    AdminInstances& instances_;
    Reconciliation& reconciliation_;
    AdminSessions* const sessions_;
    AdminOverview* const overview_;
};

}  // namespace steplog::server
