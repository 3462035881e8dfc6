// Load over HTTP for the measures: signed deliveries on kept connections, from threads that do
// nothing else. Blocking sockets; every answer is read whole.
#pragma once

#include <atomic>
#include <functional>
#include <string>

#include "tools/bench/measure.h"

namespace steplog::bench {

struct HttpLoad {
    int port = 0;
    int connections = 1;
    bool keep = true;  // false: each request on a connection of its own
    double seconds = 5;
    /// 0: each connection sends the next when it has the last answer. Otherwise so many a second
    /// over all connections, on time whatever the answers take, and measured from the planned time.
    double per_second = 0;
    /// The n-th request, whole. Called by many threads.
    std::function<std::string(std::uint64_t n)> request;
};

struct HttpSeen {
    double per_second = 0;
    std::uint64_t refused = 0;  // answers that were not 200
    Samples took;
};

/// Throws std::runtime_error when a connection breaks.
HttpSeen run_load(const HttpLoad& load);

/// A POST of `body` as Stripe sends it, signed now with `secret`.
std::string signed_delivery(const std::string& body, const std::string& secret);

}  // namespace steplog::bench
