// The only place of the sandbox that includes the HTTP library. Any thread.
#include "tools/sandbox/http_call.h"

#include <httplib.h>

namespace steplog::sandbox {

HttpAnswer http_call(const std::string& method, const std::string& url,
                     const steps::Headers& headers, const std::string& body, Ms timeout) {
    const auto scheme = url.find("://");
    const auto slash = scheme == std::string::npos ? std::string::npos : url.find('/', scheme + 3);
    if (scheme == std::string::npos) {
        return {.status = 0, .body = "", .error = "the URL must begin with http:// or https://"};
    }
    httplib::Client client(url.substr(0, slash));
    if (!client.is_valid()) return {.status = 0, .body = "", .error = "the URL cannot be used"};
    client.set_connection_timeout(timeout);
    client.set_read_timeout(timeout);
    client.set_write_timeout(timeout);
    client.set_tcp_nodelay(true);
    client.set_keep_alive(false);
    httplib::Request request;
    request.method = method;
    request.path = slash == std::string::npos ? "/" : url.substr(slash);
    for (const auto& [name, value] : headers) request.headers.emplace(name, value);
    request.body = body;
    const httplib::Result result = client.send(request);
    if (!result) {
        return {.status = 0, .body = "", .error = httplib::to_string(result.error())};
    }
    return {.status = result->status, .body = result->body, .error = ""};
}

}  // namespace steplog::sandbox
