// What the providers' clients share: one call over the transport, and the one place where a
// provider's answer becomes a result, a RetryableError or a PermanentError. Used by the Stripe,
// Clerk and e-mail clients; each has one ProviderApi. Any thread.
#pragma once

#include <string>

#include "engine/clock.h"
#include "engine/context.h"
#include "engine/errors.h"
#include "steps/http.h"

namespace steplog::steps {

/// What a call takes from the attempt that makes it.
struct Call {
    Ms timeout{20000};  // for each request, connect to last byte
    std::stop_token stop = {};
    std::string idempotency_key = {};
    static Call of(const Attempt& attempt) {
        return {.timeout = attempt.timeout,
                .stop = attempt.shutdown,  // a provider's answer is worth hearing
                .idempotency_key = attempt.idempotency_key};
    }
};

/// The provider says no, in its own words: a final status with its error envelope. `code` is the
/// provider's code, so that operators can filter by it.
class Refusal : public PermanentError {
  public:
    Refusal(int status, const std::string& code, const std::string& message)
        : PermanentError(code, message), status_(status) {}
    int status() const { return status_; }

  private:
    int status_;
};

/// A Retry-After header's value as a pause: seconds or an HTTP date (RFC 9110, 10.2.3), never less
/// than 0 and never more than an hour. Nothing when it is neither.
std::optional<Ms> parse_retry_after(const std::string& value, std::int64_t now_ms);

/// Whose error envelope is read, and whose codes are known.
enum class Dialect {
    stripe,  // {"error":{"type","code","param"}}, header Request-Id, Stripe-Should-Retry
    clerk,   // {"errors":[{"code","meta":{"param_name"}}],"clerk_trace_id"}
    resend   // {"statusCode","name","message"}
};

struct ProviderRequest {
    std::string method;    // GET, POST, PATCH
    std::string target;    // path and query, percent-encoded
    Headers headers = {};  // besides the API's own
    std::string body = {};
    std::string doing;  // for error texts: "read customer cus_123"
};

class ProviderApi {
  public:
    /// `headers` go with every request; they hold the secret key. The transport and the clock must
    /// outlive this.
    ProviderApi(HttpTransport& transport, const Clock& clock, Dialect dialect, std::string base,
                Headers headers);

    /// Sends once and returns the parsed body of a 2xx. Throws
    /// - Refusal: the provider's own no (4xx with its envelope);
    /// - RetryableError refused: 401/403 of our own key ("provider_key_rejected"), 425, 429
    ///   ("rate_limited", with its Retry-After), Stripe's and Clerk's 409, no connection, and
    ///   whatever befalls a GET, which has no effect;
    /// - RetryableError unknown: 408, 5xx, 3xx, a 4xx without the provider's envelope (some
    ///   gateway's word, not the provider's), a 2xx that is not JSON, and what the transport says.
    /// Source: docs.stripe.com/api/errors, docs.stripe.com/error-low-level, Clerk's Backend API
    /// error list, resend.com/docs/api-reference/errors.
    Json call(const ProviderRequest& request, const Call& call) const;

    /// For a 2xx that lacks what was promised.
    [[noreturn]] void throw_bad_reply(const ProviderRequest& request) const;

    const char* name() const;
    /// As StepOptions::provider has it.
    const char* word() const;

  private:
    struct Complaint {
        bool in_envelope = false;  // the provider itself speaks
        std::string code, param, request_id;
    };
    Complaint read_complaint(const HttpReply& reply) const;
    [[noreturn]] void throw_complaint(const ProviderRequest& request, const HttpReply& reply,
                                      bool had_idempotency_key) const;
    bool means_our_key(int status, const std::string& code) const;

    HttpTransport& transport_;
    const Clock& clock_;
    Dialect dialect_;
    std::string base_;
    Headers headers_;
};

}  // namespace steplog::steps
