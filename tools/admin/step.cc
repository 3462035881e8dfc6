// workflow-admin skip and fail: a person's word on a step of an instance that stands still.
#include <fmt/format.h>

#include <memory>

#include "engine/commands.h"
#include "engine/inspect_json.h"
#include "engine/inspect_redact.h"
#include "tools/admin/verb.h"
#include "tools/common/named.h"

namespace steplog::tools {
namespace {

constexpr std::size_t result_bytes_max = 512 * 1024;
constexpr std::size_t message_length_max = 1000;

struct StepOptions {
    std::string instance, step, result, code = "decided", message;
};

int decide(Admin& admin, const StepOptions& options, const char* done) {
    StepDecision decision{.step = options.step,
                          .code = options.code,
                          .message = options.message,
                          .reason = admin.reason};
    if (!options.result.empty()) decision.result = json_argument(options.result, result_bytes_max);
    // The reading connection ends with this statement: whoever writes has the file to itself.
    const Named named = [&] {
        Inspector inspector(admin.common.database, admin.clock);
        return resolve(inspector, {options.instance}, admin_program);
    }();
    if (named.ids.empty()) return exit_failed;
    decision.instance = named.ids.front();
    const StepDecided decided = parse_step_decided(admin.owner().order(decide_command(decision)));
    const std::string id = redact_text(named.ids.front());
    if (admin.common.json)
        print_line(dump({{"instance", id},
                         {"step", options.step},
                         {"done", decided.refused.empty()},
                         {"refused", decided.refused}}));
    else if (!decided.refused.empty())
        complain(admin_program, fmt::format("{}: {}; workflow-inspect show {} has its steps",
                                            printable(id), decided.refused, printable(id)));
    else
        print_line(
            fmt::format("{} {} of {}: it goes on", done, printable(options.step), printable(id)));
    return decided.refused.empty() ? exit_done : exit_failed;
}

void add_target(CLI::App& verb, StepOptions& options) {
    verb.add_option("ID", options.instance,
                    "the instance, by its id or any clear ending or beginning of it")
        ->required();
    verb.add_option("--step", options.step, "the step, as workflow-inspect show names it")
        ->required()
        ->check([](const std::string& text) {
            return text.empty() || text.size() > 255 ? std::string("wants 1 to 255 characters")
                                                     : std::string();
        });
}

constexpr const char* when =
    "Only for a step that was tried and has no end yet, while its instance is stuck or sleeps "
    "between attempts. Exit code 1 when it is refused: the reason says what to do.";

}  // namespace

void add_skip(CLI::App& app, Admin& admin) {
    const auto options = std::make_shared<StepOptions>();
    CLI::App* verb = add_verb(app, admin, "skip", "takes a step as done, with the result given",
                              [&admin, options] { return decide(admin, *options, "skipped"); });
    add_target(*verb, *options);
    verb->add_option("--result", options->result,
                     "the result that the step would have had, as JSON; @FILE reads a file, - the "
                     "standard input")
        ->required()
        ->check([](const std::string& text) {
            const bool elsewhere = text == "-" || text.starts_with('@');
            return elsewhere ? "" : why_not_json(text, result_bytes_max);
        })
        ->type_name("JSON");
    add_reason(*verb, admin);
    verb->footer(std::string("The step is not called again; what its workflow does with the result "
                             "it does with this one. ") +
                 when);
}

void add_fail(CLI::App& app, Admin& admin) {
    const auto options = std::make_shared<StepOptions>();
    CLI::App* verb = add_verb(app, admin, "fail", "takes a step as failed for good",
                              [&admin, options] { return decide(admin, *options, "failed"); });
    add_target(*verb, *options);
    verb->add_option("--message", options->message, "why, for whoever reads it: nothing personal")
        ->required()
        ->check([](const std::string& text) {
            return text.empty() || text.size() > message_length_max
                       ? std::string("wants 1 to 1000 characters")
                       : std::string();
        })
        ->type_name("TEXT");
    verb->add_option("--code", options->code, "a short code that the workflow may ask for")
        ->check([](const std::string& text) {
            return text.empty() || text.size() > 100 ? std::string("wants 1 to 100 characters")
                                                     : std::string();
        })
        ->capture_default_str();
    add_reason(*verb, admin);
    verb->footer(std::string("The workflow sees that the step failed and does what it does then: "
                             "another way, taking back, or an end as failed or stuck. ") +
                 when);
}

}  // namespace steplog::tools
