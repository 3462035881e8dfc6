// What is unfinished now, asked of the indexes alone: the cost grows with what is unfinished, not
// with the file, so that it can be asked every few seconds.
#include "engine/inspect.h"
#include "engine/inspect_file.h"
#include "engine/inspect_rows.h"

namespace steplog {
namespace {

// Every unfinished instance once. Each part is a partial index: what has a due time, what is stuck,
// what queues for a key, and what waits for something without an end in time.
std::string unfinished(const std::string& columns, const std::string& of_the_stuck = "") {
    return "(SELECT " + columns + " FROM instances WHERE due_at_ms IS NOT NULL UNION ALL SELECT " +
           columns + " FROM instances WHERE state='stuck'" + of_the_stuck + " UNION ALL SELECT " +
           columns + " FROM instances WHERE state='queued' UNION ALL SELECT " + columns +
           " FROM instances WHERE waits_detail IS NOT NULL AND due_at_ms IS NULL AND state IN "
           "('sleeping','waiting'))";
}

const std::string count_sql =
    "SELECT state, count(*) FROM " + unfinished("state") + " GROUP BY state";

const std::string unfinished_sql = std::string("SELECT ") + rows::instance_columns + "FROM " +
                                   unfinished("*") +
                                   " AS instances WHERE workflow=? ORDER BY instances.seq";

const std::string oldest_sql =
    "SELECT min(created_at_ms) FROM " +
    unfinished("*", " AND NOT EXISTS (SELECT 1 FROM json_each(?3) WHERE value=error_code)") +
    " AS unfinished WHERE workflow=?1 AND NOT EXISTS (SELECT 1 FROM entries WHERE "
    "instance=unfinished.seq AND step=?2 AND kind IN ('completed','skipped'))";

}  // namespace

Backlog Inspector::backlog() {
    return file_->read([&](Statements& statements) {
        Backlog backlog;
        for (const State state : {State::pending, State::queued, State::running, State::sleeping,
                                  State::waiting, State::stuck})
            backlog.by_state[state] = 0;
        Query count(statements, count_sql.c_str());
        while (count.next())
            if (const auto state = parse_state(count.text(0)))
                backlog.by_state[*state] += count.integer(1);
        Query due(statements,
                  "SELECT min(due_at_ms) FROM instances WHERE due_at_ms<=? AND state<>'running'",
                  clock_.now_ms());
        if (due.next()) backlog.oldest_due_at_ms = due.maybe_integer(0);
        backlog.breakers = rows::read_breakers(statements);
        backlog.limits = rows::read_limits(statements);
        backlog.stuck = rows::read_stuck(statements);
        return backlog;
    });
}

std::vector<InstanceRow> Inspector::unfinished_of(const std::string& workflow) {
    return file_->read([&](Statements& statements) {
        std::vector<InstanceRow> found;
        Query read(statements, unfinished_sql.c_str(), workflow);
        while (read.next()) found.push_back(rows::read_instance(read));
        return found;
    });
}

std::optional<std::int64_t> Inspector::oldest_without(const std::string& workflow,
                                                      const std::string& step,
                                                      const std::vector<std::string>& but_codes) {
    return file_->read([&](Statements& statements) {
        Query oldest(statements, oldest_sql.c_str(), workflow, step, Json(but_codes).dump());
        return oldest.next() ? oldest.maybe_integer(0) : std::nullopt;
    });
}

}  // namespace steplog
