#include "server/missed_events.h"

#include "engine/inspect.h"

namespace steplog::server {

std::optional<std::int64_t> EngineInbox::compare_from_ms(const std::string& asking) {
    Inspector inspector(database_, clock_);
    for (const InstanceRow& row : inspector.list({.key = steps::missed_events_workflow}))
        if (row.id != asking && row.state == State::completed) return row.created_at_ms;
    return inspector.first_event_at_ms();
}

bool EngineInbox::has(const std::string& type, const std::string& subject) {
    return Inspector(database_, clock_).has_event("stripe", type, subject);
}

bool EngineInbox::take(steps::Intake intake) {
    return !engine_->accept(std::move(intake.event), std::move(intake.instance)).duplicate;
}

void EngineInbox::tell(const Found& found) {
    if (told_) told_(found);
}

}  // namespace steplog::server
