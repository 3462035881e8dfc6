// The workflow that tells people of a trouble: at once when it begins, again when it has grown
// tenfold, and when it is over, by every channel, through crashes and outages of the channels.
// server/alerts.h starts it and says how the trouble goes on.
#pragma once

#include <memory>
#include <vector>

#include "engine/engine.h"
#include "engine/workflow.h"
#include "steps/alert_channels.h"

namespace steplog::steps {

inline constexpr char tell_people_workflow[] = "tell_people";
/// Its signal: another Alert of the same cause, `grown` or `over`.
inline constexpr char trouble_changed_signal[] = "changed";

/// Those of one cause have a key in common: what comes again is told after the end was.
NewInstance tell_people_order(const Alert& begun);

/// The key of those that tell of this cause.
std::string tell_people_key(const Cause& cause);

using AlertChannels = std::vector<std::unique_ptr<AlertChannel>>;

/// Adds "tell_people" version 1. A channel that refuses for good is passed over; its refusal is in
/// the log. `channels` outlive the engine.
void register_tell_people(Registry& registry, const AlertChannels& channels);

}  // namespace steplog::steps
