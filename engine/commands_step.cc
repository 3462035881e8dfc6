// The commands by which a person decides about a step, as JSON.
#include "engine/command_fields.h"
#include "engine/commands.h"
#include "engine/entries.h"

namespace steplog {

using namespace fields;

Json decide_command(const StepDecision& decision) {
    Json command = {
        {"command", "decide"}, {"instance", decision.instance}, {"step", decision.step}};
    if (decision.result) {
        command["result"] = parse_stored(*decision.result);
    } else {
        command["code"] = decision.code;
        command["message"] = decision.message;
    }
    if (!decision.reason.empty()) command["reason"] = decision.reason;
    return command;
}

StepDecision parse_decide_command(const Json& command) {
    StepDecision decision;
    if (!command.is_object()) wrong("form");
    for (const auto& [field, value] : command.items()) {
        if (field == "instance")
            decision.instance = text_of(value, field);
        else if (field == "step")
            decision.step = text_of(value, field);
        else if (field == "result")
            decision.result = to_text(value);
        else if (field == "code")
            decision.code = text_of(value, field);
        else if (field == "message")
            decision.message = text_of(value, field);
        else if (field == "reason")
            decision.reason = reason_of(value);
        else if (field != "command")
            unknown(field);
    }
    if (decision.instance.empty()) wrong("instance");
    if (decision.step.empty() || decision.step.size() > 255) wrong("step");
    if (decision.result.has_value() == command.contains("message")) wrong("result");
    if (decision.code.empty() || decision.code.size() > 100) wrong("code");
    return decision;
}

Json json_of(const StepDecided& decided) { return {{"refused", decided.refused}}; }

StepDecided parse_step_decided(const Json& json) {
    if (!json.is_object() || !json.contains("refused")) wrong("answer");
    return {text_of(json.at("refused"), "refused")};
}

}  // namespace steplog
