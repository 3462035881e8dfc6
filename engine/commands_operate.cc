// The commands that do to instances what OperateRequest says, as JSON.
#include "engine/command_fields.h"
#include "engine/commands.h"
#include "engine/entries.h"

namespace steplog {

using namespace fields;

Json operation_command(const OperateRequest& operation) {
    Json command = {{"command", to_string(operation.kind)}, {"ids", operation.ids}};
    if (!operation.step.empty()) command["step"] = operation.step;
    if (!operation.payload.empty()) command["payload"] = parse_stored(operation.payload);
    if (!operation.new_id.empty()) command["new_id"] = operation.new_id;
    if (operation.cancel_old) command["cancel_old"] = true;
    if (!operation.reason.empty()) command["reason"] = operation.reason;
    return command;
}

OperateRequest parse_operation_command(const Json& command) {
    using Kind = OperateRequest::Kind;
    if (!command.is_object() || !command.contains("command")) wrong("form");
    const auto kind = parse_operation_kind(text_of(command.at("command"), "name"));
    if (!kind) wrong("name");
    OperateRequest operation{.kind = *kind};
    for (const auto& [field, value] : command.items()) {
        if (field == "ids") {
            operation.ids = texts_of(value, field);
        } else if (field == "step") {
            operation.step = text_of(value, field);
        } else if (field == "payload") {
            operation.payload = to_text(value);
        } else if (field == "new_id") {
            operation.new_id = text_of(value, field);
        } else if (field == "cancel_old") {
            if (!value.is_boolean()) wrong(field);
            operation.cancel_old = value.get<bool>();
        } else if (field == "reason") {
            operation.reason = reason_of(value);
        } else if (field != "command") {
            unknown(field);
        }
    }
    if (operation.ids.empty()) wrong("ids");
    // What is to be done must never be guessed.
    if ((*kind == Kind::fork) == operation.step.empty()) wrong("step");
    if ((*kind == Kind::edit) == operation.payload.empty()) wrong("payload");
    if (operation.payload.size() > operation_bytes_max) wrong("payload");
    constexpr std::size_t id_bytes_max = 512;
    if (operation.new_id.size() > id_bytes_max) wrong("new_id");
    if ((!operation.new_id.empty() || operation.cancel_old) && *kind != Kind::fork)
        wrong("new_id or cancel_old");
    if (!operation.new_id.empty() && operation.ids.size() > 1) wrong("new_id");
    return operation;
}

Json json_of(const Operated& operated) {
    return {{"ids", operated.ids},
            {"requested", operated.requested},
            {"skipped", json_of_skipped(operated.skipped)}};
}

Operated parse_operated(const Json& json) {
    if (!json.is_object()) wrong("answer");
    for (const char* name : {"ids", "requested", "skipped"})
        if (!json.contains(name)) wrong(name);
    return {.ids = texts_of(json.at("ids"), "ids"),
            .requested = texts_of(json.at("requested"), "requested"),
            .skipped = parse_skipped(json.at("skipped"))};
}

}  // namespace steplog
