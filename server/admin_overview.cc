// The dashboard's first view; see admin_overview.h.
#include "server/admin_overview.h"

#include "engine/inspect_json.h"
#include "engine/inspect_redact.h"
#include "server/metrics.h"

namespace steplog::server {
namespace {

constexpr std::int64_t look_every_ms = 1000;

Json json_of_took(std::optional<Ms> took) { return took ? Json(took->count()) : Json(nullptr); }

Json json_of_figures(const RecentPast::Figures& figures) {
    return {{"workflow", redact_text(figures.workflow)},
            {"completed", figures.completed},
            {"failed", figures.failed},
            {"cancelled", figures.cancelled},
            {"took_ms_p50", json_of_took(figures.took_p50)},
            {"took_ms_p95", json_of_took(figures.took_p95)}};
}

void add_recent(const RecentPast& past, Json& json) {
    json["recent"] = json_of_figures(past.all);
    json["recent"]["since"] = time_or_null(past.since_ms);
    json["recent"]["looked_at"] = past.looked_at;
    json["recent"]["whole"] = past.whole;
    json["workflows"] = Json::array();
    for (const auto& figures : past.by_workflow)
        json["workflows"].push_back(json_of_figures(figures));
    json["hours"] = Json::array();
    for (const auto& hour : past.hours)
        json["hours"].push_back(
            {{"at", time_or_null(hour.begins_at_ms)}, {"finished", hour.finished}});
}

void add_backlog(const Backlog& backlog, Json& json) {
    // The words for breakers, limits and groups are those of the statistics.
    const Json words = json_of(Stats{.by_state = backlog.by_state,
                                     .stuck = backlog.stuck,
                                     .breakers = backlog.breakers,
                                     .limits = backlog.limits},
                               0);
    json["states"] = words["by_state"];
    json["stuck"] = words["stuck"];
    json["breakers"] = words["breakers"];
    json["limits"] = words["limits"];
    json["oldest_due_at"] = time_or_null(backlog.oldest_due_at_ms);
}

}  // namespace

Answer AdminOverview::answer() {
    const std::lock_guard lock(mutex_);
    const std::int64_t now_ms = clock_.now_ms();
    // A clock that was set back must not end the looking.
    if (seen_.empty() || now_ms - looked_at_ms_ >= look_every_ms || now_ms < looked_at_ms_) {
        seen_ = dump(look());
        looked_at_ms_ = now_ms;
    }
    return {200, seen_};
}

Json AdminOverview::look() {
    if (!inspector_) inspector_ = std::make_unique<Inspector>(database_, clock_);
    if (!reader_) reader_ = std::make_unique<DashboardReader>(database_, clock_);
    Json json = {{"at", time_or_null(clock_.now_ms())}};
    add_backlog(inspector_->backlog(), json);
    json["ended"] = Json::object();
    for (const auto& [state, number] : reader_->ended())
        json["ended"][std::string(to_string(state))] = number;
    json["stuck_since"] = time_or_null(reader_->stuck_since_ms());
    add_recent(reader_->recent_past(), json);
    const Unreached unreached = paid_without_account_lately(*reader_);
    json["without_account"] = {
        {"stuck", unreached.stuck},
        {"failed", unreached.failed},
        {"waiting_since", time_or_null(paid_without_account_since_ms(*inspector_))}};
    json["paused_workflows"] = Json::array();
    for (const PausedWorkflow& one : reader_->paused_workflows())
        json["paused_workflows"].push_back({{"workflow", redact_text(one.workflow)},
                                            {"since", time_or_null(one.since_ms)},
                                            {"held", one.held}});
    json["heads"] = Json::array();
    for (const std::string& head : reader_->heads()) json["heads"].push_back(redact_text(head));
    return json;
}

}  // namespace steplog::server
