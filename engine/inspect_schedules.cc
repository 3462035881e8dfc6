// Schedules as they stand, with the times that come next.
#include <stdexcept>

#include "engine/inspect.h"
#include "engine/inspect_file.h"
#include "engine/inspect_json.h"
#include "engine/inspect_redact.h"
#include "engine/rfc3339.h"
#include "engine/statements.h"

namespace steplog {
namespace {

ScheduleView read_view(const Query& read) {
    ScheduleView view;
    Schedule& schedule = view.schedule;
    schedule.name = read.text(0);
    schedule.workflow = read.text(1);
    schedule.version = static_cast<int>(read.integer(2));
    schedule.cron = read.text(3);
    schedule.time_zone = read.text(4);
    schedule.overlap = parse_overlap(read.text(5)).value_or(Overlap::skip);
    schedule.on_stuck = parse_on_stuck(read.text(6)).value_or(OnStuck::keep_key);
    schedule.catch_up = Ms(read.integer(7));
    schedule.jitter = Ms(read.integer(8));
    view.next_at_ms = read.maybe_integer(9);
    view.due_at_ms = read.maybe_integer(10);
    view.paused_at_ms = read.maybe_integer(11);
    view.last_at_ms = read.maybe_integer(12);
    view.last_outcome = read.text(13);
    view.last_instance = read.text(14);
    view.started = read.integer(15);
    view.skipped = read.integer(16);
    view.missed = read.integer(17);
    view.error = read.text(18);
    return view;
}

// While it is paused: the times that would be, if it were not any more.
void look_ahead(ScheduleView& view, int count, std::int64_t now_ms) {
    if (count <= 0) return;
    try {
        const Cron cron(view.schedule.cron, view.schedule.time_zone);
        auto next = view.paused_at_ms ? cron.next_after_ms(now_ms) : view.next_at_ms;
        for (; next && count > 0; --count, next = cron.next_after_ms(*next))
            view.upcoming.push_back(*next);
    } catch (const std::invalid_argument& error) {
        view.error = error.what();
    }
}

Json name_or_null(const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); }

}  // namespace

std::vector<ScheduleView> Inspector::schedules(int upcoming) {
    auto views = file_->read([](Statements& statements) {
        std::vector<ScheduleView> all;
        Query read(statements,
                   "SELECT name, workflow, version, cron, time_zone, overlap, on_stuck, "
                   "catch_up_ms, jitter_ms, next_at_ms, due_at_ms, paused_at_ms, last_at_ms, "
                   "last_outcome, last_instance, started, skipped, missed, error FROM schedules "
                   "ORDER BY name");
        while (read.next()) all.push_back(read_view(read));
        return all;
    });
    for (ScheduleView& view : views) look_ahead(view, upcoming, clock_.now_ms());
    return views;
}

Json json_of(const ScheduleView& view) {
    const Schedule& schedule = view.schedule;
    Json upcoming = Json::array();
    for (const std::int64_t at_ms : view.upcoming) upcoming.push_back(format_rfc3339(at_ms));
    return {{"name", schedule.name},
            {"workflow", schedule.workflow},
            {"version", schedule.version},
            {"cron", schedule.cron},
            {"time_zone", schedule.time_zone},
            {"overlap", to_string(schedule.overlap)},
            {"catch_up_ms", schedule.catch_up.count()},
            {"jitter_ms", schedule.jitter.count()},
            {"next_at", time_or_null(view.paused_at_ms ? std::nullopt : view.next_at_ms)},
            {"due_at", time_or_null(view.due_at_ms)},
            {"paused_at", time_or_null(view.paused_at_ms)},
            {"last_at", time_or_null(view.last_at_ms)},
            {"last_outcome", name_or_null(view.last_outcome)},
            {"last_instance", name_or_null(redact_text(view.last_instance))},
            {"started", view.started},
            {"skipped", view.skipped},
            {"missed", view.missed},
            {"error", name_or_null(view.error)},
            {"upcoming", std::move(upcoming)}};
}

}  // namespace steplog
