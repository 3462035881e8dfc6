// workflow-admin signal ID NAME: sends one instance a message that its workflow waits for, or will.
#include <fmt/format.h>

#include <memory>

#include "engine/commands.h"
#include "engine/inspect_json.h"
#include "engine/inspect_redact.h"
#include "tools/admin/verb.h"
#include "tools/common/named.h"

namespace steplog::tools {
namespace {

struct SignalOptions {
    std::string instance, name, payload = "null", dedupe_id;
};

int signal(Admin& admin, const SignalOptions& options) {
    const std::string payload = json_argument(options.payload, signal_bytes_max);
    const Named named = [&] {
        Inspector inspector(admin.common.database, admin.clock);
        return resolve(inspector, {options.instance}, admin_program);
    }();
    if (named.ids.empty()) return exit_failed;
    Owner owner = admin.owner();
    const Signalled signalled =
        parse_signalled(owner.order(signal_command({.instance = named.ids.front(),
                                                    .name = options.name,
                                                    .payload = payload,
                                                    .dedupe_id = options.dedupe_id,
                                                    .reason = admin.reason})));
    const std::string id = redact_text(named.ids.front());
    if (admin.common.json)
        print_line(dump({{"instance", id},
                         {"sent", !signalled.duplicate && signalled.refused.empty()},
                         {"duplicate", signalled.duplicate},
                         {"refused", signalled.refused}}));
    else if (!signalled.refused.empty())
        complain(admin_program, fmt::format("{}: {}", printable(id), signalled.refused));
    else
        print_line(fmt::format("{} {}", signalled.duplicate ? "was sent before to" : "sent to",
                               printable(id)));
    return signalled.refused.empty() ? exit_done : exit_failed;
}

}  // namespace

void add_signal(CLI::App& app, Admin& admin) {
    const auto options = std::make_shared<SignalOptions>();
    CLI::App* verb =
        add_verb(app, admin, "signal", "sends an instance a message that its workflow waits for",
                 [&admin, options] { return signal(admin, *options); });
    verb->add_option("ID", options->instance,
                     "the instance, by its id or any clear ending or beginning of it")
        ->required();
    verb->add_option("NAME", options->name, "the signal's name, as the workflow waits for it")
        ->required()
        ->check([](const std::string& text) {
            return text.empty() || text.size() > 255 ? std::string("wants 1 to 255 characters")
                                                     : std::string();
        });
    verb->add_option("--payload", options->payload,
                     "what it brings, as JSON; @FILE reads a file, - the standard input")
        ->check([](const std::string& text) {
            const bool elsewhere = text == "-" || text.starts_with('@');
            return elsewhere ? "" : why_not_json(text, signal_bytes_max);
        })
        ->type_name("JSON");
    verb->add_option("--id", options->dedupe_id,
                     "your own id for it: a second one with the same id changes nothing")
        ->check([](const std::string& text) {
            return text.size() > 255 ? std::string("wants at most 255 characters") : std::string();
        })
        ->type_name("TEXT");
    add_reason(*verb, admin);
    verb->footer(
        "A signal that nobody waits for yet is kept until somebody does. What others may see in "
        "the process list belongs into the standard input. Exit code 1 when the instance does not "
        "exist or has ended.");
}

}  // namespace steplog::tools
