// The seam between the providers' clients and the network. The real client is steps/http_client;
// tests put a provider's stand-in here without a socket.
#pragma once

#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "engine/types.h"

namespace steplog::steps {

using Headers = std::vector<std::pair<std::string, std::string>>;

struct HttpRequest {
    std::string method;  // GET, POST, PATCH, DELETE
    std::string base;    // from settings only: "https://api.stripe.com"
    std::string target;  // path and query, percent-encoded, begins with '/'
    Headers headers;
    std::string body;
    Ms timeout{20000};  // the whole attempt, connect to last byte
    std::stop_token stop;
};

struct HttpReply {
    int status = 0;    // final, 200 and above
    Headers headers;   // names as received
    std::string body;  // whole: its length was checked

    /// The first value of a header, names compared without case; "" when there is none.
    std::string header(std::string_view name) const;
};

class HttpTransport {
  public:
    virtual ~HttpTransport() = default;

    /// Sends once. Returns any complete, bounded reply with a final status. Throws RetryableError:
    /// refused when the request certainly did not reach the provider (no connection), unknown
    /// when it may have (time-out, reset, cut, oversized answer, 1xx as the last word).
    virtual HttpReply send(const HttpRequest& request) = 0;
};

}  // namespace steplog::steps
