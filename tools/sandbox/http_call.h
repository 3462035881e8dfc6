// One outbound HTTP call over the library's client: the sender posts events with it, the program's
// verbs speak to a running sandbox with it. Any thread.
#pragma once

#include "steps/http.h"

namespace steplog::sandbox {

struct HttpAnswer {
    int status = 0;  // 0: no answer came, `error` says why
    std::string body;
    std::string error;
};

/// Sends `method` `url` (http or https, with path) and waits up to `timeout` for each part of the
/// answer. Never throws for what the network does. Redirects are not followed.
HttpAnswer http_call(const std::string& method, const std::string& url,
                     const steps::Headers& headers, const std::string& body, Ms timeout);

}  // namespace steplog::sandbox
