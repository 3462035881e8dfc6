// provision_customer under simulation: one purchase, its events, and the sandbox's Stripe, Clerk
// and Resend at the other end of a network that dies with the machine. One thread.
#pragma once

#include "steps/email_resend.h"
#include "steps/provision_customer.h"
#include "steps/stripe_event.h"
#include "tests/model/outside.h"
#include "tools/sandbox/sandbox.h"
#include "tools/sandbox/transport.h"

namespace steplog::testing {

class PurchaseWorld : public steps::HttpTransport {
  public:
    PurchaseWorld(Watch& watch, CrashVfs& vfs, WallClock& clock, Outside& outside,
                  std::uint64_t seed);

    void register_workflow(Registry& registry);

    /// Whom it is about; a guest's purchase has no customer.
    const std::string& customer() const { return purchase_.customer; }
    std::size_t events() const { return purchase_.events.size(); }
    /// The n-th event, and what the webhook makes of it.
    steps::Intake delivery(std::size_t n) const;

    /// Something goes wrong at one of the providers, a few times.
    void break_something(SeededRandom& dice);
    void mend_everything() { sandbox_.clear_faults(); }
    /// A person resumed an instance whose e-mail was in doubt: it may go out again.
    void allow_an_email() { ++emails_allowed_; }

    /// When all has ended: one user, one e-mail, everything linked.
    void check_result(bool all_completed);

    steps::HttpReply send(const steps::HttpRequest& request) override;

  private:
    Watch& watch_;
    CrashVfs& vfs_;
    Outside& outside_;
    sandbox::Sandbox sandbox_;
    sandbox::SandboxTransport transport_;
    sandbox::Purchase purchase_;
    steps::ResendSender email_;
    steps::Providers providers_;
    int emails_allowed_ = 1;
};

}  // namespace steplog::testing
