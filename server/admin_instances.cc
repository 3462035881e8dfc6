// Instances, seen and changed through the admin API; see admin_instances.h.
#include "server/admin_instances.h"

#include "engine/inspect_json.h"
#include "engine/inspect_redact.h"

namespace steplog::server {
namespace {

Json redacted(const std::vector<std::string>& ids) {
    Json array = Json::array();
    for (const std::string& id : ids) array.push_back(redact_text(id));
    return array;
}

/// 404 for what retention deleted just now, 409 for everything else.
Answer refused(const std::string& reason) {
    return error_answer(reason == "not found" ? 404 : 409, reason);
}

}  // namespace

Answer AdminInstances::list(const InstanceFilter& filter) const {
    Json array = Json::array();
    for (const InstanceRow& row : inspector().list(filter)) array.push_back(json_of(row));
    return {200, dump(array)};
}

Answer AdminInstances::show(const std::string& id) const {
    return {200, dump(json_of(inspector().show(id)))};
}

std::string AdminInstances::find(const std::string& id) const { return inspector().find(id).id; }

Answer AdminInstances::browse(const BrowseFilter& filter) const {
    const BrowsePage page = DashboardReader(file_.database, clock_).browse(filter);
    Json array = Json::array();
    for (const InstanceRow& row : page.rows) {
        array.push_back(json_of(row));
        array.back()["seq"] = row.seq;
    }
    return {200, dump({{"instances", std::move(array)},
                       {"next", page.next ? Json(*page.next) : Json(nullptr)},
                       {"cut", page.cut}})};
}

Answer AdminInstances::resume(const std::string& id, const std::string& actor) const {
    return go_on("resumed", {.ids = {id}, .actor = actor});
}

Answer AdminInstances::retry_now(const std::string& id, const std::string& actor) const {
    return go_on("retried", {.ids = {id}, .retry_now = true, .actor = actor});
}

Answer AdminInstances::go_on(const char* counted, ResumeRequest request) const {
    const std::string id = request.ids.front(), actor = request.actor;
    const Resumed resumed = engine_.resume(std::move(request));
    if (!resumed.skipped.empty()) return refused(resumed.skipped.front().reason);
    log_.info(std::string(counted) + " through the admin API", {{"instance", id}, {"by", actor}});
    return {200, dump({{counted, resumed.ids.size()},
                       {"ids", redacted(resumed.ids)},
                       {"skipped", Json::array()}})};
}

Answer AdminInstances::cancel(const std::string& id, const std::string& reason,
                              const std::string& actor) const {
    const Cancelled cancelled = engine_.cancel({.ids = {id}, .actor = actor, .reason = reason});
    if (!cancelled.skipped.empty()) return refused(cancelled.skipped.front().reason);
    log_.info(cancelled.ids.empty() ? "asked to end through the admin API"
                                    : "cancelled through the admin API",
              {{"instance", id}, {"by", actor}});
    return {200, dump({{"cancelled", cancelled.ids.size()},
                       {"ids", redacted(cancelled.ids)},
                       {"requested", redacted(cancelled.requested)},
                       {"skipped", Json::array()}})};
}

}  // namespace steplog::server
