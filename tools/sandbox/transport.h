// The sandbox as a network: an HttpTransport whose other end is a Sandbox in the same process,
// without a socket. Used by tests of workflows and clients. send() may be called from any thread.
#pragma once

#include <functional>

#include "steps/http.h"
#include "tools/sandbox/sandbox.h"

namespace steplog::sandbox {

inline constexpr const char* stripe_base = "http://stripe.sandbox";
inline constexpr const char* clerk_base = "http://clerk.sandbox";
inline constexpr const char* resend_base = "http://resend.sandbox";

class SandboxTransport : public steps::HttpTransport {
  public:
    /// `sandbox` must outlive the transport. `wait` is told how long a slow or hanging answer takes
    /// (a test moves its clock there); nothing waits really.
    explicit SandboxTransport(Sandbox& sandbox, std::function<void(Ms)> wait = {})
        : sandbox_(sandbox), wait_(std::move(wait)) {}

    /// The provider is the one named in the request's base, else the one whose path it is. Faults
    /// show as the real client shows them: RetryableError refused "no_connection", or unknown
    /// "timeout", "reset", "cut_reply", "oversized_reply", "interim_reply".
    steps::HttpReply send(const steps::HttpRequest& request) override;

  private:
    Sandbox& sandbox_;
    std::function<void(Ms)> wait_;
};

}  // namespace steplog::sandbox
