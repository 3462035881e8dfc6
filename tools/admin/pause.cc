// workflow-admin pause|unpause --provider P: holds a provider's breaker open by hand.
#include <fmt/format.h>

#include <memory>

#include "engine/commands.h"
#include "engine/inspect_json.h"
#include "engine/inspect_redact.h"
#include "tools/admin/verb.h"

namespace steplog::tools {
namespace {

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

}  // namespace

void add_pause(CLI::App& app, Admin& admin) {
    using Kind = ProviderChange::Kind;
    const auto add = [&](Kind kind, const char* help, const char* footer) {
        const auto provider = std::make_shared<std::string>();
        CLI::App* verb =
            add_verb(app, admin, std::string(to_string(kind)), help, [&admin, kind, provider] {
                return carry_out(admin, {.kind = kind, .provider = *provider});
            });
        verb->add_option("--provider", *provider, "its name, as the steps give it: stripe, clerk")
            ->required()
            ->type_name("P");
        add_reason(*verb, admin);
        verb->footer(footer);
    };
    add(Kind::pause, "calls a provider no more until it is unpaused",
        "Instances that come to a step of this provider are parked, through restarts; calls under "
        "way end. Exit code 1 when it is paused already.");
    add(Kind::unpause, "calls a provider again",
        "One parked instance tries first; when it has succeeded the others follow, a few at a "
        "time. Exit code 1 when it is not paused.");
}

}  // namespace steplog::tools
