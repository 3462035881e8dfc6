// workflow-admin fork: a new instance that has what another had finished, and goes on at one of its
// steps.
#include <fmt/format.h>

#include <memory>

#include "engine/commands.h"
#include "engine/inspect_json.h"
#include "engine/inspect_redact.h"
#include "tools/admin/verb.h"
#include "tools/common/named.h"

namespace steplog::tools {
namespace {

struct ForkOptions {
    std::string instance, from, new_id;
    bool cancel_old = false, plan = false;
};

// The reading connection ends with this function: whoever writes has the file to itself.
std::vector<Inspector::Step> look_at(Admin& admin, const ForkOptions& options, Named& named) {
    Inspector inspector(admin.common.database, admin.clock);
    named = resolve(inspector, {options.instance}, admin_program);
    if (named.ids.empty()) return {};
    return inspector.steps(inspector.find(named.ids.front()));
}

int tell_plan(const Admin& admin, const ForkOptions& options, const std::string& id,
              const std::vector<Inspector::Step>& steps) {
    Json kept = Json::array(), anew = Json::array();
    bool before = true;
    for (const Inspector::Step& step : steps) {
        if (step.name == options.from) before = false;
        if (!before || !step.finished) anew.push_back(redact_text(step.name));
        if (before && step.finished) kept.push_back(redact_text(step.name));
    }
    if (before)
        throw Failure(fmt::format("{} has begun no step {}: workflow-inspect show has its steps",
                                  printable(id), printable(redact_text(options.from))));
    if (admin.common.json) {
        print_line(dump({{"would_fork", id}, {"keeps", kept}, {"calls_anew", anew}}));
        return exit_done;
    }
    const auto listed = [](const Json& names) {
        std::string text;
        for (const Json& name : names)
            text += (text.empty() ? "" : ", ") + printable(name.get<std::string>());
        return text.empty() ? "nothing" : text;
    };
    print_line(fmt::format("would fork {}; nothing was changed", printable(id)));
    print_line("  keeps the results of  " + listed(kept));
    print_line("  calls again           " + listed(anew));
    print_line(
        "  under other idempotency keys, because its id is another: what a provider has done for "
        "the old one it does again, unless the step has a once key or a probe");
    return exit_done;
}

int fork(Admin& admin, const ForkOptions& options) {
    Named named;
    const std::vector<Inspector::Step> steps = look_at(admin, options, named);
    if (named.ids.empty()) return exit_failed;
    const std::string id = redact_text(named.ids.front());
    if (options.plan) return tell_plan(admin, options, id, steps);
    const Operated operated =
        parse_operated(admin.owner().order(operation_command({.kind = OperateRequest::Kind::fork,
                                                              .ids = named.ids,
                                                              .step = options.from,
                                                              .new_id = options.new_id,
                                                              .cancel_old = options.cancel_old,
                                                              .reason = admin.reason})));
    const std::string refused =
        operated.skipped.empty() ? "" : redact_text(operated.skipped.front().reason);
    const std::string fresh = operated.ids.empty() ? "" : redact_text(operated.ids.front());
    if (admin.common.json)
        print_line(dump({{"instance", id},
                         {"forked_to", fresh.empty() ? Json(nullptr) : Json(fresh)},
                         {"refused", refused}}));
    else if (fresh.empty())
        complain(admin_program, fmt::format("{}: {}", printable(id), printable(refused)));
    else
        print_line(fmt::format("forked {} to {}: it goes on at {}", printable(id), printable(fresh),
                               printable(redact_text(options.from))));
    return fresh.empty() ? exit_failed : exit_done;
}

}  // namespace

void add_fork(CLI::App& app, Admin& admin) {
    const auto options = std::make_shared<ForkOptions>();
    CLI::App* verb = add_verb(app, admin, "fork",
                              "starts a copy of an instance that goes on at one of its steps",
                              [&admin, options] { return fork(admin, *options); });
    verb->add_option("ID", options->instance,
                     "the instance, by its id or any clear ending or beginning of it")
        ->required();
    verb->add_option("--from", options->from, "the step, as workflow-inspect show names it")
        ->required()
        ->type_name("STEP");
    verb->add_option("--id", options->new_id, "the new one's id; else ID/fork/1")->type_name("NEW");
    verb->add_flag("--cancel-old", options->cancel_old,
                   "end the old one, taking nothing back, where it has not ended");
    verb->add_flag("--plan", options->plan, "only say what would be kept and what called again");
    add_reason(*verb, admin);
    verb->footer(
        "What was finished before the step keeps its result; the step and all that follows it run "
        "again. Their idempotency keys are others, because the id is: what a provider has done "
        "for the old one it does again, unless the step has a once key or a probe. The old one "
        "must have ended or be stuck, or --cancel-old ends it. Exit code 1 when it is refused: the "
        "reason says what to do.");
}

}  // namespace steplog::tools
