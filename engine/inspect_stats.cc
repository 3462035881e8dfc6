// Counts and sums over all instances.
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>

#include "engine/file_lock.h"
#include "engine/inspect.h"
#include "engine/inspect_file.h"
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

}  // namespace steplog
