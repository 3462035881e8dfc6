// The command that puts instances under another version, as JSON.
#include "engine/command_fields.h"
#include "engine/commands.h"

namespace steplog {

using namespace fields;

Json move_command(const MoveRequest& request) {
    Json command = {{"command", "move"}, {"ids", request.ids}, {"to_version", request.to_version}};
    if (!request.reason.empty()) command["reason"] = request.reason;
    return command;
}

MoveRequest parse_move_command(const Json& command) {
    MoveRequest request;
    request.to_version = 0;
    if (!command.is_object()) wrong("form");
    for (const auto& [field, value] : command.items()) {
        if (field == "ids")
            request.ids = texts_of(value, field);
        else if (field == "to_version")
            request.to_version =
                static_cast<int>(count_of(value, field, std::numeric_limits<int>::max()));
        else if (field == "reason")
            request.reason = reason_of(value);
        else if (field != "command")
            unknown(field);
    }
    if (request.ids.empty()) wrong("ids");
    if (request.to_version < 1) wrong("to_version");
    return request;
}

Json json_of(const Moved& moved) {
    return {{"ids", moved.ids},
            {"still_stuck", moved.still_stuck},
            {"skipped", json_of_skipped(moved.skipped)}};
}

Moved parse_moved(const Json& json) {
    if (!json.is_object()) wrong("answer");
    for (const char* name : {"ids", "still_stuck", "skipped"})
        if (!json.contains(name)) wrong(name);
    return {.ids = texts_of(json.at("ids"), "ids"),
            .still_stuck = texts_of(json.at("still_stuck"), "still_stuck"),
            .skipped = parse_skipped(json.at("skipped"))};
}

}  // namespace steplog
