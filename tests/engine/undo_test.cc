// What finished steps did is taken back when their instance fails: in reverse, each once.
#include <gmock/gmock.h>

#include "engine/parallel.h"
#include "engine/testing/workflow_test.h"
#include "tests/engine/house.h"

namespace steplog {
namespace {

using ::testing::ElementsAre;
using testing::House;
using ::testing::IsEmpty;

// Books a flight, a hotel and a car, of which the last is refused.
class Trip : public ::testing::Test {
  protected:
    Json book(Context& ctx) {
        for (const char* what : {"flight", "hotel"})
            ctx.step(
                what,
                {.provider = "agency",
                 .undo = undo<std::string>([this](const std::string& booking, const Attempt& a) {
                     if (on_undo) on_undo(a);
                     said.push_back("gave back " + booking);
                 })},
                [&](const Attempt&) { return "the " + std::string(what); });
        ctx.step("insurance", [](const Attempt&) { return 1; });
        ctx.step("car", [this](const Attempt&) {
            if (!has_car) throw PermanentError("no_car", "there is no car");
        });
        return Json("booked");
    }
    void begin() {
        house.add("trip", [this](Context& ctx, const Json&) { return book(ctx); }).on_failure =
            on_failure;
        house.start("o", "trip");
        house.run_to_the_end();
    }

    House house;
    OnFailure on_failure = OnFailure::fail;
    bool has_car = false;
    std::function<void(const Attempt&)> on_undo;
    std::vector<std::string> said;
};

TEST_F(Trip, IsTakenBackInReverseWhenItFails) {
    begin();
    EXPECT_EQ(house.state("o"), "failed");
    EXPECT_EQ(house.error_code("o"), "no_car");
    EXPECT_THAT(said, ElementsAre("gave back the hotel", "gave back the flight"));
    EXPECT_EQ(house.log("o"),
              "started flight, completed flight, started hotel, completed hotel, started "
              "insurance, completed insurance, started car, failed car, started undo hotel, "
              "completed undo hotel, started undo flight, completed undo flight");
}

TEST_F(Trip, IsNotTakenBackWhereItCompletes) {
    has_car = true;
    begin();
    EXPECT_EQ(house.state("o"), "completed");
    EXPECT_THAT(said, IsEmpty());
}

TEST_F(Trip, IsNotTakenBackWhereAPersonMayResumeIt) {
    on_failure = OnFailure::stuck;
    begin();
    EXPECT_EQ(house.state("o"), "stuck");
    EXPECT_THAT(said, IsEmpty());
}

TEST_F(Trip, IsTakenBackWithAsManyAttemptsAsThatNeeds) {
    std::set<std::string> keys;
    on_undo = [&](const Attempt& attempt) {
        keys.insert(attempt.idempotency_key);
        if (attempt.number < 3) throw RetryableError("busy", {});
    };
    begin();
    EXPECT_EQ(house.state("o"), "failed");
    EXPECT_EQ(house.error_code("o"), "no_car");
    EXPECT_THAT(said, ElementsAre("gave back the hotel", "gave back the flight"));
    EXPECT_THAT(keys, ElementsAre("steplog:o:undo flight", "steplog:o:undo hotel"));
}

TEST_F(Trip, IsStuckWhereItCannotBeTakenBackAndGoesOnWhenAPersonHasMendedThat) {
    bool refused = true;
    on_undo = [&](const Attempt&) {
        if (refused) throw PermanentError("too_late", "the hotel keeps the money");
    };
    begin();
    EXPECT_EQ(house.error_code("o"), "undo_failed");
    EXPECT_THAT(said, IsEmpty());
    refused = false;
    house.resume("o");
    house.run_to_the_end();
    EXPECT_EQ(house.state("o"), "failed");
    EXPECT_THAT(said, ElementsAre("gave back the hotel", "gave back the flight"));
}

TEST_F(Trip, IsTakenBackOnceWhereverItCrashes) {
    std::map<std::string, std::string> undone;  // by key, as a provider that honours them
    testing::WorkflowTest test([&](Context& ctx, const Json&) {
        StepOptions options{.idempotency_window = std::chrono::hours(24)};
        options.undo = [&](const Attempt& attempt, const Json& result) {
            undone.emplace(attempt.idempotency_key, result.get<std::string>());
        };
        ctx.step("flight", options, [](const Attempt&) { return std::string("f1"); });
        ctx.map(
            "room", std::vector<std::string>{"a", "b"},
            [](const std::string& room) { return room; },
            [](const std::string& room, const Attempt&) { return room; }, {.step = options});
        ctx.step("car", [](const Attempt&) { throw PermanentError("no_car", "no car"); });
        return Json();
    });
    test.before_each([&] { undone.clear(); });
    EXPECT_EQ(test.run().state, State::failed);
    EXPECT_THAT(undone, ElementsAre(std::pair("steplog:test:undo flight", "f1"),
                                    std::pair("steplog:test:undo room/a", "a"),
                                    std::pair("steplog:test:undo room/b", "b")));
    const auto crashes = test.crash_everywhere();
    EXPECT_EQ(crashes.failure, "");
    EXPECT_GT(crashes.places, 30);
}

// Cancelled at a moment that the test chooses.
class Holiday : public ::testing::Test {
  protected:
    Holiday() {
        house.add("holiday", [this](Context& ctx, const Json&) {
            ctx.step("flight", {.undo = undo<int>([this](int, const Attempt& attempt) {
                                    ++undone;
                                    if (undo_effect) undo_effect(attempt);
                                })},
                     [](const Attempt&) { return 1; });
            next(ctx);
            ctx.step("hotel", [this](const Attempt&) { ++hotels; });
            return Json();
        });
    }
    void begin() {
        house.start("o", "holiday", Json::object(), "k");
        house.engine().run_until_idle();
    }
    Cancelled cancel(bool kill = false) {
        return house.engine().cancel(
            {.ids = {"o"}, .actor = "test", .reason = "ticket 1", .kill = kill});
    }
    void expect_taken_back() {
        house.run_to_the_end();
        EXPECT_EQ(house.state("o"), "cancelled");
        EXPECT_EQ(undone, 1);
        EXPECT_EQ(hotels, 0);
        EXPECT_EQ(house.sql("SELECT json_extract(data,'$.by') || ' ' || "
                            "json_extract(data,'$.reason') FROM entries WHERE kind='cancelled'"),
                  "test ticket 1");
        EXPECT_EQ(house.sql("SELECT count(*) FROM audit WHERE action='cancel' AND target='o'"),
                  "1");
    }

    House house;
    std::function<void(Context&)> next = [](Context& ctx) {
        ctx.sleep_for("nap", std::chrono::hours(1));
    };
    std::function<void(const Attempt&)> undo_effect;
    int undone = 0, hotels = 0;
};

TEST_F(Holiday, IsTakenBackWhenItIsCancelledInItsSleep) {
    begin();
    const std::int64_t start_ms = house.clock.now_ms();
    EXPECT_THAT(cancel().requested, ElementsAre("o"));
    expect_taken_back();
    EXPECT_EQ(house.clock.now_ms(), start_ms) << "without sleeping to the end";
}

TEST_F(Holiday, IsTakenBackWhenItIsCancelledWhileItWaits) {
    next = [](Context& ctx) { ctx.wait_for("approved"); };
    begin();
    cancel();
    expect_taken_back();
}

TEST_F(Holiday, IsTakenBackWhenItIsCancelledWhileItRuns) {
    next = [this](Context& ctx) {
        ctx.step("visa",
                 [this](const Attempt&) { EXPECT_THAT(cancel().requested, ElementsAre("o")); });
    };
    begin();
    expect_taken_back();
    EXPECT_THAT(house.log("o"), ::testing::HasSubstr("completed visa, started undo flight"));
}

TEST_F(Holiday, IsTakenBackWhenItIsCancelledBetweenTwoAttempts) {
    next = [](Context& ctx) {
        ctx.step("visa", [](const Attempt&) { throw RetryableError("closed", {}); });
    };
    begin();
    cancel();
    expect_taken_back();
}

TEST_F(Holiday, IsTakenBackWhenItIsCancelledWhileItIsStuck) {
    next = [](Context& ctx) { ctx.stuck("no_plan", "nobody knows how to go on"); };
    begin();
    EXPECT_EQ(house.state("o"), "stuck");
    cancel();
    expect_taken_back();
}

TEST_F(Holiday, IsTakenBackWithAllTheAttemptsThatNeedsAndAcrossAnotherCancel) {
    undo_effect = [this](const Attempt& attempt) {
        cancel();
        if (attempt.number < 3) {
            --undone;
            throw RetryableError("busy", {});
        }
    };
    begin();
    cancel();
    expect_taken_back();
}

TEST_F(Holiday, LooksWhetherWhatIsInDoubtHappenedAndTakesThatBackToo) {
    std::vector<std::string> given_back;
    next = [&](Context& ctx) {
        StepOptions options;
        options.probe = probe([](const Attempt&) { return std::optional<int>(7); });
        options.undo = undo<int>([&](int visa, const Attempt&) {
            given_back.push_back("visa " + std::to_string(visa));
        });
        ctx.step("visa", options, [](const Attempt&) -> int {
            throw RetryableError("no answer", {.outcome = Outcome::unknown});
        });
    };
    begin();
    cancel();
    expect_taken_back();
    EXPECT_THAT(given_back, ElementsAre("visa 7"));
}

TEST_F(Holiday, IsTakenBackAfterACrashInTheMiddleOfThat) {
    begin();
    undo_effect = [this](const Attempt& attempt) {
        if (attempt.number == 1) house.remember();
    };
    cancel();
    house.run_to_the_end();
    undone = 0;
    house.die_as_remembered();
    expect_taken_back();
}

TEST_F(Holiday, IsEndedAtOnceByKillAndNothingIsTakenBack) {
    begin();
    EXPECT_THAT(cancel(true).ids, ElementsAre("o"));
    EXPECT_EQ(house.state("o"), "cancelled");
    house.run_to_the_end();
    EXPECT_EQ(undone, 0);
    EXPECT_EQ(house.sql("SELECT count(*) FROM audit WHERE action='kill'"), "1");
}

TEST_F(Holiday, IsEndedByKillInTheMiddleOfAStepWhoseOutcomeIsNotRecorded) {
    next = [this](Context& ctx) {
        ctx.step("visa",
                 [this](const Attempt&) { EXPECT_THAT(cancel(true).ids, ElementsAre("o")); });
    };
    begin();
    house.run_to_the_end();
    EXPECT_EQ(house.state("o"), "cancelled");
    EXPECT_EQ(undone, 0);
    EXPECT_EQ(hotels, 0);
    EXPECT_EQ(house.log("o"), "started flight, completed flight, started visa, cancelled visa");
}

TEST_F(Holiday, ReachesAChildThatTakesBackWhatItHasDone) {
    bool child_undid = false;
    house.add("child", [&](Context& ctx, const Json&) {
        ctx.step("seat", {.undo = [&](const Attempt&, const Json&) { child_undid = true; }},
                 [](const Attempt&) { return 1; });
        ctx.wait_for("never");
        return Json();
    });
    next = [](Context& ctx) {
        ctx.start_child("child", "child");
        ctx.await_child("child");
    };
    begin();
    EXPECT_EQ(house.state("o/child"), "waiting");
    cancel();
    expect_taken_back();
    EXPECT_EQ(house.state("o/child"), "cancelled");
    EXPECT_TRUE(child_undid);
}

TEST_F(Trip, OfAStepThatWasNotDoneNothingIsTakenBack) {
    testing::WorkflowTest test([&](Context& ctx, const Json&) {
        StepOptions options;
        options.undo = [&](const Attempt&, const Json&) { said.push_back("undone"); };
        ctx.step("flight", options, [](const Attempt&) { throw PermanentError("full", "full"); });
        return Json();
    });
    EXPECT_EQ(test.run().error_code, "full");
    EXPECT_THAT(said, IsEmpty());
}

}  // namespace
}  // namespace steplog
