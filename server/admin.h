// The admin API: what is asked for under /api/admin, by whom, and which part answers it. Off
// without a key. Registered by the wiring; answers on any of the front's threads at once.
#pragma once

#include <map>
#include <string>

#include "server/admin_guard.h"
#include "server/admin_instances.h"
#include "server/admin_reconcile.h"

namespace steplog::server {

/// A request, apart from the HTTP library.
struct AdminRequest {
    std::string method;  // GET (HEAD is one) or POST
    std::string path;    // decoded
    std::multimap<std::string, std::string> query;
    std::string authorization;
    std::string body;
    std::string address;
};

class AdminApi {
  public:
    /// All three must outlive it.
    AdminApi(AdminGuard& guard, AdminInstances& instances, Reconciliation& reconciliation)
        : guard_(guard), instances_(instances), reconciliation_(reconciliation) {}

    /// Registers the routes. This object must outlive the front's last answer.
    void add_to(httplib::Server& routes);

    /// CONTRACT's answers, as JSON, never with a byte of the request in them. 401 and 429 as
    /// AdminGuard says; 400 for a parameter or a body that is not understood or that nobody knows
    /// (a misspelt dryRun must not become a real run); 404, 405, 409; 503 when the database cannot
    /// be read or written just now.
    Answer answer(const AdminRequest& request);

  private:
    Answer route(const AdminRequest& request, std::size_t key);
    Answer list(const AdminRequest& request);
    Answer instance(const AdminRequest& request, std::string id, std::size_t key);
    Answer change(const AdminRequest& request, const std::string& id, const std::string& verb,
                  std::size_t key);
    Answer reconcile(const AdminRequest& request, std::size_t key);

    AdminGuard& guard_;
    AdminInstances& instances_;
    Reconciliation& reconciliation_;
};

}  // namespace steplog::server
