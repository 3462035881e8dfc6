// Children: instances that an instance starts, awaits, and takes along when it ends.
#include <fmt/format.h>

#include <algorithm>

#include "engine/run_id.h"
#include "engine/transitions.h"

namespace steplog {

void Transitions::start_child(Row& row, const StartChild& start) {
    const NewInstance& child = start.instance;
    append(row, {.step = start.name,
                 .kind = EntryKind::child,
                 .data = {{"child", child.id},
                          {"workflow", child.workflow},
                          {"on_close", steplog::to_string(start.on_close)}}});
    if (find_instance(child.id)) return;  // joined
    require_may_be_given(child.id);
    const std::string input = child.input.value_or("null");
    const auto payload = *payloads_.write(input, payloads_.data_key_of_instance(row.seq, now()));
    auto deadline_ms = deadline_of(child);
    {
        Query parent(statements_, "SELECT deadline_ms FROM instances WHERE seq=?", row.seq);
        if (parent.next() && !parent.is_null(0))
            deadline_ms = std::min(parent.integer(0), deadline_ms.value_or(INT64_MAX));
    }
    const Accepted accepted =
        insert_instance(child, payload, keyed_hash(payload_hash_key_, input), false, deadline_ms);
    Query(statements_, "UPDATE instances SET parent=?, on_parent_close=? WHERE seq=?", row.seq,
          steplog::to_string(start.on_close), accepted.instance)
        .run();
}

std::optional<ChildEnd> Transitions::await_child(Row& row, const AwaitChild& wait) {
    ChildEnd end;
    {
        const std::string newest = newest_run(wait.child);
        Query read(statements_,
                   "SELECT state, error_code, error, output_payload, key FROM instances WHERE id "
                   "IN (?,?)",
                   newest, name_it_may_have(newest));
        if (!read.next())
            throw StoreError(StoreError::Kind::constraint,
                             fmt::format("the instance {} that it awaits is gone", wait.child));
        const std::string state = read.text(0);
        end.state = parse_state(state).value_or(State::pending);
        if (end.state == State::queued && row.holds_key && read.text(4) == row.key)
            throw StoreError(StoreError::Kind::constraint,
                             fmt::format("it awaits {}, which queues for the key that it holds "
                                         "itself: give the child another key, or none",
                                         wait.child));
        if (!is_finished(end.state)) return std::nullopt;
        end.code = read.text(1);
        end.error = read.text(2);
        end.output = read_payload(read.maybe_integer(3));
    }
    Json data = {{"child", wait.child}, {"ended", steplog::to_string(end.state)}};
    if (!end.code.empty()) data["code"] = end.code;
    if (!end.error.empty()) data["error"] = end.error;
    append(row, {.step = wait.wait,
                 .kind = EntryKind::child,
                 .data = std::move(data),
                 .payload = end.output});
    return end;
}

// What an instance that ends owes its relatives: whoever awaits it goes on, and children that were
// not to outlive it are cancelled.
void Transitions::leave_family(const Row& row) {
    Query(statements_,
          "UPDATE instances SET state='pending', due_at_ms=?, waits_for=NULL, waits_detail=NULL, "
          "updated_at_ms=? WHERE waits_for='child' AND waits_detail IN (?,?)",
          now(), now(), row.id, first_run(row.id))
        .run();
    std::vector<std::string> children;
    {
        Query read(statements_,
                   "SELECT id FROM instances WHERE parent=? AND on_parent_close='cancel' AND "
                   "finished_at_ms IS NULL",
                   row.seq);
        while (read.next()) children.push_back(read.text(0));
    }
    Cancelled cancelled;
    for (const std::string& child : children)
        cancel_one(child, {.actor = "engine", .reason = "its parent has ended"}, cancelled);
}

}  // namespace steplog
