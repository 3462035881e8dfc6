// Limits in number: who is at work under one, who is parked for want of room, and who goes on when
// there is some. Nothing is written where nothing is limited.
#include <algorithm>

#include "engine/transitions.h"

namespace steplog {

std::int64_t Transitions::count_slots(LimitOf scope, const std::string& name) {
    Query taken(statements_, "SELECT count(*) FROM slots WHERE scope=? AND name=?",
                to_string(scope), name);
    taken.next();
    return taken.integer(0);
}

bool Transitions::has_room(LimitOf scope, const std::string& name, int running_max) {
    return running_max <= 0 || count_slots(scope, name) < running_max;
}

void Transitions::take_slot(LimitOf scope, const std::string& name, std::int64_t instance,
                            const std::string& step) {
    any_slot_ = true;  // never false again in this life: this transaction may yet fail
    Query(statements_,
          "INSERT INTO slots(scope,name,instance,step) VALUES (?,?,?,?) ON CONFLICT DO NOTHING",
          to_string(scope), name, instance, step)
        .run();
}

// An instance that stops running.
void Transitions::give_back_slots(std::int64_t instance) {
    Query(statements_, "DELETE FROM slots WHERE instance=?", instance).run();
}

void Transitions::give_back_slots_of_ended_steps(const Row& row, const Advance& advance) {
    for (const NewEntry& entry : advance.entries)
        if (entry.kind == EntryKind::completed || entry.kind == EntryKind::retried ||
            entry.kind == EntryKind::failed)
            Query(statements_,
                  "DELETE FROM slots WHERE instance=? AND step=? AND scope<>'workflow'", row.seq,
                  entry.step)
                .run();
}

// How many more may be at work.
std::int64_t Transitions::room(LimitOf scope, const std::string& name, const FlowPolicy& flow) {
    const int running_max = flow.running_max_of(scope, name);
    return running_max > 0 ? running_max - count_slots(scope, name) : INT64_MAX;
}

// With each claim, rather than where a slot is given back: one that was woken and needs none after
// all must not keep the others waiting. What no program limits any more goes on, too.
void Transitions::wake_where_room(const ClaimRequest& request) {
    const FlowPolicy& flow = policy_of(request.flow);
    for (const Limit& limit : parked_for(Limit::Kind::slot))
        // Ahead of what became due since they were parked.
        wake_parked(limit.detail(), std::nullopt,
                    std::min<std::int64_t>(request.limit, room(limit.scope, limit.name, flow)));
}

// The limits of this kind for which anybody is parked.
std::vector<Limit> Transitions::parked_for(Limit::Kind kind) {
    const std::string word = kind == Limit::Kind::slot ? "slot" : "rate";
    std::vector<Limit> limits;
    for (std::string detail = word + " ";;) {
        Query next(statements_,
                   "SELECT min(waits_detail) FROM instances WHERE waits_for='circuit' AND "
                   "waits_detail>?1 AND waits_detail<?2",
                   detail, word + "!");
        next.next();
        detail = next.text(0);
        const auto limit = parse_limit(detail);
        if (detail.empty()) return limits;
        if (limit) limits.push_back(*limit);
    }
}

// Those that were parked first; due from then on, or from when they were parked.
void Transitions::wake_parked(const std::string& detail, std::optional<std::int64_t> due_at,
                              std::int64_t count) {
    if (count <= 0) return;
    Query(statements_,
          "UPDATE instances SET state='pending', due_at_ms=coalesce(?1, CASE WHEN updated_at_ms<?2 "
          "THEN "
          "updated_at_ms ELSE ?2 END), "
          "waits_for=NULL, waits_detail=NULL WHERE seq IN (SELECT seq FROM instances WHERE "
          "waits_for='circuit' AND waits_detail=?3 ORDER BY updated_at_ms, seq LIMIT ?4)",
          due_at, now(), detail, count)
        .run();
}

}  // namespace steplog
