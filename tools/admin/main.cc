// workflow-admin: what an operator changes or keeps, but for resuming. Each verb is a file here;
// what changes in a database is done by its owner (common/owner.h).
#include <fmt/format.h>

#include "engine/rfc3339.h"
#include "engine/wal_file.h"
#include "tools/admin/verb.h"

namespace steplog::tools {
namespace {

constexpr std::size_t reason_length_max = 1000;

constexpr const char* examples = R"(Examples:
  workflow-admin backup /backups/steplog-2026-01-31.db
  workflow-admin verify /backups/steplog-2026-01-31.db
  workflow-admin purge --older-than 90d --plan
  workflow-admin purge --older-than 90d --reason 'the disk is getting full'
  workflow-admin cancel evt_1Abc --reason 'refunded, ticket 4711'
  workflow-admin move evt_1Abc --to-version 3
  workflow-admin signal order/42 approved --payload '{"by":"ada"}'
  workflow-admin forget cus_123 --plan
  workflow-admin rotate-key
  workflow-admin schedule trigger reconcile
  workflow-admin schedule preview reconcile

What changes the database is asked of the running server through its control socket (same user or
root), or done under the database's lock when none runs; who asked, and --reason, go into its audit
table. Exit codes: 0 done, 1 refused, not found, failed or a promise broken, 2 wrong usage.)";

}  // namespace

CLI::App* add_verb(CLI::App& app, Admin& admin, const std::string& name, const std::string& help,
                   std::function<int()> run) {
    CLI::App* verb = app.add_subcommand(name, help);
    verb->callback([&admin, run = std::move(run)] { admin.chosen = run; });
    return verb;
}

void add_reason(CLI::App& verb, Admin& admin) {
    verb.add_option("--reason", admin.reason, "why, for the audit: nothing personal")
        ->check([](const std::string& text) {
            return text.size() <= reason_length_max ? std::string()
                                                    : "wants at most 1000 characters";
        })
        ->type_name("TEXT");
}

void tell_of_kept_wal(const Admin& admin, Ms older_than, Json& result) {
    const auto kept = find_kept_wal(admin.common.database);
    if (!kept || admin.clock.now_ms() - kept->kept_at_ms < older_than.count()) return;
    result["kept_wal"] = kept->path.string();
    complain(
        admin_program,
        fmt::format("{} is a copy of a damaged write-ahead log, kept since {}: it may hold what "
                    "is deleted here. Delete it as soon as nobody needs it to find out what "
                    "was lost",
                    kept->path.string(), format_rfc3339(kept->kept_at_ms)));
}

int run(int argc, char** argv) {
    CLI::App app("Changes and keeps a Steplog database.", admin_program);
    Admin admin;
    add_common_options(app, admin.common, admin_program);
    app.footer(examples);
    app.fallthrough();
    app.require_subcommand(1);
    add_backup(app, admin);
    add_verify(app, admin);
    add_purge(app, admin);
    add_cancel(app, admin);
    add_kill(app, admin);
    add_move(app, admin);
    add_signal(app, admin);
    add_forget(app, admin);
    add_rotate_key(app, admin);
    add_schedule(app, admin);
    return run_program(admin_program, app, argc, argv, [&] {
        check_database_name(admin.common.database);
        return admin.chosen();
    });
}

}  // namespace steplog::tools

int main(int argc, char** argv) { return steplog::tools::run(argc, argv); }
