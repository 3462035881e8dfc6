// The figures of the last hours; see inspect_dashboard.h.
#include "engine/inspect_dashboard.h"

#include <algorithm>

#include "engine/inspect_file.h"
#include "engine/inspect_rows.h"

namespace steplog {
namespace {

constexpr std::int64_t ms_an_hour = 3'600'000;

struct Tally {
    RecentPast::Figures figures;
    std::vector<std::int64_t> took_ms;

    void add(State state, std::int64_t took) {
        if (state == State::failed) ++figures.failed;
        if (state == State::cancelled) ++figures.cancelled;
        if (state != State::completed) return;
        ++figures.completed;
        took_ms.push_back(took);
    }
    std::optional<Ms> percentile(std::size_t percent) {
        if (took_ms.empty()) return std::nullopt;
        const auto at = static_cast<std::ptrdiff_t>((took_ms.size() - 1) * percent / 100);
        std::nth_element(took_ms.begin(), took_ms.begin() + at, took_ms.end());
        return Ms(took_ms[static_cast<std::size_t>(at)]);
    }
    RecentPast::Figures done() {
        figures.took_p50 = percentile(50);
        figures.took_p95 = percentile(95);
        return figures;
    }
};

std::int64_t ended_count(const RecentPast::Figures& figures) {
    return figures.completed + figures.failed + figures.cancelled;
}

void read_sample(Statements& statements, RecentPast& past) {
    std::map<std::string, Tally> tallies;
    Tally all;
    Query read(statements,
               "SELECT state, workflow, finished_at_ms-created_at_ms FROM instances WHERE "
               "finished_at_ms>=?1 ORDER BY finished_at_ms DESC LIMIT ?2",
               past.since_ms, DashboardReader::sample_max);
    while (read.next()) {
        const auto state = parse_state(read.text(0));
        if (!state) continue;
        ++past.looked_at;
        Tally& tally = tallies[read.text(1)];
        tally.figures.workflow = read.text(1);
        tally.add(*state, read.integer(2));
        all.add(*state, read.integer(2));
    }
    past.whole = past.looked_at < DashboardReader::sample_max;
    past.all = all.done();
    for (auto& [workflow, tally] : tallies) past.by_workflow.push_back(tally.done());
    std::stable_sort(past.by_workflow.begin(), past.by_workflow.end(),
                     [](const auto& a, const auto& b) { return ended_count(a) > ended_count(b); });
}

std::int64_t count_hour(Statements& statements, std::int64_t begins_at_ms) {
    Query read(statements,
               "SELECT count(*) FROM (SELECT 1 FROM instances WHERE finished_at_ms>=?1 AND "
               "finished_at_ms<?2 LIMIT ?3)",
               begins_at_ms, begins_at_ms + ms_an_hour, DashboardReader::hour_max);
    return read.next() ? read.integer(0) : 0;
}

}  // namespace

DashboardReader::DashboardReader(std::filesystem::path database, const Clock& clock)
    : file_(std::make_unique<ReadOnlyDatabase>(std::move(database))), clock_(clock) {}
DashboardReader::~DashboardReader() = default;

RecentPast DashboardReader::recent_past() {
    const std::int64_t now_ms = clock_.now_ms();
    const std::int64_t this_hour = now_ms - now_ms % ms_an_hour;
    RecentPast past = file_->read([&](Statements& statements) {
        RecentPast sampled;
        sampled.since_ms = now_ms - hours * ms_an_hour;
        read_sample(statements, sampled);
        return sampled;
    });
    const std::int64_t first = this_hour - (hours - 1) * ms_an_hour;
    ended_hours_.erase(ended_hours_.begin(), ended_hours_.lower_bound(first));
    for (std::int64_t hour = first; hour <= this_hour; hour += ms_an_hour) {
        const auto known = ended_hours_.find(hour);
        const std::int64_t finished =
            known != ended_hours_.end()
                ? known->second
                : file_->read([&](Statements& statements) { return count_hour(statements, hour); });
        past.hours.push_back({hour, finished});
        // Kept only where nothing can be added any more, not even by a commit that is under way.
        if (hour + ms_an_hour + 60'000 < now_ms) ended_hours_[hour] = finished;
    }
    return past;
}

Unreached DashboardReader::unreached(const std::string& workflow, const std::string& step,
                                     const std::vector<std::string>& but_codes) {
    const std::int64_t since_ms = clock_.now_ms() - hours * ms_an_hour;
    return file_->read([&](Statements& statements) {
        Unreached unreached;
        Query stuck(statements,
                    "SELECT count(*) FROM instances WHERE state='stuck' AND workflow=?1 AND "
                    "error_code NOT IN (SELECT value FROM json_each(?3)) AND NOT EXISTS (SELECT 1 "
                    "FROM entries WHERE instance=instances.seq AND step=?2 AND kind IN "
                    "('completed','skipped'))",
                    workflow, step, Json(but_codes).dump());
        if (stuck.next()) unreached.stuck = stuck.integer(0);
        Query failed(statements,
                     "SELECT count(*) FROM (SELECT seq, state, workflow FROM instances WHERE "
                     "finished_at_ms>=?3 ORDER BY finished_at_ms DESC LIMIT ?4) AS ended WHERE "
                     "state='failed' AND workflow=?1 AND NOT EXISTS (SELECT 1 FROM entries WHERE "
                     "instance=ended.seq AND step=?2 AND kind IN ('completed','skipped'))",
                     workflow, step, since_ms, sample_max);
        if (failed.next()) unreached.failed = failed.integer(0);
        return unreached;
    });
}

std::map<State, std::int64_t> DashboardReader::ended() {
    return file_->read([](Statements& statements) {
        std::map<State, std::int64_t> ended = {
            {State::completed, 0}, {State::failed, 0}, {State::cancelled, 0}};
        Query read(statements, "SELECT state, sum(count) FROM ended_instances GROUP BY state");
        while (read.next())
            if (const auto state = parse_state(read.text(0))) ended[*state] = read.integer(1);
        return ended;
    });
}

std::optional<std::int64_t> DashboardReader::stuck_since_ms() {
    return file_->read([](Statements& statements) {
        Query read(statements, "SELECT min(updated_at_ms) FROM instances WHERE state='stuck'");
        return read.next() ? read.maybe_integer(0) : std::nullopt;
    });
}

std::vector<PausedWorkflow> DashboardReader::paused_workflows() {
    return file_->read(
        [](Statements& statements) { return rows::read_paused_workflows(statements); });
}

}  // namespace steplog
