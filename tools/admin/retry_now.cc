// workflow-admin retry-now ID…: the next attempt of what sleeps between attempts, at once.
#include <fmt/format.h>

#include <memory>

#include "engine/commands.h"
#include "engine/inspect_json.h"
#include "engine/inspect_redact.h"
#include "tools/admin/verb.h"
#include "tools/common/named.h"

namespace steplog::tools {
namespace {

int retry_now(Admin& admin, const std::vector<std::string>& texts) {
    // The reading connection ends with this statement: whoever writes has the file to itself.
    const Named named = [&] {
        Inspector inspector(admin.common.database, admin.clock);
        return resolve(inspector, texts, admin_program);
    }();
    Resumed resumed;
    if (!named.ids.empty())
        resumed = parse_resumed(admin.owner().order(
            resume_command({.ids = named.ids, .retry_now = true, .reason = admin.reason})));
    resumed.skipped.insert(resumed.skipped.begin(), named.unknown.begin(), named.unknown.end());
    if (admin.common.json) {
        print_line(dump({{"retried", resumed.ids.size()},
                         {"ids", json_of_ids(resumed.ids)},
                         {"skipped", json_of_skipped(resumed.skipped)}}));
    } else {
        print_line(fmt::format("{} instance{} tried again now", resumed.ids.size(),
                               resumed.ids.size() == 1 ? " is" : "s are"));
        for (const Resumed::Skipped& one : resumed.skipped)
            print_line(fmt::format("  {}  skipped: {}", printable(redact_text(one.id)),
                                   printable(redact_text(one.reason))));
    }
    return resumed.skipped.empty() ? exit_done : exit_failed;
}

}  // namespace

void add_retry_now(CLI::App& app, Admin& admin) {
    const auto texts = std::make_shared<std::vector<std::string>>();
    CLI::App* verb =
        add_verb(app, admin, "retry-now", "makes the next attempt of sleeping instances now",
                 [&admin, texts] { return retry_now(admin, *texts); });
    verb->add_option("ID", *texts,
                     "the instances, by their ids or any clear ending or beginning of them")
        ->required();
    add_reason(*verb, admin);
    verb->footer(
        "Their attempts and the time in which they are made count on, unlike with "
        "workflow-resume. Exit code 1 when one of them does not sleep between attempts.");
}

}  // namespace steplog::tools
