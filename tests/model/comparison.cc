#include "tests/model/comparison.h"

#include <fmt/format.h>
#include <sqlite3.h>

namespace steplog::testing {
namespace {

std::string said(const std::optional<std::int64_t>& value) {
    return value ? std::to_string(*value) : "NULL";
}
std::string said(const std::optional<std::string>& value) { return value ? *value : "NULL"; }
std::string said(const std::optional<WaitsFor>& value) {
    return value ? std::string(to_string(*value)) : "NULL";
}
std::string or_null(const std::string& text) { return text.empty() ? "NULL" : text; }

std::string column(SQLite::Statement& row, int index) {
    const SQLite::Column value = row.getColumn(index);
    return value.isNull() ? "NULL" : value.getString();
}

// plain(id, body, data key): what a payload says.
void plain(sqlite3_context* context, int, sqlite3_value** arguments) {
    const bool clear = sqlite3_value_type(arguments[2]) == SQLITE_NULL;
    if (clear || sqlite3_value_type(arguments[1]) == SQLITE_NULL)
        return sqlite3_result_value(context, arguments[1]);
    auto& payloads = *static_cast<Payloads*>(sqlite3_user_data(context));
    const auto* bytes = static_cast<const char*>(sqlite3_value_blob(arguments[1]));
    const auto size = static_cast<std::size_t>(sqlite3_value_bytes(arguments[1]));
    const Payloads::Body body =
        payloads.open(sqlite3_value_int64(arguments[0]), std::string(bytes, size),
                      sqlite3_value_int64(arguments[2]));
    if (!body.text)
        return sqlite3_result_error(context, "a payload does not open with its key", -1);
    sqlite3_result_text(context, body.text->data(), static_cast<int>(body.text->size()),
                        SQLITE_TRANSIENT);
}

// Compares a row column by column; names the first that differs.
class Row {
  public:
    Row(SQLite::Statement& row, std::string what) : row_(row), what_(std::move(what)) {}

    Row& expect(const char* name, const std::string& expected) {
        const std::string found = column(row_, next_++);
        if (difference.empty() && found != expected)
            difference = fmt::format("{}: {} is {}, must be {}", what_, name, found, expected);
        return *this;
    }
    Row& expect(const char* name, std::int64_t expected) {
        if (row_.getColumn(next_).isNull() || row_.getColumn(next_).getInt64() != expected)
            return expect(name, std::to_string(expected));
        ++next_;
        return *this;
    }
    std::string difference;

  private:
    SQLite::Statement& row_;
    const std::string what_;
    int next_ = 0;
};

}  // namespace

Comparison::Comparison(const std::string& database, const std::string& vfs,
                       std::vector<MasterKey> keys)
    : database_(database, SQLite::OPEN_READONLY | SQLite::OPEN_NOMUTEX, 0, vfs),
      keys_(std::move(keys)),
      statements_(database_),
      payloads_(statements_, keys_) {
    database_.exec("PRAGMA cache_size=-4000");
    database_.createFunction("plain", 3, false, &payloads_, plain);
}

SQLite::Statement& Comparison::query(const char* sql) {
    auto found = queries_.find(sql);
    if (found == queries_.end())
        found = queries_.emplace(sql, SQLite::Statement(database_, sql)).first;
    found->second.tryReset();
    return found->second;
}

std::string Comparison::difference(const Reference& reference, bool wholly) {
    database_.exec("BEGIN");
    std::string difference = of_instances(reference);
    if (difference.empty()) difference = of_entries(reference, wholly);
    if (difference.empty()) difference = of_signals(reference);
    if (difference.empty()) difference = of_once_keys(reference);
    if (difference.empty()) difference = of_events(reference);
    if (difference.empty()) difference = of_data_keys(reference);
    if (difference.empty()) difference = of_schedules(reference);
    if (difference.empty()) difference = of_breakers(reference);
    if (difference.empty()) difference = of_slots(reference);
    if (difference.empty()) difference = of_rates(reference);
    if (difference.empty()) difference = of_debounces(reference);
    if (difference.empty()) difference = of_versions(reference);
    if (difference.empty()) difference = of_the_rest(reference);
    if (difference.empty() && wholly) difference = of_payloads();
    for (auto& [sql, statement] : queries_) statement.tryReset();
    database_.exec("COMMIT");
    return difference;
}

std::string Comparison::of_instances(const Reference& reference) {
    SQLite::Statement& rows = query(
        "SELECT seq, instances.id, workflow, version, state, due_at_ms, waits_for, waits_detail, "
        "owner, "
        "epoch, deaths, key, key_ticket, holds_key, key_place, key_holders_max, on_stuck, step, "
        "attempt, error_code, error, "
        "log_length, created_at_ms, updated_at_ms, finished_at_ms, "
        "cancel_requested_at_ms, deadline_ms, priority, parent, on_parent_close, plain(i.id, "
        "i.body, i.data_key_id), "
        "plain(o.id, o.body, "
        "o.data_key_id) "
        "FROM instances LEFT JOIN payloads i ON i.id=input_payload "
        "LEFT JOIN payloads o ON o.id=output_payload ORDER BY seq");
    auto expected = reference.instances().begin();
    while (rows.executeStep()) {
        const std::string id = column(rows, 1);
        if (expected == reference.instances().end() || expected->second.id != id)
            return fmt::format("instance {} must not be there", id);
        const ReferenceInstance& i = expected->second;
        Row row(rows, "instance " + id);
        row.expect("seq", i.seq).expect("id", i.id).expect("workflow", i.workflow);
        row.expect("version", i.version).expect("state", std::string(to_string(i.state)));
        row.expect("due_at_ms", said(i.due_at_ms)).expect("waits_for", said(i.waits_for));
        row.expect("waits_detail", or_null(i.waits_detail)).expect("owner", said(i.owner));
        row.expect("epoch", i.epoch).expect("deaths", i.deaths).expect("key", or_null(i.key));
        row.expect("key_ticket", said(i.ticket)).expect("holds_key", i.holds_key);
        row.expect("key_place", i.key_place).expect("key_holders_max", i.key_holders_max);
        row.expect("on_stuck", std::string(to_string(i.on_stuck)));
        row.expect("step", or_null(i.step)).expect("attempt", i.attempt);
        row.expect("error_code", or_null(i.error_code)).expect("error", or_null(i.error));
        row.expect("log_length", static_cast<std::int64_t>(i.log.size()));
        row.expect("created_at_ms", i.created_at_ms).expect("updated_at_ms", i.updated_at_ms);
        row.expect("finished_at_ms", said(i.finished_at_ms));
        row.expect("cancel_requested_at_ms", said(i.cancel_requested_at_ms));
        row.expect("deadline_ms", said(i.deadline_ms)).expect("priority", i.priority);
        row.expect("parent", said(i.parent));
        row.expect("on_parent_close",
                   i.on_parent_close ? std::string(to_string(*i.on_parent_close)) : "NULL");
        row.expect("input", said(i.input));
        row.expect("output", said(i.output));
        if (!row.difference.empty()) return row.difference;
        ++expected;
    }
    if (expected != reference.instances().end())
        return fmt::format("instance {} is not there", expected->second.id);
    return "";
}

std::string Comparison::of_entries(const Reference& reference, bool wholly) {
    if (wholly) entries_seen_ = 0;
    SQLite::Statement& rows = query(
        "SELECT e.seq, e.instance, e.n, e.step, e.kind, e.attempt, e.generation, e.at_ms, e.data, "
        "plain(p.id, p.body, p.data_key_id) FROM entries e LEFT JOIN payloads p ON p.id=e.payload "
        "WHERE e.seq>? ORDER BY "
        "e.seq");
    rows.bind(1, entries_seen_);
    std::size_t count = 0;
    while (rows.executeStep()) {
        ++count;
        entries_seen_ = rows.getColumn(0).getInt64();
        const std::int64_t seq = rows.getColumn(1).getInt64();
        const auto n = static_cast<std::size_t>(rows.getColumn(2).getInt64());
        const auto instance = reference.instances().find(seq);
        if (instance == reference.instances().end() || n == 0 || n > instance->second.log.size())
            return fmt::format("entry {} of instance {} must not be there", n, seq);
        const ReferenceEntry& entry = instance->second.log[n - 1];
        const ReferenceEntry found{
            rows.getColumn(3).getString(),
            parse_entry_kind(rows.getColumn(4).getString()).value_or(EntryKind::recorded),
            rows.getColumn(5).getInt(),
            rows.getColumn(6).getInt(),
            rows.getColumn(7).getInt64(),
            rows.getColumn(8).getString(),
            rows.getColumn(9).isNull() ? std::nullopt
                                       : std::optional(rows.getColumn(9).getString()),
            {}};
        if (!found.says_the_same(entry))
            return fmt::format("entry {} of {} is [{} {} {}], must be [{} {} {}]", n,
                               instance->second.id, to_string(found.kind), found.step, found.data,
                               to_string(entry.kind), entry.step, entry.data);
    }
    if (!wholly) return "";
    std::size_t expected = 0;
    for (const auto& [seq, instance] : reference.instances()) expected += instance.log.size();
    return count == expected ? "" : fmt::format("{} entries, must be {}", count, expected);
}

// Those that nobody has taken, and those whose sender may send them again.
std::string Comparison::of_signals(const Reference& reference) {
    std::vector<std::string> expected, found;
    for (const auto& [seq, instance] : reference.instances())
        for (const ReferenceSignal& signal : instance.signals)
            if (signal.taken == 0 || !signal.dedupe_id.empty())
                expected.push_back(fmt::format(
                    "{} {} {} {} {}", seq, signal.name, or_null(signal.dedupe_id),
                    signal.taken == 0 ? "NULL" : std::to_string(signal.taken),
                    said(instance.log.at(static_cast<std::size_t>(signal.arrived - 1)).payload)));
    SQLite::Statement& rows = query(
        "SELECT instance, name, dedupe_id, taken_by_n, plain(p.id, p.body, p.data_key_id) FROM "
        "signals s LEFT JOIN payloads p "
        "ON p.id=s.payload ORDER BY instance, seq");
    while (rows.executeStep())
        found.push_back(fmt::format("{} {} {} {} {}", column(rows, 0), column(rows, 1),
                                    column(rows, 2), column(rows, 3), column(rows, 4)));
    if (found == expected) return "";
    return fmt::format("signals are [{}], must be [{}]", fmt::join(found, "; "),
                       fmt::join(expected, "; "));
}

std::string Comparison::of_events(const Reference& reference) {
    SQLite::Statement& rows = query(
        "SELECT source, e.id, type, subject, disposition, reason, instance, conflicts, "
        "received_at_ms, listed, plain(p.id, p.body, p.data_key_id) FROM events e LEFT JOIN "
        "payloads p ON "
        "p.id=e.payload");
    std::size_t count = 0;
    while (rows.executeStep()) {
        ++count;
        const std::string id = column(rows, 1);
        const auto found = reference.events().find({column(rows, 0), id});
        if (found == reference.events().end()) return fmt::format("event {} must not be there", id);
        const ReferenceEvent& event = found->second;
        Row row(rows, "event " + id);
        row.expect("source", found->first.first).expect("id", id).expect("type", event.type);
        row.expect("subject", or_null(event.subject)).expect("disposition", event.disposition);
        row.expect("reason", or_null(event.reason)).expect("instance", said(event.instance));
        row.expect("conflicts", event.conflicts).expect("received_at_ms", event.received_at_ms);
        row.expect("listed", event.listed ? 1 : 0);
        row.expect("body", event.body_kept ? event.body : "NULL");
        if (!row.difference.empty()) return row.difference;
    }
    return count == reference.events().size()
               ? ""
               : fmt::format("{} events, must be {}", count, reference.events().size());
}

std::string Comparison::of_once_keys(const Reference& reference) {
    SQLite::Statement& rows = query(
        "SELECT key, state, instance, instance_id, step, generation, idempotency_key, "
        "plain(q.id, q.body, q.data_key_id), plain(a.id, a.body, a.data_key_id), "
        "first_attempt_at_ms, updated_at_ms FROM once_keys LEFT JOIN payloads q ON "
        "q.id=request LEFT JOIN payloads a ON a.id=result");
    std::size_t count = 0;
    while (rows.executeStep()) {
        ++count;
        const std::string key = column(rows, 0);
        const auto found = reference.once_keys().find(key);
        if (found == reference.once_keys().end())
            return fmt::format("once key {} must not be there", key);
        const ReferenceOnce& once = found->second;
        Row row(rows, "once key " + key);
        row.expect("key", key).expect("state", once.state).expect("instance", said(once.instance));
        row.expect("instance_id", once.instance_id).expect("step", once.step);
        row.expect("generation", once.generation);
        row.expect("idempotency_key", once.idempotency_key).expect("request", said(once.request));
        row.expect("result", said(once.result));
        row.expect("first_attempt_at_ms", once.first_attempt_at_ms);
        row.expect("updated_at_ms", once.updated_at_ms);
        if (!row.difference.empty()) return row.difference;
    }
    return count == reference.once_keys().size()
               ? ""
               : fmt::format("{} once keys, must be {}", count, reference.once_keys().size());
}

std::string Comparison::of_data_keys(const Reference& reference) {
    SQLite::Statement& rows = query("SELECT subject, wrapping_key_id FROM data_keys ORDER BY id");
    std::vector<ReferenceDataKey> found;
    while (rows.executeStep())
        found.push_back(
            {column(rows, 0), rows.getColumn(1).isNull() ? "" : rows.getColumn(1).getString()});
    return found == reference.data_keys()
               ? ""
               : fmt::format("{} data keys are not the {} that must be there", found.size(),
                             reference.data_keys().size());
}

std::string Comparison::of_schedules(const Reference& reference) {
    SQLite::Statement& rows = query(
        "SELECT name, workflow, version, cron, time_zone, overlap, key, on_stuck, catch_up_ms, "
        "jitter_ms, plain(p.id, p.body, p.data_key_id), next_at_ms, due_at_ms, paused_at_ms, "
        "last_at_ms, last_outcome, last_instance, started, skipped, missed, error, created_at_ms, "
        "updated_at_ms FROM schedules LEFT JOIN payloads p ON p.id=input ORDER BY name");
    auto expected = reference.schedules().begin();
    while (rows.executeStep()) {
        const std::string name = column(rows, 0);
        if (expected == reference.schedules().end() || expected->first != name)
            return fmt::format("schedule {} must not be there", name);
        const ReferenceSchedule& s = expected->second;
        Row row(rows, "schedule " + name);
        row.expect("name", name).expect("workflow", s.schedule.workflow);
        row.expect("version", s.schedule.version).expect("cron", s.schedule.cron);
        row.expect("time_zone", s.schedule.time_zone);
        row.expect("overlap", std::string(to_string(s.schedule.overlap)));
        row.expect("key", or_null(s.schedule.key));
        row.expect("on_stuck", std::string(to_string(s.schedule.on_stuck)));
        row.expect("catch_up_ms", s.schedule.catch_up.count());
        row.expect("jitter_ms", s.schedule.jitter.count()).expect("input", s.input);
        row.expect("next_at_ms", said(s.next_at_ms)).expect("due_at_ms", said(s.due_at_ms));
        row.expect("paused_at_ms", said(s.paused_at_ms)).expect("last_at_ms", said(s.last_at_ms));
        row.expect("last_outcome", or_null(s.last_outcome));
        row.expect("last_instance", or_null(s.last_instance)).expect("started", s.started);
        row.expect("skipped", s.skipped).expect("missed", s.missed);
        row.expect("error", or_null(s.error)).expect("created_at_ms", s.created_at_ms);
        row.expect("updated_at_ms", s.updated_at_ms);
        if (!row.difference.empty()) return row.difference;
        ++expected;
    }
    if (expected == reference.schedules().end()) return "";
    return fmt::format("schedule {} is not there", expected->first);
}

std::string Comparison::of_breakers(const Reference& reference) {
    SQLite::Statement& rows = query(
        "SELECT provider, state, failures, last_failed, openings, stage, allowance, wanted, "
        "unreleased, answers, probe, opened_at_ms, next_at_ms, held_at_ms, reason, "
        "failing_since_ms FROM breakers ORDER BY provider");
    auto expected = reference.breakers().begin();
    while (rows.executeStep()) {
        const std::string provider = column(rows, 0);
        if (expected == reference.breakers().end() || expected->first != provider)
            return fmt::format("breaker {} must not be there", provider);
        const Breaker& b = expected->second;
        Row row(rows, "breaker " + provider);
        row.expect("provider", provider).expect("state", std::string(to_string(b.state)));
        row.expect("failures", b.failures).expect("last_failed", b.last_failed);
        row.expect("openings", b.openings).expect("stage", b.stage);
        row.expect("allowance", b.allowance).expect("wanted", b.wanted);
        row.expect("unreleased", b.unreleased).expect("answers", b.answers);
        row.expect("probe", b.probe).expect("opened_at_ms", said(b.opened_at_ms));
        row.expect("next_at_ms", said(b.next_at_ms)).expect("held_at_ms", said(b.held_at_ms));
        row.expect("reason", or_null(b.reason)).expect("failing_since", said(b.failing_since_ms));
        if (!row.difference.empty()) return row.difference;
        ++expected;
    }
    if (expected == reference.breakers().end()) return "";
    return fmt::format("breaker {} is not there", expected->first);
}

std::string Comparison::of_slots(const Reference& reference) {
    std::set<ReferenceSlot> found;
    SQLite::Statement& rows = query("SELECT scope, name, instance, step FROM slots");
    while (rows.executeStep())
        found.insert({column(rows, 0), column(rows, 1), rows.getColumn(2).getInt64(),
                      rows.getColumn(3).getString()});
    return found == reference.slots() ? ""
                                      : fmt::format("{} slots are not the {} that must be there",
                                                    found.size(), reference.slots().size());
}

std::string Comparison::of_rates(const Reference& reference) {
    std::string found, expected;
    SQLite::Statement& rows = query(
        "SELECT scope || ' ' || name || ' ' || full_at_us || ' ' || calls || ' ' || period_ms || "
        "' ' || burst FROM rates ORDER BY scope, name");
    while (rows.executeStep()) found += column(rows, 0) + "\n";
    for (const auto& [of, rate] : reference.rates())
        expected += fmt::format("{} {} {} {} {} {}\n", of.first, of.second, rate.first.full_at_us,
                                rate.second.limit, rate.second.period.count(), rate.second.burst);
    return found == expected ? "" : "rates are\n" + found + "must be\n" + expected;
}

std::string Comparison::of_debounces(const Reference& reference) {
    Reference::Debounces found;
    SQLite::Statement& rows = query("SELECT workflow, name, instance FROM debounces");
    while (rows.executeStep())
        found[{column(rows, 0), column(rows, 1)}] = rows.getColumn(2).getInt64();
    return found == reference.debounces() ? "" : "others are debounced than must be";
}

std::string Comparison::of_versions(const Reference& reference) {
    std::string found, expected;
    SQLite::Statement& rows = query(
        "SELECT entity || ' ' || version || ' ' || coalesce(version_before, 'none') || ' ' || "
        "updated_at_ms FROM applied_versions ORDER BY entity");
    while (rows.executeStep()) found += column(rows, 0) + "\n";
    for (const auto& [name, v] : reference.versions())
        expected += fmt::format("{} {} {} {}\n", name, v.version,
                                v.before ? std::to_string(*v.before) : "none", v.updated_at_ms);
    return found == expected ? "" : "versions are\n" + found + "must be\n" + expected;
}

std::string Comparison::of_the_rest(const Reference& reference) {
    SQLite::Statement& row_of_all = query(
        "SELECT (SELECT max(id) FROM owners), (SELECT count(*) FROM audit), "
        "coalesce((SELECT value FROM meta WHERE name='last_ticket'), 0), (SELECT "
        "group_concat(substr(name,17)||' '||value) FROM (SELECT name, value FROM meta WHERE name "
        "LIKE 'paused_workflow:%' ORDER BY name))");
    row_of_all.executeStep();
    Row row(row_of_all, "the file");
    row.expect("owner", reference.owners()).expect("audit rows", reference.audited());
    row.expect("last ticket", reference.tickets());
    std::vector<std::string> paused;
    for (const auto& [workflow, since_ms] : reference.paused_workflows())
        paused.push_back(fmt::format("{} {}", workflow, since_ms));
    row.expect("paused workflows", or_null(fmt::format("{}", fmt::join(paused, ","))));
    return row.difference;
}

std::string Comparison::of_payloads() {
    SQLite::Statement& rows = query(
        "SELECT count(*) FROM payloads WHERE id NOT IN (SELECT payload FROM entries WHERE payload "
        "NOTNULL UNION ALL SELECT payload FROM events WHERE payload NOTNULL UNION ALL SELECT "
        "input_payload FROM instances WHERE input_payload NOTNULL UNION ALL SELECT output_payload "
        "FROM instances WHERE output_payload NOTNULL UNION ALL SELECT input FROM schedules UNION "
        "ALL "
        "SELECT request FROM once_keys WHERE "
        "request NOTNULL UNION ALL SELECT result FROM once_keys WHERE result NOTNULL)");
    rows.executeStep();
    const std::int64_t count = rows.getColumn(0).getInt64();
    return count == 0 ? "" : fmt::format("{} payloads that nothing refers to", count);
}

}  // namespace steplog::testing
