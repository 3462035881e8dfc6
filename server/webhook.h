// POST /api/stripe-webhook: the way in for Stripe's events. An event is judged (signature, then
// shape), made durable with its instance in one transaction, and only then answered 200; working on
// it comes later and elsewhere. Registered by main; answers on any of the front's threads at once.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "engine/clock.h"
#include "engine/engine.h"
#include "server/http_answer.h"
#include "server/log.h"
#include "server/rate_limiter.h"
#include "steps/stripe_event.h"

namespace steplog::server {

inline constexpr char stripe_webhook_path[] = "/api/stripe-webhook";

/// What became of one delivery, as it is counted.
enum class WebhookOutcome {
    routed,
    ignored,
    quarantined,
    already_processed,
    signature_refused,
    rate_limited,
    unavailable
};

struct StripeWebhookOptions {
    std::vector<std::string>
        secrets;  // all that are valid now: a rolled secret has a successor beside it
    std::int64_t tolerance_s = 300;  // how old a signature may be
    steps::RoutingPolicy routing;
    double failures_per_second =
        20;  // failing signatures of one address that are answered 400; more get 429
    std::function<bool(std::string_view address)> is_exempt =
        {};  // from that limit; absent: nobody is
    /// Told of each delivery, and how long its answer took.
    std::function<void(WebhookOutcome outcome, std::chrono::nanoseconds took)> on_answer = {};
    /// Told of each event whose id came before with another body.
    std::function<void()> on_conflict = {};
    /// Told of each good signature how far its time is ahead of our clock, in seconds.
    std::function<void(std::int64_t seconds)> on_skew = {};
};

class StripeWebhook {
  public:
    /// What it refers to must outlive it.
    StripeWebhook(Engine& engine, const Clock& clock, Log& log, StripeWebhookOptions options);

    /// Registers the route. This object must outlive the front's last answer.
    void add_to(httplib::Server& routes);

    /// What one delivery gets: CONTRACT's answers, each as JSON. 200 only when the event is
    /// durable, whether it became so now or by an earlier delivery. 400 for every failing signature
    /// alike. 503 when it cannot be made durable now, so that Stripe delivers it again.
    Answer answer(std::string_view signature_header, const std::string& body,
                  const std::string& address);

    /// Other secrets from now on; deliveries that are being judged keep those they began with. Any
    /// thread.
    void replace_secrets(std::vector<std::string> secrets);

  private:
    using Secrets = std::shared_ptr<const std::vector<std::string>>;
    struct Reply {
        WebhookOutcome outcome;
        Answer answer;
    };
    Reply judge(std::string_view signature_header, const std::string& body,
                const std::string& address);
    Reply refuse_signature(std::string_view why, const std::string& address);
    Reply accept(const std::string& body);

    Engine& engine_;
    const Clock& clock_;
    Log& log_;
    const StripeWebhookOptions options_;
    RateLimiter failures_;
    std::mutex mutex_;
    Secrets secrets_;  // guarded by mutex_
};

}  // namespace steplog::server
