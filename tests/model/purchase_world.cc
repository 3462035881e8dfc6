#include "tests/model/purchase_world.h"

namespace steplog::testing {
namespace {

sandbox::Purchase buy(sandbox::Sandbox& sandbox, std::uint64_t seed) {
    SeededRandom dice(seed);
    sandbox::PurchaseOptions options;
    options.guest = dice.below(6) == 0;
    options.renewal = !options.guest && dice.below(4) == 0;
    options.trialing = !options.guest && dice.below(5) == 0;
    options.forms = dice.below(3) ? sandbox::EventForms::snapshot : sandbox::EventForms::both;
    return sandbox.purchase(options);
}

}  // namespace

PurchaseWorld::PurchaseWorld(Watch& watch, CrashVfs& vfs, WallClock& clock, Outside& outside,
                             std::uint64_t seed)
    : watch_(watch),
      vfs_(vfs),
      outside_(outside),
      sandbox_({.seed = seed,
                .clock = &clock.truth,
                .stripe_secret_key = {},
                .clerk_secret_key = {},
                .resend_api_key = {}}),
      transport_(sandbox_, [&clock](Ms time) { clock.truth.advance(time); }),
      purchase_(buy(sandbox_, seed)),
      email_(*this, clock, {.base = sandbox::resend_base, .api_key = "re_test"}),
      providers_{.stripe = {*this, clock, {sandbox::stripe_base, "sk_test_model"}},
                 .clerk = {*this, clock, {sandbox::clerk_base, "sk_test_model"}},
                 .email = &email_,
                 .app_url = "https://app.example.com",
                 .email_from = "Steplog <hello@example.com>",
                 .email_reply_to = ""} {}

void PurchaseWorld::register_workflow(Registry& registry) {
    steps::register_provision_customer(registry, providers_);
}

steps::Intake PurchaseWorld::delivery(std::size_t n) const {
    return steps::intake(purchase_.events.at(n).body, {});
}

void PurchaseWorld::break_something(SeededRandom& dice) {
    constexpr auto kinds = 13;
    sandbox::Fault fault;
    fault.kind = static_cast<sandbox::FaultKind>(dice.below(kinds));
    fault.times = 1 + static_cast<int>(dice.below(3));
    fault.provider = static_cast<sandbox::Provider>(dice.below(3));
    if (dice.below(2)) fault.route = "POST *";
    // Of the three only Stripe is known to keep its errors under the idempotency key.
    if (fault.kind == sandbox::FaultKind::status && fault.provider == sandbox::Provider::stripe)
        fault.remembered = dice.below(2) == 0;
    if (fault.kind == sandbox::FaultKind::slow) fault.delay = Ms(1 + dice.below(40'000));
    if (fault.kind == sandbox::FaultKind::rate_limited)
        fault.retry_after_s = static_cast<int>(dice.below(600));
    watch_.tell(fmt::format("  a fault: {}", sandbox::to_json(fault).dump()));
    sandbox_.add_fault(fault);
}

steps::HttpReply PurchaseWorld::send(const steps::HttpRequest& request) {
    const std::string what = request.method + " " + request.target;
    if (!vfs_.outside_operation(what))
        throw RetryableError("the power is gone",
                             {.code = "no_connection", .outcome = Outcome::refused});
    watch_.tell("    " + what);
    steps::HttpReply reply = transport_.send(request);
    if (request.method != "GET" && outside_.interlude) std::exchange(outside_.interlude, {})();
    if (!vfs_.outside_operation("answer to " + what))
        throw RetryableError("the power is gone", {.code = "reset", .outcome = Outcome::unknown});
    return reply;
}

void PurchaseWorld::check_result(bool all_completed) {
    const auto users = sandbox_.users();
    const auto emails = static_cast<int>(sandbox_.emails().size());
    if (users.size() > 1)
        watch_.find("repeated_effect", fmt::format("{} Clerk users", users.size()));
    if (emails > emails_allowed_)
        watch_.find("repeated_effect",
                    fmt::format("{} welcome e-mails, {} allowed", emails, emails_allowed_));
    for (const auto& [key, times] : sandbox_.effects())
        if (times > (key.starts_with("steplog:once:") ? emails_allowed_ : 1))
            watch_.find("repeated_effect", fmt::format("{} executed {} times", key, times));
    if (!all_completed) return;
    if (users.empty() || emails == 0) {
        watch_.find("missing_effect",
                    fmt::format("{} Clerk users, {} e-mails", users.size(), emails));
        return;
    }
    const auto user = users.front()->at("id").get<std::string>();
    for (const auto& id : {purchase_.customer, purchase_.subscription}) {
        if (id.empty()) continue;
        const auto object = sandbox_.stripe_object(id);
        if (!object || object->at("metadata").value("clerk_user_id", "") != user)
            watch_.find("missing_effect", id + " is not linked");
    }
}

}  // namespace steplog::testing
