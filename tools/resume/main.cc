// workflow-resume: puts stuck instances, and those between attempts, back to work. It resolves what
// a person means by reading; what changes is done by the database's owner (common/owner.h).
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <set>
#include <thread>

#include "engine/commands.h"
#include "engine/inspect.h"
#include "engine/inspect_json.h"
#include "engine/inspect_redact.h"
#include "tools/common/cli.h"
#include "tools/common/named.h"
#include "tools/common/owner.h"
#include "tools/resume/pace.h"
#include "tools/resume/plan.h"

namespace steplog::tools {
namespace {

constexpr const char* program = "workflow-resume";
constexpr int batch_max = 200;  // in one transaction: the server's other work waits for it
constexpr std::size_t skipped_shown_max = 20;

constexpr const char* examples = R"(Examples:
  workflow-resume evt_1Abc                  any ending or beginning of an id that fits one instance
  workflow-resume --all --plan              what would be resumed, and which calls that means
  workflow-resume --all --error-code timeout --yes
  workflow-resume --all --workflow provision_customer --rate 10/s --yes

--all means stuck instances and those between attempts; an instance whose effect is in doubt is
resumed only by its id, because the step may then be repeated. The step at which an instance stood
gets fresh attempts; finished steps do not run again. With the server running this asks it through
the control socket (same user or root); without, it takes the database's lock and the instances go
on when the server starts. Exit codes: 0 done, 1 refused, not found or nothing named could be
resumed, 2 wrong usage.)";

struct Options {
    CommonOptions common;
    std::vector<std::string> ids;
    bool all = false, plan = false, yes = false;
    ResumeRequest filter;
    std::optional<Pace> pace;
};

// Rules between options that the parser cannot say.
std::string wrong_usage(const Options& options) {
    if (options.all && !options.ids.empty()) return "give ids or --all, not both";
    if (!options.all && options.ids.empty()) return "give ids, or --all";
    const ResumeRequest& filter = options.filter;
    if (!options.all &&
        (filter.state || filter.limit > 0 || filter.older_than || !filter.workflow.empty() ||
         !filter.step.empty() || !filter.error_code.empty()))
        return "--state, --workflow, --step, --error-code, --older-than and --limit go with --all";
    return "";
}

// What came of it so far; who was skipped is told once.
class Tally {
  public:
    void add(const Resumed& part) {
        total_.ids.insert(total_.ids.end(), part.ids.begin(), part.ids.end());
        for (const Resumed::Skipped& one : part.skipped)
            if (told_.insert(one.id).second) total_.skipped.push_back(one);
    }
    std::int64_t resumed() const { return static_cast<std::int64_t>(total_.ids.size()); }
    const Resumed& total() const { return total_; }

  private:
    Resumed total_;
    std::set<std::string> told_;
};

int batch_of(const Options& options) {
    return options.pace ? std::min(options.pace->batch, batch_max) : batch_max;
}

void pause_between_batches(const Options& options, const Owner& owner) {
    // Without a server nothing runs yet, so there is nobody to spare.
    if (options.pace && owner.served())
        std::this_thread::sleep_for(options.pace->pause * batch_of(options) / options.pace->batch);
}

Resumed resume_by(Owner& owner, const ResumeRequest& request) {
    return parse_resumed(owner.order(resume_command(request)));
}

void resume_named(Owner& owner, const Options& options, const std::vector<std::string>& ids,
                  Tally& tally) {
    const auto batch = static_cast<std::size_t>(batch_of(options));
    for (std::size_t begin = 0; begin < ids.size(); begin += batch) {
        if (begin > 0) pause_between_batches(options, owner);
        const auto end = std::min(ids.size(), begin + batch);
        tally.add(resume_by(owner, {.ids = {ids.begin() + static_cast<std::ptrdiff_t>(begin),
                                            ids.begin() + static_cast<std::ptrdiff_t>(end)}}));
    }
}

// By the same filters again and again, so that the owner's rules for a bulk hold until the end.
// What was touched since the beginning is left alone: an instance is resumed once, even if it fails
// again.
void resume_all(Owner& owner, const Options& options, std::int64_t eligible, const Clock& clock,
                Tally& tally) {
    const std::int64_t begun_at_ms = clock.now_ms();
    const Ms older_than = options.filter.older_than.value_or(Ms(0));
    while (tally.resumed() < eligible) {
        if (tally.resumed() > 0) pause_between_batches(options, owner);
        ResumeRequest request = options.filter;
        request.older_than =
            older_than + Ms(std::max<std::int64_t>(0, clock.now_ms() - begun_at_ms));
        request.limit =
            static_cast<int>(std::min<std::int64_t>(batch_of(options), eligible - tally.resumed()));
        const Resumed part = resume_by(owner, request);
        tally.add(part);
        if (part.ids.empty()) break;
    }
}

bool confirmed(std::size_t count) {
    if (isatty(STDIN_FILENO) != 1)
        throw Failure("a bulk resume wants a yes: look with --plan, then add --yes");
    std::cerr << fmt::format("Resume {} instance{}? [y/N] ", count, count == 1 ? "" : "s")
              << std::flush;
    std::string answer;
    std::getline(std::cin, answer);
    return answer == "y" || answer == "Y" || answer == "yes";
}

void print_result(const Options& options, const Resumed& resumed) {
    if (options.common.json) {
        print_line(dump({{"resumed", resumed.ids.size()},
                         {"ids", json_of_ids(resumed.ids)},
                         {"skipped", json_of_skipped(resumed.skipped)}}));
        return;
    }
    print_line(fmt::format("resumed {} instance{}", resumed.ids.size(),
                           resumed.ids.size() == 1 ? "" : "s"));
    if (resumed.skipped.empty()) return;
    print_line(fmt::format("skipped {}:", resumed.skipped.size()));
    const std::size_t shown = std::min(resumed.skipped.size(), skipped_shown_max);
    for (std::size_t i = 0; i < shown; ++i)
        print_line(fmt::format("  {}  {}", printable(redact_text(resumed.skipped[i].id)),
                               printable(redact_text(resumed.skipped[i].reason))));
    if (shown < resumed.skipped.size())
        print_line(
            fmt::format("  and {} more (--json lists them all)", resumed.skipped.size() - shown));
}

// What a look at the database says before anything is changed.
struct Look {
    std::filesystem::path database;
    Named named;
    Resumable resumable;
    std::optional<Plan> plan;
};

Look look_first(const Options& options, const Clock& clock) {
    // The reading connection ends with this function: whoever writes has the file to itself.
    Inspector inspector(options.common.database, clock);
    Look look{.database = inspector.path(),
              .named = resolve(inspector, options.ids, program),
              .resumable = {},
              .plan = {}};
    ResumeRequest request = options.filter;
    request.ids = look.named.ids;
    if (options.all || !request.ids.empty()) look.resumable = inspector.resumable(request);
    if (options.plan) {
        look.plan = make_plan(inspector, look.resumable);
        look.plan->skipped.insert(look.plan->skipped.end(), look.named.unknown.begin(),
                                  look.named.unknown.end());
    }
    return look;
}

int resume(const Options& options) {
    check_database_name(options.common.database);
    SystemClock clock;
    const Look look = look_first(options, clock);
    const bool all_known = look.named.unknown.empty();
    if (look.plan) {
        print(options.common.json ? dump(json_of(*look.plan), 2) + "\n" : render(*look.plan));
        return all_known ? exit_done : exit_failed;
    }
    const auto eligible = look.resumable.instances.size();
    if (options.all && !options.yes && !confirmed(eligible)) {
        complain(program, "nothing was resumed");
        return exit_failed;
    }

    Owner owner(look.database, program, clock);
    Tally tally;
    tally.add({.ids = {}, .skipped = look.named.unknown});
    if (options.all) {
        owner.keep_the_database();
        resume_all(owner, options, static_cast<std::int64_t>(eligible), clock, tally);
        tally.add({.ids = {}, .skipped = look.resumable.skipped});
    } else {
        resume_named(owner, options, look.named.ids, tally);
    }
    const Resumed& resumed = tally.total();
    print_result(options, resumed);
    if (!resumed.ids.empty() && !owner.served())
        complain(program, fmt::format("no server runs: they go on as soon as workflow-server "
                                      "starts{}",
                                      options.pace ? ", all at once: --rate needs a server" : ""));
    const bool nothing_named_resumed = !options.all && resumed.ids.empty();
    return !all_known || nothing_named_resumed ? exit_failed : exit_done;
}

}  // namespace

int run(int argc, char** argv) {
    CLI::App app("Puts stuck and retrying instances back to work.", program);
    Options options;
    add_common_options(app, options.common, program);
    app.footer(examples);
    app.add_option("ID", options.ids,
                   "instances, each by its id or any clear ending or beginning of it");
    app.add_flag("--all", options.all,
                 "all that are stuck or between attempts and match the filters");
    app.add_option_function<std::string>(
           "--state",
           [&options](const std::string& text) {
               options.filter.state = parse_state(text);
               if (options.filter.state != State::stuck && options.filter.state != State::sleeping)
                   throw CLI::ValidationError("--state", "wants stuck or sleeping");
           },
           "only those in this state: stuck or sleeping")
        ->type_name("STATE");
    app.add_option("--workflow", options.filter.workflow, "only of this workflow");
    app.add_option("--step", options.filter.step, "only those that stand at this step");
    app.add_option("--error-code", options.filter.error_code, "only with this error code");
    add_duration(app, "--older-than", options.filter.older_than,
                 "only those that nothing touched for so long");
    app.add_option("--limit", options.filter.limit, "at most so many")
        ->check(at_least(1))
        ->type_name("N");
    app.add_option_function<std::string>(
           "--rate",
           [&options](const std::string& text) {
               options.pace = parse_pace(text);
               if (!options.pace)
                   throw CLI::ValidationError("--rate", "wants a rate such as 10/s or 100/m");
           },
           "no faster than this, so that providers are spared: 10/s, 100/m")
        ->type_name("RATE");
    app.add_flag("--plan", options.plan,
                 "only say what would be resumed and which calls that means");
    app.add_flag("--yes", options.yes, "do not ask before a bulk");

    app.callback([&options] {
        const std::string wrong = wrong_usage(options);
        if (!wrong.empty()) throw CLI::ValidationError(wrong);
    });
    return run_program(program, app, argc, argv, [&] { return resume(options); });
}

}  // namespace steplog::tools

int main(int argc, char** argv) { return steplog::tools::run(argc, argv); }
