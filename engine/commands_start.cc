// The command that starts an instance, as JSON.
#include "engine/command_fields.h"
#include "engine/commands.h"
#include "engine/entries.h"

namespace steplog {

using namespace fields;

Json start_command(const NewInstance& instance) {
    Json command = {{"command", "start"}, {"id", instance.id}, {"workflow", instance.workflow}};
    command["input"] = parse_stored(instance.input.value_or("{}"));
    if (instance.version != newest_version) command["version"] = instance.version;
    if (!instance.key.empty()) command["key"] = instance.key;
    if (instance.delay > Ms(0)) command["delay_ms"] = instance.delay.count();
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
        else if (field == "reason")
            instance.reason = reason_of(value);
        else if (field != "command")
            unknown(field);
    }
    if (instance.id.empty() || instance.id.size() > 512) wrong("id");
    if (instance.workflow.empty()) wrong("workflow");
    if (instance.key.size() > 512) wrong("key");
    if (!instance.input) wrong("input");
    return instance;
}

Json json_of(const Started& started) {
    return {{"exists", started.exists}, {"refused", started.refused}};
}

Started parse_started(const Json& json) {
    if (!json.is_object() || !json.contains("exists") || !json.contains("refused")) wrong("answer");
    if (!json.at("exists").is_boolean()) wrong("exists");
    return {json.at("exists").get<bool>(), text_of(json.at("refused"), "refused")};
}

}  // namespace steplog
