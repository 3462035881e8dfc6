// The whole sandbox without a socket: Stripe, Clerk and Resend stand-ins, faults, and what an
// observer wants to count. Used by tests through SandboxTransport, and by the program through
// HttpServer. Thread-safe: one mutex, never held while anyone waits. Deterministic: the same seed,
// clock and order of requests give the same ids and answers. Copies share what is immutable, so
// copying is cheap.
#pragma once

#include <mutex>

#include "engine/clock.h"
#include "tools/sandbox/clerk.h"
#include "tools/sandbox/faults.h"
#include "tools/sandbox/purchase.h"
#include "tools/sandbox/resend.h"
#include "tools/sandbox/stripe.h"

namespace steplog::sandbox {

struct SandboxOptions {
    std::uint64_t seed = 1;
    const Clock* clock = nullptr;   // the system's when null; must outlive the sandbox
    std::string stripe_secret_key;  // "" accepts any key of the provider's form
    std::string clerk_secret_key;
    std::string resend_api_key;
};

/// What the network does with an answer.
enum class Wire { delivered, refused, reset, truncated, hangs, interim, interim_only, oversized };

struct Exchange {
    Provider provider = Provider::stripe;
    steps::HttpReply reply;
    Wire wire = Wire::delivered;
    Ms delay{0};      // before the answer, or before the connection breaks
    std::string key;  // in use until finish()
};

class Sandbox {
  public:
    explicit Sandbox(SandboxOptions options = {});
    Sandbox(const Sandbox& other);
    Sandbox& operator=(const Sandbox& other);

    /// Answers a request as its provider would on a good day: faults are left alone.
    steps::HttpReply handle(const SandboxRequest& request);

    /// Handles a request under the planned faults. The effect, if there is one, has happened on
    /// return; `wire` and `delay` say what the client sees of it. Call finish() exactly once when
    /// the client has its answer or has lost it: until then the idempotency key is in use.
    Exchange exchange(const SandboxRequest& request,
                      std::optional<Provider> provider = std::nullopt);
    void finish(const Exchange& exchange);

    void add_fault(const Fault& fault);
    void clear_faults(std::optional<Provider> provider = std::nullopt);
    std::vector<Fault> faults() const;
    bool is_down(Provider provider) const;

    Purchase purchase(const PurchaseOptions& options = {});
    Purchase settle_payment(const std::string& session, bool succeeds = true,
                            const PurchaseOptions& options = {});
    Purchase renew(const std::string& subscription, const PurchaseOptions& options = {});
    Event make_event(const std::string& type, const PurchaseOptions& options = {});
    /// An account that Clerk has already. Returns its id.
    std::string add_user(const ExistingUser& user);
    bool verify_email(const std::string& email);

    /// Events that API calls have caused (customer.subscription.updated after a write …), and those
    /// that were asked for again, since the last call. Purchases hand theirs over themselves.
    std::vector<Event> take_outbox();
    /// An endpoint answered 2xx: GET /v1/events?delivery_success=false leaves the event out.
    void mark_delivered(const std::string& event_id);
    /// What GET /v1/webhook_endpoints lists.
    void set_webhook_endpoint(const std::string& url, bool enabled);

    std::vector<Clerk::User> users() const;
    std::vector<std::shared_ptr<const Json>> emails() const;
    /// A Stripe object by its id, as stored now; null when there is none.
    Collection::Object stripe_object(const std::string& id, bool live = false,
                                     const std::string& account = "") const;
    /// How often a write was really executed under each idempotency key (1 is what one hopes for).
    std::map<std::string, int> effects() const;
    /// Requests by route: "POST /v1/users", "POST /v1/customers/{id}".
    std::map<std::string, int> requests() const;
    /// The largest number of requests that a provider had open at once.
    int concurrent_max(Provider provider) const;

    /// Counts, and with `full` the lists: see GET /_sandbox/state in tools/sandbox/README.md.
    Json state(bool full = true) const;
    /// As freshly made, faults included; the ids begin anew.
    void reset();

    std::int64_t now_ms() const;

  private:
    struct World {
        explicit World(const SandboxOptions& options);
        IdSource ids;
        Stripe stripe;
        Clerk clerk;
        Resend resend;
        FaultPlan faults;
        std::map<std::string, int> effects;
        std::map<std::string, int> requests;
        std::array<int, 3> open{};
        std::array<int, 3> open_max{};

        Handled handle(Provider provider, const Call& call);
        IdempotencyKeys* keys(Provider provider);
        std::string stored_key(Provider provider, const Call& call) const;
    };
    Exchange begin(const SandboxRequest& request, std::optional<Provider> provider, bool faulty);
    static void strike(World& world, const Fault& fault, const Call& call, Exchange& exchange);
    static steps::HttpReply error_reply(Provider provider, const Fault& fault);

    SandboxOptions options_;
    mutable std::mutex mutex_;
    World world_;  // guarded by mutex_
};

}  // namespace steplog::sandbox
