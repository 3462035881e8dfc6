// What the check before a deploy says of instances that other code began: what would break and
// where, nothing about what goes on, and nothing is called or changed.
#include "engine/check_replay.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "tests/engine/house.h"

namespace steplog {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::House;
using ::testing::IsEmpty;
using Function = std::function<Json(Context&, const Json&)>;

// What the new code must not do.
int not_to_be_called(const Attempt&) {
    ADD_FAILURE() << "an effect was called";
    return 0;
}

// An instance of "w" that the old code has brought as far as it goes, looked at with the new code.
class CheckReplay : public ::testing::Test {
  protected:
    void begin(Function old_code, const Json& input = Json::object()) {
        house.add("w", std::move(old_code));
        house.start("i", "w", input);
        house.engine().run_until_idle();
        house.store().flush();
    }
    ReplayReport look(Function new_code, int version = 1, const std::string& name = "w") {
        Registry registry;
        registry.add({.name = name, .version = version, .run = std::move(new_code)});
        Inspector inspector(house.database(), house.clock);
        return check_replay(inspector, registry);
    }
    /// "code at step", for each finding.
    std::vector<std::string> found(Function new_code, int version = 1,
                                   const std::string& name = "w") {
        std::vector<std::string> found;
        for (const ReplayFinding& finding : look(std::move(new_code), version, name).findings)
            found.push_back(finding.code + " at " + finding.step +
                            (finding.already ? ", already" : ""));
        return found;
    }

    House house;
};

// a is finished, b waits for its next attempt.
Json as_far_as_b(Context& ctx, const Json&) {
    ctx.step("a", [](const Attempt&) { return 7; });
    ctx.step("b", [](const Attempt&) { throw RetryableError("busy", {}); });
    return {};
}

TEST_F(CheckReplay, SaysNothingOfWhatGoesOn) {
    begin(as_far_as_b);
    const ReplayReport report = look([](Context& ctx, const Json&) {
        ctx.step("a", not_to_be_called);
        ctx.step("b", not_to_be_called);
        ctx.step("c", not_to_be_called);
        return Json();
    });
    EXPECT_EQ(report.looked_at, 1);
    EXPECT_THAT(report.findings, IsEmpty());
    EXPECT_EQ(report.would_break(), 0);
}

TEST_F(CheckReplay, LooksOnlyAtWhatIsUnfinished) {
    begin([](Context& ctx, const Json&) {
        ctx.step("a", [](const Attempt&) {});
        return Json();
    });
    EXPECT_EQ(look([](Context&, const Json&) { return Json(); }).looked_at, 0);
}

TEST_F(CheckReplay, FindsAnUnknownWorkflowOrVersion) {
    begin(as_far_as_b);
    EXPECT_THAT(found(as_far_as_b, 2), ElementsAre("unknown_version at "));
    EXPECT_THAT(found(as_far_as_b, 1, "v"), ElementsAre("unknown_workflow at "));
}

TEST_F(CheckReplay, FindsANameThatIsUsedTwice) {
    begin(as_far_as_b);
    const auto twice = [](Context& ctx, const Json&) {
        ctx.step("a", not_to_be_called);
        ctx.step("a", not_to_be_called);
        return Json();
    };
    EXPECT_THAT(found(twice), ElementsAre("duplicate_step at a"));
}

TEST_F(CheckReplay, FindsAResultThatNoLongerConverts) {
    begin(as_far_as_b);
    const auto other_type = [](Context& ctx, const Json&) {
        ctx.step("a", [](const Attempt&) { return std::vector<std::string>(); });
        return Json();
    };
    const ReplayReport report = look(other_type);
    ASSERT_EQ(report.findings.size(), 1u);
    EXPECT_EQ(report.findings[0].code, "undecodable_result");
    EXPECT_EQ(report.findings[0].step, "a");
    EXPECT_EQ(report.findings[0].instance, "i");
    EXPECT_EQ(report.findings[0].state, State::sleeping);
    EXPECT_THAT(report.findings[0].message, HasSubstr("the stored result of a is a number"));
    EXPECT_EQ(report.would_break(), 1);
}

TEST_F(CheckReplay, FindsAStepThatWasDroppedOrRenamed) {
    begin(as_far_as_b);
    EXPECT_THAT(found([](Context& ctx, const Json&) {
                    ctx.step("a", not_to_be_called);
                    return Json();
                }),
                ElementsAre("not_asked_for at b"));
    const ReplayReport renamed = look([](Context& ctx, const Json&) {
        ctx.step("a", not_to_be_called);
        ctx.step("b again", not_to_be_called);
        return Json();
    });
    ASSERT_EQ(renamed.findings.size(), 1u);
    EXPECT_THAT(renamed.findings[0].message, HasSubstr("the code wants b again"));
}

TEST_F(CheckReplay, FindsAStepPutBeforeWhatIsDoneUnlessAPatchKeepsItAway) {
    begin(as_far_as_b);
    const auto with = [](bool patch) {
        return [patch](Context& ctx, const Json&) {
            ctx.step("a", not_to_be_called);
            if (!patch || ctx.patched("check")) ctx.step("check", not_to_be_called);
            ctx.step("b", not_to_be_called);
            return Json();
        };
    };
    EXPECT_THAT(found(with(false)), ElementsAre("not_asked_for at b"));
    EXPECT_THAT(found(with(true)), IsEmpty());
}

TEST_F(CheckReplay, FindsANameOfAnotherKind) {
    begin(as_far_as_b);
    EXPECT_THAT(found([](Context& ctx, const Json&) {
                    ctx.sleep_for("a", Ms(1));
                    ctx.step("b", not_to_be_called);
                    return Json();
                }),
                ElementsAre("other_kind at a", "not_asked_for at b"));
}

TEST_F(CheckReplay, FindsAWaitForAnotherSignal) {
    begin([](Context& ctx, const Json&) { return *ctx.wait_for("go", {.signal = "approved"}); });
    const auto waiting_for = [](const std::string& signal) {
        return
            [signal](Context& ctx, const Json&) { return *ctx.wait_for("go", {.signal = signal}); };
    };
    EXPECT_THAT(found(waiting_for("approved")), IsEmpty());
    EXPECT_THAT(found(waiting_for("agreed")), ElementsAre("other_signal at go"));
}

TEST_F(CheckReplay, FindsAChildOfAnotherWorkflow) {
    begin([](Context& ctx, const Json&) {
        ctx.start_child("pay", "payment");
        return ctx.await_child("pay");
    });
    const auto with = [](const std::string& workflow) {
        return [workflow](Context& ctx, const Json&) {
            ctx.start_child("pay", workflow);
            return ctx.await_child("pay");
        };
    };
    std::vector<std::string> codes;
    for (const ReplayFinding& finding : look(with("refund")).findings)
        if (finding.instance == "i") codes.push_back(finding.code);
    EXPECT_THAT(codes, ElementsAre("other_workflow"));
    for (const ReplayFinding& finding : look(with("payment")).findings)
        EXPECT_NE(finding.instance, "i") << finding.code;
}

TEST_F(CheckReplay, FindsCodeThatThrowsOrWouldBeStuck) {
    begin(as_far_as_b);
    EXPECT_THAT(found([](Context&, const Json& input) { return Json(input.at("missing")); }),
                ElementsAre("unclassified at "));
    EXPECT_THAT(found([](Context& ctx, const Json&) -> Json { ctx.stuck("odd", "is odd"); }),
                ElementsAre("odd at "));
}

TEST_F(CheckReplay, TellsWhatIsStuckWithTheSameAlready) {
    const auto stops = [](Context& ctx, const Json&) -> Json {
        ctx.step("a", [](const Attempt&) { return 7; });
        ctx.stuck("no_email", "the customer has no e-mail address");
    };
    begin(stops);
    EXPECT_THAT(found(stops), ElementsAre("no_email at a, already"));
    EXPECT_EQ(look(stops).would_break(), 0);
}

TEST_F(CheckReplay, FindsALogThatDoesNotVerify) {
    begin(as_far_as_b);
    house.damage("DROP TRIGGER entries_are_immutable; UPDATE entries SET attempt=9 WHERE n=1");
    EXPECT_THAT(found(as_far_as_b), ElementsAre("log_damaged at "));
}

// A function that looks again once a person has resumed it, as the flagship does.
TEST_F(CheckReplay, KnowsThatAResumedOneMayWantSomethingElseFirst) {
    const auto looks_again = [](bool busy) {
        return [busy](Context& ctx, const Json&) {
            if (ctx.continuations() > 0)
                ctx.step("look", [&](const Attempt&) {
                    if (busy) throw RetryableError("busy", {});
                });
            ctx.step("a", [](const Attempt&) {});
            ctx.step("b", {.attempts_max = 1},
                     [](const Attempt&) { throw RetryableError("busy", {}); });
            return Json();
        };
    };
    begin(looks_again(true));
    ASSERT_EQ(house.state("i"), "stuck");
    EXPECT_THAT(found(looks_again(true)), IsEmpty()) << "while it is stuck";
    house.clock.advance(std::chrono::hours(100));
    EXPECT_THAT(found(looks_again(true)), IsEmpty()) << "days later";
    house.resume("i");
    EXPECT_THAT(found(looks_again(true)), IsEmpty()) << "resumed";
    house.engine().run_until_idle();
    ASSERT_THAT(house.log("i"), HasSubstr("started look"));
    EXPECT_THAT(found(looks_again(true)), IsEmpty()) << "while it looks again";
}

// Cancelled, it leaves at whatever it would begin next, and stands at what it takes back.
TEST_F(CheckReplay, FollowsACancelledOneThatTakesBackWhatItDid) {
    const auto with_undo = [](const std::string& next) {
        return [next](Context& ctx, const Json&) {
            ctx.step(
                "a",
                {.undo = [](const Attempt&, const Json&) { throw RetryableError("busy", {}); }},
                [](const Attempt&) { return 7; });
            if (next == "step")
                ctx.step("b", [](const Attempt&) { throw RetryableError("busy", {}); });
            ctx.wait_for("go");
            return Json();
        };
    };
    for (const std::string next : {"step", "wait"}) {
        House here;
        here.add("w", with_undo(next));
        here.start("i", "w");
        here.engine().run_until_idle();
        here.engine().cancel({.ids = {"i"}, .actor = "test"});
        here.engine().run_until_idle();
        ASSERT_THAT(here.log("i"), HasSubstr("retried undo a"));
        Registry registry;
        registry.add({.name = "w", .run = with_undo(next)});
        Inspector inspector(here.database(), here.clock);
        EXPECT_THAT(check_replay(inspector, registry).findings, IsEmpty()) << next;
    }
}

TEST_F(CheckReplay, AsksNoProbeOfWhatIsInDoubt) {
    begin(as_far_as_b);
    const StepOptions probed{.probe = [](const Attempt&) -> std::optional<Json> {
        ADD_FAILURE() << "a probe was called";
        return std::nullopt;
    }};
    EXPECT_THAT(found([&](Context& ctx, const Json&) {
                    ctx.step("a", not_to_be_called);
                    ctx.step("b", probed, not_to_be_called);
                    return Json();
                }),
                IsEmpty());
}

TEST_F(CheckReplay, ChangesNothingBesideTheServerThatRuns) {
    begin(as_far_as_b);
    const auto bytes = [&] {
        std::string all;
        for (const char* part : {"", "-wal"}) {
            std::ifstream file(house.database() + part, std::ios::binary);
            all.append(std::istreambuf_iterator<char>(file), {});
        }
        return all;
    };
    const std::string before = bytes();
    look([](Context& ctx, const Json&) {
        ctx.step("a", not_to_be_called);
        if (ctx.patched("p")) ctx.sleep_for("nap", Ms(0));
        ctx.sleep_for("long nap", std::chrono::hours(1));
        return Json();
    });
    EXPECT_EQ(bytes(), before);
    EXPECT_EQ(house.state("i"), "sleeping");
}

TEST_F(CheckReplay, ReadsEncryptedPayloadsWithTheirKeyOnly) {
    const auto keys = parse_master_keys(std::string(64, 'a'));
    House sealed({.encryption_keys = keys});
    sealed.add("w", as_far_as_b);
    sealed.start("i", "w");
    sealed.engine().run_until_idle();
    sealed.store().flush();
    Registry registry;
    registry.add({.name = "w", .run = as_far_as_b});
    Inspector without(sealed.database(), sealed.clock);
    EXPECT_THROW(check_replay(without, registry), InspectError);
    Inspector with(sealed.database(), sealed.clock, "", keys);
    EXPECT_EQ(check_replay(with, registry).would_break(), 0);
}

// A deploy may bring a newer schema along: the check comes before it.
TEST_F(CheckReplay, ReadsDatabasesOfOlderSchemas) {
    const std::filesystem::path old =
        std::filesystem::path(STEPLOG_SOURCE_DIR) / "tests/data/schema/0001.db";
    Registry registry;
    registry.add({.name = "order", .run = [](Context& ctx, const Json&) {
                      ctx.step("reserve", not_to_be_called);
                      ctx.step("pay", not_to_be_called);
                      return Json();
                  }});
    Inspector inspector(old, house.clock, "", {}, Schemas::older_too);
    const ReplayReport report = check_replay(inspector, registry);
    EXPECT_EQ(report.looked_at, 5);
    EXPECT_EQ(report.would_break(), 0);
    EXPECT_THROW(Inspector(old, house.clock), InspectError);
}

TEST_F(CheckReplay, IsToldAsJsonWithoutPersonalData) {
    house.add("w", as_far_as_b);
    house.start("i/ann@example.com", "w");
    house.engine().run_until_idle();
    house.store().flush();
    const Json json = json_of(look(as_far_as_b, 2));
    EXPECT_EQ(json.at("looked_at"), 1);
    EXPECT_EQ(json.at("would_break"), 1);
    EXPECT_EQ(json.at("findings").at(0).at("code"), "unknown_version");
    EXPECT_EQ(json.at("findings").at(0).at("step"), nullptr);
    EXPECT_THAT(json.dump(), ::testing::Not(HasSubstr("ann@")));
}

}  // namespace
}  // namespace steplog
