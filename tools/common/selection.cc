#include "tools/common/selection.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <thread>

#include "engine/inspect_json.h"
#include "engine/inspect_redact.h"

namespace steplog::tools {
namespace {

constexpr std::size_t skipped_shown_max = 20;

void add_state(CLI::App& app, Selection& selection, const std::vector<State>& states) {
    std::vector<std::string_view> words;
    for (const State state : states) words.push_back(to_string(state));
    const std::string choice =
        words.size() == 1 ? std::string(words.front())
                          : fmt::format("{} or {}", fmt::join(words.begin(), words.end() - 1, ", "),
                                        words.back());
    app.add_option_function<std::string>(
           "--state",
           [&selection, states, choice](const std::string& text) {
               selection.filter.state = parse_state(text);
               const bool known = selection.filter.state && std::count(states.begin(), states.end(),
                                                                       *selection.filter.state) > 0;
               if (!known) throw CLI::ValidationError("--state", "wants " + choice);
           },
           "only those in this state: " + choice)
        ->type_name("STATE");
}

void add_rate(CLI::App& app, Selection& selection) {
    app.add_option_function<std::string>(
           "--rate",
           [&selection](const std::string& text) {
               selection.pace = parse_pace(text);
               if (!selection.pace)
                   throw CLI::ValidationError("--rate", "wants a rate such as 10/s or 100/m");
           },
           "no faster than this, so that providers are spared: 10/s, 100/m")
        ->type_name("RATE");
}

}  // namespace

void add_selection(CLI::App& app, Selection& selection, const Deed& deed, const std::string& which,
                   const std::vector<State>& states) {
    app.add_option("ID", selection.texts,
                   "instances, each by its id or any clear ending or beginning of it");
    app.add_flag("--all", selection.all, which);
    add_state(app, selection, states);
    app.add_option("--workflow", selection.filter.workflow, "only of this workflow");
    app.add_option("--step", selection.filter.step, "only those that stand at this step");
    app.add_option("--error-code", selection.filter.error_code, "only with this error code");
    add_duration(app, "--older-than", selection.filter.older_than,
                 "only those that nothing touched for so long");
    app.add_option("--limit", selection.filter.limit, "at most so many")
        ->check(at_least(1))
        ->type_name("N");
    add_rate(app, selection);
    app.add_flag("--plan", selection.plan,
                 fmt::format("only say what would be {} and which calls that means", deed.done));
    app.add_flag("--yes", selection.yes, "do not ask before a bulk");
}

std::string wrong_usage(const Selection& selection) {
    if (selection.all && !selection.texts.empty()) return "give ids or --all, not both";
    if (!selection.all && selection.texts.empty()) return "give ids, or --all";
    const InstanceFilter& filter = selection.filter;
    if (!selection.all &&
        (filter.state || filter.limit > 0 || filter.older_than || !filter.workflow.empty() ||
         !filter.step.empty() || !filter.error_code.empty()))
        return "--state, --workflow, --step, --error-code, --older-than and --limit go with --all";
    return "";
}

bool confirmed(const Selection& selection, const Deed& deed, std::size_t count) {
    if (selection.yes) return true;
    if (isatty(STDIN_FILENO) != 1)
        throw Failure(
            fmt::format("a bulk {} wants a yes: look with --plan, then add --yes", deed.verb));
    std::string word = deed.verb;
    word.front() = static_cast<char>(std::toupper(static_cast<unsigned char>(word.front())));
    std::cerr << fmt::format("{} {} instance{}? [y/N] ", word, count, count == 1 ? "" : "s")
              << std::flush;
    std::string answer;
    std::getline(std::cin, answer);
    return answer == "y" || answer == "Y" || answer == "yes";
}

int lot_of(const Selection& selection) {
    return selection.pace ? std::min(selection.pace->batch, lot_max) : lot_max;
}

void pause_before_next_lot(const Selection& selection, const Owner& owner) {
    if (selection.pace && owner.served())
        std::this_thread::sleep_for(selection.pace->pause * lot_of(selection) /
                                    selection.pace->batch);
}

bool matches(const InstanceRow& row, const InstanceFilter& filter, std::int64_t now_ms) {
    return (!filter.state || row.state == *filter.state) &&
           (filter.workflow.empty() || row.workflow == filter.workflow) &&
           (filter.key.empty() || row.key == filter.key) &&
           (filter.step.empty() || row.step == filter.step) &&
           (filter.error_code.empty() || row.error_code == filter.error_code) &&
           (!filter.older_than || row.updated_at_ms <= now_ms - filter.older_than->count());
}

void print_skipped(const std::vector<Resumed::Skipped>& skipped) {
    if (skipped.empty()) return;
    print_line(fmt::format("skipped {}:", skipped.size()));
    const std::size_t shown = std::min(skipped.size(), skipped_shown_max);
    for (std::size_t i = 0; i < shown; ++i)
        print_line(fmt::format("  {}  {}", printable(redact_text(skipped[i].id)),
                               printable(redact_text(skipped[i].reason))));
    if (shown < skipped.size())
        print_line(fmt::format("  and {} more (--json lists them all)", skipped.size() - shown));
}

}  // namespace steplog::tools
