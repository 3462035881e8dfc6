// Four nights around the last Sunday of March, on which Berlin has no half past two: that night's
// report is made at three, the first moment after the gap.
#include "engine/examples/nightly.h"

#include "engine/examples/stage.h"

int main() {
    using namespace steplog::examples;
    Archive archive;
    Stage stage("2026-03-27T12:00:00Z", report_workflow(archive));
    // All schedules of the program at once, before it starts: those that it no longer names are
    // gone from the database.
    stage.engine().schedule({nightly_schedule()});
    stage.play_until("2026-03-31T12:00:00Z");
    for (const auto& [name, sales] : archive.reports) fmt::print("{}\n", name);
}
