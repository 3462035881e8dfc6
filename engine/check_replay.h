// What a deploy would break: every unfinished instance of a database is run, by the code of this
// program, against its log alone. Nothing is written and no step, probe or other effect is called;
// what a function does outside its steps it does here too. Before a deploy, on a copy or beside the
// running server. One thread.
#pragma once

#include "engine/inspect.h"
#include "engine/workflow.h"

namespace steplog {

/// What would go wrong with one instance.
struct ReplayFinding {
    std::string instance, workflow;
    int version = 1;
    State state = State::pending;
    std::string step;  // where; "" where it is no step's affair
    // An error code that it would become stuck with (engine/README.md), or unclassified (the
    // function throws), or what would go unnoticed: not_asked_for, other_kind, other_signal,
    // other_workflow.
    std::string code;
    std::string message;   // a sentence or two: what is wrong, and what to do
    bool already = false;  // it is stuck with that now: nothing becomes worse
};

/// What a replay of all unfinished instances against other code has found.
struct ReplayReport {
    std::int64_t looked_at = 0;  // unfinished instances
    std::vector<ReplayFinding> findings;
    /// Instances that would break and are whole now.
    std::int64_t would_break() const;
};

/// Looks at all unfinished instances, each in a read transaction of its own. `inspector` may have
/// been opened with Schemas::older_too. Throws InspectError, also where payloads are encrypted with
/// keys that it was not given.
ReplayReport check_replay(Inspector& inspector, const Registry& registry,
                          const StepDefaults& defaults = {});

/// looked_at, would_break, findings (instance, workflow, version, state, step, code, message,
/// already). Redacted.
Json json_of(const ReplayReport& report);

}  // namespace steplog
