// workflow-admin retry-now: the next attempt of what sleeps between attempts, at once.
#include <fmt/format.h>

#include <memory>

#include "engine/commands.h"
#include "engine/inspect_json.h"
#include "tools/admin/bulk.h"
#include "tools/common/named.h"

namespace steplog::tools {
namespace {

std::string why_not(const InstanceRow& row) {
    if (row.state == State::stuck)
        return "stuck: it has no attempt before it; workflow-resume gives it some";
    const bool between_attempts = row.state == State::sleeping && row.waits_for == WaitsFor::retry;
    return between_attempts
               ? ""
               : fmt::format("{}: it does not sleep between attempts", to_string(row.state));
}

int print_result(const Admin& admin, const Resumed& resumed) {
    if (admin.common.json) {
        print_line(dump({{"retried", resumed.ids.size()},
                         {"ids", json_of_ids(resumed.ids)},
                         {"skipped", json_of_skipped(resumed.skipped)}}));
    } else {
        print_line(fmt::format("{} instance{} tried again now", resumed.ids.size(),
                               resumed.ids.size() == 1 ? " is" : "s are"));
        print_skipped(resumed.skipped);
    }
    return resumed.skipped.empty() ? exit_done : exit_failed;
}

int retry_now(Admin& admin, const Selection& selection) {
    Resumed all;
    return carry_out(
        admin, selection,
        {.deed = {"retry", "retried"},
         .why_not = why_not,
         .brings = [](const InstanceRow&) { return Brings::going_on; },
         .carry_out =
             [&](Owner& owner, const std::vector<std::string>& ids) {
                 const Resumed part = parse_resumed(owner.order(
                     resume_command({.ids = ids, .retry_now = true, .reason = admin.reason})));
                 all.ids.insert(all.ids.end(), part.ids.begin(), part.ids.end());
                 all.skipped.insert(all.skipped.end(), part.skipped.begin(), part.skipped.end());
             },
         .finish =
             [&](const std::vector<Resumed::Skipped>& unknown) {
                 all.skipped.insert(all.skipped.begin(), unknown.begin(), unknown.end());
                 return print_result(admin, all);
             }});
}

}  // namespace

void add_retry_now(CLI::App& app, Admin& admin) {
    const auto selection = std::make_shared<Selection>();
    CLI::App* verb = add_verb(
        app, admin, "retry-now", "makes the next attempt of sleeping instances now",
        [&admin, selection] { return retry_now(admin, *selection); },
        [selection] { return wrong_usage(*selection); });
    add_selection(*verb, *selection, {"retry", "retried"},
                  "all that sleep between attempts and match the filters", {State::sleeping});
    add_reason(*verb, admin);
    verb->footer(
        "Their attempts and the time in which they are made count on, unlike with "
        "workflow-resume. Exit code 1 when one of the named does not sleep between attempts.");
}

}  // namespace steplog::tools
