// workflow-admin purge: retention, now. Deletes what ended long enough ago, a transaction at a
// time, so that a server beside it goes on working.
#include <fmt/format.h>

#include <cstdlib>
#include <memory>

#include "engine/commands.h"
#include "engine/inspect.h"
#include "engine/inspect_json.h"
#include "engine/text.h"
#include "tools/admin/verb.h"

namespace steplog::tools {
namespace {

struct PurgeOptions {
    std::optional<Ms> older_than;
    bool plan = false;
};

// As the server's setting says, so that both mean the same by default.
Ms retention() {
    constexpr Ms by_default = std::chrono::hours(24 * 30);
    const char* text = std::getenv("STEPLOG_RETENTION");
    if (!text || !*text) return by_default;
    const auto retention = parse_duration(text);
    if (!retention) throw Failure("STEPLOG_RETENTION wants a duration such as 30d");
    return *retention;
}

void print_counts(const Admin& admin, const Purged& counts, bool planned, Ms older_than) {
    Json result = json_of(counts);
    if (planned) result["plan"] = true;
    tell_of_kept_wal(admin, older_than, result);
    if (admin.common.json) {
        print_line(dump(result));
        return;
    }
    print_line(fmt::format("{} {} finished instance{} and {} inbox row{}{}",
                           planned ? "would delete" : "deleted", counts.instances,
                           counts.instances == 1 ? "" : "s", counts.events,
                           counts.events == 1 ? "" : "s", planned ? "; nothing was changed" : ""));
}

int purge(Admin& admin, const PurgeOptions& options) {
    const Ms older_than = options.older_than ? *options.older_than : retention();
    if (options.plan) {
        Inspector inspector(admin.common.database, admin.clock);
        print_counts(admin, inspector.purgeable(older_than), true, older_than);
        return exit_done;
    }
    Owner owner = admin.owner();
    owner.keep_the_database();
    Purged all;
    while (true) {
        const Purged part = parse_purged(
            owner.order(purge_command({.older_than = older_than, .reason = admin.reason})));
        if (part.instances + part.events == 0) break;
        all.instances += part.instances;
        all.events += part.events;
    }
    print_counts(admin, all, false, older_than);
    return exit_done;
}

}  // namespace

void add_purge(CLI::App& app, Admin& admin) {
    const auto options = std::make_shared<PurgeOptions>();
    CLI::App* verb = add_verb(app, admin, "purge", "deletes now what ended long ago",
                              [&admin, options] { return purge(admin, *options); });
    add_duration(*verb, "--older-than", options->older_than,
                 "ended so long ago (STEPLOG_RETENTION, else 30d)");
    verb->add_flag("--plan", options->plan, "only say how much would go");
    add_reason(*verb, admin);
    verb->footer(
        "Event ids, and once keys, outlive their instances: ids are kept at least 30 days, so that "
        "a message sent again is known.");
}

}  // namespace steplog::tools
