// workflow-admin move ID… --to-version N: lets instances go on under another version of their
// workflow.
#include <fmt/format.h>

#include <memory>

#include "engine/commands.h"
#include "engine/inspect_json.h"
#include "engine/inspect_redact.h"
#include "tools/admin/verb.h"
#include "tools/common/named.h"

namespace steplog::tools {
namespace {

struct MoveOptions {
    std::vector<std::string> instances;
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
    for (const Resumed::Skipped& one : moved.skipped)
        print_line(fmt::format("  {}  skipped: {}", printable(redact_text(one.id)),
                               printable(redact_text(one.reason))));
}

int move(Admin& admin, const MoveOptions& options) {
    // The reading connection ends with this statement: whoever writes has the file to itself.
    const Named named = [&] {
        Inspector inspector(admin.common.database, admin.clock);
        return resolve(inspector, options.instances, admin_program);
    }();
    Moved moved;
    if (!named.ids.empty())
        moved = parse_moved(admin.owner().order(move_command(
            {.ids = named.ids, .to_version = options.to_version, .reason = admin.reason})));
    moved.skipped.insert(moved.skipped.begin(), named.unknown.begin(), named.unknown.end());
    if (admin.common.json)
        print_json(moved);
    else
        print_words(moved, options.to_version);
    return !named.unknown.empty() || moved.ids.empty() ? exit_failed : exit_done;
}

}  // namespace

void add_move(CLI::App& app, Admin& admin) {
    const auto options = std::make_shared<MoveOptions>();
    CLI::App* verb =
        add_verb(app, admin, "move", "lets instances go on under another version of their workflow",
                 [&admin, options] { return move(admin, *options); });
    verb->add_option("ID", options->instances,
                     "instances, each by its id or any clear ending or beginning of it")
        ->required();
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
