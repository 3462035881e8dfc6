#include "engine/inspect_json.h"

#include "engine/inspect_redact.h"
#include "engine/json_guard.h"
#include "engine/rfc3339.h"
#include "engine/run_id.h"

namespace steplog {
namespace {

Json text_or_null(const std::string& text) {
    return text.empty() ? Json(nullptr) : Json(redact_text(text));
}

// A payload for people: parsed and redacted; text that is no JSON as redacted text.
Json json_of_payload(const Payload& payload) {
    if (payload.encrypted) return "encrypted";
    if (payload.damaged) return "damaged";
    if (!payload.text) return nullptr;
    std::string why_not;
    if (const auto parsed = parse_guarded(*payload.text, why_not)) return redact(*parsed, true);
    return redact_text(*payload.text);
}

Json json_of_entry(const LogEntry& log_entry) {
    const Entry& entry = log_entry.entry;
    Json data = redact(entry.data, false);
    const char* name = entry.kind == EntryKind::started     ? "request"
                       : entry.kind == EntryKind::published ? "value"
                                                            : "result";
    if (log_entry.payload.text || log_entry.payload.encrypted || log_entry.payload.damaged)
        data[name] = json_of_payload(log_entry.payload);
    else if (log_entry.payload.forgotten)
        data["forgotten"] = true;
    return {{"seq", entry.n},
            {"step", redact_text(entry.step)},
            {"kind", to_string(entry.kind)},
            {"attempt", entry.attempt},
            {"generation", entry.generation},
            {"at", format_rfc3339(entry.at_ms)},
            {"data", std::move(data)}};
}

void add_explanation(Json& json, const Explanation& why) {
    json["why"] = why.sentence;
    json["next"] = text_or_null(why.next);
    json["next_at"] = time_or_null(why.next_at_ms);
    json["command"] = text_or_null(why.command);
    json["queued_behind"] = why.queued_behind;
}

Json age_or_null(std::optional<std::int64_t> at_ms, std::int64_t now_ms) {
    return at_ms ? Json((now_ms - *at_ms) / 1000) : Json(nullptr);
}

// A workflow says that a step had nothing to do by the result {"skipped": why}.
bool says_it_was_skipped(const Json& result) {
    if (!result.is_object() || result.size() != 1) return false;
    const auto why = result.find("skipped");
    return why != result.end() && why->is_string();
}

Json effect_json(const CustomerView::Effect& effect) {
    Json result = json_of_payload(effect.result);
    const bool skipped = effect.skipped || says_it_was_skipped(result);
    return {{"instance", redact_text(effect.instance)},
            {"step", redact_text(effect.step)},
            {"provider", text_or_null(effect.provider)},
            {"at", format_rfc3339(effect.at_ms)},
            {"adopted", effect.adopted},
            {"skipped", skipped},
            {"result", std::move(result)}};
}

template <class Rows>
Json array_of(const Rows& rows) {
    Json array = Json::array();
    for (const auto& row : rows) array.push_back(json_of(row));
    return array;
}

}  // namespace

Json time_or_null(std::optional<std::int64_t> at_ms) {
    return at_ms ? Json(format_rfc3339(*at_ms)) : Json(nullptr);
}

Json json_of(const InstanceRow& row) {
    return {{"id", redact_text(row.id)},
            {"workflow", row.workflow},
            {"version", row.version},
            {"state", to_string(row.state)},
            {"key", text_or_null(row.key)},
            {"step", text_or_null(row.step)},
            {"attempts", row.attempt},
            {"error", text_or_null(row.error)},
            {"error_code", text_or_null(row.error_code)},
            {"waits_for", row.waits_for ? Json(to_string(*row.waits_for)) : Json(nullptr)},
            {"waits_detail", text_or_null(row.waits_detail)},
            {"created_at", format_rfc3339(row.created_at_ms)},
            {"updated_at", format_rfc3339(row.updated_at_ms)},
            {"due_at", time_or_null(row.due_at_ms)},
            {"finished_at", time_or_null(row.finished_at_ms)},
            {"cancel_requested_at", time_or_null(row.cancel_requested_at_ms)},
            {"priority", row.priority},
            {"deadline_at", time_or_null(row.deadline_ms)},
            {"log_length", row.log_length},
            {"deaths", row.deaths}};
}

Json json_of(const InstanceDetail& detail) {
    Json json = json_of(detail.row);
    json["input"] = json_of_payload(detail.input);
    json["output"] = json_of_payload(detail.output);
    json["log"] = Json::array();
    for (const LogEntry& entry : detail.log) json["log"].push_back(json_of_entry(entry));
    json["published"] = Json::object();
    for (const PublishedView& one : detail.published)
        json["published"][redact_text(one.name)] = {{"value", json_of_payload(one.value)},
                                                    {"at", format_rfc3339(one.at_ms)}};
    json["run"] = run_of(detail.row.id);
    json["runs"] = Json::array();
    for (const InstanceRow& run : detail.runs)
        json["runs"].push_back({{"id", redact_text(run.id)},
                                {"state", to_string(run.state)},
                                {"created_at", format_rfc3339(run.created_at_ms)},
                                {"finished_at", time_or_null(run.finished_at_ms)}});
    json["near_limits"] = Json::array();
    for (const std::string& one : detail.near_limits)
        json["near_limits"].push_back(redact_text(one));
    json["log_damage"] = text_or_null(detail.damage);
    json["event"] = detail.event ? json_of(*detail.event) : Json(nullptr);
    add_explanation(json, detail.why);
    return json;
}

Json json_of(const Inspector::Stuck& stuck) {
    Json json = json_of(stuck.row);
    add_explanation(json, stuck.why);
    return json;
}

Json json_of(const Inspector::Why& why) {
    Json json = {
        {"id", redact_text(why.row.id)},
        {"state", to_string(why.row.state)},
        {"waits_for", why.row.waits_for ? Json(to_string(*why.row.waits_for)) : Json(nullptr)},
        {"since", format_rfc3339(why.explanation.since_ms)}};
    add_explanation(json, why.explanation);
    return json;
}

Json json_of(const EventRow& event) {
    return {{"source", event.source},
            {"id", redact_text(event.id)},
            {"type", text_or_null(event.type)},
            {"subject", text_or_null(event.subject)},
            {"disposition", event.disposition},
            {"reason", text_or_null(event.reason)},
            {"instance", text_or_null(event.instance)},
            {"conflicts", event.conflicts},
            {"received_at", format_rfc3339(event.received_at_ms)}};
}

Json json_of(const Stats& stats, std::int64_t now_ms) {
    Json by_state = Json::object();
    for (const auto& [state, count] : stats.by_state)
        by_state[std::string(to_string(state))] = count;
    Json stuck = Json::array();
    for (const Stats::Group& group : stats.stuck)
        stuck.push_back({{"workflow", group.workflow},
                         {"step", text_or_null(group.step)},
                         {"error_code", text_or_null(group.error_code)},
                         {"count", group.count}});
    Json limits = Json::array();
    for (const LimitView& view : stats.limits) {
        const bool rate = view.limit.kind == Limit::Kind::rate;
        limits.push_back({{"limit", rate ? "rate" : "slot"},
                          {"of", to_string(view.limit.scope)},
                          {"name", redact_text(view.limit.name)},
                          {"parked", view.parked}});
    }
    Json breakers = Json::array();
    for (const BreakerView& breaker : stats.breakers)
        breakers.push_back({{"provider", redact_text(breaker.provider)},
                            {"state", to_string(breaker.state)},
                            {"failures", breaker.failures},
                            {"parked", breaker.parked},
                            {"opened_at", time_or_null(breaker.opened_at_ms)},
                            {"next_at", time_or_null(breaker.next_at_ms)},
                            {"paused_at", time_or_null(breaker.held_at_ms)},
                            {"reason", text_or_null(breaker.reason)}});
    Json paused = Json::array();
    for (const PausedWorkflow& one : stats.paused_workflows)
        paused.push_back({{"workflow", redact_text(one.workflow)},
                          {"since", format_rfc3339(one.since_ms)},
                          {"held", one.held}});
    Json owner = nullptr;
    if (stats.owned)
        owner = {{"program", stats.owner_program},
                 {"pid", stats.owner_pid},
                 {"started_at", format_rfc3339(stats.owner_started_at_ms)}};
    return {{"at", format_rfc3339(now_ms)},
            {"instances", stats.instances},
            {"by_state", std::move(by_state)},
            {"entries", stats.entries},
            {"created_last_hour", stats.created_last_hour},
            {"finished_last_hour", stats.finished_last_hour},
            {"finished_last_day", stats.finished_last_day},
            {"oldest_unfinished_at", time_or_null(stats.oldest_unfinished_at_ms)},
            {"oldest_unfinished_age_s", age_or_null(stats.oldest_unfinished_at_ms, now_ms)},
            {"oldest_stuck_at", time_or_null(stats.oldest_stuck_at_ms)},
            {"oldest_stuck_age_s", age_or_null(stats.oldest_stuck_at_ms, now_ms)},
            {"due", stats.due},
            {"oldest_due_age_s", age_or_null(stats.oldest_due_at_ms, now_ms)},
            {"stuck", std::move(stuck)},
            {"events", stats.events},
            {"breakers", std::move(breakers)},
            {"limits", std::move(limits)},
            {"paused", stats.paused},
            {"paused_workflows", std::move(paused)},
            {"database_bytes", stats.database_bytes},
            {"wal_bytes", stats.wal_bytes},
            {"owner", std::move(owner)}};
}

Json json_of(const CustomerView& view) {
    Json effects = Json::array();
    for (const CustomerView::Effect& effect : view.effects) effects.push_back(effect_json(effect));
    Json once = Json::array();
    for (const CustomerView::Once& key : view.once)
        once.push_back({{"key", redact_text(key.key)},
                        {"state", key.state},
                        {"instance", redact_text(key.instance)},
                        {"updated_at", format_rfc3339(key.updated_at_ms)}});
    return {{"customer", redact_text(view.customer)},
            {"events", array_of(view.events)},
            {"instances", array_of(view.instances)},
            {"effects", std::move(effects)},
            {"once", std::move(once)}};
}

Json json_of(const CheckReport& report) {
    Json checks = Json::array();
    for (const Check& check : report.checks)
        checks.push_back({{"name", check.name},
                          {"promise", check.promise},
                          {"ok", check.broken == 0},
                          {"looked_at", check.looked_at},
                          {"broken", check.broken},
                          {"examples", check.examples}});
    Json backup = nullptr, restores = Json::array();
    if (report.backup)
        backup = {{"id", report.backup->id},
                  {"taken_at", format_rfc3339(report.backup->taken_at_ms)}};
    for (const Restore& restore : report.restores)
        restores.push_back({{"backup", restore.backup},
                            {"taken_at", format_rfc3339(restore.taken_at_ms)},
                            {"restored_at", format_rfc3339(restore.restored_at_ms)}});
    return {{"ok", report.holds()},
            {"backup", std::move(backup)},
            {"restores", std::move(restores)},
            {"took_ms", report.took.count()},
            {"wal_bytes", report.wal_bytes},
            {"checks", std::move(checks)}};
}

std::string dump(const Json& json, int indent) {
    return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

}  // namespace steplog
