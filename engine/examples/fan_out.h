// The invoices of a month: the same effect for every customer, many at a time, each with a
// checkpoint of its own. After a crash only those that are missing are made.
#pragma once

#include <map>
#include <mutex>

#include "engine/workflow.h"

namespace steplog::examples {

/// The billing service, in memory; it knows idempotency keys. Any thread.
class Billing {
  public:
    explicit Billing(int customers) : customers_(customers) {}

    std::vector<std::string> customers() const {
        std::vector<std::string> all;
        for (int n = 1; n <= customers_; ++n) all.push_back("customer-" + std::to_string(n));
        return all;
    }
    int invoice(const std::string& key, int cents) {
        const std::lock_guard lock(mutex_);
        return invoices_.try_emplace(key, cents).first->second;
    }
    std::size_t invoices() const {
        const std::lock_guard lock(mutex_);
        return invoices_.size();
    }

  private:
    const int customers_;
    mutable std::mutex mutex_;
    std::map<std::string, int> invoices_;
};

inline Json invoices(Context& ctx, Billing& billing) {
    // The list in a step: customers come and go while this runs, and a call of the function after
    // a crash must see those that the first one saw.
    const auto customers =
        ctx.step("list_customers", [&](const Attempt&) { return billing.customers(); });

    // Known by the customer, not by the place in the list: "invoice/customer-7". At most 16 at
    // once, because that is what the service allows. One that it refuses for now is put off, and
    // keeps none of the others waiting.
    const auto amounts = ctx.map(
        "invoice", customers, [](const std::string& customer) { return customer; },
        [&](const std::string&, const Attempt& attempt) {
            return billing.invoice(attempt.idempotency_key, 4'900);
        },
        {.concurrency = 16,
         .step = {.provider = "billing", .idempotency_window = std::chrono::hours(24)}});

    // No step: it is made of what the log holds, and comes out the same every time.
    std::int64_t total_cents = 0;
    for (const int cents : amounts) total_cents += cents;
    return {{"invoices", amounts.size()}, {"total_cents", total_cents}};
}

inline Workflow invoices_workflow(Billing& billing) {
    return {.name = "invoices",
            .run = [&billing](Context& ctx, const Json&) { return invoices(ctx, billing); }};
}

}  // namespace steplog::examples
