// Whom an order means, and how it is given: instances by their ids, or all that match filters, in
// lots, at a pace, planned first. Shared by workflow-resume and the verbs of workflow-admin; main
// thread.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "engine/inspect.h"
#include "tools/common/cli.h"
#include "tools/common/owner.h"
#include "tools/common/pace.h"
#include "tools/common/plan.h"

namespace steplog::tools {

/// At most so many in one transaction: the server's other work waits for it.
inline constexpr int lot_max = 200;

struct Selection {
    std::vector<std::string> texts;  // ids, or clear endings or beginnings of them
    bool all = false, plan = false, yes = false;
    InstanceFilter filter;
    std::optional<Pace> pace;
};

/// ID…, --all, the filters, --limit, --rate, --plan and --yes. `which`: what --all means; `states`:
/// those that --state may name.
void add_selection(CLI::App& app, Selection& selection, const Deed& deed, const std::string& which,
                   const std::vector<State>& states);

/// Rules between these options that the parser cannot say; "" when they are kept.
std::string wrong_usage(const Selection& selection);

/// True where a bulk may be done: --yes, or a yes on the terminal. Throws Failure where there is
/// nobody to ask.
bool confirmed(const Selection& selection, const Deed& deed, std::size_t count);

int lot_of(const Selection& selection);
/// Waits as the pace wants it before another lot. Without a server nothing runs yet, so there is
/// nobody to spare.
void pause_before_next_lot(const Selection& selection, const Owner& owner);

/// Whether a row stands as the filters ask.
bool matches(const InstanceRow& row, const InstanceFilter& filter, std::int64_t now_ms);

/// Prints what was skipped, each in a line, so many that a person can read.
void print_skipped(const std::vector<Resumed::Skipped>& skipped);

}  // namespace steplog::tools
