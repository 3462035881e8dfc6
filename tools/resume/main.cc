// workflow-resume: puts stuck instances, and those between attempts, back to work. It resolves what
// a person means by reading; what changes is done by the database's owner (common/owner.h).
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "engine/commands.h"
#include "engine/inspect.h"
#include "engine/inspect_json.h"
#include "tools/common/cli.h"
#include "tools/common/named.h"
#include "tools/common/owner.h"
#include "tools/common/selection.h"

namespace steplog::tools {
namespace {

constexpr const char* program = "workflow-resume";

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

const Deed deed = {"resume", "resumed"};

struct Options {
    CommonOptions common;
    Selection selection;

    ResumeRequest filter() const {
        const InstanceFilter& filter = selection.filter;
        return {.state = filter.state,
                .workflow = filter.workflow,
                .step = filter.step,
                .error_code = filter.error_code,
                .older_than = filter.older_than,
                .limit = filter.limit};
    }
};

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

Resumed resume_by(Owner& owner, const ResumeRequest& request) {
    return parse_resumed(owner.order(resume_command(request)));
}

void resume_named(Owner& owner, const Options& options, const std::vector<std::string>& ids,
                  Tally& tally) {
    const auto lot = static_cast<std::size_t>(lot_of(options.selection));
    for (std::size_t begin = 0; begin < ids.size(); begin += lot) {
        if (begin > 0) pause_before_next_lot(options.selection, owner);
        const auto end = std::min(ids.size(), begin + lot);
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
    const Ms older_than = options.selection.filter.older_than.value_or(Ms(0));
    while (tally.resumed() < eligible) {
        if (tally.resumed() > 0) pause_before_next_lot(options.selection, owner);
        ResumeRequest request = options.filter();
        request.older_than =
            older_than + Ms(std::max<std::int64_t>(0, clock.now_ms() - begun_at_ms));
        request.limit = static_cast<int>(
            std::min<std::int64_t>(lot_of(options.selection), eligible - tally.resumed()));
        const Resumed part = resume_by(owner, request);
        tally.add(part);
        if (part.ids.empty()) break;
    }
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
    print_skipped(resumed.skipped);
}

// What a look at the database says before anything is changed.
struct Look {
    std::filesystem::path database;
    Named named;
    Resumable resumable;
    std::optional<Plan> plan;
};

Look look_first(const Options& options, const Clock& clock) {
    const Selection& selection = options.selection;
    // The reading connection ends with this function: whoever writes has the file to itself.
    Inspector inspector(options.common.database, clock);
    Look look{.database = inspector.path(),
              .named = resolve(inspector, selection.texts, program),
              .resumable = {},
              .plan = {}};
    ResumeRequest request = options.filter();
    request.ids = look.named.ids;
    if (selection.all || !request.ids.empty()) look.resumable = inspector.resumable(request);
    if (!selection.plan) return look;
    look.plan = Plan{.deed = deed, .skipped = look.resumable.skipped};
    look.plan->skipped.insert(look.plan->skipped.end(), look.named.unknown.begin(),
                              look.named.unknown.end());
    for (const InstanceRow& row : look.resumable.instances)
        look.plan->add(inspector, row, Brings::going_on);
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
    const bool all = options.selection.all;
    if (all && !confirmed(options.selection, deed, eligible)) {
        complain(program, "nothing was resumed");
        return exit_failed;
    }

    Owner owner(look.database, program, clock);
    Tally tally;
    tally.add({.ids = {}, .skipped = look.named.unknown});
    if (all) {
        owner.keep_the_database();
        resume_all(owner, options, static_cast<std::int64_t>(eligible), clock, tally);
        tally.add({.ids = {}, .skipped = look.resumable.skipped});
    } else {
        resume_named(owner, options, look.named.ids, tally);
    }
    const Resumed& resumed = tally.total();
    print_result(options, resumed);
    if (!resumed.ids.empty() && !owner.served())
        complain(program,
                 fmt::format("no server runs: they go on as soon as workflow-server "
                             "starts{}",
                             options.selection.pace ? ", all at once: --rate needs a server" : ""));
    const bool nothing_named_resumed = !all && resumed.ids.empty();
    return !all_known || nothing_named_resumed ? exit_failed : exit_done;
}

}  // namespace

int run(int argc, char** argv) {
    CLI::App app("Puts stuck and retrying instances back to work.", program);
    Options options;
    add_common_options(app, options.common, program);
    app.footer(examples);
    add_selection(app, options.selection, deed,
                  "all that are stuck or between attempts and match the filters",
                  {State::stuck, State::sleeping});

    app.callback([&options] {
        const std::string wrong = wrong_usage(options.selection);
        if (!wrong.empty()) throw CLI::ValidationError(wrong);
    });
    return run_program(program, app, argc, argv, [&] { return resume(options); });
}

}  // namespace steplog::tools

int main(int argc, char** argv) { return steplog::tools::run(argc, argv); }
