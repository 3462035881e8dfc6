// The dashboard's routes; see dashboard.h.
#include "server/dashboard.h"

#include <fmt/format.h>
#include <httplib.h>

#include <algorithm>

#include "engine/json_guard.h"

namespace steplog::server {
namespace {

constexpr std::string_view page_path = "/dashboard";
constexpr std::size_t login_bytes_max = 16 * 1024;  // read before anybody is known

Answer not_ours() {
    return error_answer(403, "this must be asked by the dashboard itself: open /dashboard");
}

Answer only_by(const std::string& method) {
    auto answer = error_answer(405, "this path takes " + method + " only");
    answer.headers.emplace_back("Allow", method == "GET" ? "GET, HEAD" : method);
    return answer;
}

Answer asset(std::string_view name) {
    const auto& all = dashboard_assets();
    const auto found = std::find_if(all.begin(), all.end(),
                                    [&](const DashboardAsset& one) { return one.name == name; });
    if (found == all.end() || name.ends_with(".md"))
        return error_answer(404, "there is nothing here; GET /dashboard is the page");
    const bool is_html = name.ends_with(".html"), is_style = name.ends_with(".css");
    return {.status = 200,
            .body = std::string(found->content),
            .type = is_html    ? "text/html; charset=utf-8"
                    : is_style ? "text/css; charset=utf-8"
                               : "text/javascript; charset=utf-8"};
}

/// The key in {"key":"…"}; "" for anything else, which is nobody's key.
std::string key_given(const std::string& body) {
    if (body.empty() || body.size() > login_bytes_max) return "";
    std::string why_not;
    const auto json = parse_guarded(body, why_not);
    if (!json || !json->is_object() || json->size() != 1) return "";
    const auto key = json->find("key");
    return key != json->end() && key->is_string() ? key->get<std::string>() : "";
}

}  // namespace

void Dashboard::add_to(httplib::Server& routes) {
    const auto handle = [this](const httplib::Request& request, httplib::Response& response) {
        send(answer(admin_request(request)), response);
    };
    const std::string all = std::string(page_path) + "(/.*)?";
    routes.Get(all, handle);
    routes.Post(all, handle);
}

Answer Dashboard::answer(const AdminRequest& request) { return guard_.dress(route(request)); }

Answer Dashboard::route(const AdminRequest& request) {
    const std::string below = request.path.substr(page_path.size());
    if (below == "/login") return request.method == "POST" ? log_in(request) : only_by("POST");
    if (below == "/logout") return request.method == "POST" ? log_out(request) : only_by("POST");
    if (request.method != "GET") return only_by("GET");
    if (below.empty() || below == "/") return asset("page.html");
    if (below == "/session") return session(request);
    if (below == "/errors.json") return {200, error_help_};
    return asset(below.substr(1));
}

Answer Dashboard::log_in(const AdminRequest& request) {
    if (!is_same_origin(request.browser)) return not_ours();
    auto verdict = guard_.judge("", key_given(request.body), request.address);
    if (verdict.refusal) return *verdict.refusal;
    sessions_.close(request.browser);
    const auto opened = sessions_.open(verdict.key);
    log_.info("signed in to the dashboard", {{"address", request.address}});
    Answer answer{200, Json({{"signed_in", true}, {"csrf", opened.csrf}}).dump()};
    answer.headers.emplace_back("Set-Cookie",
                                cookie(request, opened.token, AdminSessions::lifetime));
    return answer;
}

Answer Dashboard::log_out(const AdminRequest& request) {
    const auto session = sessions_.find(request.browser);
    if (session && !is_our_page(request.browser, *session)) return not_ours();
    if (session) {
        sessions_.close(request.browser);
        log_.info("signed out of the dashboard", {{"address", request.address}});
    }
    Answer answer{200, Json({{"signed_in", false}}).dump()};
    answer.headers.emplace_back("Set-Cookie", cookie(request, "", Ms(0)));
    return answer;
}

// Only a page of ours can read the answer: no header of it lets another.
Answer Dashboard::session(const AdminRequest& request) {
    const auto session = sessions_.find(request.browser);
    if (!session) return {200, Json({{"signed_in", false}}).dump()};
    return {200, Json({{"signed_in", true}, {"csrf", session->csrf}}).dump()};
}

std::string Dashboard::cookie(const AdminRequest& request, std::string_view token, Ms age) const {
    const bool secure = https_ || request.browser.forwarded_proto == "https";
    return fmt::format("{}={}; Path=/; Max-Age={}; HttpOnly; SameSite=Strict{}",
                       AdminSessions::cookie_name, token, age.count() / 1000,
                       secure ? "; Secure" : "");
}

std::string error_help() {
    const auto& all = dashboard_assets();
    const auto found = std::find_if(all.begin(), all.end(), [](const DashboardAsset& one) {
        return one.name == "error_codes.md";
    });
    Json help = Json::object();
    std::string code;
    for (std::string_view rest = found == all.end() ? "" : found->content; !rest.empty();) {
        const auto end = std::min(rest.find('\n'), rest.size());
        const std::string line(rest.substr(0, end));
        rest.remove_prefix(std::min(end + 1, rest.size()));
        if (line.starts_with("### ")) {
            code = line.substr(4);
        } else if (!code.empty() && !line.empty()) {
            auto& text = help[code];
            text = text.is_string() ? text.get<std::string>() + " " + line : line;
        }
    }
    return help.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace steplog::server
