// Do the engine's promises hold in this file? Each question is one Check; a question that cannot be
// asked because the file is damaged counts as broken. Everything is read in one transaction, so a
// live server's half-done work is never seen.
#include <fmt/format.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <set>

#include "engine/check_constraints.h"
#include "engine/inspect.h"
#include "engine/inspect_file.h"
#include "engine/inspect_redact.h"
#include "engine/inspect_rows.h"
#include "engine/once_record.h"
#include "engine/wal_file.h"
#include "migrations/migrations.h"

namespace steplog {
namespace {

void note(Check& check, std::string what) {
    ++check.broken;
    if (check.examples.size() < Check::examples_max)
        check.examples.push_back(printable(redact_text(what)));
}

using Question = std::function<void(SqliteStatements&, Payloads&, Check&)>;

struct Promise {
    const char* name;
    const char* text;
    Question ask;
};

// What `sql` returns is what is broken: one text a row.
Question none_of(const char* sql, const char* counted) {
    return [sql, counted](SqliteStatements& statements, Payloads&, Check& check) {
        {
            Query count(statements, counted);
            if (count.next()) check.looked_at = count.integer(0);
        }
        Query read(statements, sql);
        while (read.next()) note(check, read.text(0));
    };
}

constexpr const char* count_instances = "SELECT count(*) FROM instances";
constexpr const char* count_entries = "SELECT count(*) FROM entries";
constexpr const char* count_events = "SELECT count(*) FROM events";
constexpr const char* count_schedules = "SELECT count(*) FROM schedules";
constexpr const char* count_once = "SELECT count(*) FROM once_keys";

void ask_sqlite(SqliteStatements& statements, Payloads&, Check& check) {
    Query read(statements, "PRAGMA integrity_check(20)");
    while (read.next()) {
        ++check.looked_at;
        if (read.text(0) != "ok") note(check, read.text(0));
    }
}

void ask_foreign_keys(SqliteStatements& statements, Payloads&, Check& check) {
    Query read(statements, "PRAGMA foreign_key_check");
    while (read.next())
        note(check, fmt::format("row {} of {} refers to a row of {} that is not there",
                                read.integer(1), read.text(0), read.text(2)));
}

// What SQLite does not say: it takes the first damaged frame for the end of the log.
void ask_wal(SqliteStatements& statements, Payloads&, Check& check) {
    const char* file = sqlite3_db_filename(statements.database().getHandle(), "main");
    if (!file) return;
    ++check.looked_at;
    const auto damage = find_wal_damage(std::string(file) + "-wal");
    if (!damage) return;
    note(check, fmt::format("frame {} of the write-ahead log is damaged, and {} commits behind it "
                            "cannot be read",
                            damage->frame, damage->commits_behind));
}

std::set<std::string> schema_of(SqliteStatements& statements) {
    std::set<std::string> schema;
    Query read(statements,
               "SELECT type||' '||name||': '||coalesce(sql,'') FROM sqlite_schema "
               "WHERE name NOT LIKE 'sqlite_%' AND substr(tbl_name,1,4)<>'app_'");
    while (read.next()) schema.insert(read.text(0));
    return schema;
}

SQLite::Database database_as_migrated() {
    SQLite::Database fresh(":memory:", SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
    for (const Migration& migration : sqlite_migrations()) fresh.exec(std::string(migration.sql));
    return fresh;
}

// Constraints, unique indexes and triggers are half of the promises: they must all be there.
void ask_schema(SqliteStatements& statements, Payloads&, Check& check) {
    SQLite::Database fresh = database_as_migrated();
    SqliteStatements fresh_statements(fresh);
    const auto wanted = schema_of(fresh_statements), found = schema_of(statements);
    check.looked_at = static_cast<std::int64_t>(wanted.size());
    const auto named = [](const std::string& line) { return line.substr(0, line.find(": ")); };
    for (const std::string& line : wanted)
        if (!found.contains(line)) note(check, named(line) + " is missing or was changed");
    for (const std::string& line : found)
        if (!wanted.contains(line)) note(check, named(line) + " is not Steplog's");
}

void ask_constraints_of(SqliteStatements& statements, const std::string& table,
                        const std::string& key, const std::vector<std::string>& constraints,
                        Check& check) {
    const std::string all = fmt::format("{}", fmt::join(constraints, " AND "));
    const std::string each = fmt::format("NOT {}", fmt::join(constraints, ", NOT "));
    SQLite::Statement contradicting(
        statements.database(),
        fmt::format("SELECT {}, {} FROM {} NOT INDEXED WHERE NOT ({})", key, each, table, all));
    while (contradicting.executeStep())
        for (std::size_t i = 0; i < constraints.size(); ++i)
            if (contradicting.getColumn(static_cast<int>(i) + 1).getInt() == 1)
                note(check, fmt::format("the row of {} with {} {} contradicts CHECK {}", table, key,
                                        contradicting.getColumn(0).getString(), constraints[i]));
}

// SQLite does not read them where it cannot write, so its integrity_check does not ask for them
// here. They are asked as the migrations have them, whatever the file says that they are.
void ask_constraints(SqliteStatements& statements, Payloads&, Check& check) {
    SQLite::Database fresh = database_as_migrated();
    SqliteStatements fresh_statements(fresh);
    Query tables(fresh_statements,
                 "SELECT name, sql, (SELECT name FROM pragma_table_info(s.name) WHERE pk=1) "
                 "FROM sqlite_schema s WHERE type='table'");
    while (tables.next()) {
        const auto constraints = check_constraints(tables.text(1));
        check.looked_at += static_cast<std::int64_t>(constraints.size());
        if (!constraints.empty())
            ask_constraints_of(statements, tables.text(0), tables.text(2), constraints, check);
    }
}

void ask_chains(SqliteStatements& statements, Payloads& payloads, Check& check) {
    const auto secret = rows::payload_hash_key(statements);
    if (!secret)
        return note(check, "the database's payload_hash_key is missing: nothing can be verified");
    static const std::string instances_sql = std::string("SELECT ") + rows::instance_columns +
                                             ", input_hash, log_hash, input_payload, body, "
                                             "data_key_id FROM instances LEFT "
                                             "JOIN payloads ON payloads.id=input_payload "
                                             "ORDER BY seq";
    Query instances(statements, instances_sql.c_str());
    while (instances.next()) {
        const InstanceRow row = rows::read_instance(instances);
        constexpr int behind = rows::instance_columns_count;
        const Hash input_hash = instances.hash(behind), log_hash = instances.hash(behind + 1);
        const Payload input = rows::read_payload(payloads, instances, behind + 2);
        if (input.damaged || (input.text && keyed_hash(*secret, *input.text) != input_hash))
            note(check, row.id + ": its input is not what was accepted");
        rows::ChainWalk chain(row, input_hash, *secret);
        Query log(
            statements,
            "SELECT n, step, kind, attempt, generation, at_ms, data, payload_hash, hash, payload, "
            "body, data_key_id FROM entries LEFT JOIN payloads ON id=payload WHERE instance=? "
            "ORDER BY n",
            row.seq);
        while (log.next()) {
            ++check.looked_at;
            Entry entry;
            entry.n = log.integer(0);
            entry.step = log.text(1);
            entry.attempt = static_cast<int>(log.integer(3));
            entry.generation = static_cast<int>(log.integer(4));
            entry.at_ms = log.integer(5);
            std::optional<Hash> payload_hash;
            if (!log.is_null(7)) payload_hash = log.hash(7);
            const Payload payload = rows::read_payload(payloads, log, 9);
            if (payload.damaged)
                note(check, fmt::format("{}: the payload of entry {} does not open with its key",
                                        row.id, entry.n));
            chain.next(entry, payload.text, log.text(2), log.text(6), payload_hash, log.hash(8));
        }
        chain.end(log_hash);
        if (!chain.damage().empty()) note(check, row.id + ": " + chain.damage());
    }
}

void ask_event_bodies(SqliteStatements& statements, Payloads& payloads, Check& check) {
    const auto secret = rows::payload_hash_key(statements);
    if (!secret) return note(check, "the database's payload_hash_key is missing");
    Query read(statements,
               "SELECT source||' '||events.id, body_hash, payload, body, data_key_id FROM events "
               "JOIN payloads ON payloads.id=payload WHERE body NOTNULL");
    while (read.next()) {
        ++check.looked_at;
        const Payload body = rows::read_payload(payloads, read, 2);
        if (body.damaged || (body.text && keyed_hash(*secret, *body.text) != read.hash(1)))
            note(check, read.text(0) + ": its body is not what was received");
    }
}

void ask_once_records(SqliteStatements& statements, Payloads& payloads, Check& check) {
    const auto secret = rows::payload_hash_key(statements);
    if (!secret) return note(check, "the database's payload_hash_key is missing");
    if (once_records_are_unsealed(statements)) return;  // the server is about to
    static const std::string sql = std::string("SELECT ") + once_record_columns + "FROM once_keys";
    Query read(statements, sql.c_str());
    while (read.next()) {
        ++check.looked_at;
        const OnceRecord record = read_once_record(read, *secret);
        const auto damaged = [&](const auto& payload, const auto& hash) {
            return read_once_payload(payloads, payload, hash, *secret).damaged;
        };
        if (!record.whole)
            note(check, record.key + ": its row is not what was written");
        else if (damaged(record.request, record.request_hash))
            note(check, record.key + ": its request is not what was written");
        else if (damaged(record.result, record.result_hash))
            note(check, record.key + ": its result is not what was written");
    }
}

std::vector<Promise> promises() {
    return {
        {"integrity", "SQLite finds the file whole", ask_sqlite},
        {"wal", "no commit is lost behind a damaged place of the write-ahead log", ask_wal},
        {"foreign_keys", "every row refers to rows that are there", ask_foreign_keys},
        {"schema", "every table, index, trigger and constraint of the schema is in force",
         ask_schema},
        {"constraints", "no row contradicts a constraint of the schema", ask_constraints},
        {"hash_chain",
         "every step log is without gaps, and log, inputs and results are what was written",
         ask_chains},
        {"event_bodies", "every message in the inbox is what was received", ask_event_bodies},
        {"one_event_per_id", "a message is in the inbox once, however often it was delivered",
         none_of("SELECT source||' '||id||' is there '||count(*)||' times' FROM events NOT INDEXED "
                 "GROUP BY source, id HAVING count(*)>1",
                 count_events)},
        {"no_lost_event", "every routed event has its instance, until retention deletes that",
         // Retention deletes the body together with the instance: a body without one is a loss.
         none_of("SELECT e.source||' '||e.id||' has no instance' FROM events e "
                 "JOIN payloads p ON p.id=e.payload LEFT JOIN instances i ON i.seq=e.instance "
                 "WHERE e.disposition='routed' AND i.seq IS NULL AND p.body NOTNULL",
                 count_events)},
        {"one_holder_per_key",
         "of the instances of one key at most one, or as many as they allow, run at a time",
         none_of("SELECT 'key '||key||' is held by '||count(*)||' instances' FROM instances NOT "
                 "INDEXED "
                 "WHERE holds_key=1 GROUP BY key HAVING count(*)>min(key_holders_max) UNION ALL "
                 "SELECT id||' is '||state||' without holding its key' FROM instances NOT INDEXED "
                 "WHERE key NOTNULL AND holds_key=0 AND state IN "
                 "('pending','running','sleeping','waiting')",
                 count_instances)},
        {"no_abandoned_queue", "whoever queues for a key waits for somebody who holds it",
         none_of("SELECT q.id||' queues for a key that has a place for it' FROM instances q WHERE "
                 "q.state='queued' AND (SELECT count(*)<min(q.key_holders_max, "
                 "coalesce(min(h.key_holders_max), q.key_holders_max)) FROM instances h WHERE "
                 "h.key=q.key AND h.holds_key=1) AND NOT EXISTS (SELECT 1 FROM instances e WHERE "
                 "e.key=q.key AND e.state='queued' AND e.key_ticket<q.key_ticket)",
                 count_instances)},
        {"steps_finish_once", "no step is finished twice, or begun again after it was finished",
         none_of(
             "SELECT i.id||': step '||e.step||' is finished '||count(*)||' times' FROM entries e "
             "NOT INDEXED JOIN instances i ON i.seq=e.instance WHERE e.kind IN "
             "('completed','skipped') "
             "GROUP BY e.instance, e.step HAVING count(*)>1 UNION ALL "
             "SELECT i.id||': step '||s.step||' is begun again in entry '||s.n FROM entries c "
             "CROSS JOIN entries s ON s.instance=c.instance AND s.n>c.n AND s.step=c.step AND "
             "s.kind='started' JOIN instances i ON i.seq=c.instance "
             "WHERE c.kind IN ('completed','skipped') AND c.step<>''",
             count_entries)},
        {"intent_before_effect", "no step has a result whose attempt was not written down before",
         none_of(
             "SELECT i.id||': step '||c.step||' has a result without an attempt' FROM entries c "
             "JOIN instances i ON i.seq=c.instance WHERE c.kind='completed' AND c.step<>'' AND "
             "instr(c.data, '\"adopted\"')=0 AND instr(c.data, '\"superseded\"')=0 AND NOT EXISTS "
             "(SELECT 1 FROM entries s WHERE "
             "s.instance=c.instance AND s.n<c.n AND s.step=c.step AND s.kind='started' AND "
             "s.attempt=c.attempt)",
             count_entries)},
        {"nobody_forgotten",
         "every unfinished instance has a reason to go on, or waits for a person",
         none_of(
             "SELECT id||' is '||state||' and nothing will ever wake it' FROM instances WHERE "
             "(state IN ('pending','running') AND due_at_ms IS NULL) OR "
             "(state='sleeping' AND due_at_ms IS NULL AND waits_for IS NOT 'circuit' AND "
             "waits_for IS NOT 'pause') OR "
             "(state='waiting' AND due_at_ms IS NULL AND waits_for IS NOT 'signal' AND "
             "waits_for IS NOT 'child' AND waits_for IS NOT 'once' AND waits_for IS NOT 'pause') "
             "OR "
             "(waits_for='circuit' AND waits_detail NOT LIKE 'slot %' AND "
             "NOT EXISTS (SELECT 1 FROM breakers b "
             "WHERE b.provider=waits_detail AND b.state<>'closed' AND "
             "(next_at_ms NOTNULL OR held_at_ms NOTNULL)))",
             count_instances)},
        {"finished_is_final",
         "what has ended is due for nothing, holds nothing and says when it ended",
         none_of("SELECT id||' is '||state||' and still due, holding its key or without an end' "
                 "FROM instances WHERE state IN ('completed','failed','cancelled') AND "
                 "(due_at_ms NOTNULL OR holds_key=1 OR finished_at_ms IS NULL OR owner NOTNULL)",
                 count_instances)},
        {"stuck_says_why", "whoever waits for a person says with a code what for",
         none_of(
             "SELECT id||' is stuck without a code, or due' FROM instances WHERE state='stuck' AND "
             "(error_code IS NULL OR due_at_ms NOTNULL)",
             count_instances)},
        {"once_records", "what is remembered of effects that happen once is what was written",
         ask_once_records},
        {"once_keys", "an effect that happens once has one owner at work on it, or its result",
         none_of(
             "SELECT o.key||' is claimed by an instance that has ended' FROM once_keys o LEFT JOIN "
             "instances i ON i.seq=o.instance WHERE o.state='claimed' AND (i.seq IS NULL OR "
             "i.finished_at_ms NOTNULL) UNION ALL "
             "SELECT o.key||' is finished and its result is missing' FROM once_keys o WHERE "
             "o.state='completed' AND o.result IS NULL UNION ALL "
             "SELECT i.id||' waits for '||i.waits_detail||', at which nobody is' FROM instances i "
             "WHERE i.waits_for='once' AND NOT EXISTS (SELECT 1 FROM once_keys o WHERE "
             "o.key=i.waits_detail AND o.state='claimed')",
             count_once)},
        {"schedules", "every schedule has its input and its next time, is paused, or says why not",
         none_of(
             "SELECT name||' has no next time and does not say why' FROM schedules WHERE "
             "due_at_ms IS NULL AND paused_at_ms IS NULL AND error IS NULL UNION ALL "
             "SELECT name||' has lost its input' FROM schedules WHERE NOT EXISTS (SELECT 1 FROM "
             "payloads WHERE id=input AND body NOTNULL)",
             count_schedules)},
        {"counts", "what has ended and what was received is counted as it is",
         none_of(
             "WITH ended(workflow, version, state, n, entries) AS (SELECT workflow, version, "
             "state, count(*), sum(log_length) FROM instances NOT INDEXED WHERE state IN "
             "('completed','failed','cancelled') GROUP BY 1, 2, 3), "
             "received(disposition, n) AS (SELECT disposition, count(*) FROM events NOT INDEXED "
             "GROUP BY 1) "
             "SELECT 'instances of '||workflow||' version '||version||' that are '||state||' are "
             "counted wrongly' FROM (SELECT workflow, version, state FROM (SELECT * FROM ended "
             "EXCEPT SELECT * FROM ended_instances) UNION SELECT workflow, version, state FROM "
             "(SELECT * FROM ended_instances WHERE count<>0 OR entries<>0 EXCEPT SELECT * FROM "
             "ended)) UNION ALL "
             "SELECT 'events that are '||disposition||' are counted wrongly' FROM (SELECT "
             "disposition FROM (SELECT * FROM received EXCEPT SELECT * FROM received_events) UNION "
             "SELECT disposition FROM (SELECT * FROM received_events WHERE count<>0 EXCEPT SELECT "
             "* FROM received))",
             "SELECT coalesce(sum(count), 0) FROM (SELECT count FROM ended_instances UNION ALL "
             "SELECT count FROM received_events)")},
    };
}

std::optional<std::string> legible_meta(SqliteStatements& statements, const char* name) {
    try {
        Query read(statements, "SELECT value FROM meta WHERE name=?", name);
        return read.next() ? std::optional(read.text(0)) : std::nullopt;
    } catch (const SQLite::Exception&) {
        return std::nullopt;  // the questions say what is damaged
    }
}

std::optional<BackupMark> backup_mark_of(SqliteStatements& statements) {
    const auto text = legible_meta(statements, "backup");
    return text ? parse_backup_mark(*text) : std::nullopt;
}

std::vector<Restore> restores_of(SqliteStatements& statements) {
    const auto text = legible_meta(statements, "restores");
    return text ? parse_restores(*text).value_or(std::vector<Restore>()) : std::vector<Restore>();
}

Check ask(SqliteStatements& statements, Payloads& payloads, const Promise& promise) {
    Check check;
    check.name = promise.name;
    check.promise = promise.text;
    try {
        promise.ask(statements, payloads, check);
    } catch (const SQLite::Exception& error) {
        if ((error.getErrorCode() & 0xff) == SQLITE_NOMEM) throw;  // says nothing of the file
        note(check, fmt::format("this cannot be looked at: {}", error.what()));
    } catch (const InspectError& error) {
        note(check, error.what());
    }
    return check;
}

}  // namespace

bool CheckReport::holds() const {
    return std::all_of(checks.begin(), checks.end(),
                       [](const Check& check) { return check.broken == 0; });
}

CheckReport Inspector::check() {
    const auto begun = std::chrono::steady_clock::now();
    CheckReport report = file_->read(
        [&](SqliteStatements& statements) {
            CheckReport all;
            Payloads payloads(statements, keys_);
            all.backup = backup_mark_of(statements);
            all.restores = restores_of(statements);
            for (const Promise& promise : promises())
                all.checks.push_back(ask(statements, payloads, promise));
            return all;
        },
        std::nullopt);
    report.took = std::chrono::duration_cast<Ms>(std::chrono::steady_clock::now() - begun);
    struct stat wal {};
    const std::string wal_path = file_->path().string() + "-wal";
    if (lstat(wal_path.c_str(), &wal) == 0) report.wal_bytes = wal.st_size;
    return report;
}

}  // namespace steplog
