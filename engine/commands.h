// What a person may order, as JSON: the form in which a command travels through the control socket,
// and the one function that carries it out, in the server or in a program that owns the database
// itself. Pure but for handle_command; any thread.
#pragma once

#include "engine/engine.h"
#include "engine/store.h"

namespace steplog {

/// {"command":"resume","ids":[…]} or with any of state, workflow, step, error_code, older_than_ms,
/// limit, retry_now, reason. The actor does not travel: the receiver knows who asks.
Json resume_command(const ResumeRequest& request);

/// The inverse. Throws std::invalid_argument naming the field that is wrong or unknown.
ResumeRequest parse_resume_command(const Json& command);

/// {"ids":[…],"skipped":[{"id","reason"}…]}
Json json_of(const Resumed& resumed);

/// The inverse. Throws std::invalid_argument.
Resumed parse_resumed(const Json& json);

/// {"command":"cancel","ids":[…]} and a reason where there is one.
Json cancel_command(const CancelRequest& request);

/// The inverse. Throws std::invalid_argument naming the field that is wrong or unknown.
CancelRequest parse_cancel_command(const Json& command);

/// {"ids":[…],"requested":[…],"skipped":[{"id","reason"}…]}
Json json_of(const Cancelled& cancelled);

/// The inverse. Throws std::invalid_argument.
Cancelled parse_cancelled(const Json& json);

/// {"command":"start","id","workflow","input"} and, where there are, "version", "key", "delay_ms",
/// "start_at_ms", "deadline_ms", "priority", "id_conflict", "key_conflict", "reason".
Json start_command(const NewInstance& instance);

/// The inverse. Throws std::invalid_argument naming the field that is wrong, missing or unknown.
NewInstance parse_start_command(const Json& command);

/// What became of an order to start an instance. Neither: it is durable.
struct Started {
    bool exists =
        false;  // one of that id was started before, or holds its key: nothing was written
    std::string refused;  // "" or why not: the program that runs has no such workflow
    std::string id = {};  // of the one that it is about, where that is not the id asked for
};
/// What an accept without an event says to whoever ordered the start.
Started started_from(const Accepted& accepted);
/// {"exists","refused","id"}
Json json_of(const Started& started);

/// The inverse. Throws std::invalid_argument.
Started parse_started(const Json& json);

/// {"command":"decide","instance","step"} with "result", or with "code" and "message", and a reason
/// where there is one.
Json decide_command(const StepDecision& decision);

/// The inverse. Throws std::invalid_argument naming the field that is wrong, missing or unknown.
StepDecision parse_decide_command(const Json& command);

/// {"refused"}
Json json_of(const StepDecided& decided);

/// The inverse. Throws std::invalid_argument.
StepDecided parse_step_decided(const Json& json);

/// {"command":"signal","instance","name","payload"} and, where there are, "id" and "reason".
Json signal_command(const SignalRequest& request);

/// The inverse. Throws std::invalid_argument naming the field that is wrong, missing or unknown.
SignalRequest parse_signal_command(const Json& command);

/// {"duplicate","refused"}
Json json_of(const Signalled& signalled);

/// The inverse. Throws std::invalid_argument.
Signalled parse_signalled(const Json& json);

/// {"command":"move","ids":[…],"to_version"} and a reason where there is one.
Json move_command(const MoveRequest& request);

/// The inverse. Throws std::invalid_argument naming the field that is wrong, missing or unknown.
MoveRequest parse_move_command(const Json& command);

/// {"ids":[…],"still_stuck":[…],"skipped":[{"id","reason"}…]}
Json json_of(const Moved& moved);

/// The inverse. Throws std::invalid_argument.
Moved parse_moved(const Json& json);

/// {"command":KIND,"ids":[…]} with what the kind needs of step, payload, new_id and cancel_old, and
/// a reason where there is one.
Json operation_command(const OperateRequest& operation);

/// The inverse. Throws std::invalid_argument naming the field that is wrong, missing or unknown.
OperateRequest parse_operation_command(const Json& command);

/// {"ids":[…],"requested":[…],"skipped":[{"id","reason"}…]}
Json json_of(const Operated& operated);

/// The inverse. Throws std::invalid_argument.
Operated parse_operated(const Json& json);

/// {"command":"purge","older_than_ms","limit"} and, where there is one, "reason".
Json purge_command(const PurgeRequest& request);

/// The inverse. Throws std::invalid_argument naming the field that is wrong, missing or unknown.
PurgeRequest parse_purge_command(const Json& command);

/// {"instances","events"}
Json json_of(const Purged& purged);

/// The inverse. Throws std::invalid_argument.
Purged parse_purged(const Json& json);

/// Carried out, the write-ahead log is swept too, whatever was forgotten when; with `rewrite` the
/// whole database is written anew before (Store::sweep).
struct ForgetCommand {
    ForgetRequest request;
    bool rewrite = false;
};

/// {"command":"forget","subject","plan","rewrite"} and, where there is one, "reason".
Json forget_command(const ForgetCommand& command);

/// The inverse. Throws std::invalid_argument naming the field that is wrong, missing or unknown.
ForgetCommand parse_forget_command(const Json& command);

/// What was forgotten, and whether the write-ahead log is empty since.
struct ForgetAnswer {
    Forgotten forgotten;
    bool swept = false;
};
/// {"name","done",…}: every field of Forgotten, and "swept".
Json json_of(const ForgetAnswer& answer);

/// The inverse. Throws std::invalid_argument.
ForgetAnswer parse_forget_answer(const Json& json);

/// {"command":"rotate-key","limit"} and, where there is one, "reason".
Json rotate_command(const RotateRequest& request);

/// The inverse. Throws std::invalid_argument naming the field that is wrong or unknown.
RotateRequest parse_rotate_command(const Json& command);

/// {"done","left"}
Json json_of(const Rotated& rotated);

/// The inverse. Throws std::invalid_argument.
Rotated parse_rotated(const Json& json);

/// {"command":"schedule","change":"pause"|"unpause"|"trigger","name"} and, where there is one,
/// "reason".
Json schedule_command(const ScheduleChange& change);

/// The inverse. Throws std::invalid_argument naming the field that is wrong, missing or unknown.
ScheduleChange parse_schedule_command(const Json& command);

/// {"refused","instance","next_at_ms"}
Json json_of(const ScheduleChanged& changed);

/// The inverse. Throws std::invalid_argument.
ScheduleChanged parse_schedule_changed(const Json& json);

/// {"command":"provider","change":"pause"|"unpause","provider"} and, where there is one, "reason".
Json provider_command(const ProviderChange& change);

/// The inverse. Throws std::invalid_argument naming the field that is wrong, missing or unknown.
ProviderChange parse_provider_command(const Json& command);

/// {"refused","parked"}
Json json_of(const ProviderChanged& changed);

/// The inverse. Throws std::invalid_argument.
ProviderChanged parse_provider_changed(const Json& json);

inline constexpr int rotate_limit_max = 10'000;  // data keys in one transaction
inline constexpr int purge_limit_max = 10'000;   // in one transaction, however many are asked for

/// Carries out one command for `actor` and returns its result; what it changed is durable then.
/// Throws std::invalid_argument for what is no command, StoreError.
Json handle_command(Store& store, const Json& command, const std::string& actor);

/// In the server: workers take up at once what the command made due, and an instance is started
/// under, or moved to, only what this program has.
Json handle_command(Engine& engine, const Json& command, const std::string& actor);

}  // namespace steplog
