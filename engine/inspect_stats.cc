// Counts and sums over all instances, and everything about one customer.
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <set>

#include "engine/file_lock.h"
#include "engine/inspect.h"
#include "engine/inspect_file.h"
#include "engine/inspect_redact.h"
#include "engine/inspect_rows.h"
#include "engine/inspect_tally.h"

namespace steplog {
namespace {

constexpr std::int64_t hour_ms = 3'600'000;

std::int64_t size_of(const std::string& path) {
    struct stat status {};
    return lstat(path.c_str(), &status) == 0 ? status.st_size : 0;
}

void take_earlier(std::optional<std::int64_t>& earliest, std::optional<std::int64_t> candidate) {
    if (candidate && (!earliest || *candidate < *earliest)) earliest = candidate;
}

// Read backwards from the newest until none in a whole window is as young.
std::int64_t created_since(ReadOnlyDatabase& file, std::int64_t newest, std::int64_t at_ms) {
    std::int64_t count = 0;
    for (std::int64_t upper = newest; upper > 0; upper -= rows::window) {
        const std::int64_t part = file.read([&](Statements& statements) {
            Query read(statements,
                       "SELECT count(*) FROM instances WHERE seq>? AND seq<=? AND created_at_ms>=?",
                       upper - rows::window, upper, at_ms);
            return read.next() ? read.integer(0) : 0;
        });
        if (part == 0) break;
        count += part;
    }
    return count;
}

void read_by_index(Statements& statements, std::int64_t now_ms, Stats& stats) {
    const auto number = [&](const char* sql, std::int64_t value) -> std::optional<std::int64_t> {
        Query read(statements, sql, value);
        if (!read.next()) return std::nullopt;
        return read.maybe_integer(0);
    };
    stats.finished_last_hour =
        number("SELECT count(*) FROM instances WHERE finished_at_ms>=?", now_ms - hour_ms)
            .value_or(0);
    stats.finished_last_day =
        number("SELECT count(*) FROM instances WHERE finished_at_ms>=? AND finished_at_ms NOTNULL",
               now_ms - 24 * hour_ms)
            .value_or(0);
    stats.due =
        number("SELECT count(*) FROM instances WHERE due_at_ms<=? AND state<>'running'", now_ms)
            .value_or(0);
    stats.oldest_due_at_ms = number(
        "SELECT min(due_at_ms) FROM instances WHERE due_at_ms<=? AND state<>'running'", now_ms);
    Query events(statements, "SELECT disposition, count FROM received_events");
    while (events.next()) stats.events[events.text(0)] = events.integer(1);
    stats.stuck = rows::read_stuck(statements);
    Query oldest_stuck(statements, "SELECT min(updated_at_ms) FROM instances WHERE state='stuck'");
    if (oldest_stuck.next()) stats.oldest_stuck_at_ms = oldest_stuck.maybe_integer(0);
    stats.breakers = rows::read_breakers(statements);
    stats.limits = rows::read_limits(statements);
    stats.paused_workflows = rows::read_paused_workflows(statements);
    Query paused(statements,
                 "SELECT (SELECT count(*) FROM instances WHERE waits_for='pause' AND waits_detail "
                 "NOTNULL AND instr(waits_detail, '\"workflow\"')=0) + (SELECT count(*) FROM "
                 "instances WHERE state='queued' AND waits_detail LIKE 'paused %')");
    if (paused.next()) stats.paused = paused.integer(0);
    Query owner(statements,
                "SELECT program, pid, started_at_ms FROM owners ORDER BY id DESC LIMIT 1");
    if (owner.next()) {
        stats.owner_program = owner.text(0);
        stats.owner_pid = owner.integer(1);
        stats.owner_started_at_ms = owner.integer(2);
    }
}

CustomerView::Effect read_effect(Payloads& payloads, const Query& query) {
    CustomerView::Effect effect;
    effect.instance = query.text(0);
    effect.step = query.text(1);
    effect.at_ms = query.integer(2);
    effect.skipped = query.text(3) == "skipped";
    effect.adopted = rows::read_data(query.text(4)).contains("adopted");
    effect.result = rows::read_payload(payloads, query, 5);
    const Json intent = rows::read_data(query.text(8));
    if (const auto provider = intent.find("provider");
        provider != intent.end() && provider->is_string())
        effect.provider = provider->get<std::string>();
    return effect;
}

// A customer's id as the last part of an instance's key, or between the slashes of its id.
std::set<std::int64_t> instances_by_name(Statements& statements, const std::string& customer,
                                         std::int64_t above, std::int64_t upper) {
    std::set<std::int64_t> found;
    Query read(statements,
               "SELECT seq FROM instances WHERE seq>?1 AND seq<=?2 AND (key=?3 OR "
               "substr(key, -length(?3)-1)=':'||?3 OR instr(id||'/', '/'||?3||'/')>0)",
               above, upper, customer);
    while (read.next()) found.insert(read.integer(0));
    return found;
}

}  // namespace

Stats Inspector::stats() {
    Stats stats;
    const std::int64_t now_ms = clock_.now_ms();
    for (const State state :
         {State::pending, State::queued, State::running, State::sleeping, State::waiting,
          State::stuck, State::completed, State::failed, State::cancelled})
        stats.by_state[state] = 0;
    for (const auto& [named, count] : rows::tally(*file_)) {
        stats.by_state[std::get<State>(named)] += count.instances;
        stats.instances += count.instances;
        stats.entries += count.entries;
        take_earlier(stats.oldest_unfinished_at_ms, count.oldest_at_ms);
    }
    stats.created_last_hour = created_since(*file_, newest_seq(), now_ms - hour_ms);
    for (const char* disposition : {"routed", "ignored", "quarantined"})
        stats.events[disposition] = 0;
    const Stats indexed = file_->read([&](Statements& statements) {
        Stats copy = stats;
        read_by_index(statements, now_ms, copy);
        return copy;
    });
    stats = indexed;
    stats.database_bytes = size_of(file_->path().string());
    stats.wal_bytes = size_of(file_->path().string() + "-wal");
    stats.owned = FileLock::is_held(file_->path());
    return stats;
}

CustomerView Inspector::customer(const std::string& id) {
    CustomerView view;
    view.customer = id;
    std::set<std::int64_t> seqs;
    for (std::int64_t upper = newest_seq(); upper > 0; upper -= rows::window)
        seqs.merge(file_->read([&](Statements& statements) {
            return instances_by_name(statements, id, upper - rows::window, upper);
        }));
    static const std::string events_sql = std::string("SELECT ") + rows::event_columns +
                                          ", events.instance " + rows::event_tables +
                                          "WHERE events.subject=? ORDER BY events.seq";
    // An event that names its customer only indirectly is known by its instance, which bears its
    // id.
    static const std::string started_sql =
        std::string(
            "WITH RECURSIVE sources(name) AS (SELECT min(source) FROM events UNION ALL "
            "SELECT (SELECT min(source) FROM events WHERE source>name) FROM sources "
            "WHERE name IS NOT NULL) SELECT ") +
        rows::event_columns + " " + rows::event_tables +
        "WHERE events.source IN (SELECT name FROM sources) AND events.id=? AND events.instance=? "
        "AND events.subject IS NOT ?";
    static const std::string instance_sql =
        std::string("SELECT ") + rows::instance_columns + "FROM instances WHERE seq=?";
    view = file_->read([&](Statements& statements) {
        CustomerView found = view;
        Payloads payloads(statements, keys_);
        std::set<std::int64_t> all = seqs;
        Query events(statements, events_sql.c_str(), id);
        while (events.next()) {
            found.events.push_back(rows::read_event(events));
            if (const auto seq = events.maybe_integer(9)) all.insert(*seq);
        }
        for (const std::int64_t seq : all) {
            Query read(statements, instance_sql.c_str(), seq);
            if (!read.next()) continue;
            found.instances.push_back(rows::read_instance(read));
            const std::string& name = found.instances.back().id;
            Query started(statements, started_sql.c_str(), name.substr(name.find('/') + 1), seq,
                          id);
            if (started.next()) found.events.push_back(rows::read_event(started));
            Query effects(statements,
                          "SELECT instances.id, e.step, e.at_ms, e.kind, e.data, e.payload, body, "
                          "data_key_id, "
                          "coalesce((SELECT s.data FROM entries s WHERE s.instance=e.instance AND "
                          "s.step=e.step AND s.kind='started' ORDER BY s.n DESC LIMIT 1), '{}') "
                          "FROM entries e JOIN instances ON instances.seq=e.instance "
                          "LEFT JOIN payloads ON payloads.id=e.payload "
                          "WHERE e.instance=? AND e.kind IN ('completed','skipped') "
                          "AND instr(e.data, '\"superseded\"')=0 ORDER BY e.n",
                          seq);
            while (effects.next()) found.effects.push_back(read_effect(payloads, effects));
        }
        Query once(statements,
                   "SELECT key, state, instance_id, updated_at_ms FROM once_keys "
                   "WHERE substr(key, -length(?1)-1)='/'||?1 ORDER BY key",
                   id);
        while (once.next())
            found.once.push_back({once.text(0), once.text(1), once.text(2), once.integer(3)});
        return found;
    });
    const bool nothing = view.events.empty() && view.instances.empty() && view.once.empty();
    if (nothing && !is_forgotten_name(id)) {
        // Forgotten since: what is left goes by the name that stands for the customer.
        const auto secret =
            file_->read([](Statements& statements) { return rows::payload_hash_key(statements); });
        const std::string name = forgotten_name(secret.value_or(Hash{}), id);
        const auto left = file_->read([&](Statements& statements) {
            return Query(statements, "SELECT 1 FROM events WHERE subject=?", name).next();
        });
        if (left) return customer(name);
    }
    if (nothing)
        throw InspectError(
            InspectError::Kind::not_found,
            fmt::format("nothing is known of the customer {}: workflow-inspect events "
                        "shows what has arrived",
                        printable(redact_text(id))));
    std::stable_sort(view.events.begin(), view.events.end(), [](const auto& a, const auto& b) {
        return a.received_at_ms < b.received_at_ms;
    });
    std::stable_sort(view.effects.begin(), view.effects.end(),
                     [](const auto& a, const auto& b) { return a.at_ms < b.at_ms; });
    return view;
}

}  // namespace steplog
