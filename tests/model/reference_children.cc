// What children and their parents do to each other in what a store must contain.
#include <algorithm>

#include "engine/run_id.h"
#include "tests/model/reference.h"

namespace steplog::testing {

void Reference::start_child(Instance& parent, std::int64_t now_ms, const StartChild& start) {
    append(parent, now_ms,
           {.step = start.name,
            .kind = EntryKind::child,
            .data = {{"child", start.instance.id},
                     {"workflow", start.instance.workflow},
                     {"on_close", to_string(start.on_close)}}});
    if (find_known(start.instance.id)) return;
    const auto sealed_by = seal(parent, start.instance.input);
    const Accepted started =
        this->start(acting_, now_ms, start.instance, *start.instance.input, false);
    Instance& child = instances_.at(started.instance);
    child.parent = parent.seq;
    if (parent.deadline_ms)
        child.deadline_ms = std::min(*parent.deadline_ms, child.deadline_ms.value_or(INT64_MAX));
    if (child.deadline_ms && child.state == State::pending)
        child.due_at_ms = std::min(*child.due_at_ms, *child.deadline_ms);
    child.on_parent_close = start.on_close;
    child.input_sealed_by = sealed_by;
}

// Refused where it would wait for ever.
void Reference::require_awaitable(const Instance& parent, const AwaitChild& wait) const {
    const Instance* child = find_known(wait.child);
    const bool behind_its_parent =
        child && child->state == State::queued && parent.holds_key && child->key == parent.key;
    if (!child || behind_its_parent)
        throw StoreError(StoreError::Kind::constraint, "it would wait for ever");
}

std::optional<ChildEnd> Reference::await_child(Instance& parent, std::int64_t now_ms,
                                               const AwaitChild& wait) {
    const Instance& child = *find_known(wait.child);
    if (!is_finished(child.state)) return std::nullopt;
    Json said = {{"child", wait.child}, {"ended", to_string(child.state)}};
    if (!child.error_code.empty()) said["code"] = child.error_code;
    if (!child.error.empty()) said["error"] = child.error;
    append(parent, now_ms,
           {.step = wait.wait,
            .kind = EntryKind::child,
            .data = std::move(said),
            .payload = child.output});
    return ChildEnd{child.state, child.error_code, child.error, child.output};
}

void Reference::leave_family(const Instance& instance, std::int64_t now_ms) {
    std::vector<std::string> children;
    for (auto& [seq, other] : instances_) {
        if (other.waits_for == WaitsFor::child &&
            (other.waits_detail == instance.id || other.waits_detail == first_run(instance.id)))
            put_back_to_work(other, now_ms);
        if (other.parent == instance.seq && other.on_parent_close == OnParentClose::cancel &&
            !is_finished(other.state))
            children.push_back(other.id);
    }
    Cancelled cancelled;
    for (const std::string& child : children)
        cancel_one(child, now_ms, {.actor = "engine", .reason = "its parent has ended"}, cancelled);
}

}  // namespace steplog::testing
