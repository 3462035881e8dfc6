// Faults as a client in the same process sees them, and what has happened behind them.
#include "engine/errors.h"
#include "tests/sandbox/client.h"
#include "tools/sandbox/transport.h"

namespace steplog::sandbox {
namespace {

steps::HttpRequest create_user_request(const std::string& email = "ada@example.com") {
    return {.method = "POST",
            .base = clerk_base,
            .target = "/v1/users",
            .headers = {{"Authorization", "Bearer sk_test_y"}},
            .body = to_text(new_user(email)),
            .timeout = Ms(1000),
            .stop = {}};
}

steps::HttpRequest update_request(const std::string& customer) {
    return {.method = "POST",
            .base = stripe_base,
            .target = "/v1/customers/" + customer,
            .headers = {{"Authorization", "Bearer sk_test_x"}, {"Idempotency-Key", "k1"}},
            .body = "metadata[clerk_user_id]=user_1",
            .timeout = Ms(1000),
            .stop = {}};
}

/// What send() threw: its code, and whether the effect may have happened.
std::pair<std::string, Outcome> thrown(SandboxTransport& transport,
                                       const steps::HttpRequest& request) {
    try {
        const steps::HttpReply reply = transport.send(request);
        return {"status " + std::to_string(reply.status), Outcome::unknown};
    } catch (const RetryableError& error) {
        return {error.details().code, error.details().outcome};
    }
}

using Thrown = std::pair<std::string, Outcome>;

TEST(Faults, ShowAsTheRealClientWouldShowThem) {
    struct Case {
        FaultKind kind;
        Thrown seen;
        std::size_t users;
    };
    const std::vector<Case> cases = {
        {FaultKind::down, {"no_connection", Outcome::refused}, 0},
        {FaultKind::reset, {"reset", Outcome::unknown}, 0},
        {FaultKind::lost_answer, {"reset", Outcome::unknown}, 1},
        {FaultKind::truncated, {"cut_reply", Outcome::unknown}, 1},
        {FaultKind::oversized, {"oversized_reply", Outcome::unknown}, 1},
        {FaultKind::interim, {"status 200", Outcome::unknown}, 1},
        {FaultKind::interim_only, {"interim_reply", Outcome::unknown}, 1},
        {FaultKind::hang, {"timeout", Outcome::unknown}, 0},
        {FaultKind::status, {"status 503", Outcome::unknown}, 0},
        {FaultKind::unauthorized, {"status 401", Outcome::unknown}, 0},
        {FaultKind::rate_limited, {"status 429", Outcome::unknown}, 0},
        {FaultKind::garbage, {"status 200", Outcome::unknown}, 0},
    };
    for (const Case& one : cases) {
        Client client;
        SandboxTransport transport(client.sandbox);
        client.sandbox.add_fault({.kind = one.kind, .provider = Provider::clerk, .times = 1});
        EXPECT_EQ(thrown(transport, create_user_request()), one.seen) << to_string(one.kind);
        EXPECT_EQ(client.sandbox.users().size(), one.users) << to_string(one.kind);
        EXPECT_EQ(thrown(transport, create_user_request("eve@example.com")).first, "status 200")
            << "used up after once: " << to_string(one.kind);
    }
}

TEST(Faults, StrikeOnlyTheirProviderAndRoute) {
    Client client;
    SandboxTransport transport(client.sandbox);
    const std::string customer = client.sandbox.purchase().customer;
    client.sandbox.add_fault(
        {.kind = FaultKind::reset, .provider = Provider::stripe, .route = "POST /v1/customers/*"});
    EXPECT_EQ(thrown(transport, create_user_request()).first, "status 200");
    EXPECT_EQ(thrown(transport, update_request(customer)).first, "reset");
    steps::HttpRequest read = update_request(customer);
    read.method = "GET";
    EXPECT_EQ(thrown(transport, read).first, "status 200");
    client.sandbox.clear_faults();
    EXPECT_EQ(thrown(transport, update_request(customer)).first, "status 200");
}

TEST(Faults, LeaveALostAnswerToBeReplayedUnderItsKey) {
    Client client;
    SandboxTransport transport(client.sandbox);
    const std::string customer = client.sandbox.purchase().customer;
    client.sandbox.add_fault({.kind = FaultKind::lost_answer, .times = 1});
    EXPECT_EQ(thrown(transport, update_request(customer)).first, "reset");
    const steps::HttpReply again = transport.send(update_request(customer));
    EXPECT_EQ(header_of(again.headers, "Idempotent-Replayed"), "true");
    EXPECT_EQ(client.sandbox.effects().at("k1"), 1);
}

TEST(Faults, RememberA500UnderTheKeyWhenToldTo) {
    Client client;
    SandboxTransport transport(client.sandbox);
    const std::string customer = client.sandbox.purchase().customer;
    client.sandbox.add_fault({.kind = FaultKind::status,
                              .times = 1,
                              .status = 500,
                              .remembered = true,
                              .headers = {{"Stripe-Should-Retry", "false"}}});
    const steps::HttpReply first = transport.send(update_request(customer));
    EXPECT_EQ(first.status, 500);
    EXPECT_EQ(header_of(first.headers, "Stripe-Should-Retry"), "false");
    const steps::HttpReply second = transport.send(update_request(customer));
    EXPECT_EQ(second.status, 500);
    EXPECT_EQ(header_of(second.headers, "Idempotent-Replayed"), "true");
    EXPECT_EQ(client.sandbox.effects().count("k1"), 0u);
    client.clock.advance(std::chrono::hours(24));
    EXPECT_EQ(transport.send(update_request(customer)).status, 200);
}

TEST(Faults, CanHaveTheirEffectAndA500Remembered) {
    Client client;
    SandboxTransport transport(client.sandbox);
    const std::string customer = client.sandbox.purchase().customer;
    client.sandbox.add_fault(
        {.kind = FaultKind::status, .times = 1, .status = 500, .remembered = true, .effect = true});
    EXPECT_EQ(transport.send(update_request(customer)).status, 500);
    EXPECT_EQ(transport.send(update_request(customer)).status, 500);
    EXPECT_EQ(client.sandbox.stripe_object(customer)->at("metadata").at("clerk_user_id"), "user_1");
    EXPECT_EQ(client.sandbox.effects().at("k1"), 1);
}

TEST(Faults, AnswerInTheProvidersOwnShape) {
    Client client;
    SandboxTransport transport(client.sandbox);
    client.sandbox.add_fault({.kind = FaultKind::rate_limited, .retry_after_s = 7});
    const steps::HttpReply clerk = transport.send(create_user_request());
    EXPECT_EQ(header_of(clerk.headers, "Retry-After"), "7");
    EXPECT_EQ(Json::parse(clerk.body).at("errors")[0].at("code"), "too_many_requests");
    const steps::HttpReply stripe = transport.send(update_request("cus_1"));
    EXPECT_EQ(Json::parse(stripe.body).at("error").at("code"), "rate_limit");
    steps::HttpRequest email = create_user_request();
    email.base = resend_base;
    email.target = "/emails";
    EXPECT_EQ(Json::parse(transport.send(email).body).at("name"), "rate_limit_exceeded");
}

TEST(Faults, TellHowLongAnAnswerTook) {
    Client client;
    Ms waited{0};
    SandboxTransport transport(client.sandbox, [&](Ms by) { waited += by; });
    client.sandbox.add_fault({.kind = FaultKind::slow, .times = 1, .delay = Ms(300)});
    EXPECT_EQ(thrown(transport, create_user_request()).first, "status 200");
    EXPECT_EQ(waited, Ms(300));
    client.sandbox.add_fault({.kind = FaultKind::slow, .times = 1, .delay = Ms(5000)});
    EXPECT_EQ(thrown(transport, create_user_request("eve@example.com")).first, "timeout");
    EXPECT_EQ(waited, Ms(1300)) << "a client waits no longer than its time-out";
    EXPECT_EQ(client.sandbox.users().size(), 2u) << "slow, but done";
}

TEST(Faults, StrikeByChanceUnderTheSeed) {
    const auto pattern = [](std::uint64_t seed) {
        Client client(seed);
        client.sandbox.add_fault({.kind = FaultKind::status, .per_mille = 300});
        std::string seen;
        for (int i = 0; i < 200; ++i) {
            const Exchange exchange = client.sandbox.exchange(
                {.method = "GET", .target = "/v1/customers", .headers = {}, .body = ""});
            seen += exchange.reply.status == 503 ? 'x' : '.';
            client.sandbox.finish(exchange);
        }
        return seen;
    };
    EXPECT_EQ(pattern(1), pattern(1));
    EXPECT_NE(pattern(1), pattern(2));
    const std::string seen = pattern(7);
    const auto struck = std::count(seen.begin(), seen.end(), 'x');
    EXPECT_GT(struck, 30);
    EXPECT_LT(struck, 90);
}

TEST(Faults, AreReadFromJsonAndNameTheWrongField) {
    const Fault fault = fault_from_json({{"kind", "lost_answer"},
                                         {"provider", "clerk"},
                                         {"route", "POST /v1/users"},
                                         {"times", 2}});
    EXPECT_EQ(fault.kind, FaultKind::lost_answer);
    EXPECT_EQ(fault_from_json(to_json(fault)).times, 2);
    const auto why = [](const Json& json) -> std::string {
        try {
            fault_from_json(json);
            return "";
        } catch (const std::invalid_argument& error) {
            return error.what();
        }
    };
    EXPECT_NE(why({{"kind", "flood"}}).find("lost_answer"), std::string::npos);
    EXPECT_NE(why({{"provider", "clerk"}}).find("kind"), std::string::npos);
    EXPECT_NE(why({{"kind", "down"}, {"timse", 1}}).find("timse"), std::string::npos);
    EXPECT_NE(why({{"kind", "down"}, {"times", 0}}).find("times"), std::string::npos);
    EXPECT_NE(why({{"kind", "down"}, {"provider", "acme"}}).find("provider"), std::string::npos);
}

TEST(Sandbox, CopiesAreIndependentAndResetBeginsAnew) {
    Client client;
    const Purchase bought = client.sandbox.purchase();
    Sandbox copy = client.sandbox;
    copy.add_user({.email = "ada@example.com"});
    copy.add_fault({.kind = FaultKind::down});
    EXPECT_EQ(client.sandbox.users().size(), 0u);
    EXPECT_TRUE(client.sandbox.faults().empty());
    EXPECT_NE(copy.stripe_object(bought.customer), nullptr);
    copy.reset();
    EXPECT_EQ(copy.stripe_object(bought.customer), nullptr);
    EXPECT_EQ(copy.purchase().customer, bought.customer) << "the same seed makes the same ids";
    client.sandbox = copy;
    EXPECT_EQ(client.sandbox.state().at("counts").at("customers"), 1);
}

TEST(Sandbox, CountsRequestsByRoute) {
    Client client;
    client.clerk("GET", "/v1/users?limit=1");
    client.clerk("GET", "/v1/users/user_1");
    client.stripe("GET", "/v1/checkout/sessions/cs_1");
    EXPECT_EQ(client.sandbox.requests(),
              (std::map<std::string, int>{{"GET /v1/users", 1},
                                          {"GET /v1/users/{id}", 1},
                                          {"GET /v1/checkout/sessions/{id}", 1}}));
}

}  // namespace
}  // namespace steplog::sandbox
