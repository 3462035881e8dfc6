// workflow-admin reconcile: looks for paying customers without an account, and provisions them.
#include <fmt/format.h>

#include <memory>

#include "engine/commands.h"
#include "engine/inspect_json.h"
#include "engine/inspect_redact.h"
#include "steps/reconcile_accounts.h"
#include "tools/admin/verb.h"

namespace steplog::tools {
namespace {

int reconcile(Admin& admin, const steps::ReconcileOrder& order) {
    SystemRandom random;
    NewInstance instance = steps::reconcile_order(
        order,
        fmt::format("{}-{:08x}", admin.clock.now_ms(), static_cast<std::uint32_t>(random.next())));
    instance.key_conflict = KeyConflict::join;
    instance.reason = admin.reason;
    const Started started = parse_started(admin.owner().order(start_command(instance)));
    const std::string id = redact_text(started.id.empty() ? instance.id : started.id);
    if (admin.common.json) {
        print_line(dump({{"instance", id},
                         {"started", started.refused.empty() && !started.exists},
                         {"refused", started.refused}}));
    } else if (!started.refused.empty()) {
        complain(admin_program, started.refused);
    } else {
        print_line(fmt::format("{} {}; workflow-inspect show {} has what it found",
                               started.exists ? "under way:" : "started", printable(id),
                               printable(id)));
    }
    return started.refused.empty() ? exit_done : exit_failed;
}

}  // namespace

void add_reconcile(CLI::App& app, Admin& admin) {
    const auto order = std::make_shared<steps::ReconcileOrder>();
    CLI::App* verb = add_verb(
        app, admin, "reconcile",
        "provisions customers with a live subscription in Stripe and no account in Clerk",
        [&admin, order] { return reconcile(admin, *order); },
        [order] {
            return order->dry_run && order->quiet
                       ? std::string(
                             "--quiet is for those who are provisioned: with --dry-run "
                             "nobody is")
                       : std::string();
        });
    verb->add_flag("--dry-run", order->dry_run, "only look for them");
    verb->add_option("--limit", order->limit, "look at the newest N customers only")
        ->check(CLI::Range(1, steps::reconcile_limit_max))
        ->type_name("N");
    verb->add_flag("--quiet", order->quiet, "send no welcome e-mail");
    add_reason(*verb, admin);
    verb->footer(
        "The server does it, as a workflow: with the server down it begins when one starts. One of "
        "the same kind that is under way is joined. The settings STEPLOG_RECONCILE and "
        "STEPLOG_RECONCILE_AT have it done on a schedule.");
}

}  // namespace steplog::tools
