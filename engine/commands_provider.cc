// The command that holds a provider's breaker open or lets go of it, as JSON.
#include "engine/command_fields.h"
#include "engine/commands.h"

namespace steplog {

using namespace fields;

Json provider_command(const ProviderChange& change) {
    Json command = {
        {"command", "provider"}, {"change", to_string(change.kind)}, {"provider", change.provider}};
    if (!change.reason.empty()) command["reason"] = change.reason;
    return command;
}

ProviderChange parse_provider_command(const Json& command) {
    using Kind = ProviderChange::Kind;
    ProviderChange change;
    bool chosen = false;
    if (!command.is_object()) wrong("form");
    for (const auto& [field, value] : command.items()) {
        if (field == "change") {
            for (const Kind kind : {Kind::pause, Kind::unpause}) {
                if (value != to_string(kind)) continue;
                change.kind = kind;
                chosen = true;
            }
        } else if (field == "provider") {
            change.provider = text_of(value, field);
        } else if (field == "reason") {
            change.reason = reason_of(value);
        } else if (field != "command") {
            unknown(field);
        }
    }
    // What is to be done must never be guessed.
    if (!chosen) wrong("change");
    if (change.provider.empty()) wrong("provider");
    return change;
}

Json json_of(const ProviderChanged& changed) {
    return {{"refused", changed.refused}, {"parked", changed.parked}};
}

ProviderChanged parse_provider_changed(const Json& json) {
    if (!json.is_object()) wrong("answer");
    for (const char* name : {"refused", "parked"})
        if (!json.contains(name)) wrong(name);
    return {
        .refused = text_of(json.at("refused"), "refused"),
        .parked = count_of(json.at("parked"), "parked", std::numeric_limits<std::int64_t>::max())};
}

}  // namespace steplog
