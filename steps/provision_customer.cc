// provision_customer, step by step. Worker threads.
#include "steps/provision_customer.h"

#include <fmt/format.h>

#include <algorithm>

#include "steps/clerk_account.h"
#include "steps/json_reading.h"
#include "steps/purchase.h"
#include "steps/stripe_purchase.h"

namespace steplog::steps {
namespace {

using std::chrono::hours;

// Stripe prunes idempotency keys after 24 hours at the earliest; an hour is kept in hand.
constexpr Ms key_window = hours(23);

/// Runs an effect; when a provider or we ourselves refuse for good, the error says what a person
/// can do: `remedy` where the provider refused, and always the command that goes on.
template <class F>
auto advised(const Attempt& attempt, const std::string& remedy, F&& effect) {
    try {
        return effect();
    } catch (const Refusal& refusal) {
        throw PermanentError(refusal.code(),
                             fmt::format("{}. {}. To go on: workflow-resume {}", refusal.what(),
                                         remedy, attempt.instance_id));
    } catch (const PermanentError& error) {
        throw PermanentError(error.code(), fmt::format("{}. To go on: workflow-resume {}",
                                                       error.what(), attempt.instance_id));
    }
}

Json skipped(const std::string& why) { return Json::object({{"skipped", why}}); }

/// What the instance was started with.
struct Origin {
    StripeEvent event;
    Purchase purchase;
    bool complete = false;  // nothing must be read from Stripe before the account can be made
};

Origin read_origin(Context& ctx, const Json& input) {
    Origin origin;
    if (text_at(input, {"object"}) == "steplog.reconcile") {
        origin.purchase.source = "reconcile";
        origin.purchase.livemode = flag_at(input, {"livemode"}).value_or(false);
        origin.purchase.account = text_at(input, {"account"});
        origin.purchase.customer = text_at(input, {"customer"});
        origin.purchase.subscription = text_at(input, {"subscription"});
        origin.purchase.renewal = true;  // a safety net, like a renewal
        origin.purchase.quiet = flag_at(input, {"quiet"}).value_or(false);
        return origin;
    }
    std::string why_not;
    auto event = read_event(input, why_not);
    if (!event || event->kind == EventKind::none) {
        ctx.stuck("input_not_understood",
                  fmt::format("its input is no event that starts provision_customer{}{}; cancel it",
                              why_not.empty() ? "" : ": ", why_not));
    }
    origin.event = *std::move(event);
    const StripeEvent& from = origin.event;
    if (from.thin) {
        origin.purchase.livemode = *from.livemode;
        origin.purchase.account = from.account;
    } else {
        origin.purchase = purchase_of(from.kind, from.object, *from.livemode, from.account);
        origin.complete = !origin.purchase.email.empty();
    }
    return origin;
}

void refuse_other_livemode(Context& ctx, const Purchase& purchase, const Providers& providers) {
    if (!providers.livemode || *providers.livemode == purchase.livemode) return;
    ctx.stuck(
        "livemode_mismatch",
        fmt::format("this is a {} purchase, and STRIPE_SECRET_KEY is a {} key: run it by a server "
                    "with a key of the same mode, or cancel it",
                    purchase.livemode ? "live" : "test", purchase.livemode ? "test" : "live"));
}

/// Looks again whether the purchase still stands, once for each continuation. The first look is
/// named recheck_purchase, later ones recheck_purchase/2, /3, …
void recheck_purchase(Context& ctx, const Purchase& purchase, int continuation,
                      const Providers& providers) {
    std::string name = "recheck_purchase";
    for (int look = 2;; ++look) {
        const bool answered_before = ctx.finished(name);
        const Json result = ctx.step(name, {.provider = "stripe"}, [&](const Attempt& attempt) {
            return advised(attempt, "Look at the purchase in Stripe", [&] {
                require_still_paid(purchase, providers.stripe, Call::of(attempt));
                return Json::object({{"continuation", continuation}});
            });
        });
        const Json& seen = value_at(result, {"continuation"});
        const bool covered = seen.is_number_integer() && seen.get<int>() >= continuation;
        if (!answered_before || covered) return;
        name = fmt::format("recheck_purchase/{}", look);
    }
}

/// One metadata write: which object, how it is read, how it is written.
struct Link {
    std::string step, what, id;
    std::function<Json(const Call&)> read;
    std::function<void(const std::string& user_id, const Call&)> write;
};

Json link_to_user(Context& ctx, const Link& link, const std::string& user_id) {
    const Json done = Json::object({{link.what, link.id}, {"clerk_user_id", user_id}});
    const auto stands = [&](const Attempt& attempt) {
        return text_at(link.read(Call::of(attempt)), {"metadata", "clerk_user_id"}) == user_id;
    };
    const StepOptions options{.provider = "stripe",
                              .idempotency_window = key_window,
                              .probe = probe([&](const Attempt& attempt) {
                                  return stands(attempt) ? std::optional<Json>(done) : std::nullopt;
                              })};
    return ctx.step(link.step, options, [&](const Attempt& attempt) {
        const std::string remedy = fmt::format("Look at {} {} in Stripe", link.what, link.id);
        return advised(attempt, remedy, [&] {
            // Several events of one purchase come here: what stands already is not written again.
            if (!stands(attempt)) link.write(user_id, Call::of(attempt));
            return done;
        });
    });
}

void update_customer(Context& ctx, const Purchase& purchase, const std::string& user_id,
                     const StripeClient& stripe) {
    if (purchase.customer.empty()) {
        ctx.step("update_customer",
                 [](const Attempt&) { return skipped("a guest has no customer in Stripe"); });
        return;
    }
    const std::string& id = purchase.customer;
    const std::string& account = purchase.account;
    link_to_user(ctx,
                 {.step = "update_customer",
                  .what = "customer",
                  .id = id,
                  .read =
                      [&](const Call& call) {
                          Json customer = stripe.get_customer(id, account, call);
                          refuse_deleted(customer, id);
                          return customer;
                      },
                  .write =
                      [&](const std::string& user, const Call& call) {
                          stripe.update_customer_metadata(id, "clerk_user_id", user, account, call);
                      }},
                 user_id);
}

void update_subscription(Context& ctx, const Purchase& purchase, const std::string& user_id,
                         const StripeClient& stripe) {
    if (purchase.subscription.empty()) {
        ctx.step("update_subscription",
                 [](const Attempt&) { return skipped("the purchase has no subscription"); });
        return;
    }
    const std::string& id = purchase.subscription;
    const std::string& account = purchase.account;
    link_to_user(
        ctx,
        {.step = "update_subscription",
         .what = "subscription",
         .id = id,
         .read = [&](const Call& call) { return stripe.get_subscription(id, account, call); },
         .write =
             [&](const std::string& user, const Call& call) {
                 stripe.update_subscription_metadata(id, "clerk_user_id", user, account, call);
             }},
        user_id);
}

Json message_to(const std::string& to, const Purchase& purchase, const Account& account,
                const std::string& reference, const Providers& providers) {
    return render_welcome(
        {.to = to,
         .first_name = purchase.first_name,
         .app_url = providers.app_url,
         .from = providers.email_from,
         .reply_to = providers.email_reply_to,
         .reference = reference,
         .language = account.language.empty() ? purchase.language : account.language,
         .redirect_to = purchase.livemode ? "" : providers.email_test_redirect},
        providers.email_templates);
}

Json send_email(Context& ctx, const Purchase& purchase, const Account& account,
                const Providers& providers) {
    const std::string& to = account.email.empty() ? purchase.email : account.email;
    std::string why_skipped;
    if (providers.email == nullptr)
        why_skipped = "e-mail is switched off";
    else if (purchase.quiet)
        why_skipped = "asked for without an e-mail";
    else if (purchase.renewal && !account.created)
        why_skipped = "a renewal of an existing account";
    else if (to.empty())
        why_skipped = "Stripe has no e-mail address for an account that exists";
    if (!why_skipped.empty()) {
        return ctx.step("send_email", [&](const Attempt&) { return skipped(why_skipped); });
    }
    const std::string welcome =
        fmt::format("welcome_email/{}{}{}", purchase.account, purchase.account.empty() ? "" : "/",
                    buyer_of(purchase));
    const StepOptions options{.provider = providers.email->provider(),
                              .repeat = providers.email_uncertain,
                              .idempotency_window = providers.email->key_window(),
                              .once = welcome,
                              .once_forgotten = skipped("sent before the customer was forgotten"),
                              .request = message_to(to, purchase, account, welcome, providers)};
    return ctx.step("send_email", options, [&](const Attempt& attempt) {
        return advised(attempt,
                       "The account exists and is linked. Correct what the service complains "
                       "about (EMAIL_FROM, a suppressed address)",
                       [&] {
                           const std::string id =
                               providers.email->send(attempt.request, Call::of(attempt));
                           return Json::object({{"email_id", id}});
                       });
    });
}

Json provision(Context& ctx, const Json& input, const Providers& providers) {
    const Origin origin = read_origin(ctx, input);
    refuse_other_livemode(ctx, origin.purchase, providers);
    const int continuation = ctx.continuations();
    const bool look_again = continuation > 0 && !ctx.finished("send_email");
    // A thin event does not say who bought what: there the look comes after the first reading.
    const bool names_purchase = !origin.event.thin;

    Purchase purchase = origin.purchase;
    if (look_again && names_purchase) recheck_purchase(ctx, purchase, continuation, providers);
    if (!origin.complete) {
        purchase = ctx.step("fetch_purchase", {.provider = "stripe"}, [&](const Attempt& attempt) {
            return advised(attempt, "Look at the purchase in Stripe", [&] {
                return fetch_purchase(origin.event, origin.purchase, providers.stripe,
                                      Call::of(attempt));
            });
        });
    }
    if (!purchase.not_due.empty()) return Json::object({{"ignored", purchase.not_due}});
    ctx.take_key(key_of(purchase));
    if (look_again && !names_purchase) recheck_purchase(ctx, purchase, continuation, providers);

    const StepOptions create{.provider = "clerk", .probe = probe([&](const Attempt& attempt) {
                                                      return find_own_account(
                                                          purchase, continuation > 0,
                                                          providers.stripe, providers.clerk,
                                                          attempt);
                                                  })};
    const auto account = ctx.step("create_clerk_user", create, [&](const Attempt& attempt) {
        return advised(
            attempt,
            "Correct the customer's e-mail address or name in Stripe, or the settings in "
            "Clerk",
            [&] {
                return ensure_account(purchase, continuation > 0, providers.stripe, providers.clerk,
                                      attempt);
            });
    });
    update_customer(ctx, purchase, account.clerk_user_id, providers.stripe);
    update_subscription(ctx, purchase, account.clerk_user_id, providers.stripe);
    const Json mail = send_email(ctx, purchase, account, providers);
    return Json::object({{"clerk_user_id", account.clerk_user_id},
                         {"created", account.created},
                         {"welcome_email", mail.contains("skipped") ? "skipped" : "sent"}});
}

}  // namespace

void register_provision_customer(Registry& registry, Providers& providers) {
    registry.add({.name = "provision_customer",
                  .version = 1,
                  .on_failure = OnFailure::stuck,
                  .on_stuck = OnStuck::release_key,
                  .run = [&providers](Context& ctx, const Json& input) {
                      return provision(ctx, input, providers);
                  }});
}

}  // namespace steplog::steps
