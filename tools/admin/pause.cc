// workflow-admin pause|unpause: instances, all of a workflow, or the calls of a provider.
#include <fmt/format.h>

#include <memory>

#include "engine/commands.h"
#include "engine/inspect_json.h"
#include "engine/inspect_redact.h"
#include "tools/admin/verb.h"
#include "tools/common/named.h"
#include "tools/common/selection.h"

namespace steplog::tools {
namespace {

struct PauseOptions {
    bool pauses = true;
    std::vector<std::string> texts;
    std::string workflow, provider;

    const char* done() const { return pauses ? "paused" : "unpaused"; }
};

int carry_out(Admin& admin, ProviderChange change) {
    change.reason = admin.reason;
    const bool pauses = change.kind == ProviderChange::Kind::pause;
    const ProviderChanged changed =
        parse_provider_changed(admin.owner().order(provider_command(change)));
    const std::string provider = printable(redact_text(change.provider));
    if (!changed.refused.empty())
        throw Failure(fmt::format("the provider {} is not {}: {}", provider,
                                  pauses ? "paused" : "unpaused", changed.refused));
    if (admin.common.json)
        print_line(dump({{"provider", provider},
                         {"done", to_string(change.kind)},
                         {"parked", changed.parked}}));
    else
        print_line(fmt::format(
            "{} the provider {}: {} {} parked{}", pauses ? "paused" : "unpaused", provider,
            changed.parked, changed.parked == 1 ? "instance is" : "instances are",
            pauses || changed.parked == 0 ? "" : ", one tries now and the others follow"));
    return exit_done;
}

// A name that nobody knows may be about to be deployed, or a slip.
void tell_of_unknown(Admin& admin, const std::string& workflow) {
    Inspector inspector(admin.common.database, admin.clock);
    if (inspector.list({.workflow = workflow, .limit = 1}).empty())
        complain(admin_program, fmt::format("the database knows no instance of a workflow {}: it "
                                            "is paused all the same",
                                            printable(redact_text(workflow))));
}

int pause_workflow(Admin& admin, const PauseOptions& options) {
    using Kind = OperateRequest::Kind;
    if (options.pauses) tell_of_unknown(admin, options.workflow);
    const Operated operated = parse_operated(admin.owner().order(
        operation_command({.kind = options.pauses ? Kind::pause_workflow : Kind::unpause_workflow,
                           .ids = {options.workflow},
                           .reason = admin.reason})));
    const std::string workflow = printable(redact_text(options.workflow));
    if (operated.ids.empty())
        throw Failure(fmt::format(
            "the workflow {} is not {}: {}", workflow, options.done(),
            operated.skipped.empty() ? "it was not found" : operated.skipped.front().reason));
    if (admin.common.json)
        print_line(dump({{"workflow", workflow}, {"done", options.pauses ? "pause" : "unpause"}}));
    else
        print_line(fmt::format("{} the workflow {}{}", options.done(), workflow,
                               options.pauses ? ": what runs ends its turn, and nothing else of it "
                                                "begins until it is unpaused"
                                              : ": what is due goes on now"));
    return exit_done;
}

int pause_instances(Admin& admin, const PauseOptions& options) {
    using Kind = OperateRequest::Kind;
    // The reading connection ends with this statement: whoever writes has the file to itself.
    const Named named = [&] {
        Inspector inspector(admin.common.database, admin.clock);
        return resolve(inspector, options.texts, admin_program);
    }();
    Operated operated;
    if (!named.ids.empty())
        operated = parse_operated(admin.owner().order(
            operation_command({.kind = options.pauses ? Kind::pause : Kind::unpause,
                               .ids = named.ids,
                               .reason = admin.reason})));
    operated.skipped.insert(operated.skipped.begin(), named.unknown.begin(), named.unknown.end());
    if (admin.common.json) {
        print_line(dump({{options.done(), operated.ids.size()},
                         {"ids", json_of_ids(operated.ids)},
                         {"requested", json_of_ids(operated.requested)},
                         {"skipped", json_of_skipped(operated.skipped)}}));
    } else {
        print_line(fmt::format("{} {} instance{}", options.done(), operated.ids.size(),
                               operated.ids.size() == 1 ? "" : "s"));
        for (const std::string& id : operated.requested)
            print_line(fmt::format("  {}  stops before its next step", printable(redact_text(id))));
        print_skipped(operated.skipped);
    }
    const bool nothing_done = operated.ids.empty() && operated.requested.empty();
    return !named.unknown.empty() || nothing_done ? exit_failed : exit_done;
}

int carry_out(Admin& admin, const PauseOptions& options) {
    if (!options.provider.empty())
        return carry_out(admin, {.kind = options.pauses ? ProviderChange::Kind::pause
                                                        : ProviderChange::Kind::unpause,
                                 .provider = options.provider});
    return options.workflow.empty() ? pause_instances(admin, options)
                                    : pause_workflow(admin, options);
}

std::string wrong_usage_of(const PauseOptions& options) {
    const int given = static_cast<int>(!options.texts.empty()) +
                      static_cast<int>(!options.workflow.empty()) +
                      static_cast<int>(!options.provider.empty());
    return given == 1 ? "" : "give ids, or --workflow, or --provider: one of them";
}

void add(CLI::App& app, Admin& admin, bool pauses, const char* help, const char* footer) {
    const auto options = std::make_shared<PauseOptions>(PauseOptions{.pauses = pauses});
    CLI::App* verb = add_verb(
        app, admin, pauses ? "pause" : "unpause", help,
        [&admin, options] { return carry_out(admin, *options); },
        [options] { return wrong_usage_of(*options); });
    verb->add_option("ID", options->texts,
                     "instances, each by its id or any clear ending or beginning of it");
    verb->add_option("--workflow", options->workflow, "all of this workflow, also what comes later")
        ->type_name("W");
    verb->add_option("--provider", options->provider,
                     "the calls of this provider, as the steps give it: stripe, clerk")
        ->type_name("P");
    add_reason(*verb, admin);
    verb->footer(footer);
}

}  // namespace

void add_pause(CLI::App& app, Admin& admin) {
    add(app, admin, true, "lets instances, a workflow or a provider rest until they are unpaused",
        "An instance keeps its place; one that runs stops before it begins its next step. Of a "
        "workflow nothing more is begun, and what is started meanwhile is accepted and waits. "
        "Instances that come to a step of a paused provider are parked. All of it holds through "
        "restarts; calls under way end. Exit code 1 when one of the named does not exist, or "
        "nothing was paused.");
    add(app, admin, false, "lets them go on from where they stood",
        "A time that has passed meanwhile counts from when it was set: what is due goes on at "
        "once. Of those parked by a provider one tries first; when it has succeeded the others "
        "follow, a few at a time. Exit code 1 when one of the named does not exist, or nothing "
        "was unpaused.");
}

}  // namespace steplog::tools
