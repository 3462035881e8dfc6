#include "engine/inspect.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "engine/inspect_file.h"
#include "engine/inspect_redact.h"
#include "engine/inspect_rows.h"
#include "engine/run_id.h"
#include "engine/text.h"

namespace steplog {
namespace {

constexpr std::size_t candidates_shown = 5;
constexpr std::size_t id_length_max = 512;

// Ids that contain the text, sorted by how they do.
struct Candidates {
    std::vector<std::string> last_part;  // the text is all behind a slash
    std::vector<std::string> outer;      // ends or begins with it
    std::vector<std::string> inner;      // a part between slashes begins with it
};

// Those of first runs: the newest is meant. All ids are looked at, in parts, by their index.
std::set<std::string> ids_with(ReadOnlyDatabase& file, const std::string& text) {
    std::set<std::string> ids;
    for (std::optional<std::string> above = ""; above;) {
        const auto part = file.read([&](Statements& statements) {
            std::pair<std::vector<std::string>, std::optional<std::string>> found_and_last;
            Query last(statements,
                       "SELECT id FROM instances WHERE id>? ORDER BY id LIMIT 1 OFFSET ?", *above,
                       rows::window - 1);
            if (last.next()) found_and_last.second = last.text(0);
            Query read(statements,
                       "SELECT id FROM (SELECT id FROM instances WHERE id>? ORDER BY id LIMIT ?) "
                       "WHERE instr(id, ?)>0",
                       *above, rows::window, text);
            while (read.next()) found_and_last.first.push_back(read.text(0));
            return found_and_last;
        });
        for (const std::string& id : part.first) ids.insert(first_run(id));
        above = part.second;
    }
    return ids;
}

Candidates find_candidates(ReadOnlyDatabase& file, const std::string& text) {
    Candidates candidates;
    for (const std::string& id : ids_with(file, text)) {
        if (id.ends_with("/" + text)) candidates.last_part.push_back(id);
        if (id.ends_with(text) || id.starts_with(text))
            candidates.outer.push_back(id);
        else if (id.find("/" + text) != std::string::npos)
            candidates.inner.push_back(id);
    }
    return candidates;
}

// "order/7/run:1" means the first run, whatever came after it, "order/7/run:12" the twelfth; "" for
// what names no run.
std::string exact_run(const std::string& text) {
    const std::size_t at = text.rfind("/run:");
    if (at == std::string::npos) return "";
    const auto run = parse_count(std::string_view(text).substr(at + 5), 99'999'999);
    return run && *run > 0 ? run_id(text.substr(0, at), static_cast<int>(*run)) : "";
}

[[noreturn]] void throw_ambiguous(const std::string& text, const std::vector<std::string>& ids) {
    std::string shown;
    for (std::size_t i = 0; i < std::min(ids.size(), candidates_shown); ++i)
        shown += (i == 0 ? "" : ", ") + printable(ids[i]);
    if (ids.size() > candidates_shown)
        shown += fmt::format(" and {} more", ids.size() - candidates_shown);
    throw InspectError(InspectError::Kind::ambiguous,
                       fmt::format("{} fits {} instances: {}; give more of the id", printable(text),
                                   ids.size(), shown));
}

bool may_be_resumed(const InstanceRow& row) {
    return row.state == State::stuck ||
           (row.state == State::sleeping &&
            (row.waits_for == WaitsFor::retry ||
             (row.waits_for == WaitsFor::circuit && !parse_limit(row.waits_detail))));
}

std::string why_not_resumable(const InstanceRow& row) {
    if (row.state == State::sleeping && row.waits_for == WaitsFor::pause)
        return "paused: workflow-admin unpause lets it go on";
    switch (row.state) {
        case State::sleeping:
        case State::waiting:
            return fmt::format("{} for {}: it goes on by itself", to_string(row.state),
                               row.waits_for == WaitsFor::once ? "a step of another instance"
                               : row.waits_for ? fmt::format("a {}", to_string(*row.waits_for))
                                               : "something");
        case State::queued:
            return "queued behind another instance of its key: it goes on when that one ends";
        case State::running:
            return "running: a worker has it";
        case State::pending:
            return "pending: a worker is about to take it";
        default:
            return fmt::format("{}: it has ended", to_string(row.state));
    }
}

}  // namespace

Inspector::Inspector(std::filesystem::path database, const Clock& clock, std::string vfs,
                     std::vector<MasterKey> keys, Schemas schemas)
    : file_(std::make_unique<ReadOnlyDatabase>(std::move(database), std::move(vfs), schemas)),
      clock_(clock),
      keys_(std::move(keys)) {}
Inspector::~Inspector() = default;

const std::filesystem::path& Inspector::path() const { return file_->path(); }

std::int64_t Inspector::newest_seq() {
    return file_->read([](Statements& statements) {
        Query read(statements, "SELECT max(seq) FROM instances");
        return read.next() ? read.integer(0) : 0;
    });
}

std::optional<InstanceRow> Inspector::find_exactly(const std::string& id) {
    static const std::string sql =
        std::string("SELECT ") + rows::instance_columns + "FROM instances WHERE id=?";
    return file_->read([&](Statements& statements) -> std::optional<InstanceRow> {
        Query read(statements, sql.c_str(), id);
        if (!read.next()) return std::nullopt;
        return rows::read_instance(read);
    });
}

std::string Inspector::newest_run(const std::string& id) {
    return file_->read([&](Statements& statements) {
        Query last(statements,
                   "SELECT id FROM instances WHERE id>=?1||'/run:' AND id<?1||'/run;' ORDER BY id "
                   "DESC LIMIT 1",
                   id);
        return last.next() ? run_holding(id, last.text(0)) : id;
    });
}

InstanceRow Inspector::find(const std::string& text) {
    const auto not_found = [&]() -> InspectError {
        return {InspectError::Kind::not_found,
                fmt::format("there is no instance {}: workflow-inspect list shows those there are",
                            printable(text))};
    };
    if (text.empty() || text.size() > id_length_max) throw not_found();
    if (auto row = find_exactly(exact_run(text))) return *row;
    if (auto row = find_exactly(newest_run(text))) return *row;
    const Candidates candidates = find_candidates(*file_, text);
    for (const auto* ids : {&candidates.last_part, &candidates.outer, &candidates.inner}) {
        if (ids->size() > 1) throw_ambiguous(text, *ids);
        if (ids->empty()) continue;
        if (auto row = find_exactly(newest_run(ids->front()))) return *row;
    }
    throw not_found();
}

std::vector<Inspector::Stuck> Inspector::stuck() {
    static const std::string sql = std::string("SELECT ") + rows::instance_columns +
                                   "FROM instances WHERE state='stuck' ORDER BY updated_at_ms, seq";
    auto found = file_->read([&](Statements& statements) {
        std::vector<InstanceRow> all;
        Query read(statements, sql.c_str());
        while (read.next()) all.push_back(rows::read_instance(read));
        return all;
    });
    std::vector<Stuck> stuck;
    for (InstanceRow& row : found) {
        Explanation why =
            file_->read([&](Statements& statements) { return explain(statements, row); });
        stuck.push_back({std::move(row), std::move(why)});
    }
    return stuck;
}

Inspector::Why Inspector::why(const std::string& text) {
    const InstanceRow found = find(text);
    return file_->read([&](Statements& statements) -> Why {
        static const std::string sql =
            std::string("SELECT ") + rows::instance_columns + "FROM instances WHERE seq=?";
        std::optional<InstanceRow> row;
        {
            Query read(statements, sql.c_str(), found.seq);
            row = read.next() ? rows::read_instance(read) : found;
        }
        return {*row, explain(statements, *row)};
    });
}

std::vector<EventRow> Inspector::events(bool unrouted, int limit) {
    static const std::string all = std::string("SELECT ") + rows::event_columns + ", events.seq " +
                                   rows::event_tables +
                                   "WHERE events.seq<?1 "
                                   "ORDER BY events.seq DESC LIMIT ?2";
    static const std::string some = std::string("SELECT ") + rows::event_columns + ", events.seq " +
                                    rows::event_tables +
                                    "WHERE events.seq<?1 AND events.disposition<>'routed' "
                                    "ORDER BY events.seq DESC LIMIT ?2";
    std::vector<EventRow> found;
    std::int64_t below = INT64_MAX;
    while (true) {
        const std::int64_t wanted =
            limit > 0 ? std::min(rows::window, limit - static_cast<std::int64_t>(found.size()))
                      : rows::window;
        if (wanted == 0) return found;
        const std::size_t before = found.size();
        auto part = file_->read([&](Statements& statements) {
            std::pair<std::vector<EventRow>, std::int64_t> events_and_last{{}, 0};
            Query read(statements, unrouted ? some.c_str() : all.c_str(), below, wanted);
            while (read.next()) {
                events_and_last.first.push_back(rows::read_event(read));
                events_and_last.second = read.integer(9);
            }
            return events_and_last;
        });
        found.insert(found.end(), part.first.begin(), part.first.end());
        below = part.second;
        if (static_cast<std::int64_t>(found.size() - before) < wanted) return found;
    }
}

bool Inspector::has_event(const std::string& source, const std::string& type,
                          const std::string& subject) {
    return file_->read([&](Statements& statements) {
        const auto secret = rows::payload_hash_key(statements);
        const std::string forgotten = forgotten_name(secret.value_or(Hash{}), subject);
        return Query(statements,
                     "SELECT 1 FROM events WHERE subject IN (?,?) AND source=? AND type=?", subject,
                     forgotten, source, type)
            .next();
    });
}

std::optional<std::int64_t> Inspector::first_event_at_ms() {
    return file_->read([](Statements& statements) {
        Query read(statements, "SELECT min(received_at_ms) FROM events");
        return read.next() ? read.maybe_integer(0) : std::nullopt;
    });
}

// What retention leaves although it ended before ?1: whose parent is unfinished, and the ancestors
// of whoever stays.
constexpr const char* kept_for_family =
    "WITH RECURSIVE family(seq) AS (SELECT c.seq FROM instances c JOIN instances p ON "
    "p.seq=c.parent WHERE p.finished_at_ms IS NULL UNION SELECT parent FROM instances WHERE "
    "parent NOTNULL AND finished_at_ms IS NULL UNION SELECT parent FROM instances WHERE parent "
    "NOTNULL AND finished_at_ms>=?1 UNION SELECT i.parent FROM family JOIN instances i ON "
    "i.seq=family.seq WHERE i.parent NOTNULL) ";

// The same rules as Store::purge, as if it went on until nothing is left (a test compares).
Purged Inspector::purgeable(Ms older_than) {
    const std::int64_t now_ms = clock_.now_ms();
    const std::int64_t finished_before_ms = now_ms - older_than.count();
    const std::int64_t received_before_ms = now_ms - std::max(older_than, events_kept_min).count();
    Purged purgeable;
    const std::int64_t newest_event = file_->read([&](Statements& statements) {
        static const std::string counting =
            std::string(kept_for_family) +
            "SELECT count(*) FROM instances WHERE finished_at_ms<?1 AND seq NOT IN family";
        Query ended(statements, counting.c_str(), finished_before_ms);
        if (ended.next()) purgeable.instances = static_cast<int>(ended.integer(0));
        Query newest(statements, "SELECT max(seq) FROM events");
        return newest.next() ? newest.integer(0) : 0;
    });
    for (std::int64_t upper = newest_event; upper > 0; upper -= rows::window)
        purgeable.events += file_->read([&](Statements& statements) {
            static const std::string counting =
                std::string(kept_for_family) +
                "SELECT count(*) FROM events LEFT JOIN instances ON "
                "instances.seq=events.instance WHERE events.seq<=?2 AND events.seq>?3 AND "
                "received_at_ms<?4 AND (instances.seq IS NULL OR (finished_at_ms<?1 AND "
                "instances.seq NOT IN family))";
            Query gone(statements, counting.c_str(), finished_before_ms, upper,
                       upper - rows::window, received_before_ms);
            return gone.next() ? static_cast<int>(gone.integer(0)) : 0;
        });
    return purgeable;
}

// The same rules as Store::resume; whoever changes them there changes them here (a test compares).
Resumable Inspector::resumable(const ResumeRequest& request) {
    Resumable result;
    const bool by_id = !request.ids.empty();
    const auto sort_in = [&](const InstanceRow& row) {
        if (!may_be_resumed(row))
            result.skipped.push_back({row.id, why_not_resumable(row)});
        else if (row.error_code == "log_damaged")
            result.skipped.push_back(
                {row.id, "log_damaged: its log does not verify; restore a backup"});
        else if (row.error_code == "in_doubt" && !by_id)
            result.skipped.push_back({row.id,
                                      "in_doubt: its effect may have happened; look at it, then "
                                      "resume it by its id to repeat the step"});
        else
            result.instances.push_back(row);
    };
    for (const std::string& id : request.ids) {
        if (const auto row = find_exactly(id))
            sort_in(*row);
        else
            result.skipped.push_back({id, "not found"});
    }
    if (by_id) return result;
    auto found = list({.state = request.state,
                       .workflow = request.workflow,
                       .step = request.step,
                       .error_code = request.error_code,
                       .older_than = request.older_than});
    std::reverse(found.begin(), found.end());
    for (const InstanceRow& row : found) {
        const bool waits =
            !may_be_resumed(row) && (row.state == State::sleeping || row.state == State::waiting ||
                                     row.state == State::queued);
        const bool full =
            request.limit > 0 && static_cast<int>(result.instances.size()) >= request.limit;
        if (waits || (may_be_resumed(row) && !full)) sort_in(row);
    }
    return result;
}

}  // namespace steplog
