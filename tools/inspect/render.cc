#include "tools/inspect/render.h"

#include <fmt/format.h>

#include "engine/inspect_json.h"
#include "engine/inspect_redact.h"
#include "engine/rfc3339.h"
#include "engine/text.h"
#include "tools/common/check_report.h"
#include "tools/common/cli.h"

namespace steplog::tools {
namespace {

constexpr std::size_t result_shown_max = 120;  // characters of a step's result in the timeline

std::string shown(const std::string& text) { return printable(redact_text(text)); }

std::string or_dash(const std::string& text) { return text.empty() ? "-" : shown(text); }

std::string ago(std::int64_t at_ms, std::int64_t now_ms) {
    return rough_span(now_ms - at_ms) + " ago";
}

Colour colour_of(State state) {
    switch (state) {
        case State::stuck:
        case State::failed:
            return Colour::red;
        case State::completed:
            return Colour::green;
        case State::sleeping:
        case State::waiting:
        case State::queued:
            return Colour::yellow;
        case State::running:
        case State::pending:
            return Colour::cyan;
        case State::cancelled:
            return Colour::grey;
    }
    return Colour::none;
}

std::string state_of(const InstanceRow& row) {
    std::string state(to_string(row.state));
    if (row.waits_for && row.state != State::queued)
        state += fmt::format(" ({})", to_string(*row.waits_for));
    if (is_paused_in_line(row)) state += " (pause)";
    return state;
}

std::string due_of(const InstanceRow& row, std::int64_t now_ms) {
    if (!row.due_at_ms || row.state == State::running) return "-";
    if (*row.due_at_ms <= now_ms) return "now";
    return "in " + rough_span(*row.due_at_ms - now_ms);
}

std::string error_of(const InstanceRow& row) {
    if (row.error_code.empty()) return shown(row.error);
    return shown(row.error_code + (row.error.empty() ? "" : ": " + row.error));
}

std::string text_at(const Json& data, const char* name) {
    const auto found = data.find(name);
    if (found == data.end() || found->is_null()) return "";
    return found->is_string() ? found->get<std::string>() : dump(*found);
}

// What an entry says beyond its kind, in a few words.
std::string details_of(const Json& entry) {
    const Json& data = entry.at("data");
    std::vector<std::string> parts;
    const std::string code = text_at(data, "code"), error = text_at(data, "error");
    if (!code.empty() || !error.empty())
        parts.push_back(code + (code.empty() || error.empty() ? "" : ": ") + error);
    if (const auto outcome = text_at(data, "outcome"); outcome == "unknown")
        parts.push_back("in doubt");
    if (data.contains("interrupted")) parts.push_back("interrupted by a shutdown");
    if (const auto delay = data.find("delay_ms"); delay != data.end() && delay->is_number_integer())
        parts.push_back("again after " + format_duration(Ms(delay->get<std::int64_t>())));
    if (const auto due = data.find("due_at_ms"); due != data.end() && due->is_number_integer())
        parts.push_back("until " + format_rfc3339(due->get<std::int64_t>()));
    if (const auto signal = text_at(data, "signal"); !signal.empty())
        parts.push_back((text_at(entry, "step").empty() ? "arrived: " : "waits for ") + signal);
    if (const auto until = data.find("until_ms"); until != data.end() && until->is_number_integer())
        parts.push_back("at most until " + format_rfc3339(until->get<std::int64_t>()));
    if (const auto child = text_at(data, "child"); !child.empty())
        parts.push_back("child " + child +
                        (data.contains("ended") ? " " + text_at(data, "ended") : ""));
    if (data.contains("took")) parts.push_back("took entry " + text_at(data, "took"));
    if (data.contains("timed_out")) parts.push_back("timed out");
    if (const auto provider = text_at(data, "provider"); !provider.empty())
        parts.push_back("asks " + provider);
    if (const auto adopted = text_at(data, "adopted"); !adopted.empty())
        parts.push_back("found by its " + adopted);
    if (data.contains("superseded"))
        parts.push_back(fmt::format("out of date: version {} is older than {}",
                                    text_at(data, "version"), text_at(data, "superseded")));
    if (const auto since = data.find("lost_since_ms");
        since != data.end() && since->is_number_integer())
        parts.push_back("restored from a backup; in doubt since " +
                        format_rfc3339(since->get<std::int64_t>()));
    if (const auto next = text_at(data, "continued_as"); !next.empty())
        parts.push_back("goes on as " + next);
    if (const auto former = text_at(data, "continued_from"); !former.empty())
        parts.push_back("goes on from " + former);
    if (data.contains("patched")) parts.push_back("the patch is in force");
    if (entry.at("kind") == "moved")
        parts.push_back(fmt::format("from version {} to version {}", text_at(data, "from"),
                                    text_at(data, "to")));
    if (const auto by = text_at(data, "by"); !by.empty()) parts.push_back("by " + by);
    if (const auto key = text_at(data, "key"); !key.empty()) parts.push_back(key);
    if (data.contains("forgotten")) parts.push_back("forgotten");
    if (const auto value = data.find("value");
        entry.at("kind") == "published" && value != data.end())
        parts.push_back(shortened(dump(*value), result_shown_max));
    if (const auto result = data.find("result"); result != data.end() && !result->is_null())
        parts.push_back(shortened(dump(*result), result_shown_max));
    return printable(fmt::format("{}", fmt::join(parts, "; ")));
}

std::string render_log(const Json& log) {
    Table table({"N", "AT", "STEP", "WHAT", "TRY", "DETAILS"});
    for (const Json& entry : log) {
        const std::string kind = entry.at("kind").get<std::string>();
        const Colour colour = kind == "completed"                   ? Colour::green
                              : kind == "retried"                   ? Colour::yellow
                              : kind == "stuck" || kind == "failed" ? Colour::red
                                                                    : Colour::none;
        const int attempt = entry.at("attempt").get<int>();
        table.add({{std::to_string(entry.at("seq").get<std::int64_t>())},
                   {entry.at("at").get<std::string>()},
                   {or_dash(entry.at("step").get<std::string>())},
                   {kind, colour},
                   {attempt == 0 ? "-" : std::to_string(attempt)},
                   {details_of(entry)}});
    }
    return table.text("  ");
}

std::string indented(std::string text) {
    if (text.ends_with('\n')) text.pop_back();
    std::string result = "  ";
    for (const char character : text) {
        result += character;
        if (character == '\n') result += "  ";
    }
    return result + "\n";
}

std::string render_payload(const char* title, const Payload& payload, const Json& json) {
    std::string text = coloured(title, Colour::bold) + "\n";
    if (payload.forgotten) return text + "  (forgotten)\n";
    if (payload.encrypted)
        return text + "  (encrypted: set STEPLOG_ENCRYPTION_KEY to its key to see it)\n";
    if (payload.damaged) return text + "  (damaged: it does not open with its key)\n";
    if (!payload.text) return text + "  (none)\n";
    return text + indented(json.is_string() ? printable(json.get<std::string>()) : dump(json, 2));
}

std::string field(const char* name, const std::string& value) {
    return fmt::format("  {:<9} {}\n", name, value);
}

Table instance_table() { return Table({"ID", "STATE", "STEP", "TRY", "UPDATED", "DUE", "ERROR"}); }

void add_instance(Table& table, const InstanceRow& row, std::int64_t now_ms) {
    table.add({{shown(row.id)},
               {state_of(row), colour_of(row.state)},
               {or_dash(row.step)},
               {row.attempt == 0 ? "-" : std::to_string(row.attempt)},
               {ago(row.updated_at_ms, now_ms)},
               {due_of(row, now_ms)},
               {error_of(row)}});
}

}  // namespace

std::string render_list(const std::vector<InstanceRow>& rows, std::int64_t now_ms) {
    if (rows.empty()) return "no instances\n";
    Table table = instance_table();
    for (const InstanceRow& row : rows) add_instance(table, row, now_ms);
    return table.text();
}

std::string render_stuck(const std::vector<Inspector::Stuck>& stuck, std::int64_t now_ms) {
    if (stuck.empty()) return "nothing is stuck\n";
    std::string text;
    std::int64_t behind = 0;
    for (const Inspector::Stuck& one : stuck) {
        text += fmt::format(
            "{}  {}\n", coloured(shown(one.row.id), Colour::bold),
            coloured(fmt::format("stuck for {} at {}", rough_span(now_ms - one.row.updated_at_ms),
                                 one.row.step.empty() ? "no step" : shown(one.row.step)),
                     Colour::red));
        text += fmt::format("  {}\n", error_of(one.row));
        if (one.why.queued_behind > 0)
            text += fmt::format("  {} of its key behind it\n", one.why.queued_behind);
        if (!one.why.command.empty())
            text += fmt::format("  run: {}\n", printable(one.why.command));
        behind += one.why.queued_behind;
    }
    text += fmt::format(
        "{} stuck, {} queued behind them; workflow-resume --all --plan shows what resuming all "
        "would mean\n",
        stuck.size(), behind);
    return text;
}

std::string render_show(const InstanceDetail& detail, std::int64_t now_ms) {
    const InstanceRow& row = detail.row;
    const Json json = json_of(detail);
    std::string text = coloured(shown(row.id), Colour::bold) + "\n";
    text += field("workflow", fmt::format("{}, version {}", shown(row.workflow), row.version));
    text += field("state", coloured(state_of(row), colour_of(row.state)));
    if (!row.key.empty()) text += field("key", shown(row.key) + (row.holds_key ? ", held" : ""));
    if (detail.event)
        text += field("event", fmt::format("{} {} {}, received {}", shown(detail.event->source),
                                           shown(detail.event->id), shown(detail.event->type),
                                           format_rfc3339(detail.event->received_at_ms)));
    text += field("step", row.step.empty() ? "-"
                          : row.attempt > 0
                              ? fmt::format("{}, attempt {}", shown(row.step), row.attempt)
                              : shown(row.step));
    if (!error_of(row).empty()) text += field("error", coloured(error_of(row), Colour::red));
    text += field("created", fmt::format("{} ({})", format_rfc3339(row.created_at_ms),
                                         ago(row.created_at_ms, now_ms)));
    text += field("updated", fmt::format("{} ({})", format_rfc3339(row.updated_at_ms),
                                         ago(row.updated_at_ms, now_ms)));
    if (row.due_at_ms) text += field("due", format_rfc3339(*row.due_at_ms));
    if (row.priority != 0) text += field("priority", std::to_string(row.priority));
    if (row.deadline_ms) text += field("deadline", format_rfc3339(*row.deadline_ms));
    if (row.finished_at_ms) text += field("finished", format_rfc3339(*row.finished_at_ms));
    text += coloured("why", Colour::bold) + "\n  " + detail.why.sentence + "\n";
    if (!detail.damage.empty())
        text += coloured("  the log does not verify: " + detail.damage, Colour::red) + "\n";
    for (const InstanceRow& run : detail.runs)
        text += field("run", fmt::format("{}{}, {}", run.id == row.id ? "> " : "  ", shown(run.id),
                                         to_string(run.state)));
    for (const PublishedView& one : detail.published)
        text +=
            field("published",
                  printable(fmt::format(
                      "{}: {} ({})", redact_text(one.name),
                      shortened(dump(json.at("published").at(redact_text(one.name)).at("value")),
                                result_shown_max),
                      ago(one.at_ms, now_ms))));
    for (const std::string& one : detail.near_limits)
        text += coloured("  near a limit: " + shown(one), Colour::yellow) + "\n";
    text += coloured("log", Colour::bold) + "\n";
    text += detail.log.empty() ? "  (empty: no step has begun)\n" : render_log(json.at("log"));
    text += render_payload("output", detail.output, json.at("output"));
    text += render_payload("input", detail.input, json.at("input"));
    return text;
}

std::string render_stats(const Stats& stats, std::int64_t now_ms) {
    std::string text =
        fmt::format("{} instances, {} log entries\n", stats.instances, stats.entries);
    for (const auto& [state, count] : stats.by_state)
        text += fmt::format("  {} {:>10}\n",
                            coloured(fmt::format("{:<10}", to_string(state)),
                                     count == 0 ? Colour::grey : colour_of(state)),
                            count);
    text += fmt::format("last hour   {} begun, {} ended; last day {} ended\n",
                        stats.created_last_hour, stats.finished_last_hour, stats.finished_last_day);
    if (stats.oldest_unfinished_at_ms)
        text += fmt::format("oldest unfinished  {}\n", ago(*stats.oldest_unfinished_at_ms, now_ms));
    if (stats.oldest_due_at_ms)
        text += fmt::format("due now     {}, the oldest since {}\n", stats.due,
                            rough_span(now_ms - *stats.oldest_due_at_ms));
    if (!stats.stuck.empty()) {
        text += fmt::format("stuck, the oldest since {}\n",
                            rough_span(now_ms - *stats.oldest_stuck_at_ms));
        Table table({"COUNT", "WORKFLOW", "STEP", "CODE"});
        for (const Stats::Group& group : stats.stuck)
            table.add({{std::to_string(group.count)},
                       {shown(group.workflow)},
                       {or_dash(group.step)},
                       {or_dash(group.error_code)}});
        text += table.text("  ");
    }
    for (const BreakerView& breaker : stats.breakers) {
        if (breaker.state == BreakerState::closed) continue;
        const std::string since = breaker.held_at_ms ? "paused " + ago(*breaker.held_at_ms, now_ms)
                                  : breaker.opened_at_ms
                                      ? "open " + ago(*breaker.opened_at_ms, now_ms)
                                      : std::string("open");
        text += fmt::format(
            "provider    {}\n",
            coloured(
                fmt::format("{} is out of order: {}{}, {} parked", shown(breaker.provider), since,
                            breaker.reason.empty() ? "" : " (" + shown(breaker.reason) + ")",
                            breaker.parked),
                Colour::red));
    }
    for (const LimitView& view : stats.limits) {
        const bool rate = view.limit.kind == Limit::Kind::rate;
        const bool entity = view.limit.scope == LimitOf::entity;
        text +=
            fmt::format("{:<11} {} {} for {}\n", to_string(view.limit.scope),
                        entity ? "something that is being updated:" : shown(view.limit.name) + ":",
                        view.parked == 1 ? "1 waits" : std::to_string(view.parked) + " wait",
                        rate ? "their turn" : "room");
    }
    for (const PausedWorkflow& paused : stats.paused_workflows)
        text +=
            fmt::format("workflow    {}\n",
                        coloured(fmt::format("{} is paused: {}, {} held", shown(paused.workflow),
                                             ago(paused.since_ms, now_ms), paused.held),
                                 Colour::yellow));
    if (stats.paused > 0)
        text += fmt::format("paused      {} instance{} one by one\n", stats.paused,
                            stats.paused == 1 ? "" : "s");
    text += fmt::format("events      {} routed, {} ignored, {} quarantined\n",
                        stats.events.at("routed"), stats.events.at("ignored"),
                        stats.events.at("quarantined"));
    text += fmt::format("file        {}, write-ahead log {}\n", rough_size(stats.database_bytes),
                        rough_size(stats.wal_bytes));
    text += stats.owned
                ? fmt::format("owner       {} (process {}) since {}\n", shown(stats.owner_program),
                              stats.owner_pid, format_rfc3339(stats.owner_started_at_ms))
                : "owner       none: no server runs on this database\n";
    return text;
}

std::string render_versions(const std::vector<VersionView>& versions, std::int64_t now_ms) {
    if (versions.empty()) return "no instances\n";
    Table table({"WORKFLOW", "VERSION", "UNFINISHED", "OLDEST", "FINISHED", "SCHEDULES", "REMOVE"});
    for (const VersionView& view : versions) {
        std::int64_t unfinished = 0;
        std::vector<std::string> states;
        for (const auto& [state, count] : view.unfinished) {
            unfinished += count;
            states.push_back(fmt::format("{} {}", count, to_string(state)));
        }
        const std::string why_not = unfinished > 0            ? "no: unfinished instances"
                                    : !view.schedules.empty() ? "no: a schedule starts it"
                                                              : "no: the newest";
        table.add(
            {{shown(view.workflow)},
             {std::to_string(view.version)},
             {states.empty() ? "-" : fmt::format("{}", fmt::join(states, ", "))},
             {view.oldest_unfinished_at_ms ? ago(*view.oldest_unfinished_at_ms, now_ms) : "-"},
             {std::to_string(view.finished)},
             {view.schedules.empty() ? "-"
                                     : shown(fmt::format("{}", fmt::join(view.schedules, ", ")))},
             {view.safe_to_remove() ? "safe to remove" : why_not,
              view.safe_to_remove() ? Colour::green : Colour::none}});
    }
    return table.text();
}

std::string render_schedules(const std::vector<ScheduleView>& schedules, std::int64_t now_ms) {
    if (schedules.empty()) return "no schedules\n";
    Table table(
        {"NAME", "CRON", "TIME ZONE", "OVERLAP", "NEXT", "LAST", "STARTED", "SKIPPED", "MISSED"});
    std::string errors;
    for (const ScheduleView& view : schedules) {
        std::string next = "-";
        if (view.paused_at_ms)
            next = "paused " + ago(*view.paused_at_ms, now_ms);
        else if (view.next_at_ms)
            next = format_rfc3339(*view.next_at_ms);
        std::string last = "-";
        if (view.last_at_ms)
            last = fmt::format("{} {}", view.last_outcome, format_rfc3339(*view.last_at_ms));
        table.add({{shown(view.schedule.name)},
                   {shown(view.schedule.cron)},
                   {shown(view.schedule.time_zone)},
                   {std::string(to_string(view.schedule.overlap))},
                   {next, view.paused_at_ms ? Colour::yellow : Colour::none},
                   {last},
                   {std::to_string(view.started)},
                   {std::to_string(view.skipped)},
                   {std::to_string(view.missed)}});
        if (!view.error.empty())
            errors += fmt::format("{}: {}\n", shown(view.schedule.name), shown(view.error));
    }
    return table.text() + (errors.empty() ? "" : coloured(errors, Colour::red));
}

std::string render_events(const std::vector<EventRow>& events) {
    if (events.empty()) return "no events\n";
    Table table({"RECEIVED", "SOURCE", "ID", "TYPE", "SUBJECT", "BECAME", "WHY OR WHICH"});
    for (const EventRow& event : events) {
        std::string what =
            event.disposition == "routed"
                ? (event.instance.empty() ? "(deleted by retention)" : shown(event.instance))
                : shown(event.reason);
        if (event.conflicts > 0)
            what += fmt::format(" ({} more with another body)", event.conflicts);
        table.add({{format_rfc3339(event.received_at_ms)},
                   {shown(event.source)},
                   {shown(event.id)},
                   {or_dash(event.type)},
                   {or_dash(event.subject)},
                   {shown(event.disposition),
                    event.disposition == "quarantined" ? Colour::red : Colour::none},
                   {what}});
    }
    return table.text();
}

std::string skipped_text(const Json& result) {
    const auto why = result.find("skipped");
    if (why == result.end() || !why->is_string()) return "skipped";
    return "skipped: " + why->get<std::string>();
}

std::string render_customer(const CustomerView& view, std::int64_t now_ms) {
    std::string text = coloured(shown(view.customer), Colour::bold) + "\n";
    text += coloured("events", Colour::bold) + "\n" + indented(render_events(view.events));
    text +=
        coloured("instances", Colour::bold) + "\n" + indented(render_list(view.instances, now_ms));
    text += coloured("effects", Colour::bold) + "\n";
    Table effects({"AT", "INSTANCE", "STEP", "PROVIDER", "RESULT"});
    const Json json = json_of(view);
    for (const Json& effect : json.at("effects")) {
        std::string result = dump(effect.at("result"));
        if (effect.at("skipped").get<bool>()) result = skipped_text(effect.at("result"));
        if (effect.at("adopted").get<bool>()) result = "found, not repeated: " + result;
        effects.add(
            {{effect.at("at").get<std::string>()},
             {printable(effect.at("instance").get<std::string>())},
             {printable(effect.at("step").get<std::string>())},
             {or_dash(effect.at("provider").is_null() ? ""
                                                      : effect.at("provider").get<std::string>())},
             {printable(result)}});
    }
    text += effects.empty() ? "  none yet\n" : effects.text("  ");
    for (const CustomerView::Once& once : view.once)
        text += fmt::format("once only: {} is {} (by {})\n", shown(once.key), shown(once.state),
                            shown(once.instance));
    return text;
}

}  // namespace steplog::tools
