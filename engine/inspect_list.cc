// The list of instances, newest first. What is rare, or has a key, is found by an index; the rest
// is looked through from the newest on, in parts.
#include "engine/inspect.h"
#include "engine/inspect_file.h"
#include "engine/inspect_rows.h"

namespace steplog {
namespace {

enum class By { order, state, key };

By best_way(const InstanceFilter& filter) {
    if (!filter.key.empty()) return By::key;
    return filter.state && *filter.state != State::completed ? By::state : By::order;
}

// Of a way to the instances from ?1 downwards; ?2 is the state or key.
struct Sql {
    explicit Sql(const std::string& way)
        : lowest("SELECT seq FROM instances " + way + "ORDER BY seq DESC LIMIT 1 OFFSET ?3"),
          list(std::string("SELECT ") + rows::instance_columns + "FROM instances " + way +
               "AND seq>=?3 AND (?4='' OR state=?4) AND (?5='' OR workflow=?5) AND (?6='' OR "
               "key=?6) AND (?7='' OR step=?7) AND (?8='' OR error_code=?8) AND "
               "updated_at_ms<=?9 ORDER BY seq DESC LIMIT ?10") {}
    const std::string lowest, list;
};

const Sql& sql_of(By way) {
    static const Sql in_order("WHERE seq<=?1 ");
    static const Sql by_state(
        "INDEXED BY instances_by_state WHERE state<>'completed' AND state=?2 AND seq<=?1 ");
    static const Sql by_key("INDEXED BY instances_key WHERE key=?2 AND seq<=?1 ");
    return way == By::order ? in_order : way == By::state ? by_state : by_key;
}

struct Part {
    std::vector<InstanceRow> rows;
    std::int64_t lowest = 0;  // of those looked at; 0: there are none below it
};

Part read_part(Statements& statements, const InstanceFilter& filter, std::int64_t upper,
               std::int64_t before_ms, std::int64_t wanted) {
    const By way = best_way(filter);
    const Sql& sql = sql_of(way);
    const std::string state = filter.state ? std::string(to_string(*filter.state)) : "";
    const std::string& led_by = way == By::key ? filter.key : state;
    Part part;
    if (way == By::order) {
        part.lowest = upper - rows::window + 1;
    } else {
        Query lowest(statements, sql.lowest.c_str(), upper, led_by, rows::window - 1);
        if (lowest.next()) part.lowest = lowest.integer(0);
    }
    Query read(statements, sql.list.c_str(), upper, led_by, part.lowest, state, filter.workflow,
               filter.key, filter.step, filter.error_code, before_ms, wanted);
    while (read.next()) part.rows.push_back(rows::read_instance(read));
    return part;
}

}  // namespace

std::vector<InstanceRow> Inspector::list(const InstanceFilter& filter) {
    const std::int64_t before_ms =
        filter.older_than ? clock_.now_ms() - filter.older_than->count() : INT64_MAX;
    std::vector<InstanceRow> found;
    for (std::int64_t upper = newest_seq(); upper > 0;) {
        const std::int64_t wanted =
            filter.limit > 0 ? filter.limit - static_cast<std::int64_t>(found.size()) : -1;
        if (wanted == 0) break;
        Part part = file_->read([&](Statements& statements) {
            return read_part(statements, filter, upper, before_ms, wanted);
        });
        found.insert(found.end(), std::make_move_iterator(part.rows.begin()),
                     std::make_move_iterator(part.rows.end()));
        upper = part.lowest - 1;
    }
    return found;
}

}  // namespace steplog
