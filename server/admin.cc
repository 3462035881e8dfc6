// The admin API's routes; see admin.h.
#include "server/admin.h"

#include <fmt/format.h>
#include <httplib.h>

#include <stdexcept>

#include "engine/json_guard.h"
#include "engine/text.h"

namespace steplog::server {
namespace {

constexpr std::string_view root = "/api/admin";
constexpr std::string_view reconcile_path = "/api/admin/fix-missing-clerk-accounts";
constexpr std::string_view instances_path = "/api/admin/instances";
constexpr std::string_view browse_path = "/api/admin/browse";
constexpr std::string_view overview_path = "/api/admin/overview";
constexpr std::size_t key_body_bytes_max = 16 * 1024;  // read before anybody is known
constexpr std::size_t reason_bytes_max = 1000;
constexpr std::int64_t list_limit_max = 1'000'000;  // read as admin_list_max from there on
constexpr int reconcile_limit_default = 100;

/// What is wrong with a request; a fixed text.
class BadRequest : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

/// The parameters of a request: each is known, and there once.
class Parameters {
  public:
    explicit Parameters(std::multimap<std::string, std::string> query) : query_(std::move(query)) {}

    std::optional<std::string> take(const std::string& name) {
        const auto [first, last] = query_.equal_range(name);
        if (first == last) return std::nullopt;
        if (std::next(first) != last) throw BadRequest("a parameter is given twice");
        std::string value = first->second;
        query_.erase(first);
        return value;
    }
    std::optional<std::int64_t> take_count(const std::string& name, std::int64_t max) {
        const auto text = take(name);
        if (!text) return std::nullopt;
        const auto value = parse_count(*text, max);
        if (!value || *value < 1)
            throw BadRequest(fmt::format("{} must be a whole number from 1 to {}", name, max));
        return value;
    }
    bool take_flag(const std::string& name) {
        const auto text = take(name);
        if (!text || *text == "false") return false;
        if (*text != "true") throw BadRequest(fmt::format("{} must be true or false", name));
        return true;
    }
    /// After all that are known were taken.
    void expect_no_more(const std::string& known) const {
        if (!query_.empty()) throw BadRequest("a parameter is not known here; known are: " + known);
    }

  private:
    std::multimap<std::string, std::string> query_;
};

State state_in(const std::string& text) {
    const auto state = parse_state(text);
    if (!state)
        throw BadRequest(
            "state must be pending, queued, running, sleeping, waiting, stuck, "
            "completed, failed or cancelled");
    return *state;
}

/// What both lists are asked for in the same words.
template <class Filter>
void take_names(Parameters& parameters, Filter& filter) {
    filter.workflow = parameters.take("workflow").value_or("");
    filter.key = parameters.take("key").value_or("");
    filter.step = parameters.take("step").value_or("");
    filter.error_code = parameters.take("error_code").value_or("");
    const auto age = parameters.take("older_than");
    if (!age) return;
    filter.older_than = parse_duration(*age);
    if (!filter.older_than) throw BadRequest("older_than must be a duration like 30s, 1h or 2d");
}

int take_limit(Parameters& parameters) {
    const auto limit = parameters.take_count("limit", list_limit_max);
    return static_cast<int>(
        std::min<std::int64_t>(limit.value_or(admin_list_default), admin_list_max));
}

/// The body of a POST, where there is one: a JSON object.
Json object_in(const std::string& body) {
    if (body.empty()) return Json::object();
    std::string why_not;
    auto json = parse_guarded(body, why_not);
    if (!json || !json->is_object()) throw BadRequest("the body must be empty or a JSON object");
    return std::move(*json);
}

/// The key in the body of the one route that takes it there; "" for none.
std::string key_in(const AdminRequest& request) {
    if (request.path != reconcile_path || request.method != "POST" || request.body.empty() ||
        request.body.size() > key_body_bytes_max || !request.authorization.empty())
        return "";
    std::string why_not;
    const auto json = parse_guarded(request.body, why_not);
    if (!json || !json->is_object()) return "";
    const auto key = json->find("adminKey");
    return key != json->end() && key->is_string() ? key->get<std::string>() : "";
}

std::string reason_in(const std::string& body) {
    std::string reason;
    const Json object = object_in(body);
    for (const auto& [name, value] : object.items()) {
        if (name != "reason" || !value.is_string() ||
            value.get_ref<const std::string&>().size() > reason_bytes_max)
            throw BadRequest(R"(the body may hold {"reason":"..."}, at most 1000 bytes, only)");
        reason = value.get<std::string>();
    }
    return reason;
}

Answer only(const std::string& method) {
    auto answer = error_answer(405, "this path takes " + method + " only");
    answer.headers.emplace_back("Allow", method == "GET" ? "GET, HEAD" : method);
    return answer;
}

Answer nothing_here() {
    return error_answer(404, "there is nothing here; check the path and the method");
}

Answer come_again(std::string_view why) {
    auto answer = error_answer(503, why);
    answer.headers.emplace_back("Retry-After", "5");
    return answer;
}

Answer unreadable(const InspectError& error) {
    switch (error.kind()) {
        case InspectError::Kind::not_found:
            return error_answer(404,
                                "there is no such instance; GET /api/admin/instances lists "
                                "those there are");
        case InspectError::Kind::ambiguous:
            return error_answer(400, "the id fits several instances; give more of it");
        case InspectError::Kind::too_slow:
            return come_again("that takes too long to read beside the work; ask for less");
        case InspectError::Kind::unreadable:
            break;
    }
    return come_again("the database cannot be read now; try again");
}

/// Takes an ending off; false when the text has another.
bool take_ending(std::string& text, std::string_view ending) {
    if (!text.ends_with(ending)) return false;
    text.resize(text.size() - ending.size());
    return true;
}

}  // namespace

void AdminApi::add_to(httplib::Server& routes) {
    const auto handle = [this](const httplib::Request& request, httplib::Response& response) {
        send(answer(admin_request(request)), response);
    };
    const std::string all = std::string(root) + "(/.*)?";
    routes.Get(all, handle);
    routes.Post(all, handle);
}

Answer AdminApi::answer(const AdminRequest& request) {
    Asker asker;
    if (const auto refusal = refuse(request, asker)) return guard_.dress(*refusal);
    try {
        return guard_.dress(route(request, asker));
    } catch (const BadRequest& error) {
        return guard_.dress(error_answer(400, error.what()));
    } catch (const InspectError& error) {
        return guard_.dress(unreadable(error));
    } catch (const StoreError&) {
        return guard_.dress(come_again("the database cannot be written now; try again"));
    }
}

std::optional<Answer> AdminApi::refuse(const AdminRequest& request, Asker& asker) {
    if (sessions_ && request.authorization.empty()) {
        if (const auto session = sessions_->find(request.browser)) {
            if (request.method != "GET" && !is_our_page(request.browser, *session))
                return error_answer(403, "this must be asked by the dashboard itself");
            asker = {session->key, dashboard_actor};
            return std::nullopt;
        }
    }
    auto verdict = guard_.judge(request.authorization, key_in(request), request.address);
    asker.key = verdict.key;
    return verdict.refusal;
}

Answer AdminApi::route(const AdminRequest& request, const Asker& asker) {
    if (request.path == reconcile_path)
        return request.method == "POST" ? reconcile(request, asker.key) : only("POST");
    for (const auto& [path, look] :
         {std::pair{instances_path, &AdminApi::list}, {browse_path, &AdminApi::browse}})
        if (request.path == path)
            return request.method == "GET" ? (this->*look)(request) : only("GET");
    if (request.path == overview_path && overview_) {
        Parameters(request.query).expect_no_more("none");
        return request.method == "GET" ? overview_->answer() : only("GET");
    }
    const std::string below = std::string(instances_path) + "/";
    if (request.path.starts_with(below) && request.path.size() > below.size())
        return instance(request, request.path.substr(below.size()), asker);
    return nothing_here();
}

Answer AdminApi::list(const AdminRequest& request) {
    Parameters parameters(request.query);
    InstanceFilter filter;
    if (const auto state = parameters.take("state")) filter.state = state_in(*state);
    take_names(parameters, filter);
    filter.limit = take_limit(parameters);
    parameters.expect_no_more("state, workflow, key, step, error_code, older_than, limit");
    return instances_.list(filter);
}

Answer AdminApi::browse(const AdminRequest& request) {
    Parameters parameters(request.query);
    BrowseFilter filter;
    const auto state = parameters.take("state");
    filter.unfinished = state == "unfinished";
    if (state && !filter.unfinished) filter.state = state_in(*state);
    take_names(parameters, filter);
    filter.text = parameters.take("text").value_or("");
    filter.before = parameters.take_count("before", INT64_MAX);
    filter.limit = take_limit(parameters);
    parameters.expect_no_more(
        "state, workflow, key, step, error_code, older_than, text, before, limit");
    return instances_.browse(filter);
}

Answer AdminApi::instance(const AdminRequest& request, std::string id, const Asker& asker) {
    for (const std::string verb : {"resume", "cancel", "retry-now"}) {
        if (!take_ending(id, "/" + verb)) continue;
        if (request.method != "POST") return only("POST");
        return change(request, id, verb, asker);
    }
    if (request.method != "GET") return only("GET");
    Parameters(request.query).expect_no_more("none");
    return instances_.show(id);
}

Answer AdminApi::change(const AdminRequest& request, const std::string& id, const std::string& verb,
                        const Asker& asker) {
    Parameters(request.query).expect_no_more("none");
    const std::string reason = verb == "cancel" ? reason_in(request.body) : "";
    if (verb != "cancel" && !object_in(request.body).empty())
        throw BadRequest("this takes an empty body only");
    const std::string whole = instances_.find(id);
    if (auto refusal = guard_.refuse_change(asker.key)) return *refusal;
    if (verb == "cancel") return instances_.cancel(whole, reason, asker.actor);
    return verb == "resume" ? instances_.resume(whole, asker.actor)
                            : instances_.retry_now(whole, asker.actor);
}

Answer AdminApi::reconcile(const AdminRequest& request, std::size_t key) {
    Parameters parameters(request.query);
    const bool dry_run = parameters.take_flag("dryRun");
    const bool quiet = parameters.take_flag("quiet");
    const auto limit = parameters.take_count("limit", steps::reconcile_limit_max);
    parameters.expect_no_more("dryRun, limit, quiet");
    const Json object = object_in(request.body);
    for (const auto& [name, value] : object.items())
        if (name != "adminKey") throw BadRequest(R"(the body may hold {"adminKey":"..."} only)");
    if (!dry_run)
        if (auto refusal = guard_.refuse_change(key)) return *refusal;
    return reconciliation_.run({.dry_run = dry_run,
                                .limit = static_cast<int>(limit.value_or(reconcile_limit_default)),
                                .quiet = quiet && !dry_run});
}

}  // namespace steplog::server
