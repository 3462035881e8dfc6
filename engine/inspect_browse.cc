// The list of instances, a page at a time; see inspect_dashboard.h. What is rare, or has a key, is
// found by an index, the rest is looked through from the newest on: so many rows, and the next page
// goes on behind them. A text is found by the indexes of ids, keys and customers.
#include <algorithm>
#include <set>

#include "engine/inspect_dashboard.h"
#include "engine/inspect_file.h"
#include "engine/inspect_rows.h"

namespace steplog {
namespace {

constexpr int browse_found_max = 200;  // by one index, for a text
constexpr int heads_max = 64;
constexpr std::size_t browse_text_max = 512;

// What of a filter concerns the row alone: the parameters ?1 to ?6 of every query below.
const std::string browse_matches =
    "(?1='' OR state=?1) AND (?2='' OR workflow=?2) AND (?3='' OR key=?3) AND (?4='' OR step=?4) "
    "AND (?5='' OR error_code=?5) AND updated_at_ms<=?6 ";

// Of a way to the instances below ?1; ?2 is the state or key that leads there.
struct BrowseWay {
    explicit BrowseWay(const std::string& way)
        : lowest("SELECT seq FROM instances " + way +
                 "AND seq<?1 ORDER BY seq DESC LIMIT 1 OFFSET ?3"),
          page(std::string("SELECT ") + rows::instance_columns + "FROM instances " + way +
               "AND seq<?1 AND seq>=?3 AND (?4='' OR state=?4) AND (?5='' OR workflow=?5) AND "
               "(?6='' OR key=?6) AND (?7='' OR step=?7) AND (?8='' OR error_code=?8) AND "
               "updated_at_ms<=?9 ORDER BY seq DESC LIMIT ?10") {}
    const std::string lowest, page;
};

const BrowseWay& way_of(const BrowseFilter& filter) {
    static const BrowseWay in_order("WHERE ?2=?2 ");
    static const BrowseWay by_state(
        "INDEXED BY instances_by_state WHERE state<>'completed' AND state=?2 ");
    static const BrowseWay by_key("INDEXED BY instances_key WHERE key=?2 ");
    if (!filter.key.empty()) return by_key;
    return filter.state && *filter.state != State::completed ? by_state : in_order;
}

std::string browse_state(const BrowseFilter& filter) {
    return filter.state ? std::string(to_string(*filter.state)) : "";
}

std::int64_t browse_updated_before(const BrowseFilter& filter, const Clock& clock) {
    return filter.older_than ? clock.now_ms() - filter.older_than->count() : INT64_MAX;
}

/// Down to where everything that matches was found: 0 is the end.
struct Stretch {
    std::vector<InstanceRow> rows;  // one more than a page, where there are so many
    std::int64_t lowest = 0;
};

Stretch read_stretch(Statements& statements, const BrowseFilter& filter,
                     std::int64_t updated_before) {
    const BrowseWay& way = way_of(filter);
    const std::string state = browse_state(filter);
    const std::string& led_by = filter.key.empty() ? state : filter.key;
    const std::int64_t before = filter.before.value_or(INT64_MAX);
    Stretch stretch;
    {
        Query lowest(statements, way.lowest.c_str(), before, led_by, DashboardReader::rows_max - 1);
        if (lowest.next()) stretch.lowest = lowest.integer(0);
    }
    Query read(statements, way.page.c_str(), before, led_by, stretch.lowest, state, filter.workflow,
               filter.key, filter.step, filter.error_code, updated_before, filter.limit + 1);
    while (read.next()) stretch.rows.push_back(rows::read_instance(read));
    if (stretch.rows.size() > static_cast<std::size_t>(filter.limit))
        stretch.lowest = stretch.rows.back().seq;
    return stretch;
}

/// Of all states that go on, each by its index.
Stretch read_unfinished(Statements& statements, BrowseFilter filter, std::int64_t updated_before) {
    Stretch all;
    for (const State state : {State::pending, State::queued, State::running, State::sleeping,
                              State::waiting, State::stuck}) {
        filter.state = state;
        Stretch one = read_stretch(statements, filter, updated_before);
        all.lowest = std::max(all.lowest, one.lowest);
        all.rows.insert(all.rows.end(), std::make_move_iterator(one.rows.begin()),
                        std::make_move_iterator(one.rows.end()));
    }
    std::erase_if(all.rows, [&](const InstanceRow& row) { return row.seq < all.lowest; });
    std::sort(all.rows.begin(), all.rows.end(),
              [](const InstanceRow& one, const InstanceRow& other) { return one.seq > other.seq; });
    return all;
}

// Ids that begin so.
void collect_ids(Statements& statements, const std::string& beginning, std::set<std::int64_t>& seqs,
                 bool& cut) {
    Query read(statements,
               "SELECT seq FROM instances WHERE id>=?1 AND id<?1||char(1114111) ORDER BY id DESC "
               "LIMIT ?2",
               beginning, browse_found_max);
    int count = 0;
    for (; read.next(); ++count) seqs.insert(read.integer(0));
    cut = cut || count == browse_found_max;
}

void collect_seqs(Statements& statements, const char* sql, const std::string& text,
                  std::set<std::int64_t>& seqs, bool& cut) {
    Query read(statements, sql, text, browse_found_max);
    int count = 0;
    for (; read.next(); ++count) seqs.insert(read.integer(0));
    cut = cut || count == browse_found_max;
}

std::vector<std::string> read_heads(Statements& statements) {
    std::vector<std::string> heads;
    // Read by leaps: '0' follows '/'.
    Query read(statements,
               "WITH RECURSIVE heads(head) AS (SELECT substr(min(id), 1, instr(min(id)||'/', '/')"
               "-1) FROM instances UNION SELECT (SELECT substr(id, 1, instr(id||'/', '/')-1) FROM "
               "instances WHERE id>=heads.head||'0' ORDER BY id LIMIT 1) FROM heads WHERE head IS "
               "NOT NULL LIMIT ?1) SELECT head FROM heads WHERE head IS NOT NULL",
               heads_max);
    while (read.next()) heads.push_back(read.text(0));
    return heads;
}

}  // namespace

std::vector<std::string> DashboardReader::heads() {
    return file_->read([](Statements& statements) { return read_heads(statements); });
}

BrowsePage DashboardReader::browse(const BrowseFilter& filter) {
    if (!filter.text.empty()) return browse_by_text(filter);
    const std::int64_t updated_before = browse_updated_before(filter, clock_);
    Stretch stretch = file_->read([&](Statements& statements) {
        return filter.unfinished && !filter.state
                   ? read_unfinished(statements, filter, updated_before)
                   : read_stretch(statements, filter, updated_before);
    });
    BrowsePage page{.rows = std::move(stretch.rows)};
    if (page.rows.size() > static_cast<std::size_t>(filter.limit)) {
        page.rows.resize(static_cast<std::size_t>(filter.limit));
        page.next = page.rows.back().seq;
    } else if (stretch.lowest > 0) {
        page.next = stretch.lowest;
    }
    return page;
}

BrowsePage DashboardReader::browse_by_text(const BrowseFilter& filter) {
    BrowsePage page;
    if (filter.text.size() > browse_text_max) return page;
    const std::int64_t updated_before = browse_updated_before(filter, clock_);
    return file_->read([&](Statements& statements) {
        BrowsePage found;
        std::set<std::int64_t> seqs;
        collect_ids(statements, filter.text, seqs, found.cut);
        for (const std::string& head : read_heads(statements))
            collect_ids(statements, head + "/" + filter.text, seqs, found.cut);
        collect_seqs(statements, "SELECT seq FROM instances WHERE key=?1 LIMIT ?2", filter.text,
                     seqs, found.cut);
        collect_seqs(
            statements,
            "SELECT instance FROM events WHERE subject=?1 AND instance IS NOT NULL LIMIT ?2",
            filter.text, seqs, found.cut);
        collect_seqs(
            statements,
            "SELECT seq FROM (SELECT seq, id FROM instances ORDER BY seq DESC LIMIT 20000) "
            "WHERE instr(id, ?1)>0 LIMIT ?2",
            filter.text, seqs, found.cut);
        static const std::string one_sql = std::string("SELECT ") + rows::instance_columns +
                                           "FROM instances WHERE seq=?7 AND " + browse_matches;
        for (auto seq = seqs.rbegin(); seq != seqs.rend(); ++seq) {
            Query row(statements, one_sql.c_str(), browse_state(filter), filter.workflow,
                      filter.key, filter.step, filter.error_code, updated_before, *seq);
            if (!row.next()) continue;
            found.rows.push_back(rows::read_instance(row));
            if (filter.unfinished && is_finished(found.rows.back().state)) found.rows.pop_back();
        }
        const auto limit = static_cast<std::size_t>(filter.limit);
        found.cut = found.cut || found.rows.size() > limit;
        if (found.rows.size() > limit) found.rows.resize(limit);
        return found;
    });
}

}  // namespace steplog
