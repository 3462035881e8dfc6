// The workflow that looks for what never arrived: Stripe customers with a live subscription and no
// linked account in Clerk, found page by page and, unless it only looks, given to
// provision_customer. Each page is a step, so that it goes on at the page where it was interrupted.
// Runs on the engine's worker threads; the admin API starts it.
#pragma once

#include <string>
#include <vector>

#include "engine/schedule.h"
#include "engine/workflow.h"
#include "steps/provision_customer.h"

namespace steplog::steps {

/// How a workflow reaches the engine that runs it. Any worker thread.
class InstanceDesk {
  public:
    struct Known {
        std::string id, workflow;
        State state = State::pending;
        std::string error_code;
    };
    virtual ~InstanceDesk() = default;

    /// All instances that have this key, in order of arrival, as they stand on the disk.
    virtual std::vector<Known> of_key(const std::string& key) = 0;

    /// Starts it, or leaves alone what has its id; durable on return.
    virtual void start(NewInstance instance) = 0;

    /// Resumes a stuck one, unless a step of it is in doubt. `actor` goes into the audit. Returns
    /// "", or why it was left alone.
    virtual std::string resume(const std::string& id, const std::string& actor) = 0;

    /// What a reconciliation found, told at its end; after a crash perhaps once more.
    struct Found {
        std::string instance;
        bool dry_run = true;
        std::size_t checked = 0, missing = 0, started = 0, errors = 0;
    };
    virtual void tell(const Found& found) = 0;
};

inline constexpr int reconcile_limit_max = 50'000;

/// To look at the newest `limit` customers with a live subscription (active, trialing, or past_due:
/// their purchase still stands), and to provision those who have no account.
struct ReconcileOrder {
    bool dry_run = false;             // only look
    int limit = reconcile_limit_max;  // 1 to that
    bool quiet = false;               // send no e-mail
};

/// `number` tells one order from the next. Orders of the same kind (look, repair, quiet) have the
/// same key, however many they look at.
NewInstance reconcile_order(const ReconcileOrder& order, const std::string& number);

/// Such orders at the times of `cron`. They share the key with all others of their kind: none runs
/// beside another, and a time at which one is under way is left out.
Schedule reconcile_schedule(const ReconcileOrder& order, const std::string& cron,
                            const std::string& time_zone);

/// Adds "reconcile_accounts" version 1. Its input is what reconcile_order makes. Its output:
/// {"dryRun","checked","missing":[{"customerId","email","subscriptionId","subscriptionStatus"}],
/// "started":[ids put to work],"resumed":[those of them that had been stuck],"running":[ids that
/// were under way],"errors":[{"customerId","error"}]}. It fails when Stripe or Clerk refuse for
/// good to tell. `providers` and `desk` outlive the engine.
void register_reconcile_accounts(Registry& registry, Providers& providers, InstanceDesk& desk);

}  // namespace steplog::steps
