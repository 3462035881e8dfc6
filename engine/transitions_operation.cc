// What OperateRequest says, done to each instance in turn; and the edit of an input.
#include <fmt/format.h>

#include "engine/entries.h"
#include "engine/step_log.h"
#include "engine/transitions.h"

namespace steplog {
namespace {

using Kind = OperateRequest::Kind;

[[noreturn]] void not_valid(const std::string& why) {
    throw StoreError(StoreError::Kind::constraint, why);
}

void check(const OperateRequest& operation) {
    if (operation.kind == Kind::fork && operation.step.empty()) not_valid("a step must be named");
    if (operation.kind != Kind::edit) return;
    if (operation.payload.size() > operation_bytes_max)
        not_valid(fmt::format("an input from a person may have at most {} KiB",
                              operation_bytes_max / 1024));
    if (Json::parse(operation.payload, nullptr, false).is_discarded())
        not_valid("an input must be JSON");
}

}  // namespace

Json Transitions::Standing::place() const { return parse_stored(waits_detail); }

Operated Transitions::operate(const OperateRequest& operation) {
    check(operation);
    Operated operated;
    for (const std::string& id : operation.ids) {
        std::string reason = operate_on(id, operation, operated);
        if (!reason.empty()) operated.skipped.push_back({id, std::move(reason)});
    }
    return operated;
}

std::string Transitions::operate_on(const std::string& id, const OperateRequest& operation,
                                    Operated& operated) {
    if (operation.kind == Kind::pause_workflow || operation.kind == Kind::unpause_workflow) {
        std::string reason = operation.kind == Kind::pause_workflow
                                 ? pause_workflow(id, operation)
                                 : unpause_workflow(id, operation);
        if (reason.empty()) operated.ids.push_back(id);
        return reason;
    }
    auto at = find_standing(id);
    if (!at) return "not found";
    if (operation.kind == Kind::fork) return fork_one(*at, operation, operated);
    if (is_finished(parse_state(at->state).value_or(State::pending)))
        return fmt::format("{}: it has ended", at->state);
    if (operation.kind == Kind::pause) return pause_one(*at, operation, operated);
    if (operation.kind == Kind::unpause) return unpause_one(*at, operation, operated);
    return edit(*at, operation, operated);
}

std::optional<Transitions::Standing> Transitions::find_standing(const std::string& id) {
    Query read(statements_,
               "SELECT seq, id, key, holds_key, step, log_length, log_hash, state, waits_for, "
               "waits_detail, error_code, owner=?, cancel_requested_at_ms, workflow FROM instances "
               "WHERE id=?",
               owner_, newest_run(id));
    if (!read.next()) return std::nullopt;
    Standing at;
    at.row = {read.integer(0), read.text(1),    read.text(2), read.integer(3) != 0,
              read.text(4),    read.integer(5), read.hash(6)};
    at.state = read.text(7);
    at.waits_for = read.text(8);
    at.waits_detail = read.text(9);
    at.code = read.text(10);
    at.living_holder = at.state == "running" && read.integer(11) != 0;
    at.asked_to_end = !read.is_null(12);
    at.workflow = read.text(13);
    return at;
}

void Transitions::audit_operation(const OperateRequest& operation, const Standing& at) {
    Json said = {{"was", at.state}};
    if (!at.code.empty()) said["code"] = at.code;
    if (!operation.reason.empty()) said["reason"] = bounded(operation.reason);
    audit(operation.actor, std::string(steplog::to_string(operation.kind)), at.row.id, said);
}

// The input that was accepted stays where it is: the log's chain begins with its hash. The one in
// force is the newest that the log has. What is finished keeps its result.
std::string Transitions::edit(Standing& at, const OperateRequest& operation, Operated& operated) {
    if (at.state != "stuck") return at.state + ": only the input of a stuck instance can be edited";
    const Claimed whole = look_at(at.row.seq);
    if (!whole.damage.empty()) return "log_damaged: its log does not verify; restore a backup";
    const StepLog log(whole.log);
    for (const auto& [name, record] : log.steps)
        if (record.in_doubt)
            return fmt::format(
                "its step {} is in doubt: it may have happened as it was asked for before; "
                "workflow-admin skip or fail says how it ended",
                name);
    Json said = {{"by", operation.actor}, {"edited", "input"}};
    if (!at.code.empty()) said["code"] = at.code;
    if (!operation.reason.empty()) said["reason"] = bounded(operation.reason);
    if (whole.input) said["before"] = to_hex(keyed_hash(payload_hash_key_, *whole.input));
    append(at.row,
           {.kind = EntryKind::recorded, .data = std::move(said), .payload = operation.payload});
    Query(statements_, "UPDATE instances SET log_length=?, log_hash=?, updated_at_ms=? WHERE seq=?",
          at.row.log_length, at.row.log_hash, now(), at.row.seq)
        .run();
    operated.ids.push_back(at.row.id);
    audit_operation(operation, at);
    return "";
}

}  // namespace steplog
