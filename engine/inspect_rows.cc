#include "engine/inspect_rows.h"

#include <fmt/format.h>

#include "engine/json_guard.h"

namespace steplog::rows {

InstanceRow read_instance(const Query& query) {
    InstanceRow row;
    row.seq = query.integer(0);
    row.id = query.text(1);
    row.workflow = query.text(2);
    row.version = static_cast<int>(query.integer(3));
    const auto state = parse_state(query.text(4));
    if (!state)
        throw InspectError(InspectError::Kind::unreadable,
                           fmt::format("the database is damaged: instance number {} has a state "
                                       "that does not exist; run workflow-inspect check",
                                       row.seq));
    row.state = *state;
    row.waits_for = parse_waits_for(query.text(5));
    row.waits_detail = query.text(6);
    row.key = query.text(7);
    row.holds_key = query.integer(8) != 0;
    row.step = query.text(9);
    row.attempt = static_cast<int>(query.integer(10));
    row.deaths = static_cast<int>(query.integer(11));
    row.error_code = query.text(12);
    row.error = query.text(13);
    row.log_length = query.integer(14);
    row.created_at_ms = query.integer(15);
    row.updated_at_ms = query.integer(16);
    row.due_at_ms = query.maybe_integer(17);
    row.finished_at_ms = query.maybe_integer(18);
    row.cancel_requested_at_ms = query.maybe_integer(19);
    row.priority = static_cast<int>(query.integer(20));
    row.deadline_ms = query.maybe_integer(21);
    return row;
}

EventRow read_event(const Query& query) {
    EventRow row;
    row.source = query.text(0);
    row.id = query.text(1);
    row.type = query.text(2);
    row.subject = query.text(3);
    row.disposition = query.text(4);
    row.reason = query.text(5);
    row.instance = query.text(6);
    row.conflicts = query.integer(7);
    row.received_at_ms = query.integer(8);
    return row;
}

std::vector<BreakerView> read_breakers(Statements& statements) {
    std::vector<BreakerView> breakers;
    Query read(
        statements,
        "SELECT provider, state, failures, opened_at_ms, next_at_ms, held_at_ms, reason, "
        "(SELECT count(*) FROM instances WHERE waits_for='circuit' AND waits_detail=provider) "
        "FROM breakers ORDER BY provider");
    while (read.next()) {
        BreakerView& view = breakers.emplace_back();
        view.provider = read.text(0);
        view.state = parse_breaker_state(read.text(1)).value_or(BreakerState::open);
        view.failures = static_cast<int>(read.integer(2));
        view.opened_at_ms = read.maybe_integer(3);
        view.next_at_ms = read.maybe_integer(4);
        view.held_at_ms = read.maybe_integer(5);
        view.reason = read.text(6);
        view.parked = read.integer(7);
    }
    return breakers;
}

std::vector<Stats::Group> read_stuck(Statements& statements) {
    std::vector<Stats::Group> groups;
    Query read(statements,
               "SELECT workflow, step, error_code, count(*) FROM instances WHERE state='stuck' "
               "GROUP BY 1, 2, 3 ORDER BY 4 DESC, 1, 2, 3");
    while (read.next())
        groups.push_back({read.text(0), read.text(1), read.text(2), read.integer(3)});
    return groups;
}

std::vector<LimitView> read_limits(Statements& statements) {
    std::vector<LimitView> limits;
    Query read(statements,
               "SELECT waits_detail, count(*) FROM instances WHERE waits_for='circuit' AND "
               "((waits_detail>'rate ' AND waits_detail<'rate!') OR "
               "(waits_detail>'slot ' AND waits_detail<'slot!')) GROUP BY waits_detail");
    while (read.next()) {
        const auto limit = parse_limit(read.text(0));
        if (!limit) continue;
        LimitView& view = limits.emplace_back(LimitView{.limit = *limit});
        view.parked = read.integer(1);
        if (limit->kind == Limit::Kind::rate) view.rate = read_rate(statements, *limit);
    }
    return limits;
}

Rate read_rate(Statements& statements, const Limit& limit) {
    Query read(statements, "SELECT calls, period_ms, burst FROM rates WHERE scope=? AND name=?",
               to_string(limit.scope), limit.name);
    if (!read.next()) return {};
    return {.limit = static_cast<int>(read.integer(0)),
            .period = Ms(read.integer(1)),
            .burst = static_cast<int>(read.integer(2))};
}

std::vector<PausedWorkflow> read_paused_workflows(Statements& statements) {
    std::vector<PausedWorkflow> paused;
    // ';' follows ':'. The workflow's own instances are found by what waits for a pause.
    Query read(statements,
               "SELECT substr(name, 17), value, (SELECT count(*) FROM instances WHERE "
               "waits_for='pause' AND waits_detail NOTNULL AND workflow=substr(name, 17) AND "
               "instr(waits_detail, '\"workflow\"')>0) FROM meta WHERE name>='paused_workflow:' "
               "AND name<'paused_workflow;' ORDER BY name");
    while (read.next()) paused.push_back({read.text(0), read.integer(1), read.integer(2)});
    return paused;
}

Payload read_payload(Payloads& payloads, const Query& query, int first_column) {
    if (query.is_null(first_column)) return {};
    auto body = payloads.open(query.integer(first_column), query.maybe_text(first_column + 1),
                              query.maybe_integer(first_column + 2));
    const bool there = body.text || body.sealed || body.damaged;
    return {.forgotten = !there,
            .encrypted = body.sealed,
            .damaged = body.damaged,
            .text = std::move(body.text)};
}

Json read_data(const std::string& text) {
    std::string why_not;
    auto data = parse_guarded(text, why_not);
    if (data && data->is_object()) return std::move(*data);
    return Json{{"unreadable", data ? "not an object" : why_not}};
}

std::optional<Hash> payload_hash_key(Statements& statements) {
    Query read(statements, "SELECT value FROM meta WHERE name='payload_hash_key'");
    if (!read.next() || read.text(0).size() != Hash{}.size()) return std::nullopt;
    return read.hash(0);
}

ChainWalk::ChainWalk(const InstanceRow& row, const Hash& input_hash, const Hash& secret)
    : secret_(secret),
      log_length_(row.log_length),
      head_(genesis_hash(secret, row.id, row.workflow, input_hash)) {}

void ChainWalk::note(std::string damage) {
    if (damage_.empty()) damage_ = std::move(damage);
}

void ChainWalk::next(const Entry& entry, const std::optional<std::string>& payload,
                     std::string_view kind, std::string_view data,
                     const std::optional<Hash>& payload_hash, const Hash& stored) {
    ++n_;
    if (entry.n != n_) note(fmt::format("entry {} of its log is missing", n_));
    head_ = chain_hash(head_, entry.n, content_hash(secret_, entry.step, data), kind, entry.attempt,
                       entry.generation, entry.at_ms, payload_hash);
    if (head_ != stored) note(fmt::format("entry {} of its log is not what was written", entry.n));
    if (payload && (!payload_hash || keyed_hash(secret_, *payload) != *payload_hash))
        note(fmt::format("the payload of entry {} is not what was written", entry.n));
}

void ChainWalk::end(const Hash& stored_head) {
    if (n_ != log_length_)
        note(fmt::format("its log has {} entries where {} were written", n_, log_length_));
    if (head_ != stored_head) note("the end of its log is not what was written");
}

}  // namespace steplog::rows
