// A verb that is done to the instances that a person names, or to all that match filters: planned,
// confirmed, in lots, at a pace. Used by the verbs' files.
#pragma once

#include "tools/admin/verb.h"
#include "tools/common/selection.h"

namespace steplog::tools {

struct Bulk {
    Deed deed;
    /// Of an instance to which it cannot be done: why; else "". With --all those are passed over.
    std::function<std::string(const InstanceRow&)> why_not;
    std::function<Brings(const InstanceRow&)> brings;
    /// Does it to these in one transaction, and keeps what came of it.
    std::function<void(Owner&, const std::vector<std::string>& ids)> carry_out;
    /// Prints what came of it; returns the exit code.
    std::function<int(const std::vector<Resumed::Skipped>& unknown)> finish;
};

/// The states that an instance has before its end.
inline const std::vector<State> unfinished_states = {
    State::pending, State::queued, State::running, State::sleeping, State::waiting, State::stuck};

/// Does it, or plans it, or is refused a yes. Returns an exit code.
int carry_out(Admin& admin, const Selection& selection, const Bulk& bulk);

}  // namespace steplog::tools
