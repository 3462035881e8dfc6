#include "tools/common/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "engine/inspect_json.h"
#include "engine/inspect_redact.h"
#include "tools/common/cli.h"
#include "tools/common/named.h"

namespace steplog::tools {
namespace {

// provision_customer's steps in their order (steps/provision_customer.cc). Other workflows are
// known by their logs alone.
struct KnownStep {
    const char* name;
    const char* provider;
};
constexpr std::array provision_customer = {
    KnownStep{"create_clerk_user", "clerk"}, KnownStep{"update_customer", "stripe"},
    KnownStep{"update_subscription", "stripe"}, KnownStep{"send_email", "e-mail service"}};

class Calls {
  public:
    explicit Calls(const std::vector<Inspector::Step>& log) : log_(log) {}

    void add(const std::string& step, const std::string& provider, bool certain) {
        const Inspector::Step* known = find(step);
        if (known && known->finished) return;
        for (const PlannedCall& call : calls_)
            if (call.step == step) return;
        calls_.push_back(
            {step, known && !known->provider.empty() ? known->provider : provider, certain});
    }
    std::vector<PlannedCall> take() { return std::move(calls_); }

  private:
    const Inspector::Step* find(const std::string& name) const {
        const auto found = std::find_if(log_.begin(), log_.end(),
                                        [&](const auto& step) { return step.name == name; });
        return found == log_.end() ? nullptr : &*found;
    }

    const std::vector<Inspector::Step>& log_;
    std::vector<PlannedCall> calls_;
};

std::vector<PlannedCall> calls_of(const InstanceRow& row, const std::vector<Inspector::Step>& log) {
    Calls calls(log);
    if (row.workflow != "provision_customer") {
        if (!row.step.empty()) calls.add(row.step, "", true);
        return calls.take();
    }
    // By hand means that the purchase is read again before anything else is done.
    calls.add(row.step.starts_with("recheck_purchase") ? row.step : "recheck_purchase", "stripe",
              row.step.starts_with("recheck_purchase"));
    for (const Inspector::Step& step : log)
        if (!step.finished && step.name == row.step) calls.add(step.name, step.provider, true);
    for (const KnownStep& step : provision_customer)
        calls.add(step.name, step.provider, step.name == row.step);
    return calls.take();
}

// In reverse order, as they are made.
std::vector<PlannedCall> undos_of(const std::vector<Inspector::Step>& log) {
    Calls calls(log);
    for (auto step = log.rbegin(); step != log.rend(); ++step)
        if (step->finished && step->has_undo) calls.add("undo " + step->name, step->provider, true);
    return calls.take();
}

// What is known of an instance whose calls are not.
const char* without_calls(Brings brings) {
    switch (brings) {
        case Brings::going_on:
            return "its workflow decides what comes next";
        case Brings::taking_back:
            return "nothing to take back";
        case Brings::nothing:
            break;
    }
    return "";
}

std::string shown(const std::string& text) { return printable(redact_text(text)); }

}  // namespace

void Plan::add(Inspector& inspector, const InstanceRow& row, Brings brings) {
    Entry entry{row, brings, {}};
    if (brings == Brings::going_on) entry.calls = calls_of(row, inspector.steps(row));
    if (brings == Brings::taking_back) entry.calls = undos_of(inspector.steps(row));
    for (const PlannedCall& call : entry.calls)
        if (!call.provider.empty()) ++calls_by_provider[call.provider];
    entries.push_back(std::move(entry));
}

Json json_of(const Plan& plan) {
    Json ids = Json::array(), instances = Json::array();
    for (const Plan::Entry& entry : plan.entries) {
        ids.push_back(redact_text(entry.row.id));
        Json calls = Json::array();
        for (const PlannedCall& call : entry.calls)
            calls.push_back(
                {{"step", redact_text(call.step)},
                 {"provider", call.provider.empty() ? Json(nullptr) : Json(call.provider)},
                 {"certain", call.certain}});
        Json instance = steplog::json_of(entry.row);
        instance["calls"] = std::move(calls);
        instances.push_back(std::move(instance));
    }
    return {{"plan", true},
            {plan.deed.done, 0},
            {"would_" + plan.deed.verb, plan.entries.size()},
            {"ids", std::move(ids)},
            {"skipped", json_of_skipped(plan.skipped)},
            {"instances", std::move(instances)},
            {"calls_by_provider", plan.calls_by_provider}};
}

std::string render(const Plan& plan) {
    std::string text = fmt::format("would {} {} instance{}; nothing was changed\n", plan.deed.verb,
                                   plan.entries.size(), plan.entries.size() == 1 ? "" : "s");
    for (const Plan::Entry& entry : plan.entries) {
        text += fmt::format("  {}  {}{}\n", coloured(shown(entry.row.id), Colour::bold),
                            to_string(entry.row.state),
                            entry.row.error_code.empty() ? "" : ", " + shown(entry.row.error_code));
        bool later = false;
        for (const PlannedCall& call : entry.calls) {
            text += fmt::format("    {}{} -> {}\n",
                                call.certain ? ""
                                : later      ? "then "
                                             : "first ",
                                shown(call.step),
                                call.provider.empty() ? "no provider" : shown(call.provider));
            later = later || call.certain || call.step != "recheck_purchase";
        }
        if (const std::string none = without_calls(entry.brings);
            entry.calls.empty() && !none.empty())
            text += fmt::format("    {}\n", none);
    }
    if (!plan.calls_by_provider.empty()) {
        text += "calls, without retries, if every workflow goes on as usual:\n";
        for (const auto& [provider, count] : plan.calls_by_provider)
            text += fmt::format("  {:<16} {}\n", shown(provider), count);
    }
    if (!plan.skipped.empty()) text += fmt::format("would skip {}:\n", plan.skipped.size());
    for (const Resumed::Skipped& one : plan.skipped)
        text += fmt::format("  {}  {}\n", shown(one.id), shown(one.reason));
    return text;
}

}  // namespace steplog::tools
