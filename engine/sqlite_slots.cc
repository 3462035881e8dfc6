// Limits in number: who is at work under one, who is parked for want of room, and who goes on when
// there is some. Nothing is written where nothing is limited.
#include <algorithm>

#include "engine/sqlite_transitions.h"

namespace steplog {

std::int64_t SqliteTransitions::count_slots(SlotOf scope, const std::string& name) {
    Query taken(statements_, "SELECT count(*) FROM slots WHERE scope=? AND name=?",
                to_string(scope), name);
    taken.next();
    return taken.integer(0);
}

bool SqliteTransitions::has_room(SlotOf scope, const std::string& name, int running_max) {
    return running_max <= 0 || count_slots(scope, name) < running_max;
}

void SqliteTransitions::take_slot(SlotOf scope, const std::string& name, std::int64_t instance,
                                  const std::string& step) {
    any_slot_ = true;  // never false again in this life: this transaction may yet fail
    Query(statements_, "INSERT OR IGNORE INTO slots(scope,name,instance,step) VALUES (?,?,?,?)",
          to_string(scope), name, instance, step)
        .run();
}

// An instance that stops running.
void SqliteTransitions::give_back_slots(std::int64_t instance) {
    Query(statements_, "DELETE FROM slots WHERE instance=?", instance).run();
}

void SqliteTransitions::give_back_slots_of_ended_steps(const Row& row, const Advance& advance) {
    for (const NewEntry& entry : advance.entries)
        if (entry.kind == EntryKind::completed || entry.kind == EntryKind::retried ||
            entry.kind == EntryKind::failed)
            Query(statements_, "DELETE FROM slots WHERE instance=? AND step=? AND scope='provider'",
                  row.seq, entry.step)
                .run();
}

// With each claim, rather than where a slot is given back: one that was woken and needs none after
// all must not keep the others waiting. What no program limits any more goes on, too.
void SqliteTransitions::wake_where_room(const ClaimRequest& request) {
    const FlowPolicy flow = request.flow ? *request.flow : FlowPolicy{};
    for (std::string detail = next_slot_parked(""); !detail.empty();
         detail = next_slot_parked(detail)) {
        const auto [scope, name] = slot_of(detail);
        const int running_max = scope == SlotOf::workflow ? flow.running_max_of(name)
                                                          : flow.of_provider(name).running_max;
        std::int64_t room = request.limit;
        if (running_max > 0) room = std::min(room, running_max - count_slots(scope, name));
        // Ahead of what became due since they were parked.
        wake_parked(detail, std::nullopt, room);
    }
}

// The next thing for which some are parked, after this one.
std::string SqliteTransitions::next_slot_parked(const std::string& after) {
    Query next(statements_,
               "SELECT min(waits_detail) FROM instances WHERE waits_for='circuit' AND "
               "waits_detail>?1 AND waits_detail>='slot ' AND waits_detail<'slot!'",
               after);
    next.next();
    return next.text(0);
}

// Those that were parked first; due from then on, or from when they were parked.
void SqliteTransitions::wake_parked(const std::string& detail, std::optional<std::int64_t> due_at,
                                    std::int64_t count) {
    if (count <= 0) return;
    Query(statements_,
          "UPDATE instances SET state='pending', due_at_ms=coalesce(?1, min(?2, updated_at_ms)), "
          "waits_for=NULL, waits_detail=NULL WHERE seq IN (SELECT seq FROM instances WHERE "
          "waits_for='circuit' AND waits_detail=?3 ORDER BY updated_at_ms, seq LIMIT ?4)",
          due_at, now(), detail, count)
        .run();
}

// True when as many instances of the workflow run as may: then this one waits for room.
bool SqliteTransitions::park_without_room(Row& row, const std::string& workflow,
                                          const ClaimRequest& request) {
    if (!request.flow) return false;
    const int running_max = request.flow->running_max_of(workflow);
    if (running_max <= 0) return false;
    if (has_room(SlotOf::workflow, workflow, running_max)) {
        take_slot(SlotOf::workflow, workflow, row.seq, "");
        return false;
    }
    apply(row, {.to = State::sleeping,
                .waits_for = WaitsFor::circuit,
                .waits_detail = slot_detail(SlotOf::workflow, workflow)});
    return true;
}

}  // namespace steplog
