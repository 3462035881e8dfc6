// provision_customer on the machine that loses its power: one purchase, its events as Stripe sends
// them, and stand-ins for Stripe, Clerk and Resend whose network dies with the machine. Used by the
// power-loss tests; one thread.
#pragma once

#include "steps/email_resend.h"
#include "steps/provision_customer.h"
#include "steps/stripe_event.h"
#include "tests/crash/power_cut.h"
#include "tools/sandbox/transport.h"

namespace steplog::testing {

/// The network of the machine: a request leaves only while there is power, and so does its answer
/// come back.
class PoweredTransport : public steps::HttpTransport {
  public:
    PoweredTransport(sandbox::Sandbox& sandbox, CrashVfs& vfs, Ledger& ledger)
        : inner_(sandbox), vfs_(vfs), ledger_(ledger) {}

    steps::HttpReply send(const steps::HttpRequest& request) override {
        const std::string what = request.method + " " + request.target;
        if (!vfs_.outside_operation(what))
            throw RetryableError("the power is gone",
                                 {.code = "no_connection", .outcome = Outcome::refused});
        if (request.method != "GET") note(request);
        const steps::HttpReply reply = inner_.send(request);
        if (!vfs_.outside_operation("answer to " + what))
            throw RetryableError("the power is gone",
                                 {.code = "reset", .outcome = Outcome::unknown});
        return reply;
    }

  private:
    // Whose step a write belongs to: its idempotency key "steplog:<instance>:<step>" says so, or
    // what is stored with a new Clerk user. The welcome e-mail's key names the customer instead.
    void note(const steps::HttpRequest& request) {
        std::string key;
        for (const auto& [name, value] : request.headers)
            if (name == "Idempotency-Key") key = value;
        if (key.starts_with("steplog:once:")) return;
        const auto begin = key.find(':'), end = key.rfind(':');
        if (begin != end) {
            const std::string step = key.substr(end + 1);
            ledger_.invoked(key.substr(begin + 1, end - begin - 1), step.substr(0, step.find('/')),
                            0);
            return;
        }
        const Json body = Json::parse(request.body, nullptr, false);
        if (!body.is_object() || !body.contains("private_metadata")) return;
        const Json& metadata = body.at("private_metadata");
        if (metadata.contains("steplog_instance"))
            ledger_.invoked(metadata.at("steplog_instance").get<std::string>(), "create_clerk_user",
                            0);
    }

    sandbox::SandboxTransport inner_;
    CrashVfs& vfs_;
    Ledger& ledger_;
};

class Flagship : public Scenario {
  public:
    /// How many of the purchase's six events arrive, the checkout's first.
    explicit Flagship(std::size_t events = 6) : events_(events) {}

    void begin(CrashVfs& vfs, ManualClock& clock, Ledger& ledger, std::uint64_t seed) override {
        sandbox::SandboxOptions options;
        options.seed = seed;
        options.clock = &clock;
        sandbox_.emplace(options);
        purchase_ = sandbox_->purchase();
        std::reverse(purchase_.events.begin(), purchase_.events.end());
        if (purchase_.events.size() > events_) purchase_.events.resize(events_);
        transport_.emplace(*sandbox_, vfs, ledger);
        email_.emplace(*transport_, clock, steps::ResendOptions{sandbox::resend_base, "re_test"});
        providers_.emplace(steps::Providers{
            .stripe =
                steps::StripeClient(*transport_, clock, {sandbox::stripe_base, "sk_test_crash"}),
            .clerk = steps::ClerkClient(*transport_, clock, {sandbox::clerk_base, "sk_test_crash"}),
            .email = &*email_,
            .app_url = "https://app.example.com",
            .email_from = "Steplog <hello@example.com>",
            .email_reply_to = ""});
    }

    Registry registry() override {
        Registry registry;
        steps::register_provision_customer(registry, *providers_);
        return registry;
    }

    std::vector<Delivery> deliveries() override {
        std::vector<Delivery> deliveries;
        for (const auto& event : purchase_.events) {
            auto intake = steps::intake(event.body, {});
            deliveries.push_back(
                {.event = std::move(intake.event), .instance = std::move(intake.instance)});
        }
        // Stripe delivers some events twice.
        deliveries.push_back(deliveries.front());
        return deliveries;
    }

    void check_world(Ledger& ledger) override {
        const auto expect = [&](bool held, Breach kind, const std::string& what) {
            if (!held) ledger.breach(kind, what);
        };
        const auto users = sandbox_->users();
        expect(users.size() == 1, Breach::repeated_effect,
               fmt::format("{} Clerk users", users.size()));
        expect(sandbox_->emails().size() == 1, Breach::repeated_effect,
               fmt::format("{} welcome e-mails", sandbox_->emails().size()));
        for (const auto& [key, times] : sandbox_->effects())
            expect(times <= 1, Breach::repeated_effect,
                   fmt::format("{} executed {} times", key, times));
        if (users.empty()) return;
        const auto user = users.front()->at("id").get<std::string>();
        for (const auto& id : {purchase_.customer, purchase_.subscription}) {
            const auto object = sandbox_->stripe_object(id);
            expect(object && object->at("metadata").value("clerk_user_id", "") == user,
                   Breach::unfinished, id + " is not linked");
        }
    }

  private:
    const std::size_t events_;
    std::optional<sandbox::Sandbox> sandbox_;
    sandbox::Purchase purchase_;
    std::optional<PoweredTransport> transport_;
    std::optional<steps::ResendSender> email_;
    std::optional<steps::Providers> providers_;
};

}  // namespace steplog::testing
