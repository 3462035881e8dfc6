// Forgetting a customer: nothing that names them is left in the file's bytes, what they sent is
// still known when it comes again, and every promise still holds.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <fstream>
#include <iterator>
#include <thread>

#include "engine/inspect.h"
#include "engine/inspect_json.h"
#include "tests/engine/house.h"

namespace steplog {
namespace {

using ::testing::ElementsAre;
using testing::House;
using ::testing::IsEmpty;

class Forgetting : public ::testing::TestWithParam<bool> {
  protected:
    Forgetting() { reopen(); }

    void reopen() {
        house.reset();
        SqliteOptions options;
        if (GetParam()) options.encryption_keys = keys;
        house = std::make_unique<House>(options, database);
        house->add("greet", [this](Context& ctx, const Json& input) {
            const auto customer = input.at("customer").get<std::string>();
            ctx.step("look_up", [&](const Attempt&) -> Json {
                if (broken) throw PermanentError("gone", customer + " is no customer");
                return {{"email", mail_of(customer)}};
            });
            ctx.take_key("shop:" + customer);
            ctx.step("refund/" + customer, [](const Attempt&) { return true; });
            ctx.step("greet",
                     {.repeat = Repeat::at_most_once,
                      .once = "greeting/" + customer,
                      .once_forgotten = Json("greeted before"),
                      .request = {{"to", mail_of(customer)}}},
                     [&](const Attempt&) {
                         ++greetings;
                         return Json("sent to " + mail_of(customer));
                     });
            return Json("welcome " + mail_of(customer));
        });
    }

    static std::string mail_of(const std::string& customer) {
        return "mail-of-" + customer + "@example.com";
    }

    /// An event of the customer; with `indirect` it names only a session, and the customer is known
    /// later.
    Accepted send(const std::string& event, const std::string& customer, bool indirect = false) {
        const Json body = {{"id", event}, {"customer", customer}, {"email", mail_of(customer)}};
        const std::string subject = indirect ? "session_of_" + event : customer;
        return house->engine().accept(NewEvent{.source = "test",
                                               .id = event,
                                               .type = "t",
                                               .subject = subject,
                                               .reason = "",
                                               .body = body.dump()},
                                      NewInstance{.id = "greet/" + event,
                                                  .workflow = "greet",
                                                  .key = "shop:" + subject,
                                                  .input = {}});
    }
    void greet(const std::string& event, const std::string& customer, bool indirect = false) {
        send(event, customer, indirect);
        house->run_to_the_end();
    }
    Forgotten forget(const std::string& customer) {
        Forgotten forgotten = house->store().forget({.subject = customer, .actor = "uid:7"}).get();
        EXPECT_TRUE(house->store().sweep(false).get());
        return forgotten;
    }
    bool in_the_file(const std::string& text) const {
        for (const char* part : {"", "-wal"}) {
            std::ifstream file(database.string() + part, std::ios::binary);
            const std::string bytes(std::istreambuf_iterator<char>(file), {});
            if (bytes.find(text) != bytes.npos) return true;
        }
        return false;
    }
    /// What of the customer's names and words is in the file.
    std::vector<std::string> left_of(const std::string& customer,
                                     const std::vector<std::string>& events) const {
        std::vector<std::string> words = {mail_of(customer)}, found;
        // "customer_1" is a part of "customer_11" too.
        for (const char* end : {"\"", "@", ":", "/", "\x02"}) words.push_back(customer + end);
        for (const std::string& event : events) words.push_back(event);
        for (const std::string& word : words)
            if (in_the_file(word)) found.push_back(word);
        return found;
    }
    std::vector<std::string> broken_promises() {
        house->store().flush();
        std::vector<std::string> names;
        const auto report = Inspector(database, house->clock, "", keys).check();
        for (const Check& check : report.checks)
            if (check.broken > 0) names.push_back(check.name + ": " + check.examples.front());
        return names;
    }

    testing::TemporaryDirectory directory;
    std::filesystem::path database = directory / "test.db";
    std::vector<MasterKey> keys = parse_master_keys(std::string(64, '7'));
    std::unique_ptr<House> house;
    int greetings = 0;
    bool broken = false;
};
INSTANTIATE_TEST_SUITE_P(ClearOrEncrypted, Forgetting, ::testing::Bool(),
                         [](const auto& tested) { return tested.param ? "Encrypted" : "Clear"; });

TEST_P(Forgetting, LeavesNoByteOfTheCustomer) {
    greet("event_AAA", "customer_1");
    greet("event_BBB", "customer_1", true);
    greet("event_CCC", "customer_2");
    EXPECT_FALSE(left_of("customer_1", {"event_AAA", "event_BBB"}).empty())
        << "the search is blind";
    const Forgotten forgotten = forget("customer_1");
    EXPECT_TRUE(forgotten.done);
    EXPECT_EQ(forgotten.events, 2);
    EXPECT_EQ(forgotten.instances, 2);
    EXPECT_EQ(forgotten.once_keys, 1);
    EXPECT_GT(forgotten.payloads, 6);
    EXPECT_THAT(left_of("customer_1", {"event_AAA", "event_BBB", "session_of_"}), IsEmpty());
    EXPECT_FALSE(left_of("customer_2", {"event_CCC"}).empty());
    EXPECT_THAT(broken_promises(), IsEmpty());
    house.reset();
    EXPECT_THAT(left_of("customer_1", {"event_AAA", "event_BBB", "session_of_"}), IsEmpty());
}

TEST_P(Forgetting, KeepsTheLogAndTheCounts) {
    greet("event_AAA", "customer_1");
    const auto log = house->sql("SELECT group_concat(kind) FROM entries");
    const auto before = house->sql("SELECT log_hash FROM instances");
    forget("customer_1");
    EXPECT_EQ(house->sql("SELECT group_concat(kind) FROM entries"), log);
    EXPECT_EQ(house->sql("SELECT log_hash FROM instances"), before);
    EXPECT_EQ(house->sql("SELECT count(*) FROM events"), "1");
    EXPECT_EQ(house->sql("SELECT state FROM instances"), "completed");
    EXPECT_EQ(house->sql("SELECT count(*) FROM entries WHERE step LIKE 'forgotten:%'"), "2");
    const auto detail =
        Inspector(database, house->clock, "", keys).show(house->sql("SELECT id FROM instances"));
    EXPECT_EQ(detail.damage, "");
    EXPECT_TRUE(detail.input.forgotten);
    EXPECT_TRUE(detail.output.forgotten);
    EXPECT_EQ(detail.log.size(), 6u);
}

TEST_P(Forgetting, StillFoldsWhatIsDeliveredAgain) {
    greet("event_AAA", "customer_1");
    forget("customer_1");
    for (const bool anew : {false, true}) {
        if (anew) reopen();
        const Accepted again = send("event_AAA", "customer_1");
        EXPECT_TRUE(again.duplicate);
        EXPECT_FALSE(again.conflict);
        EXPECT_EQ(house->sql("SELECT count(*) FROM events"), "1");
        EXPECT_EQ(house->sql("SELECT count(*) FROM instances"), "1");
    }
    EXPECT_THAT(left_of("customer_1", {"event_AAA"}), IsEmpty());
}

TEST_P(Forgetting, DoesNotRepeatWhatWasDoneOnceWhenTheCustomerComesBack) {
    greet("event_AAA", "customer_1");
    forget("customer_1");
    greet("event_DDD", "customer_1");
    EXPECT_EQ(greetings, 1);
    EXPECT_EQ(house->state("greet/event_DDD"), "completed");
    EXPECT_TRUE(forget("customer_1").done);
    EXPECT_THAT(left_of("customer_1", {"event_AAA", "event_DDD"}), IsEmpty());
    EXPECT_THAT(broken_promises(), IsEmpty());
    greet("event_EEE", "customer_1");
    EXPECT_EQ(greetings, 1);
    EXPECT_TRUE(send("event_AAA", "customer_1").duplicate);
    EXPECT_TRUE(send("event_DDD", "customer_1").duplicate);
}

TEST_P(Forgetting, WaitsForWhatHasNotEnded) {
    broken = true;
    house->add("stay", [](Context& ctx, const Json&) -> Json { ctx.stuck("no", "no"); });
    house->restart();
    house->start("stay/customer_1/1", "stay", {{"customer", "customer_1"}}, "shop:customer_1");
    house->run_to_the_end();
    const Forgotten refused = forget("customer_1");
    EXPECT_FALSE(refused.done);
    EXPECT_THAT(refused.unfinished, ElementsAre("stay/customer_1/1"));
    EXPECT_TRUE(in_the_file("stay/customer_1/1"));
    EXPECT_EQ(house->sql("SELECT count(*) FROM audit"), "0");
}

// What a forgotten customer's child did is not done again by another one's.
TEST_P(Forgetting, KnowsAChildThatIsStartedAgain) {
    int packed = 0;
    house->add("pack", [&](Context&, const Json&) { return Json(++packed); });
    house->add("order", [](Context& ctx, const Json&) {
        ctx.start_child("pack", "pack", Json::object(), {.id = "parcel/1"});
        return ctx.await_child("pack");
    });
    house->restart();
    house->start("order/1", "order", Json::object(), "shop:customer_1");
    house->run_to_the_end();
    EXPECT_EQ(forget("customer_1").instances, 2);
    house->start("order/2", "order", Json::object(), "shop:customer_2");
    house->run_to_the_end();
    EXPECT_EQ(packed, 1);
    EXPECT_EQ(house->error_code("order/2"), "result_forgotten");
}

// Its input is sealed with the customer's data key, whichever key it holds now.
TEST_P(Forgetting, WaitsForWhoWasAcceptedUnderTheNameAndTookAnotherKey) {
    if (!GetParam()) GTEST_SKIP() << "in clear nothing says under which name it was accepted";
    house->add("move", [](Context& ctx, const Json&) {
        ctx.take_key("shop:customer_2");
        ctx.wait_for("go");
        return Json();
    });
    house->restart();
    house->start("move/1", "move", Json::object(), "shop:customer_1");
    house->run_to_the_end();
    EXPECT_THAT(forget("customer_1").unfinished, ElementsAre("move/1"));
    house->engine().signal({.instance = "move/1", .name = "go"});
    house->run_to_the_end();
    EXPECT_EQ(house->state("move/1"), "completed");
    EXPECT_TRUE(forget("customer_1").done);
}

TEST_P(Forgetting, LeavesTheKeyOfOneWhoIsOnlyMentioned) {
    const auto send_about = [&](const std::string& event, const std::string& subject,
                                const std::string& customer) {
        house->engine().accept(
            NewEvent{.source = "test",
                     .id = event,
                     .type = "t",
                     .subject = subject,
                     .reason = "",
                     .body = Json{{"customer", customer}}.dump()},
            NewInstance{.id = "greet/" + event, .workflow = "greet", .key = "shop:" + subject});
        house->run_to_the_end();
    };
    send_about("event_AAA", "customer_3", "customer_3");
    send_about("event_BBB", "customer_3", "customer_2");
    send_about("event_CCC", "customer_2", "customer_1");
    EXPECT_EQ(forget("customer_1").instances, 2);
    Inspector inspector(database, house->clock, "", keys);
    EXPECT_EQ(inspector.show("greet/event_AAA").output.text,
              "\"welcome " + mail_of("customer_3") + "\"");
    EXPECT_THAT(broken_promises(), IsEmpty());
}

TEST_P(Forgetting, TakesErrorsAndWhatPeopleDidToo) {
    broken = true;
    send("event_AAA", "customer_1");
    house->run_to_the_end();
    EXPECT_EQ(house->state("greet/event_AAA"), "failed");
    EXPECT_TRUE(in_the_file("customer_1 is no customer"));
    forget("customer_1");
    EXPECT_FALSE(in_the_file("customer_1 is no customer"));
    EXPECT_EQ(house->sql("SELECT error_code FROM instances"), "gone");
    EXPECT_EQ(house->sql("SELECT actor||' '||action FROM audit"), "uid:7 forget");
    EXPECT_EQ(house->sql("SELECT target FROM audit").find("customer_1"), std::string::npos);
    EXPECT_THAT(left_of("customer_1", {"event_AAA"}), IsEmpty());
}

TEST_P(Forgetting, TakesAResumesAuditToo) {
    broken = true;
    house->workflows.front().on_failure = OnFailure::stuck;
    house->restart();
    send("event_AAA", "customer_1");
    house->run_to_the_end();
    broken = false;
    house->resume("greet/event_AAA");
    house->run_to_the_end();
    EXPECT_EQ(house->sql("SELECT target FROM audit"), "greet/event_AAA");
    forget("customer_1");
    EXPECT_THAT(left_of("customer_1", {"event_AAA"}), IsEmpty());
    EXPECT_EQ(house->sql("SELECT count(*) FROM audit"), "2");
    EXPECT_THAT(broken_promises(), IsEmpty());
}

TEST_P(Forgetting, FindsTheCustomerInWhatCouldNotBeUnderstood) {
    const auto quarantine = [&](const std::string& id, const std::string& body) {
        house->engine().accept(NewEvent{.source = "test",
                                        .id = id,
                                        .type = "",
                                        .subject = "",
                                        .disposition = NewEvent::Disposition::quarantined,
                                        .reason = "not JSON",
                                        .body = body},
                               std::nullopt);
    };
    quarantine("event_QQQ", "{customer_1 mail-of-customer_1@example.com");
    quarantine("event_RRR", "{customer_10");
    EXPECT_EQ(forget("customer_1").events, 1);
    EXPECT_THAT(left_of("customer_1", {"event_QQQ"}), IsEmpty());
    EXPECT_TRUE(in_the_file("event_RRR"));
}

TEST_P(Forgetting, DestroysTheDataKey) {
    greet("event_AAA", "customer_1");
    greet("event_CCC", "customer_2");
    forget("customer_1");
    EXPECT_EQ(house->sql("SELECT group_concat(subject) FROM data_keys WHERE wrapped_key NOTNULL"),
              GetParam() ? "customer_2" : "");
    EXPECT_NE(house->sql("SELECT count(*) FROM data_keys WHERE destroyed_at_ms NOTNULL"), "0");
    reopen();
    greet("event_DDD", "customer_1");
    EXPECT_EQ(house->state("greet/event_DDD"), "completed");
}

TEST_P(Forgetting, TakesTheNameFromKeysThatOutliveRetention) {
    greet("event_AAA", "customer_1");
    house->clock.advance(std::chrono::hours(24 * 40));
    ASSERT_GT(house->store().purge({.older_than = std::chrono::hours(1)}).get().events, 0);
    EXPECT_FALSE(left_of("customer_1", {}).empty());
    EXPECT_TRUE(forget("customer_1").done);
    EXPECT_THAT(left_of("customer_1", {}), IsEmpty());
    EXPECT_THAT(broken_promises(), IsEmpty());
}

TEST_P(Forgetting, TakesTheSignalsOfTheCustomersInstances) {
    house->add("approval", [](Context& ctx, const Json&) {
        return Json(ctx.wait_for<std::string>("approved").has_value());
    });
    house->engine().accept({}, NewInstance{.id = "approval/1",
                                           .workflow = "approval",
                                           .key = "shop:customer_1",
                                           .input = R"({"customer":"customer_1"})"});
    for (const char* id : {"click_AAA", "click_BBB"})
        house->engine().signal({.instance = "approval/1",
                                .name = "approved",
                                .payload = Json(mail_of("customer_1")).dump(),
                                .dedupe_id = id});
    house->run_to_the_end();
    EXPECT_TRUE(forget("customer_1").done);
    EXPECT_EQ(house->sql("SELECT count(*) FROM signals"), "0");
    EXPECT_THAT(left_of("customer_1", {"click_AAA", "click_BBB"}), IsEmpty());
    EXPECT_THAT(broken_promises(), IsEmpty());
    house->clock.advance(std::chrono::hours(2));
    EXPECT_EQ(house->store().purge({.older_than = std::chrono::hours(1)}).get().instances, 1);
    EXPECT_THAT(broken_promises(), IsEmpty());
}

TEST_P(Forgetting, ShowsWhatIsLeftByTheCustomersId) {
    greet("event_AAA", "customer_1");
    const std::string name = forget("customer_1").name;
    Inspector inspector(database, house->clock);
    const CustomerView view = inspector.customer("customer_1");
    EXPECT_EQ(view.customer, name);
    EXPECT_EQ(view.events.size(), 1U);
    EXPECT_EQ(view.instances.size(), 1U);
    EXPECT_EQ(view.effects.size(), 3U);
    EXPECT_THROW(inspector.customer("customer_2"), InspectError);
}

TEST_P(Forgetting, SaysWhenThereIsNothingOrNothingLeft) {
    const Forgotten unknown = forget("customer_9");
    EXPECT_FALSE(unknown.done || unknown.before);
    greet("event_AAA", "customer_1");
    const Forgotten plan = house->store().forget({.subject = "customer_1", .plan = true}).get();
    EXPECT_FALSE(plan.done);
    EXPECT_EQ(plan.instances, 1);
    EXPECT_TRUE(in_the_file("event_AAA"));
    EXPECT_TRUE(forget("customer_1").done);
    const Forgotten again = forget("customer_1");
    EXPECT_FALSE(again.done);
    EXPECT_TRUE(again.before);
    EXPECT_EQ(again.name, plan.name);
}

// Pages that were split, merged and reused hold old copies: hundreds of customers come and go.
TEST_P(Forgetting, LeavesNothingInPagesThatWereUsedManyTimes) {
    testing::SeededRandom random(20'261'125);
    constexpr int customers = 24;
    std::vector<std::vector<std::string>> events(customers);
    for (int i = 0; i < 96; ++i) {
        const auto who = random.below(customers);
        events[who].push_back("event_x" + std::to_string(i) + "x" + std::string(who % 40, 'p'));
        send(events[who].back(), "customer_" + std::to_string(who), random.below(3) == 0);
        if (random.below(2) == 0) house->run_to_the_end();
    }
    house->run_to_the_end();
    for (int who = 0; who < customers; who += 2) {
        const std::string customer = "customer_" + std::to_string(who);
        if (events[static_cast<std::size_t>(who)].empty()) continue;
        ASSERT_TRUE(forget(customer).done) << customer;
    }
    // Row by row nearly everything is gone; what a moved row left in a page goes with the
    // rewriting.
    EXPECT_TRUE(house->store().sweep(true).get());
    for (int who = 0; who < customers; who += 2)
        EXPECT_THAT(
            left_of("customer_" + std::to_string(who), events[static_cast<std::size_t>(who)]),
            IsEmpty());
    EXPECT_THAT(broken_promises(), IsEmpty());
}

TEST(Sweeping, IsAnsweredBesideWritesFromManyThreads) {
    const testing::TemporaryDirectory directory;
    testing::ManualClock clock;
    const auto store = open_sqlite_store({.database = directory / "test.db"}, clock);
    std::atomic<int> swept{0};
    std::vector<std::jthread> threads;
    for (int thread = 0; thread < 4; ++thread)
        threads.emplace_back([&, thread] {
            for (int i = 0; i < 10; ++i) {
                const std::string id = std::to_string(thread) + "_" + std::to_string(i);
                store
                    ->accept(NewEvent{.source = "test",
                                      .id = id,
                                      .type = "t",
                                      .subject = "customer_" + id,
                                      .disposition = NewEvent::Disposition::ignored,
                                      .reason = "r",
                                      .body = "x"},
                             std::nullopt, false)
                    .get();
                EXPECT_TRUE(store->forget({.subject = "customer_" + id}).get().done);
                swept += store->sweep(i == 5).get() ? 1 : 0;
            }
        });
    threads.clear();
    EXPECT_EQ(swept, 40);
}

}  // namespace
}  // namespace steplog
