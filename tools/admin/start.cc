// workflow-admin start WORKFLOW: starts an instance.
#include <fmt/format.h>

#include <memory>

#include "engine/commands.h"
#include "engine/inspect_json.h"
#include "engine/inspect_redact.h"
#include "engine/rfc3339.h"
#include "engine/run_id.h"
#include "engine/text.h"
#include "tools/admin/verb.h"

namespace steplog::tools {
namespace {

constexpr std::size_t input_bytes_max = 512 * 1024;

struct StartOptions {
    std::string workflow, id, key, input = "{}", delay, start_at, deadline;
    std::string id_conflict = "join", key_conflict = "queue";
    int version = newest_version;
    int priority = 0;
};

std::string fresh_id(const std::string& workflow) {
    SystemRandom random;
    return fmt::format("{}/{:016x}", workflow, random.next());
}

int start(Admin& admin, const StartOptions& options) {
    NewInstance instance{.id = options.id.empty() ? fresh_id(options.workflow) : options.id,
                         .workflow = options.workflow,
                         .version = options.version,
                         .key = options.key,
                         .input = json_argument(options.input, input_bytes_max),
                         .priority = options.priority,
                         .id_conflict = *parse_id_conflict(options.id_conflict),
                         .key_conflict = *parse_key_conflict(options.key_conflict),
                         .reason = admin.reason};
    if (!options.delay.empty()) instance.delay = parse_duration(options.delay).value_or(Ms(0));
    if (!options.start_at.empty()) instance.start_at_ms = parse_rfc3339(options.start_at);
    if (!options.deadline.empty()) instance.deadline = parse_duration(options.deadline);
    const Started started = parse_started(admin.owner().order(start_command(instance)));
    const std::string id = redact_text(started.id.empty() ? instance.id : started.id);
    const bool joined = started.exists && !instance.key.empty() && !started.id.empty() &&
                        first_run(started.id) != instance.id;
    const bool done = started.refused.empty() && !started.exists;
    if (admin.common.json)
        print_line(dump({{"instance", id},
                         {"started", done},
                         {"exists", started.exists},
                         {"refused", started.refused}}));
    else if (!started.refused.empty())
        complain(admin_program, started.refused);
    else if (joined)
        complain(admin_program, fmt::format("nothing was started: {} has the key {}", printable(id),
                                            printable(redact_text(instance.key))));
    else if (started.exists)
        complain(admin_program, fmt::format("{} was started before: workflow-inspect show {} says "
                                            "what became of it; another --id starts another one",
                                            printable(id), printable(id)));
    else
        print_line(fmt::format("started {}", printable(id)));
    return done ? exit_done : exit_failed;
}

}  // namespace

void add_start(CLI::App& app, Admin& admin) {
    const auto options = std::make_shared<StartOptions>();
    CLI::App* verb = add_verb(app, admin, "start", "starts an instance of a workflow",
                              [&admin, options] { return start(admin, *options); });
    verb->add_option("WORKFLOW", options->workflow, "the workflow's name")->required();
    verb->add_option("--id", options->id,
                     "the instance's id: a second one with the same id is not started; a fresh one "
                     "unless given")
        ->check([](const std::string& text) {
            return text.empty() || text.size() > 512 ? std::string("wants 1 to 512 characters")
                                                     : std::string();
        })
        ->type_name("TEXT");
    verb->add_option("--key", options->key, "its key: instances of one key run one after another")
        ->check([](const std::string& text) {
            return text.size() > 512 ? std::string("wants at most 512 characters") : std::string();
        })
        ->type_name("TEXT");
    verb->add_option("--input", options->input,
                     "its input, as JSON; @FILE reads a file, - the standard input")
        ->check([](const std::string& text) {
            const bool elsewhere = text == "-" || text.starts_with('@');
            return elsewhere ? "" : why_not_json(text, input_bytes_max);
        })
        ->type_name("JSON");
    verb->add_option("--version", options->version,
                     "the workflow's version; the newest unless given")
        ->check(CLI::Range(1, std::numeric_limits<int>::max()))
        ->type_name("N");
    verb->add_option("--delay", options->delay, "begin so much later, for example 30m")
        ->check([](const std::string& text) {
            return parse_duration(text) ? std::string()
                                        : std::string("wants a duration, for example 30m");
        })
        ->type_name("DURATION");
    verb->add_option("--start-at", options->start_at,
                     "begin not before this time, for example 2027-01-01T08:00:00Z")
        ->check([](const std::string& text) {
            return parse_rfc3339(text) ? std::string()
                                       : std::string(
                                             "wants a time with a zone, for example "
                                             "2027-01-01T08:00:00Z");
        })
        ->type_name("TIME");
    verb->add_option("--deadline", options->deadline,
                     "cancel it, and what it has started, unless it has ended so much later")
        ->check([](const std::string& text) {
            const auto deadline = parse_duration(text);
            return deadline && *deadline > Ms(0)
                       ? std::string()
                       : std::string("wants a duration of more than nothing, for example 2h");
        })
        ->type_name("DURATION");
    verb->add_option("--priority", options->priority,
                     "of what is due the highest goes first; 0 unless given")
        ->check(CLI::Range(-priority_max, priority_max))
        ->type_name("N");
    verb->add_option("--id-conflict", options->id_conflict,
                     "where the id is in use: join starts nothing, reject says so, replace cancels "
                     "that one and starts another run when it has ended")
        ->check(CLI::IsMember({"join", "reject", "replace"}))
        ->capture_default_str();
    verb->add_option("--key-conflict", options->key_conflict,
                     "where an unfinished instance has the key: queue waits, reject and join start "
                     "nothing, replace cancels it and those that wait for the key")
        ->check(CLI::IsMember({"queue", "reject", "join", "replace"}))
        ->capture_default_str();
    add_reason(*verb, admin);
    verb->footer(
        "With the server down the instance is kept, and begins when one starts that has the "
        "workflow. What others may see in the process list belongs into a file or the standard "
        "input. Exit code 1 when it exists already or the server has no such workflow.");
}

}  // namespace steplog::tools
