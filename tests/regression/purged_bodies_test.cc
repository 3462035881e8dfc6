// The story: retention deleted an instance with its payloads, and the event's row went on naming
// the number of its body. SQLite gives the numbers of deleted rows again: the event then named
// another customer's payload, showed it, and, when the event's turn to be deleted came, took it
// away from the instance that needed it. A second event of the same instance kept its own body, and
// `check` called it lost. Found by the simulation.
#include <gtest/gtest.h>

#include "tests/engine/house.h"

namespace steplog {
namespace {

using testing::House;

NewEvent event(const std::string& id, const std::string& body) {
    return {.source = "stripe", .id = id, .type = "t", .body = body};
}

TEST(PurgedBodies, AreNamedByNobodyAnyMore) {
    House house;
    house.add("w", [](Context&, const Json& input) { return input; });
    const NewInstance first{.id = "w/1", .workflow = "w"};
    house.engine().accept(event("e1", R"({"of":"ada"})"), first);
    house.engine().accept(event("e1_in_its_other_form", R"({"of":"ada, too"})"), first);
    house.run_to_the_end();
    house.clock.advance(std::chrono::hours(1));
    EXPECT_EQ(house.store().purge({.older_than = Ms(1)}).get().instances, 1);
    EXPECT_EQ(house.sql("SELECT count(*) FROM payloads"), "0");

    house.engine().accept(event("e2", R"({"of":"grace"})"),
                          NewInstance{.id = "w/2", .workflow = "w"});
    EXPECT_EQ(
        house.sql("SELECT group_concat(e.id) FROM events e JOIN payloads p ON p.id=e.payload"),
        "e2");
    house.clock.advance(events_kept_min + Ms(1));
    EXPECT_EQ(house.store().purge({.older_than = Ms(1)}).get().events, 2);
    house.run_to_the_end();
    EXPECT_EQ(house.state("w/2"), "completed");
}

}  // namespace
}  // namespace steplog
