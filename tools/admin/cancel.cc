// workflow-admin cancel: ends instances for good. What waits ends at once; what runs ends before
// its next step; what can take back what it has done does that first. workflow-admin kill: ends
// them now.
#include <fmt/format.h>

#include <memory>

#include "engine/commands.h"
#include "engine/inspect_json.h"
#include "engine/inspect_redact.h"
#include "tools/admin/bulk.h"
#include "tools/common/named.h"

namespace steplog::tools {
namespace {

void print_result(const Admin& admin, const Cancelled& cancelled) {
    if (admin.common.json) {
        print_line(dump({{"cancelled", cancelled.ids.size()},
                         {"ids", json_of_ids(cancelled.ids)},
                         {"requested", json_of_ids(cancelled.requested)},
                         {"skipped", json_of_skipped(cancelled.skipped)}}));
        return;
    }
    print_line(fmt::format("cancelled {} instance{}", cancelled.ids.size(),
                           cancelled.ids.size() == 1 ? "" : "s"));
    for (const std::string& id : cancelled.requested)
        print_line(
            fmt::format("  {}  asked to end: before its next step, and once what it has done is "
                        "taken back where its steps say how",
                        printable(redact_text(id))));
    print_skipped(cancelled.skipped);
}

std::string why_not(const InstanceRow& row, bool kill) {
    if (is_finished(row.state)) return fmt::format("{}: it has ended", to_string(row.state));
    if (row.cancel_requested_at_ms && !kill)
        return "it was asked to end before; workflow-inspect why says what it is at";
    return "";
}

int cancel(Admin& admin, const Selection& selection, bool kill) {
    Cancelled all;
    return carry_out(
        admin, selection,
        {.deed = {kill ? "kill" : "cancel", "cancelled"},
         .why_not = [kill](const InstanceRow& row) { return why_not(row, kill); },
         .brings =
             [kill](const InstanceRow&) { return kill ? Brings::nothing : Brings::taking_back; },
         .carry_out =
             [&](Owner& owner, const std::vector<std::string>& ids) {
                 const Cancelled part = parse_cancelled(owner.order(
                     cancel_command({.ids = ids, .reason = admin.reason, .kill = kill})));
                 all.ids.insert(all.ids.end(), part.ids.begin(), part.ids.end());
                 all.requested.insert(all.requested.end(), part.requested.begin(),
                                      part.requested.end());
                 all.skipped.insert(all.skipped.end(), part.skipped.begin(), part.skipped.end());
             },
         .finish =
             [&](const std::vector<Resumed::Skipped>& unknown) {
                 all.skipped.insert(all.skipped.begin(), unknown.begin(), unknown.end());
                 print_result(admin, all);
                 const bool nothing_done = all.ids.empty() && all.requested.empty();
                 return !unknown.empty() || nothing_done ? exit_failed : exit_done;
             }});
}

CLI::App* add_ending(CLI::App& app, Admin& admin, const std::string& name, const std::string& help,
                     bool kill) {
    const auto selection = std::make_shared<Selection>();
    CLI::App* verb = add_verb(
        app, admin, name, help,
        [&admin, selection, kill] { return cancel(admin, *selection, kill); },
        [selection] { return wrong_usage(*selection); });
    add_selection(*verb, *selection, {name, "cancelled"},
                  "all that have not ended and match the filters", unfinished_states);
    add_reason(*verb, admin);
    return verb;
}

}  // namespace

void add_cancel(CLI::App& app, Admin& admin) {
    add_ending(app, admin, "cancel", "ends instances for good, whatever they wait for", false)
        ->footer(
            "A cancelled instance begins no further step, lets its key go, and cannot be resumed. "
            "One that runs ends before its next step. What was done stays done, unless its step "
            "names an undo: then that is carried out first, and --plan names those calls. Exit "
            "code 1 when one of the named does not exist, or none could be cancelled.");
}

void add_kill(CLI::App& app, Admin& admin) {
    add_ending(app, admin, "kill", "ends instances now, taking nothing back", true)
        ->footer(
            "For what cancel cannot end: nothing is undone, and of a step that is under way nobody "
            "learns any more whether it happened. Exit code 1 when one of the named does not "
            "exist, or none could be ended.");
}

}  // namespace steplog::tools
