// Stripe's API, as far as provisioning needs it (API v1; docs.stripe.com/api). Reads give the
// object as Stripe sent it, checked to be the one that was asked for; writes set metadata and
// nothing else. Any thread. Errors: see ProviderApi::call.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "steps/provider.h"

namespace steplog::steps {

/// The API version whose shapes this code was written against; sent with every request, so that the
/// account's default does not matter.
inline constexpr std::string_view stripe_version = "2026-10-28.endive";

struct StripeOptions {
    std::string base = "https://api.stripe.com";
    std::string secret_key;
};

/// Whether a path from an event may be asked for: "/v1/…" or "/v2/…", at most 512 characters,
/// letters, digits, '_' and '-' between single slashes. Nothing in it can name another host or
/// leave the path.
bool is_safe_stripe_path(std::string_view path);

/// Part of a list of subscriptions, newest first.
struct SubscriptionPage {
    std::vector<Json> subscriptions;  // each with an id; "customer" is the object, or its id
    bool has_more = false;
};

/// Which events: of these types (at most 20), created from from_s to to_s (Unix seconds), behind
/// the event `after` ("": from the newest), at most `limit` (1 to 100).
struct EventQuery {
    std::vector<std::string> types;
    std::int64_t from_s = 0, to_s = 0;
    std::string after = {};
    int limit = 100;
};

/// Part of a list of events, newest first.
struct EventPage {
    std::vector<Json> events;  // snapshot forms, each with an id
    bool has_more = false;
};

class StripeClient {
  public:
    /// The transport and the clock must outlive the client.
    StripeClient(HttpTransport& transport, const Clock& clock, const StripeOptions& options);

    // `account` is the event's account or context: "" for our own, "acct_…" is sent as
    // Stripe-Account, anything else as Stripe-Context.

    /// A deleted customer is no error: {"id","object":"customer","deleted":true}.
    Json get_customer(const std::string& id, const std::string& account, const Call& call) const;
    Json get_subscription(const std::string& id, const std::string& account,
                          const Call& call) const;
    Json get_checkout_session(const std::string& id, const std::string& account,
                              const Call& call) const;
    Json get_invoice(const std::string& id, const std::string& account, const Call& call) const;

    /// A thin event's related object, by its url. Throws PermanentError "unsafe_path" for a path
    /// that is_safe_stripe_path refuses.
    Json get_related_object(const std::string& path, const std::string& id,
                            const std::string& account, const Call& call) const;

    /// GET /v2/core/events/{id}.
    Json get_event(const std::string& id, const std::string& account, const Call& call) const;

    /// Those that were not cancelled, behind the subscription `after` ("": from the newest), at
    /// most `limit` (1 to 100).
    SubscriptionPage list_subscriptions(const std::string& after, int limit,
                                        const Call& call) const;

    /// Of the last 30 days, of the key's own account.
    EventPage list_events(const EventQuery& query, const Call& call) const;

    /// All of the account: {"id","url","status":"enabled"|"disabled"}. There are 16 at most.
    std::vector<Json> list_webhook_endpoints(const Call& call) const;

    /// Sets one metadata key and leaves the others. Carries call.idempotency_key.
    void update_customer_metadata(const std::string& id, const std::string& key,
                                  const std::string& value, const std::string& account,
                                  const Call& call) const;
    void update_subscription_metadata(const std::string& id, const std::string& key,
                                      const std::string& value, const std::string& account,
                                      const Call& call) const;

  private:
    Json get(const std::string& what, const std::string& path, const std::string& id,
             const std::string& account, const Call& call) const;
    /// The elements of a list, each with an id.
    std::vector<Json> list(const ProviderRequest& request, const Call& call, bool& has_more) const;
    void update_metadata(const std::string& what, const std::string& path, const std::string& id,
                         const std::string& key, const std::string& value,
                         const std::string& account, const Call& call) const;

    ProviderApi api_;
};

}  // namespace steplog::steps
