// How troubles are worded; see alert.h.
#include "steps/alert.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "engine/rfc3339.h"

namespace steplog::steps {
namespace {

constexpr std::size_t part_length_max = 100;

constexpr std::array kind_words = {std::pair(TroubleKind::stuck, "stuck"),
                                   std::pair(TroubleKind::provider_down, "provider_down"),
                                   std::pair(TroubleKind::waiting, "waiting"),
                                   std::pair(TroubleKind::quarantined, "quarantined"),
                                   std::pair(TroubleKind::conflict, "conflict"),
                                   std::pair(TroubleKind::store_paused, "store_paused"),
                                   std::pair(TroubleKind::missed, "missed"),
                                   std::pair(TroubleKind::endpoint_disabled, "endpoint_disabled"),
                                   std::pair(TroubleKind::without_account, "without_account"),
                                   std::pair(TroubleKind::provisioned_late, "provisioned_late")};
constexpr std::array stage_words = {std::pair(AlertStage::begun, "begun"),
                                    std::pair(AlertStage::grown, "grown"),
                                    std::pair(AlertStage::over, "over")};

template <class Words, class Value>
std::string word_for(const Words& words, Value value) {
    for (const auto& [known, word] : words)
        if (known == value) return word;
    return "";
}

template <class Value, class Words>
Value value_of(const Words& words, const std::string& word) {
    for (const auto& [known, spelled] : words)
        if (spelled == word) return known;
    throw Json::other_error::create(501, "not a word of an alert", nullptr);
}

std::string counted(std::int64_t count, const char* one, const char* many) {
    return fmt::format("{} {}", count, count == 1 ? one : many);
}

// Until the step before last, its customers have paid and have no account.
bool is_without_account(const Cause& cause) {
    return cause.workflow == "provision_customer" &&
           (cause.step.empty() || cause.step == "fetch_purchase" ||
            cause.step == "recheck_purchase" || cause.step == "create_clerk_user");
}

std::string where(const Cause& cause) {
    return fmt::format("{} ({})", cause.step.empty() ? "outside its steps" : "at " + cause.step,
                       cause.error_code);
}

std::string headline_of_begun(const Alert& alert) {
    const Cause& cause = alert.cause;
    const bool one = alert.count == 1;
    switch (cause.kind) {
        case TroubleKind::stuck:
            return fmt::format("CRITICAL: {}{} of {} {} stuck {}",
                               is_without_account(cause) ? "USER NOT CREATED: " : "",
                               counted(alert.count, "instance", "instances"), cause.workflow,
                               one ? "is" : "are", where(cause));
        case TroubleKind::provider_down:
            return fmt::format("CRITICAL: {} is out of order ({}): {} parked", cause.provider,
                               cause.error_code.empty() ? "no answer" : cause.error_code,
                               counted(alert.count, "instance is", "instances are"));
        case TroubleKind::waiting:
            return fmt::format("CRITICAL: a paying customer has been without an account for {}",
                               rough_span(alert.count * 1000));
        case TroubleKind::quarantined:
            return fmt::format("{} signed properly and could not be understood",
                               counted(alert.count, "event was", "events were"));
        case TroubleKind::conflict:
            return fmt::format("{} came again with another body; the first one is kept",
                               counted(alert.count, "event", "events"));
        case TroubleKind::store_paused:
            return "CRITICAL: events cannot be stored and are answered 503, so that they come "
                   "again";
        case TroubleKind::missed:
            return fmt::format("{} not delivered by Stripe; found in its list and taken in",
                               counted(alert.count, "event was", "events were"));
        case TroubleKind::without_account:
            return fmt::format(
                "CRITICAL: USER NOT CREATED: the reconciliation found {} without an "
                "account",
                counted(alert.count, "paying customer", "paying customers"));
        case TroubleKind::provisioned_late:
            return fmt::format(
                "the reconciliation found {} without an account, and has them "
                "provisioned",
                counted(alert.count, "paying customer", "paying customers"));
        case TroubleKind::endpoint_disabled:
            return "CRITICAL: Stripe has disabled the webhook endpoint: events come only by the "
                   "comparison with its list";
    }
    return "";
}

std::string headline_of_end(const Alert& alert) {
    const Cause& cause = alert.cause;
    const std::string after = fmt::format(" after {}", rough_span(alert.at_ms - alert.since_ms));
    switch (cause.kind) {
        case TroubleKind::stuck:
            return fmt::format("over{}: nothing of {} is stuck {} any more; there {} {}", after,
                               cause.workflow, where(cause), alert.count == 1 ? "was" : "were",
                               alert.count);
        case TroubleKind::provider_down:
            return fmt::format("over{}: {} answers again", after, cause.provider);
        case TroubleKind::waiting:
            return fmt::format("over{}: no paying customer waits that long any more", after);
        case TroubleKind::quarantined:
            return fmt::format("over{}: no more events that cannot be understood", after);
        case TroubleKind::conflict:
            return fmt::format("over{}: no more events that came with another body", after);
        case TroubleKind::store_paused:
            return fmt::format("over{}: events are stored again", after);
        case TroubleKind::missed:
            return fmt::format("over{}: no more events that were not delivered", after);
        case TroubleKind::without_account:
            return fmt::format("over{}: no later reconciliation found any", after);
        case TroubleKind::provisioned_late:
            return fmt::format("over{}: nobody else was found since", after);
        case TroubleKind::endpoint_disabled:
            return fmt::format("over{}: the webhook endpoint is enabled", after);
    }
    return "";
}

}  // namespace

std::string to_string(TroubleKind kind) { return word_for(kind_words, kind); }
std::string to_string(AlertStage stage) { return word_for(stage_words, stage); }

std::string Cause::id() const {
    std::string id = to_string(kind);
    // One outage is one cause, whatever each try answers.
    const std::string code = kind == TroubleKind::provider_down ? "" : error_code;
    // An instance's id has 512 characters at most.
    for (const std::string& part : {workflow, step, code, provider})
        if (!part.empty()) id += "/" + part.substr(0, part_length_max);
    return id;
}

Urgency urgency_of(const Alert& alert) {
    if (alert.stage == AlertStage::over) return Urgency::info;
    constexpr std::array can_wait = {TroubleKind::quarantined, TroubleKind::conflict,
                                     TroubleKind::missed, TroubleKind::provisioned_late};
    const bool waits =
        std::find(can_wait.begin(), can_wait.end(), alert.cause.kind) != can_wait.end();
    return waits ? Urgency::warning : Urgency::critical;
}

std::string headline(const Alert& alert) {
    return alert.stage == AlertStage::over ? headline_of_end(alert) : headline_of_begun(alert);
}

std::string advice(const Alert& alert) {
    if (alert.stage == AlertStage::over) return "";
    const Cause& cause = alert.cause;
    switch (cause.kind) {
        case TroubleKind::stuck:
            return fmt::format(
                "workflow-inspect stuck says why. When the cause is gone: workflow-resume --all "
                "--workflow {}{} --error-code {}",
                cause.workflow,
                cause.step.empty() || cause.step.ends_with(any_of_loop) ? ""
                                                                        : " --step " + cause.step,
                cause.error_code);
        case TroubleKind::provider_down:
            if (cause.error_code == "provider_key_rejected")
                return fmt::format(
                    "It rejects our key: set the right one and restart "
                    "workflow-server. What is parked goes on by itself then.");
            return "What is parked goes on by itself when it answers again. workflow-inspect stats "
                   "shows how it stands.";
        case TroubleKind::waiting:
            return "workflow-inspect list --workflow provision_customer shows what it waits for; "
                   "workflow-inspect why ID says it in a sentence.";
        case TroubleKind::quarantined:
            return "They are kept: workflow-inspect events --unrouted shows them.";
        case TroubleKind::conflict:
            return "Ids are not repeated by Stripe: somebody else may know the webhook's secret. "
                   "The log (dedupe_conflict) names the event.";
        case TroubleKind::store_paused:
            return "The disk is full, or cannot be written: free some space. Nothing is lost, and "
                   "it goes on by itself.";
        case TroubleKind::missed:
            return "Their customers are being provisioned. Look in Stripe's dashboard, under "
                   "webhooks, why they were not delivered; workflow-inspect list --workflow "
                   "find_missed_events names the comparison that has the list.";
        case TroubleKind::without_account:
            return "workflow-inspect list --workflow reconcile_accounts names the reconciliation, "
                   "workflow-inspect show ID who they are. workflow-admin reconcile provisions "
                   "them.";
        case TroubleKind::provisioned_late:
            return "workflow-inspect list --workflow reconcile_accounts names the reconciliation, "
                   "workflow-inspect show ID who they are.";
        case TroubleKind::endpoint_disabled:
            return "Enable it in Stripe's dashboard, under webhooks. What is missed until then is "
                   "found by the comparison, later than it would have come.";
    }
    return "";
}

void to_json(Json& json, const Alert& alert) {
    json = {{"kind", to_string(alert.cause.kind)},
            {"workflow", alert.cause.workflow},
            {"step", alert.cause.step},
            {"error_code", alert.cause.error_code},
            {"provider", alert.cause.provider},
            {"stage", to_string(alert.stage)},
            {"count", alert.count},
            {"since_ms", alert.since_ms},
            {"at_ms", alert.at_ms}};
}

void from_json(const Json& json, Alert& alert) {
    alert.cause.kind = value_of<TroubleKind>(kind_words, json.at("kind").get<std::string>());
    json.at("workflow").get_to(alert.cause.workflow);
    json.at("step").get_to(alert.cause.step);
    json.at("error_code").get_to(alert.cause.error_code);
    json.at("provider").get_to(alert.cause.provider);
    alert.stage = value_of<AlertStage>(stage_words, json.at("stage").get<std::string>());
    json.at("count").get_to(alert.count);
    json.at("since_ms").get_to(alert.since_ms);
    json.at("at_ms").get_to(alert.at_ms);
}

}  // namespace steplog::steps
