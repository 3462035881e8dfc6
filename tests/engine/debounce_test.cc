// Debounced starts: put off until nothing more comes for a while; the last input wins, and there is
// a time after which it starts whatever comes.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/inspect.h"
#include "tests/engine/house.h"

namespace steplog {
namespace {

using std::chrono::seconds;
using ::testing::ElementsAre;
using testing::House;
using ::testing::IsEmpty;

class Debounced : public ::testing::Test {
  protected:
    Debounced() {
        for (const char* name : {"sync", "other"})
            house.add(name, [this](Context&, const Json& input) {
                done.push_back(input.at("n"));
                return input;
            });
        begin_ms = house.clock.now_ms();
    }
    static NewInstance wanted(const std::string& id, int n, const std::string& workflow = "sync") {
        return {
            .id = id,
            .workflow = workflow,
            .input = fmt::format(R"({{"n":{}}})", n),
            .debounce = Debounce{.key = "cus_1", .period = seconds(10), .timeout = seconds(25)}};
    }
    Accepted start(int n, const std::string& workflow = "sync") {
        return house.engine().accept(std::nullopt,
                                     wanted(fmt::format("{}/{}", workflow, n), n, workflow));
    }
    NewEvent event(const std::string& id, int n) {
        return {.source = "shop",
                .id = id,
                .type = "changed",
                .subject = "cus_1",
                .body = fmt::format(R"({{"n":{}}})", n)};
    }
    void pass(Ms time) {
        house.engine().run_until_idle();
        house.clock.advance(time);
        house.engine().run_until_idle();
    }
    std::int64_t since() const { return house.clock.now_ms() - begin_ms; }
    std::string count() { return house.sql("SELECT count(*) FROM instances"); }

    House house;
    std::vector<int> done;
    std::int64_t begin_ms = 0;
};

TEST_F(Debounced, StartsAfterAQuietTimeWithTheLastInput) {
    EXPECT_FALSE(start(1).debounced);
    pass(seconds(9));
    EXPECT_TRUE(start(2).debounced);
    pass(seconds(9));
    EXPECT_THAT(done, IsEmpty());
    pass(seconds(1));
    EXPECT_THAT(done, ElementsAre(2));
    EXPECT_EQ(house.state("sync/1"), "completed") << "the first one's id stays";
    EXPECT_EQ(count(), "1");
    EXPECT_EQ(house.sql("SELECT count(*) FROM payloads WHERE CAST(body AS TEXT) LIKE '%1%'"), "0")
        << "the input before it is gone";
    EXPECT_TRUE(Inspector(house.database(), house.clock).check().holds());
}

TEST_F(Debounced, StartsInTheEndWhateverComes) {
    for (int n = 1; done.empty(); ++n) {
        start(n);
        pass(seconds(5));
        ASSERT_LE(since(), 30'000);
    }
    EXPECT_EQ(since(), 25'000);
    EXPECT_THAT(done, ElementsAre(5));
}

TEST_F(Debounced, BeginsAnewAfterTheStart) {
    start(1);
    pass(seconds(10));
    EXPECT_FALSE(start(2).debounced);
    pass(seconds(10));
    EXPECT_THAT(done, ElementsAre(1, 2));
}

TEST_F(Debounced, BeginsAnewWhereTheTimeHasComeThoughNobodyHasTakenItYet) {
    start(1);
    house.clock.advance(seconds(10));
    EXPECT_FALSE(start(2).debounced);
    pass(seconds(10));
    EXPECT_THAT(done, ElementsAre(1, 2));
}

TEST_F(Debounced, IsOfOneWorkflowAndKey) {
    start(1);
    start(2, "other");
    NewInstance another = wanted("sync/3", 3);
    another.debounce->key = "cus_2";
    house.engine().accept(std::nullopt, another);
    NewInstance undebounced = wanted("sync/4", 4);
    undebounced.debounce.reset();
    house.engine().accept(std::nullopt, undebounced);
    EXPECT_EQ(count(), "4");
    house.run_to_the_end();
    EXPECT_EQ(done.size(), 4u);
}

TEST_F(Debounced, TakesEachEventOnceAndKeepsItsBody) {
    const auto deliver = [&](int n) {
        const std::string id = "evt_" + std::to_string(n);
        NewInstance instance = wanted("sync/" + id, n);
        instance.input.reset();
        return house.engine().accept(event(id, n), instance);
    };
    const auto first = deliver(1);
    EXPECT_EQ(deliver(2).instance, first.instance);
    EXPECT_TRUE(deliver(1).duplicate) << "an old one delivered again brings nothing back";
    house.run_to_the_end();
    EXPECT_THAT(done, ElementsAre(2));
    EXPECT_TRUE(deliver(2).duplicate);
    EXPECT_EQ(house.sql("SELECT count(*) FROM payloads WHERE CAST(body AS TEXT) LIKE '%n%'"), "3")
        << "both bodies, and the output";
    EXPECT_TRUE(Inspector(house.database(), house.clock).check().holds());
}

TEST_F(Debounced, WaitsInTheLineForItsKeyAllTheSame) {
    bool stuck = true;
    house.add("holder", [&](Context& ctx, const Json&) {
        if (stuck) ctx.stuck("no", "no");
        return Json();
    });
    house.start("holder/1", "holder", {}, "k");
    house.engine().run_until_idle();
    for (int n : {1, 2}) {
        NewInstance queued = wanted("sync/" + std::to_string(n), n);
        queued.key = "k";
        house.engine().accept(std::nullopt, queued);
        house.clock.advance(seconds(3));
    }
    EXPECT_EQ(count(), "2");
    stuck = false;
    house.resume("holder/1");
    house.engine().run_until_idle();
    EXPECT_THAT(done, IsEmpty()) << "its quiet time has not passed";
    house.run_to_the_end();
    EXPECT_THAT(done, ElementsAre(2));
    EXPECT_EQ(since(), 13'000);
}

TEST_F(Debounced, GoesOnAfterARestart) {
    start(1);
    pass(seconds(5));
    house.restart();
    EXPECT_TRUE(start(2).debounced);
    house.run_to_the_end();
    EXPECT_THAT(done, ElementsAre(2));
    EXPECT_EQ(since(), 15'000);
}

TEST_F(Debounced, BeginsAnewWhereTheOneThatWaitsIsCancelled) {
    start(1);
    house.engine().cancel({.ids = {"sync/1"}});
    EXPECT_FALSE(start(2).debounced);
    house.run_to_the_end();
    EXPECT_THAT(done, ElementsAre(2));
}

TEST_F(Debounced, NamesNobodyAndLeavesNothing) {
    start(1);
    EXPECT_THAT(house.sql("SELECT name FROM debounces"), ::testing::StartsWith("forgotten:"));
    house.run_to_the_end();
    EXPECT_EQ(house.sql("SELECT count(*) FROM debounces"), "0");
}

TEST_F(Debounced, IsRefusedWithoutAKeyAndWithADelay) {
    NewInstance keyless = wanted("sync/1", 1), delayed = wanted("sync/2", 2);
    keyless.debounce->key.clear();
    delayed.delay = seconds(1);
    EXPECT_THROW(house.engine().accept(std::nullopt, keyless), StoreError);
    EXPECT_THROW(house.engine().accept(std::nullopt, delayed), StoreError);
    EXPECT_EQ(count(), "0");
}

}  // namespace
}  // namespace steplog
