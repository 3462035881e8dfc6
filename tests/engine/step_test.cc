// What a step promises: its result is kept, it never runs again, and its end decides what comes
// next.
#include <gtest/gtest.h>

#include "tests/engine/house.h"

namespace steplog {
namespace {

using testing::House;

RetryableError refused(const std::string& message = "busy",
                       std::optional<Ms> retry_after = std::nullopt) {
    return RetryableError(
        message, {.code = "busy", .outcome = Outcome::refused, .retry_after = retry_after});
}
RetryableError unknown() {
    return RetryableError("no answer", {.code = "timeout", .outcome = Outcome::unknown});
}

struct Receipt {
    std::string id;
    int amount = 0;
    NLOHMANN_DEFINE_TYPE_INTRUSIVE(Receipt, id, amount)
};

TEST(Step, KeepsItsResultAndNeverRunsAgain) {
    House house;
    int calls = 0, failures = 1;
    house.add("order", [&](Context& ctx, const Json& input) {
        const auto receipt = ctx.step("charge", [&](const Attempt&) {
            ++calls;
            return Receipt{"r1", input.at("amount").get<int>()};
        });
        ctx.step("ship", [&](const Attempt&) {
            if (failures-- > 0) throw refused();
        });
        return Json{{"receipt", receipt.id}, {"amount", receipt.amount}};
    });
    house.start("o1", "order", {{"amount", 12}});
    house.run_to_the_end();
    EXPECT_EQ(house.state("o1"), "completed");
    EXPECT_EQ(calls, 1);
    EXPECT_EQ(house.log("o1"),
              "started charge, completed charge, started ship, retried ship, started ship, "
              "completed ship");
    EXPECT_EQ(
        house.sql("SELECT body FROM payloads WHERE id=(SELECT output_payload FROM instances)"),
        R"({"amount":12,"receipt":"r1"})");
}

TEST(Step, HasADurableIntentBeforeItsEffectBegins) {
    House house;
    std::string seen;
    house.add("w", [&](Context& ctx, const Json&) {
        ctx.step("a", [&](const Attempt&) { seen = house.log("i"); });
        ctx.step("b", [&](const Attempt&) { seen += " | " + house.log("i"); });
        return Json();
    });
    house.start("i", "w");
    house.run_to_the_end();
    EXPECT_EQ(seen, "started a | started a, completed a, started b");
}

TEST(Step, SendsTheSameKeyWithEveryAttempt) {
    House house;
    std::vector<std::string> keys;
    house.add("w", [&](Context& ctx, const Json&) {
        ctx.step("pay", [&](const Attempt& attempt) {
            keys.push_back(attempt.idempotency_key);
            if (keys.size() < 3) throw unknown();
        });
        return Json();
    });
    house.start("w/1", "w");
    house.run_to_the_end();
    EXPECT_EQ(keys, std::vector<std::string>(3, "steplog:w/1:pay"));
}

TEST(Step, WaitsAsLongAsTheProviderAsks) {
    House house;
    int calls = 0;
    house.add("w", [&](Context& ctx, const Json&) {
        ctx.step("a", [&](const Attempt&) {
            if (++calls == 1) throw refused("slow down", Ms(123'000));
        });
        return Json();
    });
    house.start("i", "w");
    house.engine().run_until_idle();
    EXPECT_EQ(house.state("i"), "sleeping");
    EXPECT_EQ(house.engine().next_due_ms(), house.clock.now_ms() + 123'000);
    house.clock.advance(Ms(122'999));
    EXPECT_EQ(house.engine().run_until_idle(), 0);
    house.clock.advance(Ms(1));
    EXPECT_EQ(house.engine().run_until_idle(), 1);
    EXPECT_EQ(house.state("i"), "completed");
}

TEST(Step, BecomesStuckWhenItsTriesAreUsedUpAndGoesOnWhenResumed) {
    House house;
    int calls = 0;
    bool down = true;
    house.add("w", [&](Context& ctx, const Json&) {
        ctx.step("before", [](const Attempt&) { return 1; });
        ctx.step("a", {.attempts_max = 3}, [&](const Attempt&) {
            ++calls;
            if (down) throw refused("closed for lunch");
        });
        return Json();
    });
    house.start("i", "w");
    house.run_to_the_end();
    EXPECT_EQ(house.state("i"), "stuck");
    EXPECT_EQ(house.error_code("i"), "retries_exhausted");
    EXPECT_NE(house.sql("SELECT error FROM instances").find("closed for lunch"), std::string::npos);
    EXPECT_EQ(calls, 3);
    down = false;
    EXPECT_EQ(house.resume("i").ids, std::vector<std::string>{"i"});
    house.run_to_the_end();
    EXPECT_EQ(house.state("i"), "completed");
    EXPECT_EQ(calls, 4);
    EXPECT_EQ(house.sql("SELECT count(*) FROM entries WHERE step='before' AND kind='started'"),
              "1");
    EXPECT_EQ(house.sql("SELECT actor || ' ' || action || ' ' || target FROM audit"),
              "test resume i");
}

TEST(Step, GetsFreshTriesAndANewKeyWhenResumedAfterARefusal) {
    House house;
    std::vector<std::string> keys;
    house.add("w", [&](Context& ctx, const Json&) {
        ctx.step("a", {.attempts_max = 2}, [&](const Attempt& attempt) {
            keys.push_back(attempt.idempotency_key);
            if (keys.size() < 4) throw refused();
        });
        return Json();
    });
    house.start("i", "w");
    house.run_to_the_end();
    house.resume("i");
    house.run_to_the_end();
    EXPECT_EQ(keys, (std::vector<std::string>{"steplog:i:a", "steplog:i:a", "steplog:i:a/g1",
                                              "steplog:i:a/g1"}));
}

TEST(Step, KeepsItsKeyWhenResumedWhileAnAttemptIsInDoubt) {
    House house;
    std::vector<std::string> keys;
    house.add("w", [&](Context& ctx, const Json&) {
        ctx.step("a", {.attempts_max = 1, .idempotency_window = std::chrono::hours(24)},
                 [&](const Attempt& attempt) {
                     keys.push_back(attempt.idempotency_key);
                     if (keys.size() < 2) throw unknown();
                 });
        return Json();
    });
    house.start("i", "w");
    house.run_to_the_end();
    EXPECT_EQ(house.state("i"), "stuck");
    house.resume("i");
    house.run_to_the_end();
    EXPECT_EQ(house.state("i"), "completed");
    EXPECT_EQ(keys, (std::vector<std::string>{"steplog:i:a", "steplog:i:a"}));
}

TEST(Step, GivesUpAfterItsTimeEvenWithoutALimitOfTries) {
    House house;
    house.defaults.retry.cap = std::chrono::hours(1);
    house.add("w", [&](Context& ctx, const Json&) {
        ctx.step("a", [&](const Attempt&) { throw refused(); });
        return Json();
    });
    house.start("i", "w");
    const auto began = house.clock.now_ms();
    house.run_to_the_end();
    EXPECT_EQ(house.state("i"), "stuck");
    EXPECT_GE(house.clock.now_ms() - began, 72 * 3'600'000LL);
    EXPECT_LE(house.clock.now_ms() - began, 73 * 3'600'000LL);
}

TEST(Step, TriesAgainAfterAnErrorItDoesNotKnow) {
    House house;
    int calls = 0;
    house.add("w", [&](Context& ctx, const Json&) {
        ctx.step("a", [&](const Attempt&) {
            if (++calls == 1) throw std::runtime_error("bad luck");
            if (calls == 2) throw 42;
        });
        return Json();
    });
    house.start("i", "w");
    house.run_to_the_end();
    EXPECT_EQ(house.state("i"), "completed");
    EXPECT_EQ(house.sql("SELECT json_extract(data,'$.code') FROM entries WHERE kind='retried'"),
              "unclassified");
}

TEST(Step, IsSeenAsFailedByTheWorkflowWhichMayGoOn) {
    House house;
    house.add("w", [&](Context& ctx, const Json&) {
        try {
            ctx.step("a", [&](const Attempt&) {
                throw PermanentError("card_declined", "the card was declined");
            });
        } catch (const StepFailed& failed) {
            ctx.step("tell", [&](const Attempt&) { return failed.step() + ":" + failed.code(); });
        }
        return Json("done");
    });
    house.start("i", "w");
    house.run_to_the_end();
    EXPECT_EQ(house.state("i"), "completed");
    EXPECT_EQ(house.log("i"), "started a, failed a, started tell, completed tell");
}

TEST(Step, UncaughtFailureFailsTheInstanceOrMakesItStuckAsTheWorkflowSays) {
    House house;
    bool declined = true;
    const auto run = [&](Context& ctx, const Json&) {
        ctx.step("a", [&](const Attempt&) {
            if (declined) throw PermanentError("card_declined", "no");
        });
        return Json();
    };
    house.add("fails", run);
    house.add("waits", run).on_failure = OnFailure::stuck;
    house.start("f", "fails");
    house.start("s", "waits");
    house.run_to_the_end();
    EXPECT_EQ(house.state("f"), "failed");
    EXPECT_EQ(house.state("s"), "stuck");
    EXPECT_EQ(house.error_code("s"), "card_declined");
    EXPECT_EQ(house.sql("SELECT step FROM instances WHERE id='s'"), "a");
    declined = false;
    house.resume("s");
    house.run_to_the_end();
    EXPECT_EQ(house.state("s"), "completed");
    EXPECT_EQ(house.resume("f").skipped.at(0).reason, "failed: it has ended");
}

TEST(Step, CannotBeLostByCodeThatCatchesEverything) {
    House house;
    int calls = 0, after = 0;
    house.add("w", [&](Context& ctx, const Json&) {
        try {
            ctx.step("a", [&](const Attempt&) {
                if (++calls == 1) throw refused();
            });
        } catch (...) {
        }
        try {
            ctx.step("b", [&](const Attempt&) { ++after; });
        } catch (...) {
        }
        return Json();
    });
    house.start("i", "w");
    house.engine().run_until_idle();
    EXPECT_EQ(house.state("i"), "sleeping");
    EXPECT_EQ(after, 0);
    house.run_to_the_end();
    EXPECT_EQ(house.state("i"), "completed");
    EXPECT_EQ(after, 1);
}

TEST(Step, NameUsedTwiceMakesTheInstanceStuck) {
    House house;
    house.add("w", [&](Context& ctx, const Json&) {
        ctx.step("a", [](const Attempt&) {});
        ctx.step("a", [](const Attempt&) {});
        return Json();
    });
    house.start("i", "w");
    house.run_to_the_end();
    EXPECT_EQ(house.error_code("i"), "duplicate_step");
}

TEST(Step, InsideAnotherMakesTheInstanceStuck) {
    House house;
    house.add("w", [&](Context& ctx, const Json&) {
        ctx.step("a", [&](const Attempt&) { ctx.step("b", [](const Attempt&) {}); });
        return Json();
    });
    house.start("i", "w");
    house.run_to_the_end();
    EXPECT_EQ(house.error_code("i"), "nested_step");
}

TEST(Step, ResultThatNoLongerConvertsNamesStepStoredAndExpected) {
    House house;
    bool new_code = false;
    house.add("w", [&](Context& ctx, const Json&) {
        if (!new_code)
            ctx.step("a", [](const Attempt&) { return std::string("text"); });
        else
            ctx.step("a", [](const Attempt&) { return Receipt{}; });
        ctx.step("b", [&](const Attempt&) {
            if (!new_code) throw refused();
        });
        return Json();
    });
    house.start("i", "w");
    house.engine().run_until_idle();
    new_code = true;
    house.run_to_the_end();
    EXPECT_EQ(house.error_code("i"), "undecodable_result");
    EXPECT_NE(house.sql("SELECT error FROM instances").find("the stored result of a is a string"),
              std::string::npos);
}

TEST(Step, MayBeAddedRemovedAndReorderedForInstancesInFlight) {
    House house;
    bool new_code = false;
    std::string order;
    const auto step = [&](Context& ctx, const std::string& name, bool fails = false) {
        ctx.step(name, [&](const Attempt&) {
            if (fails && !new_code) throw refused();
            order += name;
        });
    };
    house.add("w", [&](Context& ctx, const Json&) {
        if (!new_code) {
            step(ctx, "a"), step(ctx, "b"), step(ctx, "c", true);
        } else {
            step(ctx, "n"), step(ctx, "b"), step(ctx, "c");
        }
        return Json();
    });
    house.start("i", "w");
    house.engine().run_until_idle();
    new_code = true;
    house.run_to_the_end();
    EXPECT_EQ(house.state("i"), "completed");
    EXPECT_EQ(order, "abnc");
}

TEST(Step, StuckBySayingSoIsAskedAgainOnResume) {
    House house;
    bool known = false;
    house.add("w", [&](Context& ctx, const Json&) {
        ctx.step("a", [](const Attempt&) {});
        if (!known) ctx.stuck("no_email", "the customer has no e-mail address");
        return Json();
    });
    house.start("i", "w");
    house.run_to_the_end();
    EXPECT_EQ(house.error_code("i"), "no_email");
    known = true;
    house.resume("i");
    house.run_to_the_end();
    EXPECT_EQ(house.state("i"), "completed");
}

TEST(Workflow, ThatThrowsOutsideAStepIsTriedAgain) {
    House house;
    int calls = 0;
    house.add("w", [&](Context&, const Json&) -> Json {
        if (++calls < 3) throw std::runtime_error("bug");
        return {};
    });
    house.start("i", "w");
    house.run_to_the_end();
    EXPECT_EQ(house.state("i"), "completed");
    EXPECT_EQ(calls, 3);
}

TEST(Workflow, UnknownNameOrVersionMakesItStuckUntilItIsDeployed) {
    House house;
    house.add(
        "w", [](Context&, const Json&) { return Json(); }, 2);
    house.engine().accept(std::nullopt,
                          NewInstance{.id = "v", .workflow = "w", .version = 1, .input = "{}"});
    house.start("n", "nobody_knows");
    house.run_to_the_end();
    EXPECT_EQ(house.error_code("v"), "unknown_version");
    EXPECT_EQ(house.error_code("n"), "unknown_workflow");
    house.add(
        "w", [](Context&, const Json&) { return Json(); }, 1);
    house.restart();
    house.resume("v");
    house.run_to_the_end();
    EXPECT_EQ(house.state("v"), "completed");
}

}  // namespace
}  // namespace steplog
