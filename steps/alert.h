// Troubles that people are told of, and how they are worded. An alert names workflows, steps, error
// codes and providers, never an instance, an event or a customer, so that it may stand in the step
// log and in other people's systems. Values; any thread.
#pragma once

#include <cstdint>
#include <string>

#include "engine/types.h"

namespace steplog::steps {

enum class TroubleKind {
    stuck,              // instances wait for a person
    provider_down,      // a provider's breaker is open
    waiting,            // a paying customer has waited for an account for too long
    quarantined,        // events were signed properly and could not be understood
    conflict,           // an event id came again with another body
    store_paused,       // events are answered 503
    missed,             // Stripe's list has events that it did not deliver
    endpoint_disabled,  // Stripe sends nothing to an endpoint of ours any more
    without_account,    // a reconciliation found paying customers without an account
    provisioned_late    // … and has them provisioned
};

/// How a cause names the steps of a loop ("refund/re_1"), whose ends are ids: "refund/*".
inline constexpr const char* any_of_loop = "/*";

/// One trouble: what is told once, with a count, however many it concerns.
struct Cause {
    TroubleKind kind = TroubleKind::stuck;
    std::string workflow = {}, step = {}, error_code = {};  // of stuck ones
    std::string provider = {};                              // of one that is down

    /// Stable, and different for each: "stuck/provision_customer/create_clerk_user/in_doubt".
    std::string id() const;
};

enum class AlertStage { begun, grown, over };

/// What is told of a cause at one moment.
struct Alert {
    Cause cause;
    AlertStage stage = AlertStage::begun;
    std::int64_t count = 0;     // of instances or events; when it is over: the most that there were
    std::int64_t since_ms = 0;  // when it was noticed, Unix milliseconds
    std::int64_t at_ms = 0;     // of this telling
};

/// How urgent it is: of what is over, nothing is.
enum class Urgency { info, warning, critical };
Urgency urgency_of(const Alert& alert);

/// One line: "CRITICAL: USER NOT CREATED: 3 instances of provision_customer are stuck at …".
std::string headline(const Alert& alert);
/// What to do, with the commands; "" when it is over.
std::string advice(const Alert& alert);

/// The words, as in ids and in what is sent: "provider_down", "begun".
std::string to_string(TroubleKind kind);
std::string to_string(AlertStage stage);

void to_json(Json& json, const Alert& alert);
/// Throws Json::exception for what to_json does not write.
void from_json(const Json& json, Alert& alert);

}  // namespace steplog::steps
