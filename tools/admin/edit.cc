// workflow-admin edit: another input for an instance that is stuck.
#include <fmt/format.h>

#include <memory>

#include "engine/commands.h"
#include "engine/inspect_json.h"
#include "engine/inspect_redact.h"
#include "tools/admin/verb.h"
#include "tools/common/named.h"

namespace steplog::tools {
namespace {

struct EditOptions {
    std::string instance, input;
};

int edit(Admin& admin, const EditOptions& options) {
    const std::string input = json_argument(options.input, operation_bytes_max);
    // The reading connection ends with this statement: whoever writes has the file to itself.
    const Named named = [&] {
        Inspector inspector(admin.common.database, admin.clock);
        return resolve(inspector, {options.instance}, admin_program);
    }();
    if (named.ids.empty()) return exit_failed;
    const Operated operated =
        parse_operated(admin.owner().order(operation_command({.kind = OperateRequest::Kind::edit,
                                                              .ids = named.ids,
                                                              .payload = input,
                                                              .reason = admin.reason})));
    const std::string id = redact_text(named.ids.front());
    const std::string refused =
        operated.skipped.empty() ? "" : redact_text(operated.skipped.front().reason);
    if (admin.common.json)
        print_line(dump({{"instance", id}, {"done", refused.empty()}, {"refused", refused}}));
    else if (!refused.empty())
        complain(admin_program, fmt::format("{}: {}", printable(id), printable(refused)));
    else
        print_line(
            fmt::format("edited the input of {0}: to go on with it, run: workflow-resume "
                        "{0}",
                        printable(id)));
    return refused.empty() ? exit_done : exit_failed;
}

}  // namespace

void add_edit(CLI::App& app, Admin& admin) {
    const auto options = std::make_shared<EditOptions>();
    CLI::App* verb = add_verb(app, admin, "edit", "gives a stuck instance another input",
                              [&admin, options] { return edit(admin, *options); });
    verb->add_option("ID", options->instance,
                     "the instance, by its id or any clear ending or beginning of it")
        ->required();
    verb->add_option("--input", options->input,
                     "the input, whole, as JSON; @FILE reads a file, - the standard input")
        ->required()
        ->check([](const std::string& text) {
            const bool elsewhere = text == "-" || text.starts_with('@');
            return elsewhere ? "" : why_not_json(text, operation_bytes_max);
        })
        ->type_name("JSON");
    add_reason(*verb, admin);
    verb->footer(
        "The input before it stays in the log, and forgetting the customer erases both. Finished "
        "steps keep their results, and are not called again: only what comes after them sees the "
        "new input. Steps that were refused are asked for anew, under another idempotency key. "
        "Refused while a step is in doubt. Exit code 1 when it is refused: the reason says what "
        "to do.");
}

}  // namespace steplog::tools
