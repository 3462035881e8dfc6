// Is this body from Stripe? The one question that stands between the world and the inbox, answered
// before a byte of the body is parsed. Used by the webhook's route. Pure function; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace steplog::server {

/// What a sender is told of any signature that is not good.
inline constexpr std::string_view bad_signature = "bad or missing Stripe-Signature";

/// Why a signature is refused. For logs and metrics only: the sender gets the same answer for all.
enum class Signature {
    valid,
    missing,    // no header, or an empty one
    malformed,  // no time, one that is no number or before 1970, more than 8 v1 values, or an empty
                // one
    no_scheme,  // no v1: other schemes (v0) count for nothing
    mismatch,   // no v1 is the body's under any of our secrets
    too_old     // older than the tolerance
};

std::string_view to_string(Signature);

/// Judges a `Stripe-Signature: t=<Unix seconds>,v1=<hex>[,v1=<hex>…]` header as Stripe's own SDK
/// does (docs.stripe.com/webhooks/signature; stripe-node, Webhooks.js): HMAC-SHA256 over `t + "." +
/// body` with the whole secret as key, in lower-case hex; any v1 under any secret will do; the last
/// t counts; a t ahead of our clock is let pass; a tolerance of 0 checks no age. Stricter than the
/// SDK in three things: a negative t, a t of more than 15 digits and more than 8 v1 are refused. An
/// empty body is judged like any. Secrets are whole ("whsec_…") and not empty. All secrets and all
/// v1 values are always compared, each in constant time.
Signature verify_stripe_signature(std::string_view header, std::string_view body,
                                  const std::vector<std::string>& secrets, std::int64_t tolerance_s,
                                  std::int64_t now_s);

/// The time a header claims, in Unix seconds. Says nothing about who made it.
std::optional<std::int64_t> stripe_signature_time(std::string_view header);

/// The header Stripe would send. For tools and tests.
std::string stripe_signature_header(std::string_view body, std::string_view secret,
                                    std::int64_t time_s);

}  // namespace steplog::server
