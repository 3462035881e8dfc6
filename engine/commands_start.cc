// The command that starts an instance, as JSON.
#include "engine/command_fields.h"
#include "engine/commands.h"
#include "engine/entries.h"

namespace steplog {

using namespace fields;

namespace {

int priority_of(const Json& value) {
    if (!value.is_number_integer() || value < -priority_max || value > priority_max)
        wrong("priority");
    return value.get<int>();
}

template <class Policy>
Policy one_of(std::optional<Policy> parsed, const std::string& field) {
    if (!parsed) wrong(field);
    return *parsed;
}

}  // namespace

Json start_command(const NewInstance& instance) {
    Json command = {{"command", "start"}, {"id", instance.id}, {"workflow", instance.workflow}};
    command["input"] = parse_stored(instance.input.value_or("{}"));
    if (instance.version != newest_version) command["version"] = instance.version;
    if (!instance.key.empty()) command["key"] = instance.key;
    if (instance.delay > Ms(0)) command["delay_ms"] = instance.delay.count();
    if (instance.start_at_ms) command["start_at_ms"] = *instance.start_at_ms;
    if (instance.deadline) command["deadline_ms"] = instance.deadline->count();
    if (instance.priority != 0) command["priority"] = instance.priority;
    if (instance.id_conflict != IdConflict::join)
        command["id_conflict"] = to_string(instance.id_conflict);
    if (instance.key_conflict != KeyConflict::queue)
        command["key_conflict"] = to_string(instance.key_conflict);
    if (!instance.reason.empty()) command["reason"] = instance.reason;
    return command;
}

NewInstance parse_start_command(const Json& command) {
    NewInstance instance;
    if (!command.is_object()) wrong("form");
    for (const auto& [field, value] : command.items()) {
        if (field == "id")
            instance.id = text_of(value, field);
        else if (field == "workflow")
            instance.workflow = text_of(value, field);
        else if (field == "input")
            instance.input = to_text(value);
        else if (field == "version")
            instance.version =
                static_cast<int>(count_of(value, field, std::numeric_limits<int>::max()));
        else if (field == "key")
            instance.key = text_of(value, field);
        else if (field == "delay_ms")
            instance.delay = Ms(count_of(value, field, ms_max));
        else if (field == "start_at_ms")
            instance.start_at_ms = count_of(value, field, ms_max);
        else if (field == "deadline_ms")
            instance.deadline = Ms(count_of(value, field, ms_max));
        else if (field == "priority")
            instance.priority = priority_of(value);
        else if (field == "id_conflict")
            instance.id_conflict = one_of(parse_id_conflict(text_of(value, field)), field);
        else if (field == "key_conflict")
            instance.key_conflict = one_of(parse_key_conflict(text_of(value, field)), field);
        else if (field == "reason")
            instance.reason = reason_of(value);
        else if (field != "command")
            unknown(field);
    }
    if (instance.id.empty() || instance.id.size() > 512) wrong("id");
    if (instance.workflow.empty()) wrong("workflow");
    if (instance.key.size() > 512) wrong("key");
    if (!instance.input) wrong("input");
    if (instance.deadline && *instance.deadline <= Ms(0)) wrong("deadline_ms");
    return instance;
}

Json json_of(const Started& started) {
    return {{"exists", started.exists}, {"refused", started.refused}, {"id", started.id}};
}

Started parse_started(const Json& json) {
    if (!json.is_object() || !json.contains("exists") || !json.contains("refused")) wrong("answer");
    if (!json.at("exists").is_boolean()) wrong("exists");
    return {json.at("exists").get<bool>(), text_of(json.at("refused"), "refused"),
            json.contains("id") ? text_of(json.at("id"), "id") : ""};
}

Started started_from(const Accepted& accepted) {
    return {.exists = accepted.duplicate, .refused = accepted.refused, .id = accepted.id};
}

}  // namespace steplog
