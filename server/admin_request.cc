// See admin_request.h.
#include "server/admin_request.h"

#include <httplib.h>

namespace steplog::server {

AdminRequest admin_request(const httplib::Request& request) {
    std::string cookies;
    const auto [first, last] = request.headers.equal_range("Cookie");
    for (auto cookie = first; cookie != last; ++cookie)
        cookies += (cookies.empty() ? "" : "; ") + cookie->second;
    return {.method = request.method == "HEAD" ? "GET" : request.method,
            .path = request.path,
            .query = {request.params.begin(), request.params.end()},
            .authorization = request.get_header_value("Authorization"),
            .body = request.body,
            .address = request.remote_addr,
            .browser = {.cookie = std::move(cookies),
                        .csrf = request.get_header_value("X-Steplog-CSRF"),
                        .origin = request.get_header_value("Origin"),
                        .host = request.get_header_value("Host"),
                        .fetch_site = request.get_header_value("Sec-Fetch-Site"),
                        .forwarded_proto = request.get_header_value("X-Forwarded-Proto")}};
}

}  // namespace steplog::server
