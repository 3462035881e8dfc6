// GET /healthz (the process lives) and GET /readyz (events can be accepted): what load balancers
// and supervisors ask. Registered by main; answers on any of the front's threads at once.
#pragma once

#include "engine/engine.h"
#include "engine/store.h"
#include "server/http_answer.h"

namespace steplog::server {

/// 200 as long as a thread is left to say so.
Answer healthz();

/// 200 while an event would be stored; else 503 with the reason: the store is out of room or has
/// failed, or the server is stopping. A provider's outage changes nothing: events are stored all
/// the same.
Answer readyz(Store::Health store, bool stopping);

/// Registers both. `store` and `engine` must outlive the front's last answer.
void add_health_routes(httplib::Server& routes, const Store& store, const Engine& engine);

}  // namespace steplog::server
