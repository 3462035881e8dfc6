// workflow-admin: what an operator changes or keeps, but for resuming. Each verb is a file here;
// what changes in a database is done by its owner (common/owner.h).
#include <fmt/format.h>

#include <fstream>
#include <iostream>
#include <iterator>

#include "engine/json_guard.h"
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
  workflow-admin cancel --all --workflow order --older-than 30d --plan
  workflow-admin start nightly_report --input '{"day":"2026-01-31"}' --reason 'ticket 4711'
  workflow-admin retry-now --all --step send_email --rate 10/s --yes
  workflow-admin skip evt_1Abc --step send_email --result '{"id":"sent by hand"}'
  workflow-admin fail evt_1Abc --step send_email --message 'the address does not exist'
  workflow-admin move evt_1Abc --to-version 3
  workflow-admin signal order/42 approved --payload '{"by":"ada"}'
  workflow-admin forget cus_123 --plan
  workflow-admin rotate-key
  workflow-admin pause --provider clerk --reason 'they migrate tonight'
  workflow-admin pause evt_1Abc --reason 'ticket 4711'
  workflow-admin unpause --workflow order
  workflow-admin edit evt_1Abc --input @input.json --reason 'the address was wrong'
  workflow-admin fork evt_1Abc --from send_email --plan
  workflow-admin schedule trigger reconcile
  workflow-admin schedule preview reconcile

cancel, kill, retry-now and move take ids, or --all with filters: then --plan says what would be
done, and --yes does it without asking.

What changes the database is asked of the running server through its control socket (same user or
root), or done under the database's lock when none runs; who asked, and --reason, go into its audit
table. Exit codes: 0 done, 1 refused, not found, failed or a promise broken, 2 wrong usage.)";

}  // namespace

CLI::App* add_verb(CLI::App& app, Admin& admin, const std::string& name, const std::string& help,
                   std::function<int()> run, std::function<std::string()> wrong_usage) {
    CLI::App* verb = app.add_subcommand(name, help);
    verb->callback([&admin, run = std::move(run), wrong_usage = std::move(wrong_usage)] {
        const std::string wrong = wrong_usage ? wrong_usage() : "";
        if (!wrong.empty()) throw CLI::ValidationError(wrong);
        admin.chosen = run;
    });
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

std::string why_not_json(const std::string& text, std::size_t bytes_max) {
    std::string why;
    if (text.size() > bytes_max) return fmt::format("wants at most {} KiB", bytes_max / 1024);
    return parse_guarded(text, why) ? ""
                                    : fmt::format("wants JSON, a text in double quotes: {}", why);
}

std::string json_argument(const std::string& given, std::size_t bytes_max) {
    if (given != "-" && !given.starts_with('@')) return given;
    std::string text, from = "the standard input";
    if (given == "-") {
        text.assign(std::istreambuf_iterator<char>(std::cin), {});
    } else {
        from = given.substr(1);
        std::ifstream file(from, std::ios::binary);
        if (!file) throw Failure(fmt::format("{} cannot be read: give a file of JSON", from));
        text.assign(std::istreambuf_iterator<char>(file), {});
    }
    if (const std::string why = why_not_json(text, bytes_max); !why.empty())
        throw Failure(fmt::format("{} {}", from, why));
    return text;
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
    add_start(app, admin);
    add_retry_now(app, admin);
    add_skip(app, admin);
    add_fail(app, admin);
    add_move(app, admin);
    add_signal(app, admin);
    add_forget(app, admin);
    add_rotate_key(app, admin);
    add_schedule(app, admin);
    add_pause(app, admin);
    add_edit(app, admin);
    add_fork(app, admin);
    add_reconcile(app, admin);
    return run_program(admin_program, app, argc, argv, [&] {
        check_database_name(admin.common.database);
        return admin.chosen();
    });
}

}  // namespace steplog::tools

int main(int argc, char** argv) { return steplog::tools::run(argc, argv); }
