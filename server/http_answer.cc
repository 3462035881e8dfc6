// Answers as plain values; see http_answer.h.
#include "server/http_answer.h"

#include <fmt/core.h>
#include <httplib.h>

#include "engine/types.h"

namespace steplog::server {

Answer error_answer(int status, std::string_view message) {
    return {status,
            Json({{"error", message}}).dump(-1, ' ', false, Json::error_handler_t::replace)};
}

void send(const Answer& answer, httplib::Response& response) {
    response.status = answer.status;
    for (const auto& [name, value] : answer.headers) response.set_header(name, value);
    response.set_content(answer.body, answer.type);
}

void refuse_other_methods(httplib::Server& routes, const std::string& path,
                          const std::string& allowed) {
    auto refusal = error_answer(405, fmt::format("{} takes {} only", path, allowed));
    refusal.headers.emplace_back("Allow", allowed == "GET" ? "GET, HEAD" : allowed);
    const auto refuse = [refusal](const httplib::Request&, httplib::Response& response) {
        send(refusal, response);
    };
    if (allowed == "GET") {
        routes.Post(path, refuse);
    } else {
        routes.Get(path, refuse);
    }
}

}  // namespace steplog::server
