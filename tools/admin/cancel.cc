// workflow-admin cancel ID…: ends instances for good. What waits ends at once; what runs ends
// before its next step; what can take back what it has done does that first. workflow-admin kill
// ID…: ends them now.
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "engine/commands.h"
#include "engine/inspect_json.h"
#include "engine/inspect_redact.h"
#include "tools/admin/verb.h"
#include "tools/common/named.h"

namespace steplog::tools {
namespace {

constexpr std::size_t batch_max = 200;  // in one transaction: the server's other work waits for it

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
    for (const Resumed::Skipped& one : cancelled.skipped)
        print_line(fmt::format("  {}  skipped: {}", printable(redact_text(one.id)),
                               printable(redact_text(one.reason))));
}

int cancel(Admin& admin, const std::vector<std::string>& texts, bool kill) {
    // The reading connection ends with this statement: whoever writes has the file to itself.
    const Named named = [&] {
        Inspector inspector(admin.common.database, admin.clock);
        return resolve(inspector, texts, admin_program);
    }();
    Owner owner = admin.owner();
    Cancelled all;
    all.skipped = named.unknown;
    for (std::size_t begin = 0; begin < named.ids.size(); begin += batch_max) {
        const std::size_t end = std::min(named.ids.size(), begin + batch_max);
        const Cancelled part = parse_cancelled(owner.order(
            cancel_command({.ids = {named.ids.begin() + static_cast<std::ptrdiff_t>(begin),
                                    named.ids.begin() + static_cast<std::ptrdiff_t>(end)},
                            .reason = admin.reason,
                            .kill = kill})));
        all.ids.insert(all.ids.end(), part.ids.begin(), part.ids.end());
        all.requested.insert(all.requested.end(), part.requested.begin(), part.requested.end());
        all.skipped.insert(all.skipped.end(), part.skipped.begin(), part.skipped.end());
    }
    print_result(admin, all);
    const bool nothing_done = all.ids.empty() && all.requested.empty();
    return !named.unknown.empty() || nothing_done ? exit_failed : exit_done;
}

}  // namespace

void add_cancel(CLI::App& app, Admin& admin) {
    const auto ids = std::make_shared<std::vector<std::string>>();
    CLI::App* verb =
        add_verb(app, admin, "cancel", "ends instances for good, whatever they wait for",
                 [&admin, ids] { return cancel(admin, *ids, false); });
    verb->add_option("ID", *ids, "instances, each by its id or any clear ending or beginning of it")
        ->required();
    add_reason(*verb, admin);
    verb->footer(
        "A cancelled instance begins no further step, lets its key go, and cannot be resumed. One "
        "that runs ends before its next step. What was done stays done, unless its step names an "
        "undo: then that is carried out first. Exit code 1 when one of the named does not exist, "
        "or none could be cancelled.");
}

void add_kill(CLI::App& app, Admin& admin) {
    const auto ids = std::make_shared<std::vector<std::string>>();
    CLI::App* verb = add_verb(app, admin, "kill", "ends instances now, taking nothing back",
                              [&admin, ids] { return cancel(admin, *ids, true); });
    verb->add_option("ID", *ids, "instances, each by its id or any clear ending or beginning of it")
        ->required();
    add_reason(*verb, admin);
    verb->footer(
        "For what cancel cannot end: nothing is undone, and of a step that is under way nobody "
        "learns any more whether it happened. Exit code 1 when one of the named does not exist, or "
        "none could be ended.");
}

}  // namespace steplog::tools
