// What a route decides to answer, apart from the HTTP library: routes are plain functions that
// tests call without a socket, and each route's file registers its own. Used by all routes; any
// thread.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace httplib {
struct Response;
class Server;
}  // namespace httplib

namespace steplog::server {

struct Answer {
    int status = 200;
    std::string body;
    std::vector<std::pair<std::string, std::string>> headers = {};
    std::string type = "application/json";
};

/// {"error": message} with this status.
Answer error_answer(int status, std::string_view message);

/// Puts the answer into the library's response.
void send(const Answer& answer, httplib::Response& response);

/// Registers 405, with what is allowed, for the methods that `path` does not take. The front lets
/// only GET, HEAD and POST through; `allowed` is "POST" or "GET". HEAD goes with GET.
void refuse_other_methods(httplib::Server& routes, const std::string& path,
                          const std::string& allowed);

}  // namespace steplog::server
