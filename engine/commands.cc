#include "engine/commands.h"

#include "engine/command_fields.h"
#include "engine/entries.h"

namespace steplog {
namespace {

using namespace fields;

Json carry_out_resume(Store& store, const Json& command, const std::string& actor) {
    ResumeRequest request = parse_resume_command(command);
    request.actor = actor;
    return json_of(store.resume(std::move(request)).get());
}

Json carry_out_purge(Store& store, const Json& command, const std::string& actor) {
    PurgeRequest request = parse_purge_command(command);
    request.actor = actor;
    return json_of(store.purge(std::move(request)).get());
}

Json carry_out_cancel(Store& store, const Json& command, const std::string& actor) {
    CancelRequest request = parse_cancel_command(command);
    request.actor = actor;
    return json_of(store.cancel(std::move(request)).get());
}

Json carry_out_signal(Store& store, const Json& command, const std::string& actor) {
    SignalRequest request = parse_signal_command(command);
    request.actor = actor;
    return json_of(store.signal(std::move(request)).get());
}

Json carry_out_start(Store& store, const Json& command, const std::string& actor) {
    NewInstance instance = parse_start_command(command);
    instance.actor = actor;
    return json_of(started_from(store.accept(std::nullopt, std::move(instance), false).get()));
}

Json carry_out_decide(Store& store, const Json& command, const std::string& actor) {
    StepDecision decision = parse_decide_command(command);
    decision.actor = actor;
    return json_of(store.decide(std::move(decision)).get());
}

Json carry_out_move(Store& store, const Json& command, const std::string& actor) {
    MoveRequest request = parse_move_command(command);
    request.actor = actor;
    return json_of(store.move(std::move(request)).get());
}

Json carry_out_operation(Store& store, const Json& command, const std::string& actor) {
    OperateRequest operation = parse_operation_command(command);
    operation.actor = actor;
    return json_of(store.operate(std::move(operation)).get());
}

Json carry_out_rotate(Store& store, const Json& command, const std::string& actor) {
    RotateRequest request = parse_rotate_command(command);
    request.actor = actor;
    return json_of(store.rotate_keys(std::move(request)).get());
}

Json carry_out_schedule(Store& store, const Json& command, const std::string& actor) {
    ScheduleChange change = parse_schedule_command(command);
    change.actor = actor;
    return json_of(store.change_schedule(std::move(change)).get());
}

Json carry_out_forget(Store& store, const Json& command, const std::string& actor) {
    ForgetCommand order = parse_forget_command(command);
    order.request.actor = actor;
    ForgetAnswer answer;
    answer.forgotten = store.forget(order.request).get();
    const bool gone = answer.forgotten.done || answer.forgotten.before;
    if (gone && !order.request.plan) answer.swept = store.sweep(order.rewrite).get();
    return json_of(answer);
}

Json carry_out_provider(Store& store, const Json& command, const std::string& actor) {
    ProviderChange change = parse_provider_command(command);
    change.actor = actor;
    return json_of(store.change_provider(std::move(change)).get());
}

// Every command by its name.
struct Command {
    std::string_view name;
    Json (*carry_out)(Store&, const Json&, const std::string& actor);
};
constexpr Command commands[] = {
    {"resume", carry_out_resume},
    {"cancel", carry_out_cancel},
    {"purge", carry_out_purge},
    {"forget", carry_out_forget},
    {"rotate-key", carry_out_rotate},
    {"schedule", carry_out_schedule},
    {"signal", carry_out_signal},
    {"move", carry_out_move},
    {"start", carry_out_start},
    {"decide", carry_out_decide},
    {"provider", carry_out_provider},
    {"pause", carry_out_operation},
    {"unpause", carry_out_operation},
    {"pause-workflow", carry_out_operation},
    {"unpause-workflow", carry_out_operation},
    {"edit", carry_out_operation},
    {"fork", carry_out_operation},
};

}  // namespace

Json resume_command(const ResumeRequest& request) {
    Json command = {{"command", "resume"}};
    if (!request.ids.empty()) command["ids"] = request.ids;
    if (request.state) command["state"] = to_string(*request.state);
    if (!request.workflow.empty()) command["workflow"] = request.workflow;
    if (!request.step.empty()) command["step"] = request.step;
    if (!request.error_code.empty()) command["error_code"] = request.error_code;
    if (request.older_than) command["older_than_ms"] = request.older_than->count();
    if (request.limit > 0) command["limit"] = request.limit;
    if (request.retry_now) command["retry_now"] = true;
    if (!request.reason.empty()) command["reason"] = request.reason;
    return command;
}

ResumeRequest parse_resume_command(const Json& command) {
    ResumeRequest request;
    if (!command.is_object()) wrong("form");
    for (const auto& [field, value] : command.items()) {
        if (field == "command") {
            if (value != "resume") wrong("name");
        } else if (field == "ids") {
            request.ids = texts_of(value, field);
            // No ids would mean all: never by mistake.
            if (request.ids.empty()) wrong(field);
        } else if (field == "state") {
            request.state = parse_state(text_of(value, field));
            if (!request.state) wrong(field);
        } else if (field == "workflow") {
            request.workflow = text_of(value, field);
        } else if (field == "step") {
            request.step = text_of(value, field);
        } else if (field == "error_code") {
            request.error_code = text_of(value, field);
        } else if (field == "older_than_ms") {
            request.older_than = Ms(count_of(value, field, ms_max));
        } else if (field == "retry_now") {
            if (!value.is_boolean()) wrong(field);
            request.retry_now = value.get<bool>();
        } else if (field == "reason") {
            request.reason = reason_of(value);
        } else if (field == "limit") {
            request.limit =
                static_cast<int>(count_of(value, field, std::numeric_limits<int>::max()));
        } else {
            unknown(field);
        }
    }
    return request;
}

Json cancel_command(const CancelRequest& request) {
    Json command = {{"command", "cancel"}, {"ids", request.ids}};
    if (!request.reason.empty()) command["reason"] = request.reason;
    if (request.kill) command["kill"] = true;
    return command;
}

CancelRequest parse_cancel_command(const Json& command) {
    CancelRequest request;
    if (!command.is_object()) wrong("form");
    for (const auto& [field, value] : command.items()) {
        if (field == "command") {
            if (value != "cancel") wrong("name");
        } else if (field == "ids") {
            request.ids = texts_of(value, field);
        } else if (field == "reason") {
            request.reason = reason_of(value);
        } else if (field == "kill") {
            if (!value.is_boolean()) wrong(field);
            request.kill = value.get<bool>();
        } else {
            unknown(field);
        }
    }
    if (request.ids.empty()) wrong("ids");
    return request;
}

Json json_of(const Resumed& resumed) {
    return {{"ids", resumed.ids}, {"skipped", json_of_skipped(resumed.skipped)}};
}

Resumed parse_resumed(const Json& json) {
    if (!json.is_object() || !json.contains("ids") || !json.contains("skipped"))
        throw std::invalid_argument("the answer to a resume has no ids or no skipped");
    return {.ids = texts_of(json.at("ids"), "ids"), .skipped = parse_skipped(json.at("skipped"))};
}

Json json_of(const Cancelled& cancelled) {
    return {{"ids", cancelled.ids},
            {"requested", cancelled.requested},
            {"skipped", json_of_skipped(cancelled.skipped)}};
}

Cancelled parse_cancelled(const Json& json) {
    if (!json.is_object() || !json.contains("ids") || !json.contains("requested") ||
        !json.contains("skipped"))
        throw std::invalid_argument("the answer to a cancel lacks ids, requested or skipped");
    return {.ids = texts_of(json.at("ids"), "ids"),
            .requested = texts_of(json.at("requested"), "requested"),
            .skipped = parse_skipped(json.at("skipped"))};
}

Json signal_command(const SignalRequest& request) {
    Json command = {{"command", "signal"},
                    {"instance", request.instance},
                    {"name", request.name},
                    {"payload", parse_stored(request.payload)}};
    if (!request.dedupe_id.empty()) command["id"] = request.dedupe_id;
    if (!request.reason.empty()) command["reason"] = request.reason;
    return command;
}

SignalRequest parse_signal_command(const Json& command) {
    SignalRequest request;
    for (const auto& [field, value] : command.items()) {
        if (field == "instance")
            request.instance = text_of(value, field);
        else if (field == "name")
            request.name = text_of(value, field);
        else if (field == "payload")
            request.payload = to_text(value);
        else if (field == "id")
            request.dedupe_id = text_of(value, field);
        else if (field == "reason")
            request.reason = reason_of(value);
        else if (field != "command")
            unknown(field);
    }
    if (request.instance.empty()) wrong("instance");
    return request;
}

Json json_of(const Signalled& signalled) {
    return {{"duplicate", signalled.duplicate}, {"refused", signalled.refused}};
}

Signalled parse_signalled(const Json& json) {
    if (!json.is_object() || !json.contains("duplicate") || !json.contains("refused") ||
        !json.at("duplicate").is_boolean())
        throw std::invalid_argument("the answer to a signal has no duplicate or no refused");
    return {json.at("duplicate").get<bool>(), text_of(json.at("refused"), "refused")};
}

Json purge_command(const PurgeRequest& request) {
    Json command = {{"command", "purge"},
                    {"older_than_ms", request.older_than.count()},
                    {"limit", request.limit}};
    if (!request.reason.empty()) command["reason"] = request.reason;
    return command;
}

PurgeRequest parse_purge_command(const Json& command) {
    // An age that is missing would mean everything: never by mistake.
    if (!command.contains("older_than_ms")) wrong("older_than_ms");
    PurgeRequest request;
    for (const auto& [field, value] : command.items()) {
        if (field == "older_than_ms")
            request.older_than = Ms(count_of(value, field, ms_max));
        else if (field == "limit")
            request.limit = static_cast<int>(count_of(value, field, purge_limit_max));
        else if (field == "reason")
            request.reason = reason_of(value);
        else if (field != "command")
            unknown(field);
    }
    return request;
}

Json json_of(const Purged& purged) {
    return {{"instances", purged.instances}, {"events", purged.events}};
}

Purged parse_purged(const Json& json) {
    if (!json.is_object() || !json.contains("instances") || !json.contains("events"))
        throw std::invalid_argument("the answer to a purge has no instances or no events");
    constexpr auto most = std::numeric_limits<int>::max();
    return {static_cast<int>(count_of(json.at("instances"), "instances", most)),
            static_cast<int>(count_of(json.at("events"), "events", most))};
}

Json rotate_command(const RotateRequest& request) {
    Json command = {{"command", "rotate-key"}, {"limit", request.limit}};
    if (!request.reason.empty()) command["reason"] = request.reason;
    return command;
}

RotateRequest parse_rotate_command(const Json& command) {
    RotateRequest request;
    for (const auto& [field, value] : command.items()) {
        if (field == "limit")
            request.limit = static_cast<int>(count_of(value, field, rotate_limit_max));
        else if (field == "reason")
            request.reason = reason_of(value);
        else if (field != "command")
            unknown(field);
    }
    return request;
}

Json json_of(const Rotated& rotated) { return {{"done", rotated.done}, {"left", rotated.left}}; }

Rotated parse_rotated(const Json& json) {
    if (!json.is_object() || !json.contains("done") || !json.contains("left"))
        throw std::invalid_argument("the answer to a rotate-key has no done or no left");
    constexpr auto most = std::numeric_limits<int>::max();
    return {static_cast<int>(count_of(json.at("done"), "done", most)),
            count_of(json.at("left"), "left", std::numeric_limits<std::int64_t>::max())};
}

Json handle_command(Store& store, const Json& command, const std::string& actor) {
    if (command.is_object() && command.contains("command"))
        for (const Command& known : commands)
            if (command.at("command") == known.name) return known.carry_out(store, command, actor);
    throw std::invalid_argument(
        "this server does not know that command: use the programs of its own release");
}

Json handle_command(Engine& engine, const Json& command, const std::string& actor) {
    if (command.is_object() && command.value("command", Json()) == "cancel") {
        CancelRequest request = parse_cancel_command(command);
        request.actor = actor;
        return json_of(engine.cancel(std::move(request)));
    }
    if (command.is_object() && command.value("command", Json()) == "move") {
        MoveRequest request = parse_move_command(command);
        request.actor = actor;
        return json_of(engine.move(std::move(request)));
    }
    if (command.is_object() && command.value("command", Json()) == "start") {
        NewInstance instance = parse_start_command(command);
        instance.actor = actor;
        if (const std::string why = engine.registry().why_not(instance.workflow, instance.version);
            !why.empty())
            return json_of(Started{.refused = why});
        return json_of(started_from(engine.accept(std::nullopt, std::move(instance))));
    }
    Json result = handle_command(engine.store(), command, actor);
    engine.wake();
    return result;
}

}  // namespace steplog
