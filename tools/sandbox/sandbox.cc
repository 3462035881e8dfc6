// Faults applied to requests, and the observer's view. Everything here holds the sandbox's one
// mutex.
#include "tools/sandbox/sandbox.h"

#include <fmt/format.h>

#include <algorithm>

namespace steplog::sandbox {
namespace {

std::string fingerprint_of(Provider provider, const Call& call) {
    return provider == Provider::stripe ? Stripe::fingerprint(call) : Resend::fingerprint(call);
}

steps::HttpReply stripe_fault(int status) {
    StripeRefusal refusal{
        .status = status, .type = "api_error", .message = "An unknown error occurred."};
    if (status == 401) {
        refusal.type = "invalid_request_error";
        refusal.message = "Invalid API Key provided";
    } else if (status == 409) {
        refusal.type = "idempotency_error";
        refusal.code = "idempotency_key_in_use";
    } else if (status == 429) {
        refusal.type = "invalid_request_error";
        refusal.code = "rate_limit";
        refusal.message = "Request rate limit exceeded.";
    } else if (status < 500) {
        refusal.type = "invalid_request_error";
        refusal.message = "The request was refused.";
    }
    return stripe_error(refusal);
}

steps::HttpReply clerk_fault(int status) {
    const std::string code = [status] {
        switch (status) {
            case 401:
                return "clerk_key_invalid";
            case 403:
                return "not_allowed_access";
            case 409:
                return "conflict";
            case 422:
                return "form_param_format_invalid";
            case 429:
                return "too_many_requests";
            case 503:
                return "service_unavailable";
            case 504:
                return "gateway_timeout";
            default:
                return status < 500 ? "bad_request" : "internal_clerk_error";
        }
    }();
    return clerk_error(status, code, "The sandbox was told to answer so.", "", "sandboxfault");
}

steps::HttpReply resend_fault(int status) {
    const std::string name = [status] {
        switch (status) {
            case 401:
                return "restricted_api_key";
            case 403:
                return "invalid_api_key";
            case 409:
                return "concurrent_idempotent_requests";
            case 422:
                return "validation_error";
            case 429:
                return "rate_limit_exceeded";
            default:
                return status < 500 ? "invalid_parameter" : "application_error";
        }
    }();
    return resend_error(status, name, "The sandbox was told to answer so.");
}

template <typename Objects>
Json copies(const Objects& objects) {
    Json list = Json::array();
    for (const auto& object : objects) list.push_back(*object);
    return list;
}

}  // namespace

Sandbox::World::World(const SandboxOptions& options)
    : ids(options.seed),
      stripe(options.stripe_secret_key),
      clerk(options.clerk_secret_key),
      resend(options.resend_api_key) {}

Handled Sandbox::World::handle(Provider provider, const Call& call) {
    switch (provider) {
        case Provider::stripe:
            return stripe.handle(call, ids);
        case Provider::clerk:
            return clerk.handle(call, ids);
        case Provider::resend:
            return resend.handle(call, ids);
    }
    return {};
}

IdempotencyKeys* Sandbox::World::keys(Provider provider) {
    if (provider == Provider::stripe) return &stripe.keys();
    return provider == Provider::resend ? &resend.keys() : nullptr;
}

std::string Sandbox::World::stored_key(Provider provider, const Call& call) const {
    if (provider == Provider::stripe) return stripe.stored_key(call);
    return provider == Provider::resend ? Resend::stored_key(call) : "";
}

Sandbox::Sandbox(SandboxOptions options) : options_(std::move(options)), world_(options_) {}

Sandbox::Sandbox(const Sandbox& other) : Sandbox(other.options_) {
    const std::scoped_lock lock(other.mutex_);
    world_ = other.world_;
}

Sandbox& Sandbox::operator=(const Sandbox& other) {
    if (this != &other) {
        const std::scoped_lock lock(mutex_, other.mutex_);
        options_ = other.options_;
        world_ = other.world_;
    }
    return *this;
}

std::int64_t Sandbox::now_ms() const {
    return options_.clock != nullptr ? options_.clock->now_ms() : SystemClock().now_ms();
}

steps::HttpReply Sandbox::handle(const SandboxRequest& request) {
    Exchange done = begin(request, std::nullopt, false);
    finish(done);
    return std::move(done.reply);
}

Exchange Sandbox::exchange(const SandboxRequest& request, std::optional<Provider> provider) {
    return begin(request, provider, true);
}

Exchange Sandbox::begin(const SandboxRequest& request, std::optional<Provider> provider,
                        bool faulty) {
    const Call call = take_apart(request, now_ms());
    const std::scoped_lock lock(mutex_);
    Exchange exchange;
    exchange.provider = provider.value_or(provider_of_path(call.path));
    const auto index = static_cast<std::size_t>(exchange.provider);
    world_.open_max[index] = std::max(world_.open_max[index], ++world_.open[index]);
    std::optional<Fault> fault;
    if (faulty) fault = world_.faults.strike(exchange.provider, call, world_.ids);
    // Who cannot connect has not made a request.
    if (!fault || fault->kind != FaultKind::down) ++world_.requests[route_of(call)];

    if (!fault || fault->has_effect()) {
        Handled handled = world_.handle(exchange.provider, call);
        exchange.reply = std::move(handled.reply);
        exchange.key = std::move(handled.key);
        if (handled.effect) {
            const std::string key = header_of(call.headers, "Idempotency-Key");
            if (!key.empty()) ++world_.effects[key];
        }
    }
    if (fault) strike(world_, *fault, call, exchange);
    return exchange;
}

void Sandbox::strike(World& world, const Fault& fault, const Call& call, Exchange& exchange) {
    exchange.delay = fault.delay;
    switch (fault.kind) {
        case FaultKind::slow:
            break;
        case FaultKind::down:
            exchange.wire = Wire::refused;
            break;
        case FaultKind::hang:
            exchange.wire = Wire::hangs;
            break;
        case FaultKind::reset:
        case FaultKind::lost_answer:
            exchange.wire = Wire::reset;
            break;
        case FaultKind::truncated:
            exchange.wire = Wire::truncated;
            break;
        case FaultKind::interim:
            exchange.wire = Wire::interim;
            break;
        case FaultKind::interim_only:
            exchange.wire = Wire::interim_only;
            break;
        case FaultKind::oversized:
            exchange.wire = Wire::oversized;
            break;
        case FaultKind::garbage:
            exchange.reply = {.status = 200,
                              .headers = {{"Content-Type", "text/html"}},
                              .body = "<html><body>We'll be right back.</body></html>"};
            break;
        case FaultKind::status:
        case FaultKind::rate_limited:
        case FaultKind::unauthorized: {
            exchange.reply = error_reply(exchange.provider, fault);
            IdempotencyKeys* keys = world.keys(exchange.provider);
            if (!fault.remembered || keys == nullptr) break;
            const std::string key = world.stored_key(exchange.provider, call);
            if (exchange.key.empty() && !key.empty() &&
                keys->begin(key, fingerprint_of(exchange.provider, call), call.now_ms).verdict ==
                    IdempotencyKeys::Verdict::fresh) {
                exchange.key = key;
            }
            if (!exchange.key.empty()) keys->keep(exchange.key, exchange.reply);
            break;
        }
    }
}

steps::HttpReply Sandbox::error_reply(Provider provider, const Fault& fault) {
    int status = fault.status;
    if (fault.kind == FaultKind::rate_limited) status = 429;
    if (fault.kind == FaultKind::unauthorized) status = 401;
    steps::HttpReply reply;
    switch (provider) {
        case Provider::stripe:
            reply = stripe_fault(status);
            break;
        case Provider::clerk:
            reply = clerk_fault(status);
            break;
        case Provider::resend:
            reply = resend_fault(status);
            break;
    }
    std::optional<int> retry_after_s = fault.retry_after_s;
    if (status == 429 && !retry_after_s) retry_after_s = 1;
    if (retry_after_s) set_header(reply, "Retry-After", fmt::format("{}", *retry_after_s));
    for (const auto& [name, value] : fault.headers) set_header(reply, name, value);
    return reply;
}

void Sandbox::finish(const Exchange& exchange) {
    const std::scoped_lock lock(mutex_);
    --world_.open[static_cast<std::size_t>(exchange.provider)];
    IdempotencyKeys* keys = world_.keys(exchange.provider);
    if (keys != nullptr && !exchange.key.empty()) keys->settle(exchange.key);
}

void Sandbox::add_fault(const Fault& fault) {
    const std::scoped_lock lock(mutex_);
    world_.faults.add(fault);
}

void Sandbox::clear_faults(std::optional<Provider> provider) {
    const std::scoped_lock lock(mutex_);
    world_.faults.clear(provider);
}

std::vector<Fault> Sandbox::faults() const {
    const std::scoped_lock lock(mutex_);
    return world_.faults.faults();
}

bool Sandbox::is_down(Provider provider) const {
    const std::scoped_lock lock(mutex_);
    return world_.faults.is_down(provider);
}

Purchase Sandbox::purchase(const PurchaseOptions& options) {
    const std::scoped_lock lock(mutex_);
    return make_purchase(options, world_.stripe, now_ms(), world_.ids);
}

Purchase Sandbox::settle_payment(const std::string& session, bool succeeds,
                                 const PurchaseOptions& options) {
    const std::scoped_lock lock(mutex_);
    return sandbox::settle_payment(session, succeeds, options, world_.stripe, now_ms(), world_.ids);
}

Purchase Sandbox::renew(const std::string& subscription, const PurchaseOptions& options) {
    const std::scoped_lock lock(mutex_);
    return sandbox::renew(subscription, options, world_.stripe, now_ms(), world_.ids);
}

Event Sandbox::make_event(const std::string& type, const PurchaseOptions& options) {
    const std::scoped_lock lock(mutex_);
    return sandbox::make_event(type, options, world_.stripe, now_ms(), world_.ids);
}

std::string Sandbox::add_user(const ExistingUser& user) {
    const std::scoped_lock lock(mutex_);
    return world_.clerk.add_user(user, now_ms(), world_.ids);
}

bool Sandbox::verify_email(const std::string& email) {
    const std::scoped_lock lock(mutex_);
    return world_.clerk.verify_email(email, now_ms());
}

std::vector<Event> Sandbox::take_outbox() {
    const std::scoped_lock lock(mutex_);
    return world_.stripe.take_outbox();
}

void Sandbox::mark_delivered(const std::string& event_id) {
    const std::scoped_lock lock(mutex_);
    world_.stripe.mark_delivered(event_id);
}

void Sandbox::set_webhook_endpoint(const std::string& url, bool enabled) {
    const std::scoped_lock lock(mutex_);
    world_.stripe.set_webhook_endpoint(url, enabled);
}

std::vector<Clerk::User> Sandbox::users() const {
    const std::scoped_lock lock(mutex_);
    return world_.clerk.users();
}

std::vector<std::shared_ptr<const Json>> Sandbox::emails() const {
    const std::scoped_lock lock(mutex_);
    return world_.resend.emails();
}

Collection::Object Sandbox::stripe_object(const std::string& id, bool live,
                                          const std::string& account) const {
    const std::scoped_lock lock(mutex_);
    for (const auto& [key, own] : world_.stripe.accounts()) {
        if (own.live == live && own.id == account) return own.find(id);
    }
    return nullptr;
}

std::map<std::string, int> Sandbox::effects() const {
    const std::scoped_lock lock(mutex_);
    return world_.effects;
}

std::map<std::string, int> Sandbox::requests() const {
    const std::scoped_lock lock(mutex_);
    return world_.requests;
}

int Sandbox::concurrent_max(Provider provider) const {
    const std::scoped_lock lock(mutex_);
    return world_.open_max[static_cast<std::size_t>(provider)];
}

Json Sandbox::state(bool full) const {
    const std::scoped_lock lock(mutex_);
    Json counts = {{"users", world_.clerk.users().size()},
                   {"emails", world_.resend.emails().size()},
                   {"invitations", world_.clerk.invitations().size()},
                   {"sign_in_tokens", world_.clerk.sign_in_tokens().size()}};
    Json stripe = Json::object();
    for (const char* name : {"customers", "subscriptions", "invoices", "sessions", "events"}) {
        counts[name] = 0;
        stripe[name] = Json::array();
    }
    const auto add = [&](const char* name, const auto& objects, bool with_objects) {
        counts[name] = counts[name].get<std::size_t>() + objects.size();
        if (!with_objects) return;
        for (const auto& object : objects) stripe[name].push_back(*object);
    };
    for (const auto& [key, account] : world_.stripe.accounts()) {
        add("customers", account.customers.in_order(), full);
        add("subscriptions", account.subscriptions.in_order(), full);
        add("invoices", account.invoices.in_order(), full);
        add("sessions", account.sessions.in_order(), full);
        for (const EventRecord& event : account.events) {
            if (event.form() != EventForm::snapshot) continue;
            counts["events"] = counts["events"].get<int>() + 1;
            if (full) {
                stripe["events"].push_back({{"id", event.id},
                                            {"type", event.draft->type},
                                            {"object", string_at(*event.draft->object, "id")},
                                            {"account", event.draft->account},
                                            {"delivered", event.delivered}});
            }
        }
    }
    Json state = {{"counts", std::move(counts)},
                  {"effects", world_.effects},
                  {"requests", world_.requests},
                  {"faults", Json::array()}};
    for (const Provider provider : all_providers) {
        state["concurrent_max"][std::string(to_string(provider))] =
            world_.open_max[static_cast<std::size_t>(provider)];
    }
    for (const Fault& fault : world_.faults.faults()) state["faults"].push_back(to_json(fault));
    if (full) {
        state.update(stripe);
        state["users"] = copies(world_.clerk.users());
        state["emails"] = copies(world_.resend.emails());
        state["invitations"] = world_.clerk.invitations();
    }
    return state;
}

void Sandbox::reset() {
    const std::scoped_lock lock(mutex_);
    // Requests that are open now will finish in the new world: their places must be kept.
    const auto open = world_.open;
    world_ = World(options_);
    world_.open = open;
}

}  // namespace steplog::sandbox
