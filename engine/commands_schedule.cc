// The command that changes a schedule, as JSON.
#include "engine/command_fields.h"
#include "engine/commands.h"

namespace steplog {

using namespace fields;

Json schedule_command(const ScheduleChange& change) {
    Json command = {
        {"command", "schedule"}, {"change", to_string(change.kind)}, {"name", change.name}};
    if (!change.reason.empty()) command["reason"] = change.reason;
    return command;
}

ScheduleChange parse_schedule_command(const Json& command) {
    using Kind = ScheduleChange::Kind;
    ScheduleChange change;
    bool chosen = false;
    if (!command.is_object()) wrong("form");
    for (const auto& [field, value] : command.items()) {
        if (field == "change") {
            for (const Kind kind : {Kind::pause, Kind::unpause, Kind::trigger}) {
                if (value != to_string(kind)) continue;
                change.kind = kind;
                chosen = true;
            }
        } else if (field == "name") {
            change.name = text_of(value, field);
        } else if (field == "reason") {
            change.reason = reason_of(value);
        } else if (field != "command") {
            unknown(field);
        }
    }
    // What is to be done must never be guessed.
    if (!chosen) wrong("change");
    if (change.name.empty() || change.name.size() > schedule_name_length_max) wrong("name");
    return change;
}

Json json_of(const ScheduleChanged& changed) {
    Json json = {{"refused", changed.refused}, {"instance", changed.instance}};
    json["next_at_ms"] = changed.next_at_ms ? Json(*changed.next_at_ms) : Json(nullptr);
    return json;
}

ScheduleChanged parse_schedule_changed(const Json& json) {
    if (!json.is_object()) wrong("answer");
    for (const char* name : {"refused", "instance", "next_at_ms"})
        if (!json.contains(name)) wrong(name);
    ScheduleChanged changed;
    changed.refused = text_of(json.at("refused"), "refused");
    changed.instance = text_of(json.at("instance"), "instance");
    if (!json.at("next_at_ms").is_null())
        changed.next_at_ms = count_of(json.at("next_at_ms"), "next_at_ms", ms_max);
    return changed;
}

}  // namespace steplog
