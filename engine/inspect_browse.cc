// The list of instances, a page at a time; see inspect_dashboard.h. Newest first without an index
// on what is asked for: so many rows are looked at, and the next page goes on behind them. What is
// unfinished is found by its partial indexes, a text by those of ids, keys and customers.
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

// What of a filter concerns the row alone: the parameters ?1 to ?7 of every query below.
const std::string browse_matches =
    "(?1='' OR state=?1) AND (?2='' OR workflow=?2) AND (?3='' OR key=?3) AND (?4='' OR step=?4) "
    "AND (?5='' OR error_code=?5) AND updated_at_ms<=?6 AND (?7=0 OR finished_at_ms IS NULL) ";

const std::string browse_newest_sql =
    std::string("SELECT ") + rows::instance_columns +
    "FROM (SELECT * FROM instances WHERE seq<?8 ORDER BY seq DESC "
    "LIMIT ?9) AS instances WHERE " +
    browse_matches + "ORDER BY instances.seq DESC LIMIT ?10";

// Each part is a partial index.
const std::string browse_unfinished_sql =
    std::string("SELECT ") + rows::instance_columns +
    "FROM (SELECT * FROM instances WHERE due_at_ms IS NOT NULL UNION ALL SELECT * FROM instances "
    "WHERE state='stuck' UNION ALL SELECT * FROM instances WHERE state='queued' UNION ALL SELECT * "
    "FROM instances WHERE waits_detail IS NOT NULL AND due_at_ms IS NULL AND state IN "
    "('sleeping','waiting')) AS instances WHERE " +
    browse_matches + "AND instances.seq<?8 ORDER BY instances.seq DESC LIMIT ?9";

const std::string browse_one_sql = std::string("SELECT ") + rows::instance_columns +
                                   "FROM instances WHERE instances.seq=?8 AND " + browse_matches;

template <class... More>
std::vector<InstanceRow> browse_rows(Statements& statements, const std::string& sql,
                                     const BrowseFilter& filter, std::int64_t updated_before,
                                     const More&... more) {
    const std::string state = filter.state ? std::string(to_string(*filter.state)) : "";
    std::vector<InstanceRow> found;
    Query read(statements, sql.c_str(), state, filter.workflow, filter.key, filter.step,
               filter.error_code, updated_before, filter.unfinished, more...);
    while (read.next()) found.push_back(rows::read_instance(read));
    return found;
}

std::int64_t browse_updated_before(const BrowseFilter& filter, const Clock& clock) {
    return filter.older_than ? clock.now_ms() - filter.older_than->count() : INT64_MAX;
}

bool is_of_the_unfinished(const BrowseFilter& filter) {
    return filter.unfinished || (filter.state && !is_finished(*filter.state));
}

// The rest is on the next page. One row more than wanted tells that there is a rest.
void end_browse_page(BrowsePage& page, const BrowseFilter& filter) {
    if (page.rows.size() <= static_cast<std::size_t>(filter.limit)) return;
    page.rows.resize(static_cast<std::size_t>(filter.limit));
    page.next = page.rows.back().seq;
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
    BrowsePage page = browse_newest(filter);
    if (page.next && is_of_the_unfinished(filter) &&
        page.rows.size() < static_cast<std::size_t>(filter.limit))
        add_unfinished(filter, page);
    return page;
}

BrowsePage DashboardReader::browse_newest(const BrowseFilter& filter) {
    const std::int64_t before = filter.before.value_or(INT64_MAX);
    return file_->read([&](Statements& statements) {
        BrowsePage page;
        page.rows =
            browse_rows(statements, browse_newest_sql, filter,
                        browse_updated_before(filter, clock_), before, rows_max, filter.limit + 1);
        if (page.rows.size() <= static_cast<std::size_t>(filter.limit)) {
            Query last(statements,
                       "SELECT seq FROM instances WHERE seq<?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2",
                       before, rows_max - 1);
            if (last.next()) page.next = last.integer(0);
        }
        end_browse_page(page, filter);
        return page;
    });
}

// What is unfinished and older than what was looked at; there is nothing behind it.
void DashboardReader::add_unfinished(const BrowseFilter& filter, BrowsePage& page) {
    const auto missing = filter.limit + 1 - static_cast<std::int64_t>(page.rows.size());
    const std::int64_t before = *page.next;
    auto older = file_->read([&](Statements& statements) {
        return browse_rows(statements, browse_unfinished_sql, filter,
                           browse_updated_before(filter, clock_), before, missing);
    });
    page.next.reset();
    page.rows.insert(page.rows.end(), std::make_move_iterator(older.begin()),
                     std::make_move_iterator(older.end()));
    end_browse_page(page, filter);
}

BrowsePage DashboardReader::browse_by_text(const BrowseFilter& filter) {
    BrowsePage page;
    if (filter.text.size() > browse_text_max) return page;
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
        for (auto seq = seqs.rbegin(); seq != seqs.rend(); ++seq) {
            auto row = browse_rows(statements, browse_one_sql, filter,
                                   browse_updated_before(filter, clock_), *seq);
            found.rows.insert(found.rows.end(), std::make_move_iterator(row.begin()),
                              std::make_move_iterator(row.end()));
        }
        const auto limit = static_cast<std::size_t>(filter.limit);
        found.cut = found.cut || found.rows.size() > limit;
        if (found.rows.size() > limit) found.rows.resize(limit);
        return found;
    });
}

}  // namespace steplog
