// The stand-in for Stripe: customers, subscriptions, invoices, checkout sessions, products, prices
// and events of any number of accounts, with Stripe's authorisation, idempotency keys, errors and
// lists. Used by the Sandbox, whose mutex guards it. Copying it is cheap.
#pragma once

#include "tools/sandbox/idempotency.h"
#include "tools/sandbox/stripe_store.h"

namespace steplog::sandbox {

/// What a stand-in did with a request.
struct Handled {
    steps::HttpReply reply;
    std::string key;      // the idempotency key, as stored, that is in use until it is settled
    bool effect = false;  // a write was executed now and not refused
};

class Stripe {
  public:
    /// Accepts only this key; "" accepts whatever begins with sk_ or rk_. A key with "_live_" in it
    /// sees the live objects.
    explicit Stripe(std::string secret_key = "") : secret_key_(std::move(secret_key)) {}

    Handled handle(const Call& call, IdSource& ids);

    IdempotencyKeys& keys() { return keys_; }
    /// The key under which this call's answer is or would be stored; "" when the call has none.
    std::string stored_key(const Call& call) const;
    /// What the same request must look like again.
    static std::string fingerprint(const Call& call);

    StripeAccount& account(bool live, const std::string& id);
    const std::map<std::string, StripeAccount>& accounts() const { return accounts_; }

    /// Stores the snapshot event and its thin twin; both can be asked for from then on.
    struct Twins {
        EventRecord snapshot;
        EventRecord thin;
    };
    Twins emit(StripeAccount& account, EventDraft draft, IdSource& ids);

    /// The events that API calls caused, and those asked for again, since the last call.
    std::vector<Event> take_outbox();
    void mark_delivered(const std::string& event_id);

    /// The one endpoint that GET /v1/webhook_endpoints lists from then on.
    void set_webhook_endpoint(const std::string& url, bool enabled);

  private:
    struct Caller {
        bool live = false;
        std::string account;
    };
    std::optional<Caller> authorise(const Call& call) const;
    Handled with_key(const Call& call, const Caller& caller, IdSource& ids);
    steps::HttpReply execute(const Call& call, const Caller& caller, IdSource& ids, bool& stored);
    Collection::Object read(const Call& call, StripeAccount& account);
    Collection::Object write(const Call& call, StripeAccount& account, IdSource& ids);
    Collection::Object resend_event(const std::string& id, StripeAccount& account);

    std::string secret_key_;
    std::map<std::string, StripeAccount> accounts_;  // by "live/acct_1"
    IdempotencyKeys keys_;
    std::vector<EventRecord> outbox_;
    Json endpoints_ = Json::array();
    std::string request_id_;  // of the request being handled
};

/// What a POST or DELETE does to an account; emits nothing itself.
struct StripeChange {
    Collection::Object object;      // as answered
    std::string event_type = {};    // "" when nothing changed
    Json previous_attributes = {};  // with *.updated
    std::string also = {};          // a second event of the same change
};
/// What `stripe trigger` asks for; nothing when it is something else. Throws StripeRefusal.
std::optional<StripeChange> apply_payment(const Call& call, const Params& form,
                                          StripeAccount& account, IdSource& ids);
/// All else. Throws StripeRefusal.
StripeChange apply_write(const Call& call, const Params& form, StripeAccount& account,
                         IdSource& ids);

}  // namespace steplog::sandbox
