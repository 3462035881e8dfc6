// workflow-admin schedule pause|unpause|trigger|preview NAME: what people do to what the clock
// starts. Schedules are defined by the program that runs them.
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "engine/commands.h"
#include "engine/inspect.h"
#include "engine/inspect_json.h"
#include "engine/inspect_redact.h"
#include "engine/rfc3339.h"
#include "tools/admin/verb.h"

namespace steplog::tools {
namespace {

constexpr int previewed = 10;
constexpr int previewed_max = 1000;

void print_change(const Admin& admin, const ScheduleChange& change,
                  const ScheduleChanged& changed) {
    if (admin.common.json) {
        Json result = {{"name", change.name}, {"done", to_string(change.kind)}};
        if (!changed.instance.empty()) result["instance"] = changed.instance;
        result["next_at"] =
            changed.next_at_ms ? Json(format_rfc3339(*changed.next_at_ms)) : Json(nullptr);
        return print_line(dump(result));
    }
    const std::string next = changed.next_at_ms
                                 ? "the next time is " + format_rfc3339(*changed.next_at_ms)
                                 : std::string("it is paused");
    switch (change.kind) {
        case ScheduleChange::Kind::pause:
            return print_line(fmt::format("paused {}", change.name));
        case ScheduleChange::Kind::unpause:
            return print_line(fmt::format("unpaused {}: {}", change.name, next));
        case ScheduleChange::Kind::trigger:
            return print_line(fmt::format("started {}; {}", changed.instance, next));
    }
}

int carry_out(Admin& admin, ScheduleChange change) {
    change.reason = admin.reason;
    const ScheduleChanged changed =
        parse_schedule_changed(admin.owner().order(schedule_command(change)));
    if (!changed.refused.empty())
        throw Failure(fmt::format("{} is not {}: {}", printable(change.name),
                                  change.kind == ScheduleChange::Kind::trigger ? "triggered"
                                  : change.kind == ScheduleChange::Kind::pause ? "paused"
                                                                               : "unpaused",
                                  printable(redact_text(changed.refused))));
    print_change(admin, change, changed);
    return exit_done;
}

int preview(Admin& admin, const std::string& name, int count) {
    Inspector inspector(admin.common.database, admin.clock);
    auto views = inspector.schedules(count);
    const auto view = std::find_if(views.begin(), views.end(), [&](const ScheduleView& one) {
        return one.schedule.name == name;
    });
    if (view == views.end())
        throw Failure(fmt::format("there is no schedule {}: workflow-inspect schedules lists them",
                                  printable(name)));
    if (admin.common.json) {
        print_line(dump(json_of(*view)));
    } else {
        for (const std::int64_t at_ms : view->upcoming) print_line(format_rfc3339(at_ms));
        if (view->paused_at_ms)
            complain(admin_program,
                     fmt::format("{} is paused: these are the times that would be", name));
    }
    if (!view->error.empty()) throw Failure(printable(view->error));
    return exit_done;
}

}  // namespace

void add_schedule(CLI::App& app, Admin& admin) {
    CLI::App* verb =
        app.add_subcommand("schedule", "pauses, unpauses, triggers, previews schedules");
    verb->require_subcommand(1);
    const auto name = std::make_shared<std::string>();
    const auto add = [&](const char* what, const char* help, std::function<int()> run) {
        CLI::App* command = add_verb(*verb, admin, what, help, std::move(run));
        command->add_option("NAME", *name, "the schedule's name")->required();
        return command;
    };
    const auto change = [&](ScheduleChange::Kind kind, const char* help) {
        CLI::App* command = add(std::string(to_string(kind)).c_str(), help, [&admin, name, kind] {
            return carry_out(admin, {.kind = kind, .name = *name});
        });
        add_reason(*command, admin);
    };
    change(ScheduleChange::Kind::pause, "starts nothing until it is unpaused, restarts included");
    change(ScheduleChange::Kind::unpause, "goes on with the next time; nothing is made up for");
    change(ScheduleChange::Kind::trigger, "starts one now, beside the times of the clock");
    const auto count = std::make_shared<int>(previewed);
    add("preview", "the next times",
        [&admin, name, count] { return preview(admin, *name, *count); })
        ->add_option("--count", *count, "how many (10)")
        ->check(CLI::Range(1, previewed_max))
        ->type_name("N");
    verb->footer(
        "Exit code 1 when there is no such schedule, when it is paused or unpaused already, and "
        "when it is triggered while an instance of it is unfinished and its overlap policy is "
        "skip.");
}

}  // namespace steplog::tools
