// Three expenses: the manager approves ada's on the next morning, the director refuses bob's, and
// nobody answers about eve's.
#include "engine/examples/approval.h"

#include "engine/examples/stage.h"

int main() {
    using namespace steplog::examples;
    Office office;
    Stage stage("2026-03-02T09:00:00Z", expense_workflow(office));
    // A web page would do this; by hand: workflow-admin signal expense/ada decision --payload …
    // The id of the signal makes a second click on the same link the same answer.
    const auto answer = [&](const std::string& whose, const Decision& decision) {
        stage.engine().signal({.instance = "expense/" + whose,
                               .name = "decision",
                               .payload = steplog::Json(decision).dump(),
                               .dedupe_id = decision.by});
    };
    for (const std::string who : {"ada", "bob", "eve"})
        stage.start("expense/" + who, "expense", {{"to", who}});
    stage.play_until("2026-03-03T08:00:00Z");
    answer("ada", {.approved = true, .by = "manager"});
    stage.play_until("2026-03-04T12:00:00Z");
    answer("bob", {.approved = false, .by = "director"});
    stage.play_until("2026-03-06T09:00:00Z");
    for (const std::string who : {"ada", "bob", "eve"})
        fmt::print("{}: {}\n", who, stage.outcome("expense/" + who));
}
