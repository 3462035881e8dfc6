// What people do to single instances, and to all of a workflow, in what a store must contain:
// pause, unpause, edit.
#include <algorithm>

#include "engine/entries.h"
#include "engine/restore.h"
#include "engine/run_id.h"
#include "tests/model/reference.h"

namespace steplog::testing {
namespace {

using Kind = OperateRequest::Kind;

// What the log says of one step.
struct Tried {
    bool ended = false, failed = false, in_doubt = false;
};

Tried tried(const ReferenceInstance& instance, const std::string& step) {
    Tried known;
    bool doubt_before = false, lost = false;
    for (const ReferenceEntry& entry : instance.log) {
        const Json data = parse_stored(entry.data);
        if (entry.step.empty() && lost_since(Entry{.kind = entry.kind, .data = data})) lost = true;
        if (entry.step != step) continue;
        if (entry.kind == EntryKind::started) {
            doubt_before =
                (known.in_doubt || lost) && !data.contains("probed") && !data.contains("transact");
            lost = false;
            known.in_doubt = true;
        }
        if (entry.kind == EntryKind::retried && data.at("outcome") == "refused")
            known.in_doubt = doubt_before;
        if (entry.kind == EntryKind::failed) known.failed = true;
        if (entry.kind == EntryKind::resumed) known.failed = false;
        if (entry.kind == EntryKind::completed || entry.kind == EntryKind::skipped)
            known.ended = true;
        if (known.ended || known.failed) known.in_doubt = false;
    }
    return known;
}

}  // namespace

Operated Reference::operate(std::int64_t owner, std::int64_t now_ms,
                            const OperateRequest& operation) {
    acting_ = owner;
    Operated operated;
    for (const std::string& id : operation.ids)
        if (operate_on(id, now_ms, operation, operated))
            ++audited_;
        else
            operated.skipped.push_back({id, "not there, or otherwise than it must be"});
    return operated;
}

bool Reference::operate_on(const std::string& id, std::int64_t now_ms,
                           const OperateRequest& operation, Operated& operated) {
    if (operation.kind == Kind::pause_workflow || operation.kind == Kind::unpause_workflow) {
        const bool pauses = operation.kind == Kind::pause_workflow;
        if (pauses == paused_.contains(id)) return false;
        if (pauses)
            paused_[id] = now_ms;
        else
            unpause_workflow(id, now_ms);
        operated.ids.push_back(id);
        return true;
    }
    const Instance* found = find_newest(id);
    if (!found || is_finished(found->state)) return false;
    Instance& instance = instances_.at(found->seq);
    if (operation.kind == Kind::pause) return pause(instance, now_ms, operated);
    if (operation.kind == Kind::unpause) return unpause(instance, now_ms, operated);
    if (!edit(instance, now_ms, operation)) return false;
    operated.ids.push_back(instance.id);
    return true;
}

void Reference::unpause_workflow(const std::string& workflow, std::int64_t now_ms) {
    paused_.erase(workflow);
    for (auto& [seq, instance] : instances_)
        if (instance.workflow == workflow && instance.is_paused() &&
            parse_stored(instance.waits_detail).contains("workflow"))
            let_go_on(instance, now_ms);
}

void Reference::hold(Instance& instance, std::int64_t now_ms, bool with_its_workflow) {
    instance.updated_at_ms = now_ms;
    if (instance.state == State::queued) {
        instance.waits_detail = "paused " + instance.waits_detail;
        return;
    }
    Json place = {{"was", "pending"}, {"due_at_ms", now_ms}};
    if (instance.state == State::pending) place["due_at_ms"] = *instance.due_at_ms;
    if (instance.state == State::sleeping && instance.waits_for != WaitsFor::circuit)
        place = {{"was", "sleeping"},
                 {"due_at_ms", *instance.due_at_ms},
                 {"for", to_string(*instance.waits_for)}};
    if (with_its_workflow) place["workflow"] = true;
    instance.state = State::sleeping;
    instance.due_at_ms.reset();
    instance.waits_for = WaitsFor::pause;
    instance.waits_detail = to_text(place);
    instance.owner.reset();
}

void Reference::let_go_on(Instance& instance, std::int64_t now_ms) {
    const Json place = parse_stored(instance.waits_detail);
    instance.state = *parse_state(place.at("was").get<std::string>());
    instance.due_at_ms = place.at("due_at_ms").get<std::int64_t>();
    instance.waits_for = parse_waits_for(place.value("for", ""));
    instance.waits_detail.clear();
    instance.updated_at_ms = now_ms;
}

bool Reference::pause(Instance& instance, std::int64_t now_ms, Operated& operated) {
    if (instance.state == State::stuck || instance.cancel_requested_at_ms) return false;
    if (instance.waits_for == WaitsFor::child &&
        first_run(instance.waits_detail) == first_run(instance.id))
        return false;  // it has not begun, and must not while the other one goes on
    const bool runs = instance.state == State::running;
    if ((runs && instance.waits_for) || instance.waits_detail.starts_with("paused ")) return false;
    if (instance.is_paused()) {
        if (!parse_stored(instance.waits_detail).contains("workflow")) return false;
        let_go_on(instance, now_ms);
    }
    if (runs && instance.owner == acting_) {
        instance.waits_for = WaitsFor::pause;
        operated.requested.push_back(instance.id);
        return true;
    }
    instance.deaths += runs;
    hold(instance, now_ms, false);
    operated.ids.push_back(instance.id);
    return true;
}

bool Reference::unpause(Instance& instance, std::int64_t now_ms, Operated& operated) {
    if (instance.state == State::running && instance.waits_for) {
        instance.waits_for.reset();
    } else if (instance.state == State::queued && instance.waits_detail.starts_with("paused ")) {
        instance.waits_detail = instance.waits_detail.substr(7);
        instance.updated_at_ms = now_ms;
    } else if (instance.is_paused() && !parse_stored(instance.waits_detail).contains("workflow")) {
        let_go_on(instance, now_ms);
    } else {
        return false;
    }
    operated.ids.push_back(instance.id);
    return true;
}

bool Reference::edit(Instance& instance, std::int64_t now_ms, const OperateRequest& operation) {
    if (instance.state != State::stuck) return false;
    for (const ReferenceEntry& entry : instance.log)
        if (!entry.step.empty() && tried(instance, entry.step).in_doubt) return false;
    Json said = {{"by", operation.actor}, {"edited", "input"}};
    if (!instance.error_code.empty()) said["code"] = instance.error_code;
    if (!operation.reason.empty()) said["reason"] = operation.reason;
    if (const auto before = instance.input_in_force())
        said["before"] = to_hex(keyed_hash(simulated_secret(), *before));
    append(instance, now_ms,
           {.kind = EntryKind::recorded, .data = std::move(said), .payload = operation.payload});
    instance.updated_at_ms = now_ms;
    return true;
}

}  // namespace steplog::testing
