// Whether a purchase still stands when it is read for the second time.
#include "steps/stripe_purchase.h"

#include <gtest/gtest.h>

#include "tests/steps/scripted_transport.h"
#include "tests/support/manual_clock.h"

namespace steplog::steps {
namespace {

/// "" when a purchase whose subscription has this status still stands, else the error's code.
std::string verdict_on(const std::string& status) {
    testing::ScriptedTransport transport;
    testing::ManualClock clock;
    const StripeClient stripe{
        transport, clock, {.base = "https://stripe.test", .secret_key = "sk_test_1"}};
    transport.answer(200, R"({"id":"cus_1","object":"customer"})");
    transport.answer(200, R"({"id":"sub_1","object":"subscription","status":")" + status + R"("})");
    Purchase purchase;
    purchase.customer = "cus_1";
    purchase.subscription = "sub_1";
    try {
        require_still_paid(purchase, stripe, {});
        return "";
    } catch (const PermanentError& error) {
        return error.code();
    }
}

TEST(StripePurchase, StandsWhileStripeIsPaidOrCollects) {
    for (const char* status : {"active", "trialing", "past_due", "incomplete", "a_status_to_come"})
        EXPECT_EQ(verdict_on(status), "") << status;
}

TEST(StripePurchase, NoLongerStandsWhenItHasEndedOrNobodyPays) {
    for (const char* status : {"canceled", "incomplete_expired", "unpaid", "paused"})
        EXPECT_EQ(verdict_on(status), "no_longer_paid") << status;
}

}  // namespace
}  // namespace steplog::steps
