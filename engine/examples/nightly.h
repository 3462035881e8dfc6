// The day's report, every night at half past two in Berlin, also in the two nights of the year in
// which the clock is changed, and also for the days on which no server ran.
#pragma once

#include <map>

#include "engine/workflow.h"

namespace steplog::examples {

/// Sales and the place where reports lie, in memory. What has a name already is written over.
struct Archive {
    int sales = 42;
    std::map<std::string, int> reports;

    void put(const std::string& name, int total) { reports[name] = total; }
};

inline Schedule nightly_schedule() {
    return {.name = "nightly",
            .workflow = "report",
            .cron = "30 2 * * *",
            .time_zone = "Europe/Berlin",
            // One that is late (a server was down, the archive did not answer) is followed by the
            // next, and each night has its report in the end: never two at once, and none skipped.
            .overlap = Overlap::queue,
            .catch_up = std::chrono::hours(24 * 7)};
}

inline Json report(Context& ctx, const Json& input, Archive& archive) {
    // The time for which it was started, not the clock: one that is made up for after a downtime
    // is about the night that it was meant for.
    const auto moment = input.at("scheduled_at").get<std::string>();

    // Reading needs no protection. It is a step so that the number stays what it was: a report is
    // not half of one reading and half of another.
    const int sales = ctx.step("count", [&](const Attempt&) { return archive.sales; });

    // Neither probe nor window: the name is made of the night, so that writing it twice leaves one.
    ctx.step("write", [&](const Attempt&) { archive.put("report-" + moment, sales); });
    return {{"sales", sales}};
}

inline Workflow report_workflow(Archive& archive) {
    return {.name = "report", .run = [&archive](Context& ctx, const Json& input) {
                return report(ctx, input, archive);
            }};
}

}  // namespace steplog::examples
