// Faults on demand: what a provider, or the network before it, does instead of answering properly.
// Planned by tests and by POST /_sandbox/faults, struck by the Sandbox. Guarded by its owner's
// mutex.
#pragma once

#include <limits>
#include <map>

#include "tools/sandbox/request.h"

namespace steplog::sandbox {

enum class FaultKind {
    down,          // no connection
    slow,          // the answer comes after `delay`
    hang,          // no answer until the client gives up
    status,        // an error answer of `status` in the provider's own shape
    rate_limited,  // 429 with Retry-After
    unauthorized,  // 401: our key is not accepted
    reset,         // the connection breaks before anything happened
    lost_answer,   // the effect happens, then the connection breaks
    truncated,     // the effect happens, the answer is cut in its middle
    garbage,       // 200 with something that is not JSON
    interim,       // the effect happens, "103 Early Hints" comes before the answer
    interim_only,  // the effect happens, "103 Early Hints" is all that comes
    oversized      // the effect happens, the answer is 2 MiB longer than it should be
};

std::string_view to_string(FaultKind);
std::optional<FaultKind> parse_fault_kind(std::string_view);

struct Fault {
    static constexpr int until_cleared = std::numeric_limits<int>::max();

    FaultKind kind = FaultKind::status;
    std::optional<Provider> provider;  // absent: all of them
    std::string route;                 // "POST /v1/users*", "/v1/customers/*"; "" is every route
    int times = until_cleared;         // strikes so often, then is used up
    int per_mille = 1000;              // of the matching requests, drawn under the sandbox's seed
    int status = 503;
    bool remembered = false;           // the error is stored under the request's idempotency key
    std::optional<bool> effect;        // overrides whether the effect happens (see FaultKind)
    Ms delay{0};                       // with slow, and before any other fault too
    std::optional<int> retry_after_s;  // rate_limited: 1 unless given; status: none unless given
    std::map<std::string, std::string> headers;  // added to an error answer: Stripe-Should-Retry …

    /// Whether the provider does what was asked before the fault shows.
    bool has_effect() const;
};

/// {"kind":"lost_answer","provider":"clerk","route":"POST /v1/users","times":1,…}. Throws
/// std::invalid_argument with a sentence that names the wrong field.
Fault fault_from_json(const Json& json);
Json to_json(const Fault& fault);

class FaultPlan {
  public:
    void add(const Fault& fault) { faults_.push_back(fault); }
    /// All faults, or those of one provider (and those of every provider stay).
    void clear(std::optional<Provider> provider = std::nullopt);

    /// The first fault that matches and strikes; it is counted. Nothing for most requests.
    std::optional<Fault> strike(Provider provider, const Call& call, IdSource& random);

    /// Whether `provider` refuses every connection, as a port that nobody listens on.
    bool is_down(Provider provider) const;

    const std::vector<Fault>& faults() const { return faults_; }

  private:
    std::vector<Fault> faults_;
};

/// '*' stands for any characters. A pattern without a blank is matched against the path alone.
bool route_matches(std::string_view pattern, std::string_view method, std::string_view path);

}  // namespace steplog::sandbox
