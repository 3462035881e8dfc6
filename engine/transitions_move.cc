// Puts instances under another version of their workflow.
#include <fmt/format.h>

#include <algorithm>

#include "engine/entries.h"
#include "engine/transitions.h"

namespace steplog {

Moved Transitions::move(const MoveRequest& request) {
    if (request.to_version < 1)
        throw StoreError(StoreError::Kind::constraint, "a version is a number from 1 on");
    Moved moved;
    for (const std::string& id : request.ids) {
        std::string reason = move_one(newest_run(id), request, moved);
        if (!reason.empty()) moved.skipped.push_back({id, std::move(reason)});
    }
    return moved;
}

std::string Transitions::move_one(const std::string& id, const MoveRequest& request, Moved& moved) {
    Row row;
    std::string state, code, workflow;
    std::int64_t version = 0;
    bool living_holder = false;
    {
        Query read(statements_,
                   "SELECT seq, id, key, holds_key, step, log_length, log_hash, state, error_code, "
                   "workflow, version, owner=? FROM instances WHERE id=?",
                   owner_, id);
        if (!read.next()) return "not found";
        row = {read.integer(0), read.text(1),    read.text(2), read.integer(3) != 0,
               read.text(4),    read.integer(5), read.hash(6)};
        state = read.text(7);
        code = read.text(8);
        workflow = read.text(9);
        version = read.integer(10);
        living_holder = state == "running" && read.integer(11) != 0;
    }
    if (is_finished(parse_state(state).value_or(State::pending)))
        return fmt::format("{}: it has ended", state);
    if (living_holder) return "running: a worker has it; move it while it waits";
    const bool is_stuck = state == "stuck";
    if (is_stuck && code == "log_damaged")
        return "log_damaged: its log does not verify; restore a backup";
    if (request.workflows &&
        std::count(request.workflows->begin(), request.workflows->end(), workflow) == 0)
        return fmt::format("the program that runs has no version {} of workflow {}",
                           request.to_version, workflow);
    if (version == request.to_version)
        return fmt::format("it is at version {} already{}", version,
                           is_stuck ? "; workflow-resume puts it back to work" : "");

    Json said = {
        {"by", request.actor}, {"from", version}, {"to", request.to_version}, {"was", state}};
    if (is_stuck) said["code"] = code;
    if (!request.reason.empty()) said["reason"] = bounded(request.reason);
    append(row, {.kind = EntryKind::moved, .data = said});
    Query(statements_, "UPDATE instances SET version=?, log_length=?, log_hash=? WHERE seq=?",
          request.to_version, row.log_length, row.log_hash, row.seq)
        .run();
    const bool goes_on = is_stuck && code == unknown_version_code;
    if (goes_on) put_back_to_work(row);
    if (is_stuck && !goes_on) moved.still_stuck.push_back(id);
    moved.ids.push_back(id);
    said.erase("by");
    audit(request.actor, "move", row.id, said);
    return "";
}

}  // namespace steplog
