// workflow-inspect: looks at a Steplog database and never changes anything. The verbs are thin: the
// engine's Inspector reads, render.cc prints for people, engine/inspect_json.cc for programs.
#include <fmt/format.h>

#include <chrono>
#include <thread>

#include "engine/inspect.h"
#include "engine/inspect_json.h"
#include "engine/rfc3339.h"
#include "engine/text.h"
#include "tools/common/check_report.h"
#include "tools/common/cli.h"
#include "tools/inspect/render.h"

namespace steplog::tools {
namespace {

constexpr const char* program = "workflow-inspect";
constexpr int exit_some_are_stuck = 3;
constexpr int rows_for_people = 50;
constexpr int rows_watched = 20;
constexpr int times_shown = 5;

constexpr const char* examples = R"(Examples:
  workflow-inspect list --state stuck --older-than 1h
  workflow-inspect stuck --exit-code || page-somebody
  workflow-inspect show evt_1Abc            any ending or beginning of an id that fits one instance
  workflow-inspect why evt_1Abc
  workflow-inspect customer cus_123 --json
  workflow-inspect events --unrouted
  workflow-inspect --database /backups/steplog.db check

It opens the database read-only: safe beside a live server, after a crash, and on a copy. E-mail
addresses, names and the like are hidden. Exit codes: 0 done, 1 not found, unreadable or a promise
broken, 2 wrong usage, 3 stuck --exit-code found some.)";

// The time that ages are counted from: now, or the one that --now names (for a copy of yesterday).
class ChosenClock : public Clock {
  public:
    std::int64_t now_ms() const override { return chosen_ms_ ? *chosen_ms_ : system_.now_ms(); }
    void choose(std::int64_t now_ms) { chosen_ms_ = now_ms; }

  private:
    SystemClock system_;
    std::optional<std::int64_t> chosen_ms_;
};

struct Options {
    CommonOptions common;
    InstanceFilter filter;
    std::optional<int> limit;
    std::string id;
    bool exit_code = false, unrouted = false;
    std::optional<Ms> interval;
    int rounds = 0;
};

template <class Rows>
void print_array(const Rows& rows) {
    print("[");
    for (std::size_t i = 0; i < rows.size(); ++i)
        print((i == 0 ? "\n" : ",\n") + dump(json_of(rows[i])));
    print_line(rows.empty() ? "]" : "\n]");
}

// People get the newest few and a hint; programs get everything unless they ask for less.
int limit_of(const Options& options) {
    if (options.limit) return *options.limit;
    return options.common.json ? 0 : rows_for_people + 1;
}

template <class Rows>
bool cut_for_people(const Options& options, Rows& rows) {
    if (options.limit || options.common.json || rows.size() <= rows_for_people) return false;
    rows.resize(rows_for_people);
    return true;
}

void hint_at_more() {
    complain(program, fmt::format("these are the newest {}: --limit N shows more, --limit 0 all",
                                  rows_for_people));
}

int list(Inspector& inspector, const Clock& clock, const Options& options) {
    InstanceFilter filter = options.filter;
    filter.limit = limit_of(options);
    auto rows = inspector.list(filter);
    const bool cut = cut_for_people(options, rows);
    if (options.common.json)
        print_array(rows);
    else
        print(render_list(rows, clock.now_ms()));
    if (cut) hint_at_more();
    return exit_done;
}

int stuck(Inspector& inspector, const Clock& clock, const Options& options) {
    const auto found = inspector.stuck();
    if (options.common.json)
        print_array(found);
    else
        print(render_stuck(found, clock.now_ms()));
    return options.exit_code && !found.empty() ? exit_some_are_stuck : exit_done;
}

int show(Inspector& inspector, const Clock& clock, const Options& options) {
    const InstanceDetail detail = inspector.show(options.id);
    if (options.common.json)
        print_line(dump(json_of(detail), 2));
    else
        print(render_show(detail, clock.now_ms()));
    return exit_done;
}

int why(Inspector& inspector, const Clock&, const Options& options) {
    const Inspector::Why found = inspector.why(options.id);
    if (options.common.json)
        print_line(dump(json_of(found), 2));
    else
        print_line(found.explanation.sentence);
    return exit_done;
}

int stats(Inspector& inspector, const Clock& clock, const Options& options) {
    const Stats found = inspector.stats();
    if (options.common.json)
        print_line(dump(json_of(found, clock.now_ms()), 2));
    else
        print(render_stats(found, clock.now_ms()));
    return exit_done;
}

int events(Inspector& inspector, const Clock&, const Options& options) {
    auto found = inspector.events(options.unrouted, limit_of(options));
    const bool cut = cut_for_people(options, found);
    if (options.common.json)
        print_array(found);
    else
        print(render_events(found));
    if (cut) hint_at_more();
    return exit_done;
}

int schedules(Inspector& inspector, const Clock& clock, const Options& options) {
    const auto found = inspector.schedules(times_shown);
    if (options.common.json)
        print_array(found);
    else
        print(render_schedules(found, clock.now_ms()));
    return exit_done;
}

int versions(Inspector& inspector, const Clock& clock, const Options& options) {
    const auto found = inspector.versions();
    if (options.common.json)
        print_array(found);
    else
        print(render_versions(found, clock.now_ms()));
    return exit_done;
}

int customer(Inspector& inspector, const Clock& clock, const Options& options) {
    const CustomerView view = inspector.customer(options.id);
    if (options.common.json)
        print_line(dump(json_of(view), 2));
    else
        print(render_customer(view, clock.now_ms()));
    return exit_done;
}

int check(Inspector& inspector, const Clock&, const Options& options) {
    const CheckReport report = inspector.check();
    if (options.common.json)
        print_line(dump(json_of(report), 2));
    else
        print(render_check(report));
    if (!report.holds())
        complain(program,
                 "a promise is broken: keep a copy of the database and its -wal file, then restore "
                 "a backup or ask for help with this output");
    return report.holds() ? exit_done : exit_failed;
}

std::string one_look(Inspector& inspector, const Clock& clock) {
    std::string text =
        fmt::format("{}  {}\n\n", inspector.path().string(), format_rfc3339(clock.now_ms()));
    text += render_stats(inspector.stats(), clock.now_ms()) + "\n";
    return text + render_list(inspector.list({.limit = rows_watched}), clock.now_ms());
}

int watch(Inspector& inspector, const Clock& clock, const Options& options) {
    constexpr const char* clear_screen = "\x1b[H\x1b[2J\x1b[3J";
    const bool on_terminal = terminal_width() > 0;
    for (int round = 1;; ++round) {
        if (options.common.json)
            print_line(dump(json_of(inspector.stats(), clock.now_ms())));
        else
            print((on_terminal ? clear_screen : "") + one_look(inspector, clock));
        if (std::fflush(stdout) != 0 || round == options.rounds) return exit_done;
        std::this_thread::sleep_for(options.interval.value_or(std::chrono::seconds(1)));
    }
}

using Verb = int (*)(Inspector&, const Clock&, const Options&);

}  // namespace

int run(int argc, char** argv) {
    CLI::App app("Looks at a Steplog database: what runs, what waits, what is stuck and why.",
                 program);
    Options options;
    ChosenClock clock;
    add_common_options(app, options.common, program);
    app.footer(examples);
    app.fallthrough();
    app.require_subcommand(1);
    app.add_option_function<std::string>(
           "--now",
           [&clock](const std::string& text) {
               const auto at_ms = parse_rfc3339(text);
               if (!at_ms)
                   throw CLI::ValidationError("--now", "wants a time such as 2026-01-31T12:00:00Z");
               clock.choose(*at_ms);
           },
           "count ages from this time (for a copy made then)")
        ->type_name("TIME");

    Verb chosen = nullptr;
    const auto add_verb = [&](const char* name, const char* help, Verb verb) {
        CLI::App* command = app.add_subcommand(name, help);
        command->callback([&chosen, verb] { chosen = verb; });
        return command;
    };
    const auto add_limit = [&](CLI::App* command) {
        command
            ->add_option("--limit", options.limit,
                         "at most so many, newest first; 0: all (people see 50)")
            ->check(at_least(0))
            ->type_name("N");
    };
    const auto add_id = [&](CLI::App* command, const char* name, const char* help) {
        command->add_option(name, options.id, help)->required();
    };

    CLI::App* list_verb = add_verb("list", "instances, newest first", list);
    list_verb
        ->add_option_function<std::string>(
            "--state",
            [&options](const std::string& text) {
                options.filter.state = parse_state(text);
                if (!options.filter.state)
                    throw CLI::ValidationError(
                        "--state",
                        "wants pending, queued, running, sleeping, waiting, stuck, "
                        "completed, failed or cancelled");
            },
            "only those in this state")
        ->type_name("STATE");
    list_verb->add_option("--workflow", options.filter.workflow, "only of this workflow");
    list_verb->add_option("--key", options.filter.key, "only of this key");
    list_verb->add_option("--step", options.filter.step, "only those that stand at this step");
    list_verb->add_option("--error-code", options.filter.error_code, "only with this error code");
    add_duration(*list_verb, "--older-than", options.filter.older_than,
                 "only those that nothing touched for so long");
    add_limit(list_verb);

    add_verb("stuck", "those that wait for a person, with why", stuck)
        ->add_flag("--exit-code", options.exit_code, "exit 3 if there are any");
    add_id(add_verb("show", "one instance: state, step log, input", show), "ID",
           "an id, or its ending or beginning");
    add_id(add_verb("why", "one sentence: what it waits for and what happens next", why), "ID",
           "an id, or its ending or beginning");
    add_verb("stats", "counts by state, ages, rates, sizes", stats);
    add_id(add_verb("customer", "all events, instances and effects of one customer", customer),
           "CUS_ID", "the customer's id");
    CLI::App* events_verb = add_verb("events", "the inbox, newest first", events);
    events_verb->add_flag("--unrouted", options.unrouted, "only what became no instance");
    add_limit(events_verb);
    add_verb("schedules", "what the clock starts, and when next", schedules);
    add_verb("versions", "which versions of workflows have unfinished instances", versions)
        ->footer(
            "Safe to remove from the program is a version without unfinished instances that no "
            "schedule starts and that is not the newest here. Who starts one by its number, as a "
            "parent may its children, is not known here.");
    add_verb("check", "integrity and the engine's promises; exit 1 where one is broken", check)
        ->footer(
            "Reads everything in one transaction: on a big database the server's write-ahead log "
            "grows "
            "meanwhile. Rather check a backup.");
    CLI::App* watch_verb = add_verb("watch", "a live view, until interrupted", watch);
    add_duration(*watch_verb, "--interval", options.interval, "between looks (1s)");
    watch_verb->add_option("--rounds", options.rounds, "end after so many looks")
        ->check(at_least(1));

    return run_program(program, app, argc, argv, [&] {
        check_database_name(options.common.database);
        Inspector inspector(options.common.database, clock, "", encryption_keys());
        return chosen(inspector, clock, options);
    });
}

}  // namespace steplog::tools

int main(int argc, char** argv) { return steplog::tools::run(argc, argv); }
