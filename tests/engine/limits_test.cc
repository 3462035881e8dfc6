// What is too large or too long is refused where it enters, with a name and a remedy, and told of
// before.
#include <gmock/gmock.h>

#include "tests/engine/house.h"

namespace steplog {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::House;

std::string of(std::size_t bytes) { return std::string(bytes - 2, 'x'); }  // with its quotes

class TooMuch : public ::testing::Test {
  protected:
    TooMuch() {
        house.limits = {.input_bytes_max = 1000,
                        .result_bytes_max = 1000,
                        .signal_bytes_max = 1000,
                        .published_bytes_max = 1000,
                        .log_entries_max = 40,
                        .steps_max = 10};
    }
    void run(std::function<Json(Context&)> function) {
        house.add("w", [function](Context& ctx, const Json&) { return function(ctx); });
        house.start("i", "w");
        house.run_to_the_end();
    }
    void expect_stuck(const std::string& limit, const std::string& remedy) {
        EXPECT_EQ(house.state("i"), "stuck");
        EXPECT_EQ(house.error_code("i"), "limit_exceeded");
        EXPECT_THAT(house.sql("SELECT error FROM instances WHERE id='i'"),
                    AllOf(HasSubstr("(" + limit + ")"), HasSubstr(remedy)));
    }
    std::vector<std::string> warnings() const {
        std::vector<std::string> found;
        for (const Transitioned& told : house.told)
            if (told.what == "near_limit") found.push_back(told.error);
        return found;
    }

    House house;
};

TEST_F(TooMuch, OfAnInputIsNotStarted) {
    house.add("w", [](Context&, const Json&) { return Json(); });
    house.start("i", "w", of(1000));
    EXPECT_NE(house.state("i"), "");
    try {
        house.start("j", "w", of(1001));
        FAIL();
    } catch (const StoreError& error) {
        EXPECT_EQ(error.kind(), StoreError::Kind::constraint);
        EXPECT_THAT(error.what(), AllOf(HasSubstr("its input has 1001 bytes"),
                                        HasSubstr("1000 are the limit (input_bytes_max)"),
                                        HasSubstr("pass a reference")));
    }
    EXPECT_EQ(house.state("j"), "");
    EXPECT_THROW(house.engine().schedule(
                     {{.name = "s", .workflow = "w", .cron = "0 9 * * *", .input = of(1001)}}),
                 std::invalid_argument);
}

TEST_F(TooMuch, OfAChildsInputStartsNoChild) {
    run([](Context& ctx) { return Json(ctx.start_child("c", "w", of(1001))); });
    expect_stuck("input_bytes_max", "pass a reference");
    EXPECT_EQ(house.sql("SELECT count(*) FROM instances"), "1");
}

TEST_F(TooMuch, OfTheNextRunsInputBeginsNone) {
    run([](Context& ctx) -> Json { ctx.continue_as_new(of(1001)); });
    expect_stuck("input_bytes_max", "pass a reference");
    EXPECT_EQ(house.sql("SELECT count(*) FROM instances"), "1");
}

TEST_F(TooMuch, OfAStepsResultIsNotKept) {
    run([](Context& ctx) { return ctx.step("s", [](const Attempt&) { return Json(of(1001)); }); });
    expect_stuck("result_bytes_max", "pass a reference");
    EXPECT_EQ(house.log("i"), "started s, stuck") << "it may have happened: in doubt";
}

TEST_F(TooMuch, OfAnInstancesResultDoesNotEndIt) {
    run([](Context&) { return Json(of(1001)); });
    expect_stuck("result_bytes_max", "pass a reference");
}

TEST_F(TooMuch, OfAChangesResultIsRolledBack) {
    run([](Context& ctx) {
        return ctx.transact("t", [](SQLite::Database& database) {
            database.exec("CREATE TABLE app_t(n INTEGER)");
            return Json(of(1001));
        });
    });
    EXPECT_EQ(house.error_code("i"), "change_refused");
    EXPECT_THAT(house.sql("SELECT error FROM instances"), HasSubstr("(result_bytes_max)"));
    EXPECT_EQ(house.sql("SELECT count(*) FROM sqlite_schema WHERE name='app_t'"), "0");
}

TEST_F(TooMuch, OfASignalIsNotSent) {
    house.add("w", [](Context& ctx, const Json&) { return Json(*ctx.wait_for("s")); });
    house.start("i", "w");
    EXPECT_THROW(
        house.engine().signal({.instance = "i", .name = "s", .payload = Json(of(1001)).dump()}),
        StoreError);
    EXPECT_EQ(house.sql("SELECT count(*) FROM signals"), "0");
}

TEST_F(TooMuch, OfWhatIsPublishedIsNot) {
    run([](Context& ctx) {
        ctx.publish("p", of(1001));
        return Json();
    });
    expect_stuck("published_bytes_max", "pass a reference");
}

TEST_F(TooMuch, OfStepsBeginsNoFurther) {
    int begun = 0;
    run([&](Context& ctx) {
        for (int i = 0; i < 11; ++i)
            ctx.step("s" + std::to_string(i), [&](const Attempt&) { ++begun; });
        return Json();
    });
    expect_stuck("steps_max", "continue as new");
    EXPECT_EQ(begun, 10);
    EXPECT_THAT(warnings(), ElementsAre(HasSubstr("this run has 8 steps, of at most 10")));
}

TEST_F(TooMuch, OfALogBeginsNothingNew) {
    house.limits.steps_max = 1000;
    int begun = 0;
    run([&](Context& ctx) {
        for (int i = 0; i < 30; ++i)
            ctx.step("s" + std::to_string(i), [&](const Attempt&) { ++begun; });
        return Json();
    });
    expect_stuck("log_entries_max", "continue as new");
    EXPECT_EQ(begun, 20);
    EXPECT_THAT(warnings(), ElementsAre(HasSubstr("its log has 32 entries, of at most 40")));
}

TEST_F(TooMuch, LeavesRoomForWhatIsTakenBack) {
    int given_back = 0;
    run([&](Context& ctx) -> Json {
        for (int i = 0; i < 10; ++i)
            ctx.step("s" + std::to_string(i),
                     StepOptions{.undo = undo<int>([&](int, const Attempt&) { ++given_back; })},
                     [&](const Attempt&) { return i; });
        throw PermanentError("no", "no means no");
    });
    EXPECT_EQ(house.state("i"), "failed");
    EXPECT_EQ(given_back, 10);
}

TEST_F(TooMuch, IsMendedByALargerLimitAndAResume) {
    run([](Context& ctx) {
        for (int i = 0; i < 11; ++i) ctx.step("s" + std::to_string(i), [](const Attempt&) {});
        return Json();
    });
    house.limits.steps_max = 11;
    house.restart();
    house.resume("i");
    house.run_to_the_end();
    EXPECT_EQ(house.state("i"), "completed");
}

TEST_F(TooMuch, OfAnInputOrASignalIsToldOfBefore) {
    house.add("w", [](Context& ctx, const Json&) { return Json(*ctx.wait_for("s")); });
    house.start("i", "w", of(900));
    house.engine().signal({.instance = "i", .name = "s", .payload = Json(of(901)).dump()});
    EXPECT_THAT(warnings(), ElementsAre(HasSubstr("its input has 900 bytes"),
                                        HasSubstr("the signal s has 901 bytes")));
}

TEST_F(TooMuch, IsToldOfAtFourFifths) {
    run([](Context& ctx) {
        ctx.publish("p", of(799));
        ctx.step("small", [](const Attempt&) { return Json(of(799)); });
        ctx.step("large", [](const Attempt&) { return Json(of(800)); });
        return Json();
    });
    EXPECT_EQ(house.state("i"), "completed");
    EXPECT_THAT(warnings(), ElementsAre(AllOf(HasSubstr("the result of large has 800 bytes"),
                                              HasSubstr("of at most 1000 (result_bytes_max)"))));
}

}  // namespace
}  // namespace steplog
