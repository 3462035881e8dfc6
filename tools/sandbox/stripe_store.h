// What a Stripe account holds, and how Stripe lists, pages, expands and searches it. Objects are
// immutable once stored and shared between copies, so that copying a whole sandbox is cheap.
// Used by the Stripe stand-in and the maker of purchases; guarded by the sandbox's mutex.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <unordered_map>

#include "tools/sandbox/events.h"
#include "tools/sandbox/request.h"

namespace steplog::sandbox {

/// A request that Stripe refuses. Validation failures are not stored under an idempotency key; what
/// was refused once the endpoint began to execute is (docs.stripe.com/api/idempotent_requests).
struct StripeRefusal {
    int status = 400;
    std::string type = "invalid_request_error";
    std::string code = {};
    std::string message = {};
    std::string param = {};
    bool stored = false;
};

StripeRefusal missing_resource(std::string_view kind, const std::string& id, std::string param);
/// {"error":{…}}
steps::HttpReply stripe_error(const StripeRefusal& refusal);

/// Objects of one kind, in the order of their creation.
class Collection {
  public:
    using Object = std::shared_ptr<const Json>;

    /// Adds the object, or replaces the one of that id. Returns it as stored.
    Object put(Json object);
    /// The object, deleted customers included; null when there never was one.
    Object find(const std::string& id) const;
    const std::vector<Object>& in_order() const { return objects_; }
    std::optional<std::size_t> position(const std::string& id) const;

  private:
    std::vector<Object> objects_;
    std::unordered_map<std::string, std::size_t> positions_;
};

/// One account in one mode: what a key, or a key with Stripe-Account, sees.
struct StripeAccount {
    std::string id;  // "" for the platform's own
    bool live = false;
    Collection customers, subscriptions, invoices, sessions, products, prices;
    Collection payment_methods, invoice_items;  // made, and never read again
    std::vector<EventRecord> events;            // snapshot and thin forms, in order of creation

    /// Looks in every collection. Null when the id is nobody's.
    Collection::Object find(const std::string& object_id) const;
    EventRecord* find_event(const std::string& event_id);
    /// The collection an object of that kind ("customer", "checkout.session", …) lives in.
    Collection& collection(std::string_view object_kind);
};

/// A page of a list, newest first: limit 1..100 (default 10), starting_after, ending_before,
/// created[gt|gte|lt|lte]; `wanted` filters. Throws StripeRefusal for a bad limit or cursor.
Json list_page(const StripeAccount& account, const Collection& collection, const Call& call,
               const std::function<bool(const Json&)>& wanted);
Json list_events(const StripeAccount& account, const Call& call);

/// /v1/customers/search: email, name, phone and metadata['k'], with ':' or '~', '-' to negate,
/// null, joined by AND (docs.stripe.com/search). Throws StripeRefusal for what it cannot read.
Json search_customers(const StripeAccount& account, const Call& call);

/// Replaces ids by objects as expand[]=a.b asks. Throws StripeRefusal for what cannot be expanded.
void expand(Json& object, const Params& params, const StripeAccount& account);

}  // namespace steplog::sandbox
