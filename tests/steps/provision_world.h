// A whole house for the workflow's tests: the engine on a real store, run step by step in the
// test's own thread, and Stripe, Clerk and Resend as the sandbox plays them. One thread.
#pragma once

#include <gtest/gtest.h>

#include "engine/engine.h"
#include "engine/sqlite_store.h"
#include "steps/email_resend.h"
#include "steps/json_reading.h"
#include "steps/provision_customer.h"
#include "steps/stripe_event.h"
#include "tests/support/manual_clock.h"
#include "tests/support/temporary_directory.h"
#include "tools/sandbox/sandbox.h"
#include "tools/sandbox/transport.h"

namespace steplog::testing {

class ProvisionWorld : public ::testing::Test {
  protected:
    ProvisionWorld() { open(); }

    /// As if the server ended and was started again on the same file.
    void open() {
        engine.reset();
        store.reset();
        store = open_sqlite_store({.database = directory.path() / "steplog.db",
                                   .writer_thread = false,
                                   .synchronous = "OFF"},
                                  clock);
        Registry registry;
        steps::register_provision_customer(registry, providers);
        engine = std::make_unique<Engine>(
            *store, clock, random, std::move(registry),
            EngineOptions{.workers = 0, .on_transition = [this](const Transitioned& transition) {
                              transitions.push_back(transition);
                          }});
    }

    /// Hands an event to the engine as the webhook does; returns the instance's id, "" when it got
    /// none.
    std::string accept(std::string_view body) {
        steps::Intake taken = steps::intake(body, policy);
        const std::string id = taken.instance ? taken.instance->id : "";
        engine->accept(std::move(taken.event), std::move(taken.instance));
        return id;
    }

    /// Accepts the events of a purchase; returns the ids of the instances.
    std::vector<std::string> accept(const std::vector<sandbox::Event>& events) {
        std::vector<std::string> ids;
        for (const sandbox::Event& event : events) {
            if (std::string id = accept(event.body); !id.empty()) ids.push_back(std::move(id));
        }
        return ids;
    }

    /// Runs until nothing is left that becomes due within `within`, moving the clock.
    void run(Ms within = std::chrono::hours(1)) {
        const std::int64_t until_ms = clock.now_ms() + within.count();
        while (true) {
            engine->run_until_idle();
            const auto due = engine->next_due_ms();
            if (!due || *due > until_ms) return;
            clock.set_ms(std::max(*due, clock.now_ms()));
        }
    }

    /// The event of this type, or the test fails.
    static std::string body_of(const sandbox::Purchase& purchase, const std::string& type) {
        for (const auto& event : purchase.events) {
            if (event.type == type) return event.body;
        }
        ADD_FAILURE() << "the purchase has no " << type;
        return "";
    }

    /// Changes a customer's address at Stripe; percent-encoded.
    void set_email(const std::string& customer, const std::string& encoded) {
        const steps::HttpReply reply =
            world.handle({.method = "POST",
                          .target = "/v1/customers/" + customer,
                          .headers = {{"Authorization", "Bearer sk_test_stripe"}},
                          .body = "email=" + encoded});
        ASSERT_EQ(reply.status, 200) << reply.body;
    }

    /// Deletes an object at Stripe, or a user at Clerk.
    void remove(const std::string& target) {
        const bool of_clerk = target.starts_with("/v1/users");
        const steps::HttpReply reply =
            world.handle({.method = "DELETE",
                          .target = target,
                          .headers = {{"Authorization", of_clerk ? "Bearer sk_test_clerk"
                                                                 : "Bearer sk_test_stripe"}},
                          .body = ""});
        ASSERT_EQ(reply.status, 200) << reply.body;
    }

    void resume(const std::string& id) {
        ASSERT_EQ(engine->resume({.ids = {id}, .actor = "test"}).ids.size(), 1U) << id;
    }

    /// What the instance came to, as its last transition told: "finished", "stuck", "retried", …
    Transitioned last(const std::string& id) const {
        for (auto it = transitions.rbegin(); it != transitions.rend(); ++it) {
            if (it->instance == id) return *it;
        }
        ADD_FAILURE() << id << " never ran";
        return {};
    }

    int times(const std::string& what, const std::string& step) const {
        return static_cast<int>(
            std::count_if(transitions.begin(), transitions.end(),
                          [&](const Transitioned& t) { return t.what == what && t.step == step; }));
    }

    int requests(const std::string& route) const {
        const auto all = world.requests();
        const auto found = all.find(route);
        return found == all.end() ? 0 : found->second;
    }

    void break_next(sandbox::FaultKind kind, const std::string& route, int how_often = 1) {
        world.add_fault({.kind = kind,
                         .provider = {},
                         .route = route,
                         .times = how_often,
                         .effect = {},
                         .retry_after_s = {}});
    }

    std::string metadata_user(const std::string& id, const std::string& account = "") const {
        const auto object = world.stripe_object(id, false, account);
        return object ? steps::text_at(*object, {"metadata", "clerk_user_id"}) : "nothing";
    }

    void expect_linked(const Json& user, const sandbox::Purchase& purchase,
                       const std::string& account = "") {
        const std::string user_id = steps::text_at(user, {"id"});
        if (!purchase.customer.empty()) {
            EXPECT_EQ(steps::text_at(user, {"external_id"}), purchase.customer);
            EXPECT_EQ(metadata_user(purchase.customer, account), user_id);
        }
        if (!purchase.subscription.empty()) {
            EXPECT_EQ(metadata_user(purchase.subscription, account), user_id);
        }
    }

    /// One user, linked both ways, and one e-mail: what every purchase must come to.
    void expect_provisioned(const sandbox::Purchase& purchase, const std::string& account = "") {
        ASSERT_EQ(world.users().size(), 1U);
        expect_linked(*world.users().at(0), purchase, account);
        EXPECT_EQ(world.emails().size(), 1U);
        for (const auto& [key, count] : world.effects()) EXPECT_EQ(count, 1) << key;
    }

    const TemporaryDirectory directory;
    ManualClock clock;
    SeededRandom random{7};
    sandbox::Sandbox world{{.seed = 1, .clock = &clock}};
    sandbox::SandboxTransport transport{world, [this](Ms time) { clock.advance(time); }};
    steps::ResendSender email{
        transport, clock, {.base = sandbox::resend_base, .api_key = "re_test"}};
    steps::Providers providers{
        .stripe = {transport,
                   clock,
                   {.base = sandbox::stripe_base, .secret_key = "sk_test_stripe"}},
        .clerk = {transport, clock, {.base = sandbox::clerk_base, .secret_key = "sk_test_clerk"}},
        .email = &email,
        .app_url = "https://app.example.com",
        .email_from = "Acme <hello@acme.example>",
        .email_reply_to = "",
        .livemode = false};
    steps::RoutingPolicy policy{.livemode = false};
    std::vector<Transitioned> transitions;
    std::unique_ptr<Store> store;
    std::unique_ptr<Engine> engine;
};

}  // namespace steplog::testing
