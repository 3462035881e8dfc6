// Reconciliation, page by page; see reconcile_accounts.h. Worker threads.
#include "steps/reconcile_accounts.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "steps/encoding.h"
#include "steps/json_reading.h"
#include "steps/stripe_event.h"

namespace steplog::steps {
namespace {

// A page with its customers stays far below what one reply may have, unless their metadata is huge.
constexpr int page_size = 50;
constexpr int small_page_size = 5;

/// One customer with a live subscription that somebody pays.
struct Candidate {
    std::string customer, subscription, status, email, linked_user;
    bool livemode = false;
    bool deleted = false;
};

bool is_live(const std::string& status) {
    return status == "active" || status == "trialing" || status == "past_due";
}

Json told(const Candidate& candidate) {
    return {{"customerId", candidate.customer},
            {"email", candidate.email.empty() ? Json(nullptr) : Json(candidate.email)},
            {"subscriptionId", candidate.subscription},
            {"subscriptionStatus", candidate.status}};
}

Json complaint(const std::string& customer, const std::string& error) {
    return {{"customerId", customer}, {"error", error}};
}

/// What was asked for, and what the pages so far have said.
struct Progress {
    bool dry_run = true, quiet = false;
    int limit = 0;
    std::string after;           // the last subscription seen
    std::set<std::string> seen;  // customers
};

void append_all(Json& to, const Json& from) {
    for (const Json& element : from) to.push_back(element);
}

SubscriptionPage read_page(const Progress& order, const StripeClient& stripe, const Call& call) {
    try {
        return stripe.list_subscriptions(order.after, page_size, call);
    } catch (const RetryableError& error) {
        if (error.details().code != "oversized_reply") throw;
        return stripe.list_subscriptions(order.after, small_page_size, call);
    }
}

/// The customers of a page that were not looked at yet, at most as many as the order has left.
std::vector<Candidate> candidates_of(const SubscriptionPage& page, const Progress& order,
                                     const StripeClient& stripe, const Call& call, Json& errors) {
    std::vector<Candidate> candidates;
    std::set<std::string> seen = order.seen;
    for (const Json& subscription : page.subscriptions) {
        if (static_cast<int>(seen.size()) >= order.limit) break;
        Candidate candidate{.customer = reference_at(subscription, {"customer"}),
                            .subscription = text_at(subscription, {"id"}),
                            .status = text_at(subscription, {"status"})};
        candidate.livemode = flag_at(subscription, {"livemode"}).value_or(false);
        if (!is_live(candidate.status) || !is_provider_id(candidate.customer)) continue;
        if (!seen.insert(candidate.customer).second) continue;
        const Json& inside = value_at(subscription, {"customer"});
        const Json customer =
            inside.is_object() ? inside : stripe.get_customer(candidate.customer, "", call);
        candidate.deleted = flag_at(customer, {"deleted"}).value_or(false);
        if (candidate.deleted)
            errors.push_back(complaint(candidate.customer, "the customer was deleted in Stripe"));
        candidate.email = text_at(customer, {"email"});
        candidate.linked_user = text_at(customer, {"metadata", "clerk_user_id"});
        candidates.push_back(std::move(candidate));
    }
    return candidates;
}

/// Leaves those that have no linked account: by the link in Stripe, by external id, and by address
/// where that account names the customer.
std::vector<Candidate> without_account(std::vector<Candidate> candidates, const ClerkClient& clerk,
                                       const Call& call) {
    const auto remove = [&](const auto& is_linked) {
        candidates.erase(std::remove_if(candidates.begin(), candidates.end(), is_linked),
                         candidates.end());
    };
    const auto each = [&](const auto& value_of) {
        std::vector<std::string> values;
        for (const Candidate& candidate : candidates)
            if (const std::string value = value_of(candidate); !value.empty())
                values.push_back(value);
        return values;
    };
    remove([](const Candidate& one) { return one.deleted; });
    std::set<std::string> found;
    for (const ClerkUser& user :
         clerk.find_all_by_id(each([](const auto& one) { return one.linked_user; }), call))
        found.insert(user.id);
    remove([&](const Candidate& one) { return found.contains(one.linked_user); });

    const auto customers = each([](const auto& one) { return one.customer; });
    found.clear();
    for (const ClerkUser& user : clerk.find_all_by_external_id(customers, call))
        found.insert(user.external_id);
    const auto addresses = each([](const auto& one) { return one.email; });
    for (const ClerkUser& user : clerk.find_all_by_email(addresses, call))
        found.insert(user.stripe_customer_ids.begin(), user.stripe_customer_ids.end());
    remove([&](const Candidate& one) { return found.contains(one.customer); });
    return candidates;
}

/// What is to be done about one customer: {"start":id}, {"resume":id}, {"running":id} or
/// {"error":why}.
Json decide(const Candidate& candidate, InstanceDesk& desk) {
    const NewInstance fresh =
        reconcile_instance(candidate.livemode, "", candidate.customer, candidate.subscription);
    std::string stuck, in_doubt, queued, id = fresh.id;
    std::set<std::string> taken;
    for (const auto& known : desk.of_key(fresh.key)) {
        taken.insert(known.id);
        if (known.workflow != fresh.workflow || is_finished(known.state)) continue;
        if (known.state == State::queued) {
            queued = known.id;
        } else if (known.state != State::stuck) {
            return {{"running", known.id}};
        } else if (known.error_code == "in_doubt") {
            in_doubt = known.id;
        } else if (stuck.empty() && known.error_code != "no_longer_paid" &&
                   known.error_code != "log_damaged") {
            stuck = known.id;
        }
    }
    if (!stuck.empty()) return {{"resume", stuck}};
    if (!in_doubt.empty())
        return {{"error", fmt::format("in_doubt: look at it, then workflow-resume {}", in_doubt)}};
    if (!queued.empty()) return {{"running", queued}};
    // What was provisioned by an earlier order and lost its account since is repaired once more.
    for (int again = 2; taken.contains(id); ++again) id = fmt::format("{}/{}", fresh.id, again);
    return {{"start", id}};
}

/// A page looked at: {"customers","missing","errors","plans","next"}. Changes nothing.
Json check_page(const Progress& order, Providers& providers, InstanceDesk& desk, const Call& call) {
    Json result = {{"customers", Json::array()},
                   {"missing", Json::array()},
                   {"errors", Json::array()},
                   {"plans", Json::array()},
                   {"next", nullptr}};
    const auto page = read_page(order, providers.stripe, call);
    const auto candidates = candidates_of(page, order, providers.stripe, call, result["errors"]);
    for (const Candidate& candidate : candidates) result["customers"].push_back(candidate.customer);
    for (const Candidate& candidate : without_account(candidates, providers.clerk, call)) {
        result["missing"].push_back(told(candidate));
        if (order.dry_run) continue;
        Json plan = decide(candidate, desk);
        plan["customer"] = candidate.customer;
        plan["subscription"] = candidate.subscription;
        plan["livemode"] = candidate.livemode;
        if (order.quiet) plan["quiet"] = true;
        result["plans"].push_back(std::move(plan));
    }
    if (page.has_more && !page.subscriptions.empty())
        result["next"] = text_at(page.subscriptions.back(), {"id"});
    return result;
}

/// Carries out what was decided about a page: {"started","resumed","running","errors"}. May be
/// repeated: what was started or resumed is then left alone.
Json carry_out(const Json& plans, const std::string& actor, InstanceDesk& desk) {
    Json done = {{"started", Json::array()},
                 {"resumed", Json::array()},
                 {"running", Json::array()},
                 {"errors", Json::array()}};
    for (const Json& plan : plans) {
        const std::string customer = text_at(plan, {"customer"});
        if (plan.contains("start")) {
            NewInstance instance = reconcile_instance(flag_at(plan, {"livemode"}).value_or(false),
                                                      "", customer, text_at(plan, {"subscription"}),
                                                      flag_at(plan, {"quiet"}).value_or(false));
            instance.id = text_at(plan, {"start"});
            desk.start(std::move(instance));
            done["started"].push_back(plan["start"]);
        } else if (plan.contains("resume")) {
            // Refused: it goes on by itself already, for an earlier try of this very step too.
            desk.resume(text_at(plan, {"resume"}), actor);
            done["started"].push_back(plan["resume"]);
            done["resumed"].push_back(plan["resume"]);
        } else if (plan.contains("running")) {
            done["running"].push_back(plan["running"]);
        } else {
            done["errors"].push_back(complaint(customer, text_at(plan, {"error"})));
        }
    }
    return done;
}

/// A full or closing store is no fault of the step's.
template <class F>
Json waiting_for_room(F&& work) {
    try {
        return work();
    } catch (const StoreError& error) {
        throw RetryableError(error.what(), {.code = "store_busy",
                                            .outcome = Outcome::refused,
                                            .interrupted = error.kind() == StoreError::Kind::closed,
                                            .trouble = RetryableError::Trouble::request});
    }
}

Json reconcile(Context& ctx, const Json& input, Providers& providers, InstanceDesk& desk) {
    Progress order;
    order.dry_run = flag_at(input, {"dryRun"}).value_or(true);
    order.quiet = flag_at(input, {"quiet"}).value_or(false);
    const Json& limit = value_at(input, {"limit"});
    order.limit = limit.is_number_integer() ? limit.get<int>() : 0;
    Json output = {{"dryRun", order.dry_run},  {"checked", 0},
                   {"missing", Json::array()}, {"started", Json::array()},
                   {"resumed", Json::array()}, {"running", Json::array()},
                   {"errors", Json::array()}};
    for (int number = 1; static_cast<int>(order.seen.size()) < order.limit; ++number) {
        const Json page = ctx.step(fmt::format("check/{}", number), {.provider = "stripe"},
                                   [&](const Attempt& attempt) {
                                       return check_page(order, providers, desk, Call::of(attempt));
                                   });
        for (const Json& customer : page.at("customers"))
            order.seen.insert(customer.get<std::string>());
        append_all(output["missing"], page.at("missing"));
        append_all(output["errors"], page.at("errors"));
        if (!page.at("plans").empty()) {
            const Json done =
                ctx.step(fmt::format("start/{}", number), [&](const Attempt& attempt) {
                    return waiting_for_room(
                        [&] { return carry_out(page.at("plans"), attempt.instance_id, desk); });
                });
            for (const char* list : {"started", "resumed", "running", "errors"})
                append_all(output[list], done.at(list));
        }
        if (!page.at("next").is_string()) break;
        order.after = page.at("next").get<std::string>();
    }
    output["checked"] = order.seen.size();
    desk.tell({.instance = ctx.instance_id(),
               .dry_run = order.dry_run,
               .checked = order.seen.size(),
               .missing = output["missing"].size(),
               .started = output["started"].size(),
               .errors = output["errors"].size()});
    return output;
}

const char* kind_of(const ReconcileOrder& order) {
    if (order.dry_run) return "look";
    return order.quiet ? "quiet" : "repair";
}

std::string key_of(const ReconcileOrder& order) {
    return fmt::format("reconcile_accounts:{}", kind_of(order));
}

Json input_of(const ReconcileOrder& order) {
    Json input = {{"dryRun", order.dry_run}, {"limit", order.limit}};
    if (order.quiet) input["quiet"] = true;
    return input;
}

}  // namespace

Schedule reconcile_schedule(const ReconcileOrder& order, const std::string& cron,
                            const std::string& time_zone) {
    return {.name = "reconcile",
            .workflow = "reconcile_accounts",
            .cron = cron,
            .time_zone = time_zone,
            .overlap = Overlap::skip,
            .key = key_of(order),
            .on_stuck = OnStuck::release_key,
            .input = input_of(order)};
}

NewInstance reconcile_order(const ReconcileOrder& order, const std::string& number) {
    return {.id = fmt::format("reconcile_accounts/{}/{}", kind_of(order), number),
            .workflow = "reconcile_accounts",
            .key = key_of(order),
            .on_stuck = OnStuck::release_key,
            .input = dump_json(input_of(order))};
}

void register_reconcile_accounts(Registry& registry, Providers& providers, InstanceDesk& desk) {
    registry.add({.name = "reconcile_accounts",
                  .version = 1,
                  .on_failure = OnFailure::fail,
                  .run = [&providers, &desk](Context& ctx, const Json& input) {
                      return reconcile(ctx, input, providers, desk);
                  }});
}

}  // namespace steplog::steps
