// What a store must contain where an id stands for one instance after another.
#include "engine/entries.h"
#include "engine/run_id.h"
#include "tests/model/reference.h"

namespace steplog::testing {

std::optional<Accepted> Reference::resolve_conflicts(std::int64_t now_ms, NewInstance& wanted,
                                                     std::string& behind) {
    const Instance* old = find_known(wanted.id);
    if (!old) return resolve_key_conflict(now_ms, wanted, "");
    Accepted there{.instance = old->seq};
    const bool forgotten = is_forgotten_name(old->id);
    if (old->id != wanted.id && !forgotten) there.id = old->id;
    if (wanted.id_conflict == IdConflict::join) {
        there.duplicate = true;
        return there;
    }
    if (wanted.id_conflict == IdConflict::reject || forgotten) {
        there.refused = "it is there";
        return there;
    }
    if (auto settled = resolve_key_conflict(now_ms, wanted, old->id)) return settled;
    const bool waits_for_a_run =
        old->waits_for == WaitsFor::child && first_run(old->waits_detail) == first_run(old->id);
    const std::string former = waits_for_a_run ? old->waits_detail : old->id;
    Cancelled cancelled;
    cancel_one(old->id, now_ms,
               {.actor = wanted.actor.empty() ? "engine" : wanted.actor,
                .reason = "another start replaces it"},
               cancelled);
    const Instance* last = find(former);
    const bool ended = !last || is_finished(last->state);
    const Instance fresh{.key_holders_max = wanted.key_holders_max};
    const bool same_line =
        last && !last->key.empty() && last->key == wanted.key && wanted.key_holders_max == 1;
    if (!ended && !same_line && !wanted.key.empty() && place_for(fresh, wanted.key) == 0)
        return Accepted{.refused = "it ends, and the key is in use"};
    if (!ended && !same_line) behind = former;
    wanted.id = run_id(first_run(old->id), run_of(old->id) + 1);
    return std::nullopt;
}

std::optional<Accepted> Reference::resolve_key_conflict(std::int64_t now_ms,
                                                        const NewInstance& wanted,
                                                        const std::string& replaced) {
    if (wanted.key.empty() || wanted.key_conflict == KeyConflict::queue) return std::nullopt;
    const Instance fresh{.key_holders_max = wanted.key_holders_max};
    const Instance* old = find(replaced);
    const bool frees = old && old->holds_key && old->key == wanted.key;
    if (frees || place_for(fresh, wanted.key) > 0) return std::nullopt;
    const Instance* holder = holder_of(wanted.key);
    if (wanted.key_conflict == KeyConflict::join)
        return Accepted{.duplicate = true, .instance = holder->seq, .id = holder->id};
    if (wanted.key_conflict == KeyConflict::reject)
        return Accepted{.instance = holder->seq, .refused = "the key is in use"};
    Cancelled cancelled;
    for (const std::string& id : unfinished_of_key(wanted.key))
        cancel_one(id, now_ms,
                   {.actor = wanted.actor.empty() ? "engine" : wanted.actor,
                    .reason = "another start replaces it"},
                   cancelled);
    return std::nullopt;
}

void Reference::continue_as_new(Instance& instance, std::int64_t now_ms, const NewInstance& next) {
    NewInstance run{.id = run_id(first_run(instance.id), run_of(instance.id) + 1),
                    .workflow = instance.workflow,
                    .version = next.version,
                    .key = instance.key,
                    .on_stuck = instance.on_stuck,
                    .input = next.input};
    run.key_holders_max = instance.key_holders_max;
    run.priority = instance.priority;
    std::optional<int> key_place;
    if (instance.holds_key) key_place = instance.key_place;
    append(instance, now_ms, {.kind = EntryKind::recorded, .data = {{"continued_as", run.id}}});
    const auto parent = std::exchange(instance.parent, std::nullopt);
    const auto on_parent_close = std::exchange(instance.on_parent_close, std::nullopt);
    const auto deadline_ms = instance.deadline_ms;
    instance.holds_key = false;
    instance.state = State::completed;
    instance.due_at_ms.reset();
    instance.owner.reset();
    instance.error_code.clear();
    instance.error.clear();
    instance.finished_at_ms = instance.updated_at_ms = now_ms;
    std::erase_if(slots_, [&](const ReferenceSlot& slot) { return slot.instance == instance.seq; });
    for (auto& [key, once] : once_keys_) {
        if (once.state != "claimed" || once.instance != instance.seq) continue;
        once.state = "in_doubt";
        once.updated_at_ms = now_ms;
        wake_waiters(key, now_ms);
    }
    const auto sealed_by = seal(instance, run.input);
    Instance& fresh =
        instances_.at(start(acting_, now_ms, run, *run.input, false, key_place).instance);
    Instance& old = instances_.at(instance.seq);
    fresh.input_sealed_by = sealed_by;
    fresh.parent = parent;
    fresh.on_parent_close = on_parent_close;
    fresh.deadline_ms = deadline_ms;
    if (deadline_ms) fresh.due_at_ms = std::min(*fresh.due_at_ms, *deadline_ms);
    append(fresh, now_ms, {.kind = EntryKind::recorded, .data = {{"continued_from", old.id}}});
    for (const ReferenceSignal& signal : old.signals) {
        if (signal.taken > 0) continue;
        const Entry arrived =
            append(fresh, now_ms,
                   {.kind = EntryKind::signal,
                    .data = {{"signal", signal.name}},
                    .payload = old.log.at(static_cast<std::size_t>(signal.arrived - 1)).payload});
        fresh.signals.push_back({signal.name, signal.dedupe_id, arrived.n, 0});
    }
    old.signals.clear();
    for (auto& [seq, child] : instances_)
        if (child.parent == old.seq && !is_finished(child.state)) child.parent = fresh.seq;
}

}  // namespace steplog::testing
