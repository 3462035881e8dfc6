// workflow-admin move --to-version N: lets instances go on under another version of their
// workflow.
#include <fmt/format.h>

#include <memory>

#include "engine/commands.h"
#include "engine/entries.h"
#include "engine/inspect_json.h"
#include "engine/inspect_redact.h"
#include "tools/admin/bulk.h"
#include "tools/common/named.h"

namespace steplog::tools {
namespace {

struct MoveOptions {
    Selection selection;
    int to_version = 0;
};

void print_json(const Moved& moved) {
    print_line(dump({{"moved", moved.ids.size()},
                     {"ids", json_of_ids(moved.ids)},
                     {"still_stuck", json_of_ids(moved.still_stuck)},
                     {"skipped", json_of_skipped(moved.skipped)}}));
}

void print_words(const Moved& moved, int to_version) {
    print_line(fmt::format("moved {} instance{} to version {}", moved.ids.size(),
                           moved.ids.size() == 1 ? "" : "s", to_version));
    for (const std::string& id : moved.still_stuck) {
        const std::string shown = printable(redact_text(id));
        print_line(
            fmt::format("  {}  is still stuck; to go on, run: workflow-resume {}", shown, shown));
    }
    print_skipped(moved.skipped);
}

std::string why_not(const InstanceRow& row, int to_version) {
    if (is_finished(row.state)) return fmt::format("{}: it has ended", to_string(row.state));
    if (row.error_code == "log_damaged")
        return "log_damaged: its log does not verify; restore a backup";
    return row.version == to_version ? fmt::format("it is at version {} already", to_version) : "";
}

Brings brings(const InstanceRow& row) {
    const bool goes_on = row.state == State::stuck && row.error_code == unknown_version_code;
    return goes_on ? Brings::going_on : Brings::nothing;
}

int move(Admin& admin, const MoveOptions& options) {
    Moved all;
    return carry_out(
        admin, options.selection,
        {.deed = {"move", "moved"},
         .why_not = [&](const InstanceRow& row) { return why_not(row, options.to_version); },
         .brings = brings,
         .carry_out =
             [&](Owner& owner, const std::vector<std::string>& ids) {
                 const Moved part = parse_moved(owner.order(move_command(
                     {.ids = ids, .to_version = options.to_version, .reason = admin.reason})));
                 all.ids.insert(all.ids.end(), part.ids.begin(), part.ids.end());
                 all.still_stuck.insert(all.still_stuck.end(), part.still_stuck.begin(),
                                        part.still_stuck.end());
                 all.skipped.insert(all.skipped.end(), part.skipped.begin(), part.skipped.end());
             },
         .finish =
             [&](const std::vector<Resumed::Skipped>& unknown) {
                 all.skipped.insert(all.skipped.begin(), unknown.begin(), unknown.end());
                 if (admin.common.json)
                     print_json(all);
                 else
                     print_words(all, options.to_version);
                 return !unknown.empty() || all.ids.empty() ? exit_failed : exit_done;
             }});
}

// Versions are a workflow's: 3 of one is not 3 of another.
std::string wrong_usage_of(const MoveOptions& options) {
    if (options.selection.all && options.selection.filter.workflow.empty())
        return "--all goes with --workflow here";
    return wrong_usage(options.selection);
}

}  // namespace

void add_move(CLI::App& app, Admin& admin) {
    const auto options = std::make_shared<MoveOptions>();
    CLI::App* verb = add_verb(
        app, admin, "move", "lets instances go on under another version of their workflow",
        [&admin, options] { return move(admin, *options); },
        [options] { return wrong_usage_of(*options); });
    add_selection(*verb, options->selection, {"move", "moved"},
                  "all of --workflow that have not ended and match the filters", unfinished_states);
    verb->add_option("--to-version", options->to_version, "the version, as the program has it")
        ->required()
        ->check(at_least(1))
        ->type_name("N");
    add_reason(*verb, admin);
    verb->footer(
        "One that is stuck because its version is missing goes on at once; every other stays where "
        "it stands, and its finished steps stay finished. A running server refuses a version that "
        "it does not have; with the server down nobody knows, and an instance whose version is "
        "missing becomes stuck again. workflow-server --check-replay tells whether a log fits. "
        "Exit "
        "code 1 when one of the named does not exist, or none could be moved.");
}

}  // namespace steplog::tools
