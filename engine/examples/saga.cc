// Two journeys: one that is booked, and one whose car is not to be had.
#include "engine/examples/saga.h"

#include "engine/examples/stage.h"

int main() {
    using namespace steplog::examples;
    Companies companies;
    Stage stage("2026-07-01T08:00:00Z", journey_workflow(companies));
    stage.start("journey/ada", "journey", {});
    stage.play_until("2026-07-01T09:00:00Z");
    companies.sold_out = {"car"};
    stage.start("journey/bob", "journey", {});
    stage.play_until("2026-07-01T10:00:00Z");
    fmt::print("ada: {}\nbob: {}\n{} bookings\n", stage.outcome("journey/ada"),
               stage.outcome("journey/bob"), companies.bookings.size());
}
