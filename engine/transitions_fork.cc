// Forking: a new instance that has what another had finished before one of its steps, and goes on
// at that step. The other one stays as it is, or is ended.
#include <fmt/format.h>

#include <algorithm>

#include "engine/entries.h"
#include "engine/run_id.h"
#include "engine/step_log.h"
#include "engine/transitions.h"

namespace steplog {
namespace {

bool says_what_was_finished(const Entry& entry, StepLog& log) {
    switch (entry.kind) {
        case EntryKind::completed:
        case EntryKind::skipped: {
            const auto undo = log.steps.find("undo " + entry.step);
            return undo == log.steps.end() || undo->second.status != StepRecord::Status::completed;
        }
        case EntryKind::failed:
            return log.step(entry.step).status == StepRecord::Status::failed;
        case EntryKind::key:
        case EntryKind::timer:
        case EntryKind::signal:
        case EntryKind::child:
            return true;
        case EntryKind::recorded:
            return !entry.step.empty() || lost_since(entry);
        default:
            return false;
    }
}

}  // namespace

std::string Transitions::fork_one(Standing& at, const OperateRequest& operation,
                                  Operated& operated) {
    const bool has_ended = is_finished(parse_state(at.state).value_or(State::pending));
    if (at.living_holder)
        return "running: a worker has it; workflow-admin pause stops it before its next step";
    if (!has_ended && at.state != "stuck" && !operation.cancel_old)
        return at.state + ": only what has ended or is stuck can be forked; --cancel-old ends it";
    const Claimed whole = look_at(at.row.seq);
    if (!whole.damage.empty()) return "log_damaged: its log does not verify; restore a backup";
    if (!whole.input) return "its input was forgotten or purged";
    StepLog log(whole.log);
    const auto from = log.begun.find(operation.step);
    if (from == log.begun.end()) return "its log has no step " + operation.step;
    const bool holds_something = at.row.holds_key || holds_once_key(at.row);
    if (!has_ended && !operation.cancel_old && holds_something)
        return "it holds a key that the new one would wait for: --cancel-old ends it";
    const std::string new_id =
        operation.new_id.empty() ? free_fork_id(at.row.id) : operation.new_id;
    if (!operation.new_id.empty() && !may_be_given(new_id))
        return "an id may not hold /run: that names the runs of an id";
    if (find_instance(new_id)) return "there is an instance " + new_id + " already";

    Json said = {{"by", operation.actor}, {"was", at.state}, {"forked_to", new_id}};
    if (!operation.reason.empty()) said["reason"] = bounded(operation.reason);
    if (!has_ended && operation.cancel_old) end_cancelled(at.row, said);
    said.erase("by");
    said["step"] = operation.step;
    audit(operation.actor, "fork", at.row.id, said);
    Row fresh = insert_fork(at, whole, new_id);
    Json origin = {{"by", operation.actor}, {"forked_from", at.row.id}, {"at", operation.step}};
    append(fresh, {.kind = EntryKind::recorded, .data = std::move(origin)});
    copy_log(fresh, whole.log, log, from->second);
    Query(statements_, "UPDATE instances SET log_length=?, log_hash=? WHERE seq=?",
          fresh.log_length, fresh.log_hash, fresh.seq)
        .run();
    operated.ids.push_back(new_id);
    return "";
}

std::string Transitions::free_fork_id(const std::string& id) {
    for (int n = 1;; ++n) {
        std::string name = fmt::format("{}/fork/{}", id, n);
        if (!find_instance(name)) return name;
    }
}

// As a child that outlives its parent: so a customer who is forgotten is forgotten there too.
Transitions::Row Transitions::insert_fork(const Standing& at, const Claimed& whole,
                                          const std::string& id) {
    const auto input =
        *payloads_.write(whole.input, payloads_.data_key_of_instance(at.row.seq, now()));
    const NewInstance instance{.id = id,
                               .workflow = whole.workflow,
                               .version = whole.version,
                               .key = whole.key,
                               .key_holders_max = key_holders_max_of(at.row.seq),
                               .on_stuck = whole.on_stuck,
                               .priority = whole.priority};
    const std::int64_t seq =
        insert_instance(instance, input, keyed_hash(payload_hash_key_, *whole.input), false, {})
            .instance;
    Query(statements_, "UPDATE instances SET parent=?, on_parent_close='abandon' WHERE seq=?",
          at.row.seq, seq)
        .run();
    return find_standing(id)->row;
}

void Transitions::copy_log(Row& fresh, const std::vector<Entry>& entries, StepLog& log,
                           std::int64_t before) {
    std::map<std::int64_t, std::int64_t> arrived;  // signals: number there, number here
    // What began before the step counts as before it, though it ended beside it.
    const auto began = [&log](const Entry& entry) {
        const auto found = log.begun.find(entry.step);
        return entry.step.empty() || found == log.begun.end() ? entry.n : found->second;
    };
    for (const Entry& entry : entries) {
        if (began(entry) >= before || !says_what_was_finished(entry, log)) continue;
        NewEntry copy{entry.step,       entry.kind, entry.attempt,
                      entry.generation, entry.data, entry.payload};
        if (entry.kind == EntryKind::completed) copy.data["adopted"] = "fork";
        const bool takes = entry.kind == EntryKind::signal && entry.data.contains("took");
        const std::int64_t took = takes ? entry.data.at("took").get<std::int64_t>() : 0;
        if (takes && !arrived.contains(took)) continue;
        if (takes) copy.data["took"] = arrived.at(took);
        const std::int64_t n = append(fresh, copy).n;
        if (takes) forget_arrival(fresh, arrived.at(took));
        if (entry.kind != EntryKind::signal || !entry.step.empty()) continue;
        arrived[entry.n] = n;
        Query(statements_,
              "INSERT INTO signals(instance,name,payload,sent_at_ms) SELECT instance, ?, payload, "
              "at_ms FROM entries WHERE instance=? AND n=?",
              entry.data.value("signal", ""), fresh.seq, n)
            .run();
    }
}

void Transitions::forget_arrival(const Row& row, std::int64_t arrived) {
    Query(statements_,
          "DELETE FROM signals WHERE instance=?1 AND taken_by_n IS NULL AND payload=(SELECT "
          "payload FROM entries WHERE instance=?1 AND n=?2)",
          row.seq, arrived)
        .run();
}

}  // namespace steplog
