// Health and readiness; see health.h.
#include "server/health.h"

#include <httplib.h>

namespace steplog::server {
namespace {

Answer not_ready(std::string_view reason) {
    return {
        503, Json({{"status", "unavailable"}, {"reason", reason}}).dump(), {{"Retry-After", "5"}}};
}

}  // namespace

Answer healthz() { return {200, R"({"status":"ok"})"}; }

Answer readyz(Store::Health store, bool stopping) {
    if (stopping) return not_ready("the server is stopping");
    switch (store) {
        case Store::Health::ok:
            return {200, R"({"status":"ready"})"};
        case Store::Health::full:
            return not_ready("no room on the database's disk; it goes on by itself when there is");
        case Store::Health::failed:
            return not_ready("the database has failed; the server is about to end");
    }
    return not_ready("the database's state is not known");
}

void add_health_routes(httplib::Server& routes, const Store& store, const Engine& engine) {
    routes.Get("/healthz", [](const httplib::Request&, httplib::Response& response) {
        send(healthz(), response);
    });
    routes.Get("/readyz", [&store, &engine](const httplib::Request&, httplib::Response& response) {
        send(readyz(store.health(), engine.stopping()), response);
    });
    refuse_other_methods(routes, "/healthz", "GET");
    refuse_other_methods(routes, "/readyz", "GET");
}

}  // namespace steplog::server
