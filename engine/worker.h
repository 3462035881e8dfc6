// Runs one claimed instance until it ends, suspends or is no longer ours. Used by the engine; one
// call at a time on a thread, any number of threads.
#pragma once

#include "engine/workflow.h"

namespace steplog {

/// Tells what was decided about schedules: "schedule_started" with the instance's id,
/// "schedule_skipped" and "schedule_missed" with "schedule:<name>" in its place.
void tell_schedules(const Surroundings& surroundings,
                    const std::vector<ScheduleDecision>& decisions);

class Worker {
  public:
    /// These outlive the worker.
    explicit Worker(const Surroundings& surroundings) : surroundings_(surroundings) {}

    struct Ran {
        std::optional<Claimed> next;  // handed over in the transaction that ended this one
        std::optional<std::int64_t> due_at_ms;  // when this one is due again, if it sleeps
    };
    Ran run(Claimed claimed) const;

    /// What the function makes of a log, as far as that answers. Wants surroundings without a store
    /// that are draining: then nothing is called and nothing written.
    struct Rehearsed {
        std::optional<Transition> to;  // how it would leave, where it needs nothing beyond the log
        std::string at;                // what it asked for last
        struct Difference {
            std::string name, code, what;
        };
        std::vector<Difference> differences;     // between the log and what the code asks for
        std::vector<std::string> not_asked_for;  // names in the log
    };
    Rehearsed rehearse(Claimed claimed) const;

  private:
    Advance call(Context& context) const;
    Advance follow(Context& context, const Workflow& workflow, const Json& input) const;
    Advance take_back(Context& context) const;
    Advance failed(Context& context, const Workflow& workflow, const PermanentError& error) const;
    Advance unclassified(Context& context, const std::string& message) const;
    Advance stuck(Context& context, const std::string& code, const std::string& message) const;
    Advance not_registered(Context& context) const;
    void leave(Context& context, const Advance& parting, Ran& ran) const;
    void tell(const Context& context, const Advance& parting) const;

    const Surroundings& surroundings_;
};

}  // namespace steplog
