// One instance whole: its row, its payloads, its log with a check of the chain, and its event.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "engine/entries.h"
#include "engine/inspect.h"
#include "engine/inspect_file.h"
#include "engine/inspect_rows.h"
#include "engine/run_id.h"

namespace steplog {
namespace {

struct Hashes {
    Hash input{}, log{};
};

Hashes read_row_and_payloads(Statements& statements, Payloads& payloads, InstanceDetail& detail) {
    static const std::string sql =
        std::string("SELECT ") + rows::instance_columns +
        ", input_payload, i.body, i.data_key_id, output_payload, o.body, o.data_key_id, "
        "input_hash, log_hash "
        "FROM instances LEFT JOIN payloads i ON i.id=input_payload "
        "LEFT JOIN payloads o ON o.id=output_payload WHERE seq=?";
    Query read(statements, sql.c_str(), detail.row.seq);
    if (!read.next())
        throw InspectError(InspectError::Kind::not_found, "the instance was deleted just now");
    detail.row = rows::read_instance(read);
    constexpr int behind = rows::instance_columns_count;
    detail.input = rows::read_payload(payloads, read, behind);
    detail.output = rows::read_payload(payloads, read, behind + 3);
    return {read.hash(behind + 6), read.hash(behind + 7)};
}

void read_log(Statements& statements, Payloads& payloads, InstanceDetail& detail,
              const Hashes& hashes) {
    const auto secret = rows::payload_hash_key(statements);
    if (!secret)
        detail.damage = "the database's payload_hash_key is missing: nothing can be verified";
    else if (detail.input.text && keyed_hash(*secret, *detail.input.text) != hashes.input)
        detail.damage = "its input is not what was accepted";
    rows::ChainWalk chain(detail.row, hashes.input, secret.value_or(Hash{}));
    Query log(
        statements,
        "SELECT n, step, kind, attempt, generation, at_ms, data, payload_hash, hash, payload, "
        "body, "
        "data_key_id FROM entries LEFT JOIN payloads ON id=payload WHERE instance=? ORDER BY n",
        detail.row.seq);
    while (log.next()) {
        LogEntry& next = detail.log.emplace_back();
        Entry& entry = next.entry;
        entry.n = log.integer(0);
        entry.step = log.text(1);
        const std::string kind = log.text(2), data = log.text(6);
        entry.kind = parse_entry_kind(kind).value_or(EntryKind::recorded);
        entry.attempt = static_cast<int>(log.integer(3));
        entry.generation = static_cast<int>(log.integer(4));
        entry.at_ms = log.integer(5);
        entry.data = rows::read_data(data);
        next.payload = rows::read_payload(payloads, log, 9);
        if (next.payload.damaged)
            detail.damage =
                fmt::format("the payload of entry {} does not open with its key", entry.n);
        std::optional<Hash> payload_hash;
        if (!log.is_null(7)) payload_hash = log.hash(7);
        chain.next(entry, next.payload.text, kind, data, payload_hash, log.hash(8));
    }
    for (const LogEntry& entry : detail.log)
        if (is_edited_input(entry.entry)) detail.input = entry.payload;
    chain.end(hashes.log);
    if (detail.damage.empty()) detail.damage = chain.damage();
}

// An event's instance is called <workflow>/<event id>. The list of sources is read by leaps.
std::optional<EventRow> event_of(Statements& statements, const InstanceRow& row) {
    static const std::string sql =
        std::string(
            "WITH RECURSIVE sources(source) AS (SELECT min(source) FROM events UNION ALL "
            "SELECT (SELECT min(source) FROM events WHERE source>sources.source) FROM sources "
            "WHERE sources.source IS NOT NULL) SELECT ") +
        rows::event_columns +
        "FROM sources CROSS JOIN events ON events.source=sources.source AND events.id=?1 "
        "LEFT JOIN instances ON instances.seq=events.instance WHERE events.instance=?2 LIMIT 1";
    const std::size_t slash = row.id.rfind('/');
    const std::string last_part = slash == std::string::npos ? row.id : row.id.substr(slash + 1);
    Query read(statements, sql.c_str(), last_part, row.seq);
    if (!read.next()) return std::nullopt;
    return rows::read_event(read);
}

std::vector<PublishedView> published_in(const std::vector<LogEntry>& log) {
    std::map<std::string, PublishedView> last;
    for (const auto& [entry, payload] : log)
        if (entry.kind == EntryKind::published)
            last[entry.step] = {entry.step, entry.at_ms, payload};
    std::vector<PublishedView> views;
    for (auto& [name, view] : last) views.push_back(std::move(view));
    return views;
}

// Newest first, without what lies within a run.
std::vector<InstanceRow> runs_of(Statements& statements, const InstanceRow& row) {
    static const std::string sql =
        std::string("SELECT ") + rows::instance_columns +
        "FROM instances WHERE id=?1 OR (id>=?1||'/run:' AND id<?1||'/run;' AND "
        "length(id)=length(?2)) ORDER BY seq DESC LIMIT ?3";
    const std::string first = first_run(row.id);
    std::vector<InstanceRow> runs;
    Query read(statements, sql.c_str(), first, run_id(first, 2), runs_shown_max);
    while (read.next()) runs.push_back(rows::read_instance(read));
    if (runs.size() < 2 && run_of(row.id) == 1) runs.clear();
    return runs;
}

std::vector<std::string> near_limits(const InstanceDetail& detail) {
    const Limits limits;
    std::vector<std::string> near;
    const auto add = [&](const std::string& what, std::int64_t value, const char* unit,
                         std::int64_t limit, const char* name, const char* remedy) {
        if (is_near(value, limit))
            near.push_back(near_limit(what, value, unit, limit, name, remedy));
    };
    std::set<std::string> steps;
    for (const auto& [entry, payload] : detail.log)
        if (!entry.step.empty() && entry.kind != EntryKind::published) steps.insert(entry.step);
    add("its log", detail.row.log_length, "entries", limits.log_entries_max, "log_entries_max",
        long_remedy);
    add("this run", static_cast<std::int64_t>(steps.size()), "steps", limits.steps_max, "steps_max",
        long_remedy);
    const auto add_size = [&](const std::string& what, const Payload& payload,
                              std::size_t bytes_max, const char* name) {
        if (payload.text)
            add(what, static_cast<std::int64_t>(payload.text->size()), "bytes",
                static_cast<std::int64_t>(bytes_max), name, large_remedy);
    };
    add_size("its input", detail.input, limits.input_bytes_max, "input_bytes_max");
    add_size("its result", detail.output, limits.result_bytes_max, "result_bytes_max");
    for (const auto& [entry, payload] : detail.log)
        if (entry.kind == EntryKind::completed)
            add_size("the result of " + entry.step, payload, limits.result_bytes_max,
                     "result_bytes_max");
        else if (entry.kind == EntryKind::signal && entry.step.empty())
            add_size("a signal", payload, limits.signal_bytes_max, "signal_bytes_max");
        else if (entry.kind == EntryKind::published)
            add_size("what is published as " + entry.step, payload, limits.published_bytes_max,
                     "published_bytes_max");
    return near;
}

void fold_entry(const Query& log, std::vector<Inspector::Step>& steps) {
    const std::string name = log.text(0), kind = log.text(1);
    auto step = std::find_if(steps.begin(), steps.end(),
                             [&](const Inspector::Step& known) { return known.name == name; });
    if (step == steps.end()) step = steps.insert(steps.end(), {.name = name, .provider = {}});
    const Json data = rows::read_data(log.text(2));
    if (kind != "started") {
        step->finished = true;
        step->has_undo = data.contains("undo");
        return;
    }
    const auto provider = data.find("provider");
    if (provider != data.end() && provider->is_string())
        step->provider = provider->get<std::string>();
}

}  // namespace

std::vector<Inspector::Step> Inspector::steps(const InstanceRow& row) {
    return file_->read([&](Statements& statements) {
        std::vector<Step> steps;
        Query log(statements,
                  "SELECT step, kind, data FROM entries WHERE instance=? AND step<>'' AND kind IN "
                  "('started','completed','skipped') ORDER BY n",
                  row.seq);
        while (log.next()) fold_entry(log, steps);
        return steps;
    });
}

InstanceDetail Inspector::read_whole(Statements& statements, const InstanceRow& row) {
    InstanceDetail detail;
    detail.row = row;
    Payloads payloads(statements, keys_);
    const Hashes hashes = read_row_and_payloads(statements, payloads, detail);
    read_log(statements, payloads, detail, hashes);
    return detail;
}

InstanceDetail Inspector::show(const std::string& text) {
    const InstanceRow found = find(text);
    return file_->read([&](Statements& statements) {
        InstanceDetail detail = read_whole(statements, found);
        detail.published = published_in(detail.log);
        detail.runs = runs_of(statements, detail.row);
        detail.near_limits = near_limits(detail);
        detail.event = event_of(statements, detail.row);
        detail.why = explain(statements, detail.row);
        return detail;
    });
}

}  // namespace steplog
