// An expense that a person has to approve: the manager has two days, then the director has one, and
// then the answer is no. Nothing runs meanwhile: a waiting instance is a row, and no thread.
#pragma once

#include <map>

#include "engine/workflow.h"

namespace steplog::examples {

/// The company, in memory. Mail and bank know idempotency keys.
struct Office {
    std::map<std::string, std::string> mails, payments;

    void mail(const std::string& key, const std::string& to) { mails.try_emplace(key, to); }
    void pay(const std::string& key, const std::string& to) { payments.try_emplace(key, to); }
};

/// What the page behind the link in the mail sends as the signal "decision".
struct Decision {
    bool approved = false;
    std::string by;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Decision, approved, by)

inline Json expense(Context& ctx, const Json& input, Office& office) {
    using std::chrono::hours;
    const StepOptions keyed{.idempotency_window = hours(24)};
    const auto ask = [&](const std::string& whom) {
        ctx.step("ask_" + whom, keyed,
                 [&](const Attempt& attempt) { office.mail(attempt.idempotency_key, whom); });
    };

    // Each wait has a name of its own, as a step has, and both take the same signal. One that is
    // sent before anybody waits is not lost, and one that comes in the moment in which the time
    // runs out counts.
    ask("manager");
    auto decision = ctx.wait_for<Decision>("manager", {.signal = "decision", .timeout = hours(48)});
    if (!decision) {
        ask("director");
        decision = ctx.wait_for<Decision>("director", {.signal = "decision", .timeout = hours(24)});
    }

    // What was decided stands in the log: however often this function is called again from the
    // top, it comes here by the same way.
    if (!decision) return {{"paid", false}, {"why", "nobody answered"}};
    if (!decision->approved) return {{"paid", false}, {"why", "refused by " + decision->by}};
    ctx.step("pay", keyed, [&](const Attempt& attempt) {
        office.pay(attempt.idempotency_key, input.at("to").get<std::string>());
    });
    return {{"paid", true}, {"by", decision->by}};
}

inline Workflow expense_workflow(Office& office) {
    return {.name = "expense", .run = [&office](Context& ctx, const Json& input) {
                return expense(ctx, input, office);
            }};
}

}  // namespace steplog::examples
