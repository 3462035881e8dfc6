// The one account of a buyer when others act at the same time.
#include "steps/clerk_account.h"

#include <gtest/gtest.h>

#include <thread>

#include "steps/json_reading.h"
#include "tests/support/manual_clock.h"
#include "tools/sandbox/sandbox.h"
#include "tools/sandbox/transport.h"

namespace steplog::steps {
namespace {

/// Finds nobody the first time that it looks for an address, as if another's account came just
/// after.
class BlindOnce : public HttpTransport {
  public:
    explicit BlindOnce(HttpTransport& through) : through_(through) {}
    HttpReply send(const HttpRequest& request) override {
        if (!blinked_ && request.target.starts_with("/v1/users?email_address=")) {
            blinked_ = true;
            return {.status = 200, .headers = {}, .body = "[]"};
        }
        return through_.send(request);
    }

  private:
    HttpTransport& through_;
    bool blinked_ = false;
};

class ClerkAccount : public ::testing::Test {
  protected:
    testing::ManualClock clock;
    sandbox::Sandbox world{{.seed = 1, .clock = &clock}};
    sandbox::SandboxTransport transport{world};
    StripeClient stripe{
        transport, clock, {.base = sandbox::stripe_base, .secret_key = "sk_test_stripe"}};
    const ClerkOptions clerk_options{.base = sandbox::clerk_base, .secret_key = "sk_test_clerk"};
};

TEST_F(ClerkAccount, IsFoundWhenItsCreationIsRefusedAsADouble) {
    const std::string user =
        world.add_user({.email = "ada@example.com", .external_id = "cus_another"});
    const auto bought = world.purchase();
    BlindOnce blind(transport);
    const ClerkClient clerk(blind, clock, clerk_options);
    Purchase purchase;
    purchase.customer = bought.customer;
    purchase.email = "ada@example.com";
    const Account account =
        ensure_account(purchase, false, stripe, clerk,
                       {.instance_id = "provision_customer/evt_2", .timeout = Ms(1000)});
    EXPECT_EQ(account.clerk_user_id, user);
    EXPECT_FALSE(account.created);
    ASSERT_EQ(world.users().size(), 1U);
    EXPECT_EQ(value_at(*world.users().at(0), {"private_metadata", "stripe_customer_ids"}),
              Json::array({bought.customer}));
    EXPECT_EQ(world.requests().at("POST /v1/users"), 1);
}

TEST_F(ClerkAccount, KeepsEveryCustomerThoughManyAreAddedAtOnce) {
    const std::string user = world.add_user({.email = "ada@example.com", .external_id = "ours_1"});
    const ClerkClient clerk(transport, clock, clerk_options);
    constexpr int threads = 8;
    {
        std::vector<std::jthread> adding;
        for (int i = 0; i < threads; ++i) {
            adding.emplace_back(
                [&, i] { clerk.add_stripe_customer_id(user, "cus_" + std::to_string(i), {}); });
        }
    }
    EXPECT_EQ(value_at(*world.users().at(0), {"private_metadata", "stripe_customer_ids"}).size(),
              static_cast<std::size_t>(threads));
}

}  // namespace
}  // namespace steplog::steps
