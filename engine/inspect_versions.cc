// Which versions of workflows have instances, and all that is unfinished, one by one: what a person
// asks before code is taken out of a program. Read in parts, however many there are.
#include <algorithm>
#include <map>

#include "engine/inspect.h"
#include "engine/inspect_file.h"
#include "engine/inspect_json.h"
#include "engine/inspect_rows.h"
#include "engine/inspect_tally.h"
#include "engine/rfc3339.h"

namespace steplog {
namespace {

using Versions = std::map<std::pair<std::string, int>, VersionView>;

VersionView& view_of(Versions& versions, const std::string& workflow, int version) {
    VersionView& view = versions[{workflow, version}];
    view.workflow = workflow;
    view.version = version;
    return view;
}

}  // namespace

std::vector<VersionView> Inspector::versions() {
    Versions versions;
    for (const auto& [named, count] : rows::tally(*file_)) {
        const auto& [workflow, version, state] = named;
        VersionView& view = view_of(versions, workflow, version);
        if (is_finished(state)) {
            view.finished += count.instances;
            continue;
        }
        view.unfinished[state] = count.instances;
        view.oldest_unfinished_at_ms =
            std::min(view.oldest_unfinished_at_ms.value_or(INT64_MAX), *count.oldest_at_ms);
    }
    versions = file_->read([&](Statements& statements) {
        Versions with_schedules = versions;
        Query read(statements, "SELECT workflow, version, name FROM schedules ORDER BY name");
        while (read.next())
            view_of(with_schedules, read.text(0), static_cast<int>(read.integer(1)))
                .schedules.push_back(read.text(2));
        return with_schedules;
    });
    std::vector<VersionView> views;
    for (auto& [key, view] : versions) {
        if (!views.empty() && views.back().workflow == view.workflow) views.back().newest = false;
        view.newest = true;
        views.push_back(std::move(view));
    }
    return views;
}

void Inspector::each_unfinished(const std::function<void(const InstanceDetail&)>& look) {
    static const std::string sql = std::string("SELECT ") + rows::instance_columns +
                                   "FROM instances WHERE seq>?1 AND seq<=?1+?2 AND "
                                   "finished_at_ms IS NULL ORDER BY seq";
    const std::int64_t newest = newest_seq();
    for (std::int64_t from = 0; from < newest; from += rows::window) {
        const auto found = file_->read([&](Statements& statements) {
            std::vector<InstanceRow> rows;
            Query read(statements, sql.c_str(), from, rows::window);
            while (read.next()) rows.push_back(rows::read_instance(read));
            return rows;
        });
        for (const InstanceRow& row : found) {
            InstanceDetail detail;
            try {
                detail = file_->read(
                    [&](Statements& statements) { return read_whole(statements, row); });
            } catch (const InspectError& error) {
                if (error.kind() == InspectError::Kind::not_found) continue;  // ended, and purged
                throw;
            }
            if (!is_finished(detail.row.state)) look(detail);
        }
    }
}

Json json_of(const VersionView& view) {
    Json states = Json::object();
    std::int64_t unfinished = 0;
    for (const auto& [state, count] : view.unfinished) {
        states[std::string(to_string(state))] = count;
        unfinished += count;
    }
    return {{"workflow", view.workflow},
            {"version", view.version},
            {"unfinished", unfinished},
            {"states", std::move(states)},
            {"finished", view.finished},
            {"oldest_unfinished_at", view.oldest_unfinished_at_ms
                                         ? Json(format_rfc3339(*view.oldest_unfinished_at_ms))
                                         : Json(nullptr)},
            {"schedules", view.schedules},
            {"newest", view.newest},
            {"safe_to_remove", view.safe_to_remove()}};
}

}  // namespace steplog
