// What a schedule promises: each nominal time starts at most one instance, and exactly one while a
// server is there to do it; what overlaps, was missed, is paused or was changed meanwhile is
// decided as it says; a clock that jumps neither loses a time nor starts one twice.
#include "engine/schedule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/inspect.h"
#include "engine/rfc3339.h"
#include "tests/engine/house.h"

namespace steplog {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using testing::House;
using ::testing::IsEmpty;

// The house's clock begins at 2026-01-01T00:00:00Z.
class Scheduled : public ::testing::Test {
  protected:
    Scheduled() {
        house.add("report", [this](Context& ctx, const Json& input) {
            ctx.step("write", [&](const Attempt&) {
                runs.push_back(input.at("scheduled_at").get<std::string>().substr(0, 16));
                inputs.push_back(input);
            });
            if (length > Ms(0)) ctx.sleep_for("work", length);
            if (odd) ctx.stuck("odd", "odd");
            return Json();
        });
    }

    void define(std::vector<Schedule> schedules) { house.engine().schedule(std::move(schedules)); }
    Schedule daily() const { return {.name = "daily", .workflow = "report", .cron = "0 9 * * *"}; }
    Schedule hourly(Overlap overlap) const {
        return {.name = "hourly", .workflow = "report", .cron = "@hourly", .overlap = overlap};
    }

    // Lets time pass to `text`, stopping at whatever is due on the way.
    void run_until(const std::string& text) {
        const std::int64_t end_ms = parse_rfc3339(text).value();
        house.engine().run_until_idle();
        for (auto due = house.engine().next_due_ms(); due && *due <= end_ms;
             due = house.engine().next_due_ms()) {
            house.clock.set_ms(std::max(house.clock.now_ms(), *due));
            house.engine().run_until_idle();
        }
        house.clock.set_ms(end_ms);
        house.engine().run_until_idle();
    }
    void clock_shows(const std::string& text) { house.clock.set_ms(parse_rfc3339(text).value()); }

    ScheduleView view(const std::string& name = "daily") {
        house.store().flush();
        for (auto& one : Inspector(house.database(), house.clock).schedules(3))
            if (one.schedule.name == name) return one;
        ADD_FAILURE() << "no schedule " << name;
        return {};
    }
    ScheduleChanged order(ScheduleChange::Kind kind, const std::string& name = "daily") {
        return house.store().change_schedule({.kind = kind, .name = name, .actor = "test"}).get();
    }
    std::string count(const std::string& where) {
        return house.sql("SELECT count(*) FROM instances WHERE " + where);
    }

    House house;
    std::vector<std::string> runs;  // nominal times
    std::vector<Json> inputs;
    Ms length{0};  // how long an instance takes
    bool odd = false;
};

TEST_F(Scheduled, StartsOneInstanceAtEachTime) {
    define({daily()});
    run_until("2026-01-03T12:00:00Z");
    EXPECT_THAT(runs, ElementsAre("2026-01-01T09:00", "2026-01-02T09:00", "2026-01-03T09:00"));
    EXPECT_EQ(house.sql("SELECT group_concat(id, ' ') FROM instances"),
              "report/schedule/daily/2026-01-01T09:00:00Z "
              "report/schedule/daily/2026-01-02T09:00:00Z "
              "report/schedule/daily/2026-01-03T09:00:00Z");
    EXPECT_EQ(house.sql("SELECT created_at_ms FROM instances LIMIT 1"),
              std::to_string(parse_rfc3339("2026-01-01T09:00:00Z").value()));
    const ScheduleView after = view();
    EXPECT_EQ(after.started, 3);
    EXPECT_EQ(after.last_outcome, "started");
    EXPECT_EQ(after.last_instance, "report/schedule/daily/2026-01-03T09:00:00Z");
    EXPECT_EQ(after.next_at_ms, parse_rfc3339("2026-01-04T09:00:00Z"));
}

TEST_F(Scheduled, NeverStartsEarly) {
    define({daily()});
    clock_shows("2026-01-01T08:59:59.999Z");
    EXPECT_EQ(house.engine().run_until_idle(), 0);
    EXPECT_EQ(house.engine().next_due_ms(), parse_rfc3339("2026-01-01T09:00:00Z"));
    clock_shows("2026-01-01T09:00:00Z");
    EXPECT_EQ(house.engine().run_until_idle(), 1);
}

TEST_F(Scheduled, HandsTheInputAndTheNominalTimeToTheWorkflow) {
    Schedule schedule = daily();
    schedule.input = {{"what", "sales"}};
    define({schedule});
    run_until("2026-01-01T12:00:00Z");
    EXPECT_THAT(inputs,
                ElementsAre(Json{{"what", "sales"}, {"scheduled_at", "2026-01-01T09:00:00.000Z"}}));
}

TEST_F(Scheduled, FollowsItsTimeZone) {
    Schedule schedule = daily();
    schedule.time_zone = "Europe/Berlin";
    define({schedule});
    clock_shows("2026-03-28T00:00:00Z");
    runs.clear();
    define({schedule});
    run_until("2026-03-30T12:00:00Z");
    EXPECT_THAT(runs, ElementsAre("2026-03-27T08:00", "2026-03-28T08:00", "2026-03-29T07:00",
                                  "2026-03-30T07:00"));
}

// --- overlap

TEST_F(Scheduled, SkipsWhatWouldOverlap) {
    length = minutes(90);
    define({hourly(Overlap::skip)});
    run_until("2026-01-01T05:30:00Z");
    EXPECT_THAT(runs, ElementsAre("2026-01-01T01:00", "2026-01-01T03:00", "2026-01-01T05:00"));
    EXPECT_EQ(view("hourly").skipped, 2);
    EXPECT_EQ(view("hourly").started, 3);
}

TEST_F(Scheduled, QueuesWhatWouldOverlap) {
    length = minutes(90);
    define({hourly(Overlap::queue)});
    run_until("2026-01-01T04:10:00Z");
    EXPECT_THAT(runs, ElementsAre("2026-01-01T01:00", "2026-01-01T02:00", "2026-01-01T03:00"));
    EXPECT_EQ(count("state='queued'"), "1");
    EXPECT_EQ(count("state='sleeping'"), "1");
}

TEST_F(Scheduled, AllowsWhatOverlaps) {
    length = minutes(150);
    define({hourly(Overlap::allow)});
    run_until("2026-01-01T03:10:00Z");
    EXPECT_EQ(runs.size(), 3u);
    EXPECT_EQ(count("state='sleeping'"), "3");
}

TEST_F(Scheduled, CancelsTheOldForTheNew) {
    length = minutes(90);
    define({hourly(Overlap::cancel_other)});
    run_until("2026-01-01T03:10:00Z");
    EXPECT_THAT(runs, ElementsAre("2026-01-01T01:00", "2026-01-01T02:00", "2026-01-01T03:00"));
    EXPECT_EQ(count("state='cancelled'"), "2");
    EXPECT_EQ(count("state='sleeping'"), "1");
    EXPECT_EQ(house.sql("SELECT actor||' '||action||' '||target FROM audit LIMIT 1"),
              "schedule:hourly cancel report/schedule/hourly/2026-01-01T01:00:00Z");
}

TEST_F(Scheduled, IsHeldUpByAStuckInstanceUnlessThatLetsItsKeyGo) {
    odd = true;
    Schedule releasing = hourly(Overlap::skip);
    releasing.name = "releasing";
    releasing.on_stuck = OnStuck::release_key;
    define({hourly(Overlap::skip), releasing});
    run_until("2026-01-01T03:10:00Z");
    EXPECT_EQ(view("hourly").started, 1);
    EXPECT_EQ(view("hourly").skipped, 2);
    EXPECT_EQ(view("releasing").started, 3);
    EXPECT_EQ(count("state='stuck'"), "4");
}

TEST_F(Scheduled, IsHeldUpByWhateverHasItsKey) {
    Schedule schedule = hourly(Overlap::skip);
    schedule.key = "reports";
    define({schedule});
    length = minutes(90);
    house.start("by_hand", "report", {{"scheduled_at", "by hand"}}, "reports");
    run_until("2026-01-01T02:30:00Z");
    EXPECT_EQ(runs.size(), 2u);
    EXPECT_EQ(runs.back(), "2026-01-01T02:00");
    EXPECT_EQ(view("hourly").skipped, 1);
    EXPECT_EQ(view("hourly").started, 1);
}

// --- time that passes without a server

TEST_F(Scheduled, MakesUpForWhatWasMissedWithinItsWindow) {
    Schedule schedule = hourly(Overlap::queue);
    schedule.catch_up = hours(3);
    define({schedule});
    run_until("2026-01-01T01:30:00Z");
    runs.clear();
    clock_shows("2026-01-01T08:30:00Z");
    house.restart();
    define({schedule});
    house.engine().run_until_idle();
    EXPECT_THAT(runs, ElementsAre("2026-01-01T06:00", "2026-01-01T07:00", "2026-01-01T08:00"));
    EXPECT_EQ(view("hourly").missed, 4);
    EXPECT_EQ(view("hourly").started, 4);
    EXPECT_EQ(view("hourly").next_at_ms, parse_rfc3339("2026-01-01T09:00:00Z"));
}

TEST_F(Scheduled, TellsWhatWasDecided) {
    Schedule schedule = hourly(Overlap::skip);
    schedule.catch_up = minutes(90);
    length = hours(3);
    define({schedule});
    clock_shows("2026-01-01T05:10:00Z");
    house.engine().run_until_idle();
    std::vector<std::string> told;
    for (const Transitioned& one : house.told)
        if (one.what.starts_with("schedule")) told.push_back(one.what + " " + one.instance);
    EXPECT_THAT(told, ElementsAre("schedule_missed schedule:hourly",
                                  "schedule_started report/schedule/hourly/2026-01-01T04:00:00Z",
                                  "schedule_skipped schedule:hourly"));
}

TEST_F(Scheduled, MakesUpForNothingWithoutAWindow) {
    Schedule schedule = daily();
    schedule.catch_up = Ms(0);
    define({schedule});
    clock_shows("2026-01-01T09:00:00.001Z");
    house.engine().run_until_idle();
    EXPECT_THAT(runs, IsEmpty());
    EXPECT_EQ(view().missed, 1);
    clock_shows("2026-01-02T09:00:00Z");
    house.engine().run_until_idle();
    EXPECT_THAT(runs, ElementsAre("2026-01-02T09:00"));
}

TEST_F(Scheduled, PassesOverYearsOfMissedMinutesInOneTransaction) {
    Schedule schedule = hourly(Overlap::queue);
    schedule.cron = "* * * * *";
    schedule.catch_up = minutes(2);
    define({schedule});
    clock_shows("2027-06-01T00:00:30Z");
    house.engine().run_until_idle();
    EXPECT_THAT(runs, ElementsAre("2027-05-31T23:59", "2027-06-01T00:00"));
    EXPECT_EQ(view("hourly").missed, 10'000) << "counted up to a limit";
}

TEST_F(Scheduled, StartsNothingTwiceAfterADeathInBetween) {
    define({daily()});
    clock_shows("2026-01-01T09:00:00Z");
    house.store().claim({.limit = 1}).get();
    house.remember();
    house.die_as_remembered();
    define({daily()});
    run_until("2026-01-01T12:00:00Z");
    EXPECT_THAT(runs, ElementsAre("2026-01-01T09:00"));
    EXPECT_EQ(count("1"), "1");
}

// --- clocks

TEST_F(Scheduled, StartsNoTimeTwiceOnceItsInstanceIsForgotten) {
    Schedule schedule = daily();
    schedule.key = "customer_1";
    define({schedule});
    run_until("2026-01-01T10:00:00Z");
    ASSERT_TRUE(house.store().forget({.subject = "customer_1"}).get().done);
    clock_shows("2026-01-01T08:00:00Z");
    define({schedule});
    run_until("2026-01-01T10:00:00Z");
    EXPECT_EQ(runs.size(), 1u);
    EXPECT_EQ(view().started, 1);
}

TEST_F(Scheduled, StartsNoTimeTwiceWhenTheClockIsSetBack) {
    define({daily()});
    run_until("2026-01-02T10:00:00Z");
    clock_shows("2026-01-01T08:00:00Z");
    house.restart();
    define({daily()});
    run_until("2026-01-03T10:00:00Z");
    EXPECT_THAT(runs, ElementsAre("2026-01-01T09:00", "2026-01-02T09:00", "2026-01-03T09:00"));
    EXPECT_EQ(view().started, 3);
}

TEST_F(Scheduled, IsNotLostToAClockThatStoodYearsAhead) {
    define({daily()});
    clock_shows("2099-01-01T00:00:00Z");
    house.engine().run_until_idle();
    EXPECT_EQ(view().next_at_ms, parse_rfc3339("2099-01-01T09:00:00Z"));
    clock_shows("2026-01-01T00:00:00Z");
    house.restart();
    define({daily()});
    EXPECT_EQ(view().next_at_ms, parse_rfc3339("2026-01-01T09:00:00Z"));
}

TEST_F(Scheduled, LosesNoTimeToAClockThatIsADayAheadForAWhile) {
    define({daily()});
    run_until("2026-01-01T10:00:00Z");
    clock_shows("2026-01-02T11:00:00Z");
    house.engine().run_until_idle();
    clock_shows("2026-01-01T11:00:00Z");
    run_until("2026-01-03T10:00:00Z");
    EXPECT_THAT(runs, ElementsAre("2026-01-01T09:00", "2026-01-02T09:00", "2026-01-03T09:00"));
}

// --- jitter

TEST_F(Scheduled, IsPutOffByTheSameJitterForTheSameTime) {
    Schedule schedule = daily();
    schedule.jitter = minutes(30);
    define({schedule});
    const std::int64_t nominal = parse_rfc3339("2026-01-01T09:00:00Z").value();
    const std::int64_t due = view().due_at_ms.value();
    EXPECT_GT(due, nominal);
    EXPECT_LE(due, nominal + Ms(minutes(30)).count());
    house.restart();
    define({schedule});
    EXPECT_EQ(view().due_at_ms, due);
    EXPECT_NE(due_with_jitter("other", nominal, minutes(30)), due);
    run_until("2026-01-01T10:00:00Z");
    EXPECT_THAT(runs, ElementsAre("2026-01-01T09:00"));
    EXPECT_EQ(house.sql("SELECT created_at_ms FROM instances"), std::to_string(due));
}

TEST(ScheduleJitter, IsSpreadOverItsWholeSpan) {
    std::int64_t least = INT64_MAX, most = 0;
    for (int i = 0; i < 1000; ++i) {
        const std::int64_t delay =
            due_with_jitter("s" + std::to_string(i), 5'000, Ms(1000)) - 5'000;
        least = std::min(least, delay);
        most = std::max(most, delay);
    }
    EXPECT_GE(least, 0);
    EXPECT_LT(least, 20);
    EXPECT_LE(most, 1000);
    EXPECT_GT(most, 980);
}

// --- people

TEST_F(Scheduled, RestsWhileItIsPausedAndMakesUpForNothing) {
    define({daily()});
    EXPECT_EQ(order(ScheduleChange::Kind::pause).refused, "");
    house.restart();
    define({daily()});
    run_until("2026-01-03T12:00:00Z");
    EXPECT_THAT(runs, IsEmpty());
    EXPECT_EQ(order(ScheduleChange::Kind::pause).refused, "it is paused already");
    const ScheduleChanged back = order(ScheduleChange::Kind::unpause);
    EXPECT_EQ(back.next_at_ms, parse_rfc3339("2026-01-04T09:00:00Z"));
    EXPECT_EQ(order(ScheduleChange::Kind::unpause).refused, "it is not paused");
    run_until("2026-01-04T12:00:00Z");
    EXPECT_THAT(runs, ElementsAre("2026-01-04T09:00"));
    EXPECT_EQ(house.sql("SELECT group_concat(actor||' '||action||' '||target) FROM audit"),
              "test schedule-pause daily,test schedule-unpause daily");
}

TEST_F(Scheduled, IsTriggeredByAPersonBesideItsTimes) {
    define({daily()});
    const ScheduleChanged changed = order(ScheduleChange::Kind::trigger);
    EXPECT_EQ(changed.instance, "report/schedule/daily/2026-01-01T00:00:00.000Z/triggered");
    EXPECT_EQ(changed.next_at_ms, parse_rfc3339("2026-01-01T09:00:00Z"));
    run_until("2026-01-01T12:00:00Z");
    EXPECT_THAT(runs, ElementsAre("2026-01-01T00:00", "2026-01-01T09:00"));
    EXPECT_EQ(house.sql("SELECT action||' '||detail FROM audit"),
              R"(schedule-trigger {"instance":"report/schedule/daily/2026-01-01T00:00:00.000Z/)"
              R"(triggered"})");
}

TEST_F(Scheduled, IsNotTriggeredBesideAnUnfinishedInstance) {
    length = hours(30);
    define({daily()});
    run_until("2026-01-01T12:00:00Z");
    EXPECT_EQ(order(ScheduleChange::Kind::trigger).refused,
              "report/schedule/daily/2026-01-01T09:00:00Z is unfinished, and its overlap policy is "
              "skip");
    EXPECT_EQ(house.sql("SELECT count(*) FROM audit"), "0");
}

TEST_F(Scheduled, KnowsOnlyItsOwnNames) {
    define({daily()});
    EXPECT_THAT(order(ScheduleChange::Kind::trigger, "weekly").refused,
                HasSubstr("there is no such schedule"));
}

// --- definitions

TEST_F(Scheduled, GoesOnUnderAChangedDefinition) {
    define({daily()});
    run_until("2026-01-01T10:00:00Z");
    Schedule changed = daily();
    changed.cron = "0 11 * * *";
    changed.input = {{"what", "stock"}};
    house.restart();
    define({changed});
    run_until("2026-01-02T10:00:00Z");
    EXPECT_THAT(runs, ElementsAre("2026-01-01T09:00", "2026-01-01T11:00"));
    EXPECT_EQ(inputs.back().at("what"), "stock");
    EXPECT_EQ(view().started, 2);
    EXPECT_EQ(house.sql("SELECT count(*) FROM schedules"), "1");
    EXPECT_EQ(house.sql("SELECT count(*) FROM payloads WHERE id IN (SELECT input FROM schedules)"),
              "1");
}

TEST_F(Scheduled, EndsWithItsDefinition) {
    define({daily(), hourly(Overlap::skip)});
    const std::string payloads = house.sql("SELECT count(*) FROM payloads");
    define({daily()});
    EXPECT_EQ(house.sql("SELECT group_concat(name) FROM schedules"), "daily");
    EXPECT_EQ(house.sql("SELECT " + payloads + "-count(*) FROM payloads"), "1");
    define({});
    EXPECT_EQ(house.sql("SELECT count(*) FROM schedules"), "0");
    EXPECT_EQ(house.engine().next_due_ms(), std::nullopt);
}

TEST_F(Scheduled, IsRefusedWithTheReasonBeforeAnythingIsWritten) {
    const auto refusal = [&](Schedule schedule) -> std::string {
        try {
            define({daily(), std::move(schedule)});
        } catch (const std::invalid_argument& error) {
            return error.what();
        }
        return "accepted";
    };
    Schedule bad = hourly(Overlap::skip);
    bad.cron = "0 25 * * *";
    EXPECT_THAT(refusal(bad), HasSubstr("schedule hourly: hour: \"25\""));
    bad = hourly(Overlap::skip);
    bad.time_zone = "Mars";
    EXPECT_THAT(refusal(bad), HasSubstr("schedule hourly: there is no time zone \"Mars\""));
    bad = hourly(Overlap::skip);
    bad.workflow = "unknown";
    EXPECT_THAT(refusal(bad), HasSubstr("no version 1 of workflow unknown"));
    bad = hourly(Overlap::skip);
    bad.name = "a b";
    EXPECT_THAT(refusal(bad), HasSubstr("a schedule's name has"));
    EXPECT_THAT(refusal(daily()), HasSubstr("defined twice"));
    bad = hourly(Overlap::skip);
    bad.input = Json::array();
    EXPECT_THAT(refusal(bad), HasSubstr("must be a JSON object"));
    bad = hourly(Overlap::skip);
    bad.jitter = Ms(-1);
    EXPECT_THAT(refusal(bad), HasSubstr("0 to 366 days"));
    EXPECT_EQ(house.sql("SELECT count(*) FROM schedules"), "0");
}

TEST_F(Scheduled, StopsWithAReasonWhereItsTimesCannotBeReadAnyMore) {
    define({daily(), hourly(Overlap::skip)});
    house.damage("UPDATE schedules SET time_zone='Gone/Away' WHERE name='daily'");
    run_until("2026-01-01T09:30:00Z");
    EXPECT_THAT(view().error, HasSubstr("Gone/Away"));
    EXPECT_EQ(view("hourly").started, 9) << "the others go on";
    define({daily(), hourly(Overlap::skip)});
    EXPECT_EQ(view().error, "");
    EXPECT_EQ(view().next_at_ms, parse_rfc3339("2026-01-02T09:00:00Z"));
}

TEST_F(Scheduled, ShowsWhatComesNext) {
    define({daily()});
    EXPECT_THAT(view().upcoming, ElementsAreArray({parse_rfc3339("2026-01-01T09:00:00Z").value(),
                                                   parse_rfc3339("2026-01-02T09:00:00Z").value(),
                                                   parse_rfc3339("2026-01-03T09:00:00Z").value()}));
}

TEST(ScheduledEncrypted, KeepsItsInputSealed) {
    House house({.encryption_keys = parse_master_keys(std::string(64, 'a'))});
    std::string got;
    house.add("report", [&](Context&, const Json& input) {
        got = input.at("whom");
        return Json();
    });
    house.engine().schedule(
        {{.name = "daily", .workflow = "report", .cron = "0 9 * * *", .input = {{"whom", "ada"}}}});
    EXPECT_EQ(house.sql("SELECT count(*) FROM payloads WHERE data_key_id IS NULL"), "0");
    house.clock.advance(hours(10));
    house.engine().run_until_idle();
    EXPECT_EQ(got, "ada");
}

}  // namespace
}  // namespace steplog
