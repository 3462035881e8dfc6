// The examples' workflows, run as their authors would test them, and through a crash at every
// place. Whether an effect happened once is judged twice: by the testing kit, which counts calls,
// and by what stands in the world outside after each run.
#include <gmock/gmock.h>

#include "engine/examples/approval.h"
#include "engine/examples/fan_out.h"
#include "engine/examples/nightly.h"
#include "engine/examples/order.h"
#include "engine/examples/saga.h"
#include "engine/examples/stage.h"
#include "engine/testing/workflow_test.h"

namespace steplog::examples {
namespace {

using std::chrono::hours;
using steplog::testing::Ended;
using steplog::testing::WorkflowTest;
using ::testing::ElementsAre;
using ::testing::Pair;
using ::testing::SizeIs;

TEST(OrderExample, ChargesShipsAndMailsOnceWhateverCrashes) {
    Shop shop;
    WorkflowTest test(order_workflow(shop));
    test.before_each([&] { shop = {}; });
    const Json input = {{"order", "7"}, {"cents", 4'900}};
    EXPECT_EQ(test.run(input).output, Json({{"charge", "ch_1"}, {"parcel", "parcel 1"}}));
    const auto world_once = [&] {
        EXPECT_LE(shop.charges.size(), 1U);
        EXPECT_LE(shop.parcels.size(), 1U);
        EXPECT_LE(shop.mails.size(), 1U);
        shop = {};
    };
    const auto crashes = test.before_each(world_once).crash_everywhere(input);
    EXPECT_EQ(crashes.failure, "");
    EXPECT_GT(crashes.places, 10);
    world_once();
}

TEST(OrderExample, EndsWithTheBanksNoAndShipsNothing) {
    Shop shop;
    const Ended ended =
        WorkflowTest(order_workflow(shop)).run({{"order", "7"}, {"cents", 200'000}});
    EXPECT_EQ(ended.state, State::failed);
    EXPECT_EQ(ended.error_code, "card_declined");
    EXPECT_THAT(shop.parcels, SizeIs(0));
}

TEST(SagaExample, BooksAllThree) {
    Companies companies;
    WorkflowTest test(journey_workflow(companies));
    test.before_each([&] {
        EXPECT_LE(companies.bookings.size(), 3U);
        companies = {};
    });
    EXPECT_EQ(test.run().state, State::completed);
    EXPECT_EQ(test.crash_everywhere().failure, "");
    EXPECT_THAT(companies.bookings, SizeIs(3));
}

TEST(SagaExample, GivesBackWhatItBookedWhereTheLastIsNotToBeHad) {
    Companies companies;
    WorkflowTest test(journey_workflow(companies));
    test.before_each([&] {
        EXPECT_THAT(companies.bookings, SizeIs(0));
        companies.sold_out = {"car"};
    });
    // Cancelling what is cancelled changes nothing.
    test.may_repeat("undo book_flight").may_repeat("undo book_hotel");
    const Ended ended = test.run();
    EXPECT_EQ(ended.state, State::failed);
    EXPECT_EQ(ended.error_code, "sold_out");
    EXPECT_EQ(ended.effects.at("undo book_hotel").times, 1);
    EXPECT_EQ(ended.effects.count("undo book_car"), 0U);
    const auto crashes = test.crash_everywhere();
    EXPECT_EQ(crashes.failure, "");
    EXPECT_GT(crashes.places, 20);
    EXPECT_THAT(companies.bookings, SizeIs(0));
}

struct Case {
    std::optional<Decision> decision;
    bool paid = false;
    hours took{0};
    std::size_t mails = 0;
};

TEST(ApprovalExample, PaysWhatIsApprovedAndNothingElse) {
    const std::vector<Case> cases = {
        {.decision = Decision{true, "manager"}, .paid = true, .took = hours(0), .mails = 1},
        {.decision = Decision{false, "manager"}, .paid = false, .took = hours(0), .mails = 1},
        {.decision = {}, .paid = false, .took = hours(72), .mails = 2},
    };
    for (const Case& expected : cases) {
        Office office;
        WorkflowTest test(expense_workflow(office));
        if (expected.decision) test.signal("decision", *expected.decision);
        const auto world_once = [&] {
            EXPECT_LE(office.payments.size(), expected.paid ? 1U : 0U);
            office = {};
        };
        test.before_each(world_once);
        const Ended ended = test.run({{"to", "ada"}});
        EXPECT_EQ(ended.output.at("paid"), expected.paid) << ended.output;
        EXPECT_EQ(ended.took, Ms(expected.took));
        EXPECT_EQ(office.mails.size(), expected.mails);
        EXPECT_EQ(test.crash_everywhere({{"to", "ada"}}).failure, "");
        world_once();
    }
}

TEST(ApprovalExample, AsksTheDirectorWhereTheManagerIsSilent) {
    Office office;
    Stage stage("2026-03-02T09:00:00Z", expense_workflow(office));
    stage.start("e", "expense", {{"to", "ada"}});
    stage.play_until("2026-03-04T08:59:00Z");
    EXPECT_THAT(office.mails, SizeIs(1));
    stage.play_until("2026-03-04T10:00:00Z");
    EXPECT_THAT(office.mails, SizeIs(2));
    stage.engine().signal(
        {.instance = "e", .name = "decision", .payload = Json(Decision{true, "director"}).dump()});
    stage.play_until("2026-03-04T11:00:00Z");
    EXPECT_EQ(stage.outcome("e"), R"({"by":"director","paid":true})");
    EXPECT_THAT(office.payments, SizeIs(1));
}

TEST(FanOutExample, InvoicesAThousandCustomers) {
    Billing billing(1'000);
    const Ended ended = WorkflowTest(invoices_workflow(billing)).run();
    EXPECT_EQ(ended.output, Json({{"invoices", 1'000}, {"total_cents", 4'900'000}}));
    EXPECT_EQ(billing.invoices(), 1'000U);
}

TEST(FanOutExample, InvoicesEachOnceWhateverCrashes) {
    std::unique_ptr<Billing> billing;
    WorkflowTest test(Workflow{.name = "invoices", .run = [&](Context& ctx, const Json&) {
                                   return invoices(ctx, *billing);
                               }});
    test.before_each([&] {
        if (billing) {
            EXPECT_EQ(billing->invoices(), 5U);
        }
        billing = std::make_unique<Billing>(5);
    });
    // Listing reads only.
    const auto crashes = test.may_repeat("list_customers").crash_everywhere();
    EXPECT_EQ(crashes.failure, "");
    EXPECT_GT(crashes.places, 20);
    EXPECT_EQ(billing->invoices(), 5U);
}

TEST(NightlyExample, WritesOneReportWhateverCrashes) {
    Archive archive;
    WorkflowTest test(report_workflow(archive));
    test.before_each([&] { archive = {}; });
    // Counting reads only, and a report that is written again is the same report.
    test.may_repeat("count").may_repeat("write");
    const auto crashes = test.crash_everywhere({{"scheduled_at", "2026-03-29T01:00:00.000Z"}});
    EXPECT_EQ(crashes.failure, "");
    EXPECT_GT(crashes.places, 10);
    EXPECT_THAT(archive.reports, ElementsAre(Pair("report-2026-03-29T01:00:00.000Z", 42)));
}

TEST(NightlyExample, HasAReportOfEveryNightAcrossTheChangeOfTheClock) {
    Archive archive;
    Stage stage("2026-03-27T12:00:00Z", report_workflow(archive));
    stage.engine().schedule({nightly_schedule()});
    stage.play_until("2026-03-30T12:00:00Z");
    EXPECT_THAT(archive.reports, ElementsAre(Pair("report-2026-03-28T01:30:00.000Z", 42),
                                             Pair("report-2026-03-29T01:00:00.000Z", 42),
                                             Pair("report-2026-03-30T00:30:00.000Z", 42)));
}

}  // namespace
}  // namespace steplog::examples
