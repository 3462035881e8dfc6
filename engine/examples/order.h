// An order: charge the card, ship the parcel, tell the customer. Three steps, and three ways to
// make sure that a crash between an effect and its checkpoint repeats nothing: which one it is
// depends on what the other side offers.
#pragma once

#include <map>

#include "engine/workflow.h"

namespace steplog::examples {

/// The world outside, in memory. Each part remembers what a real one would.
struct Shop {
    std::map<std::string, std::string> charges;  // by idempotency key, as card processors do
    std::map<std::string, std::string> parcels;  // by our reference, as carriers do
    std::map<std::string, std::string> mails;    // by idempotency key

    std::string charge(const std::string& key, int cents) {
        if (cents > 100'000) throw PermanentError("card_declined", "the bank says no");
        return charges.try_emplace(key, "ch_" + std::to_string(charges.size() + 1)).first->second;
    }
    std::string ship(const std::string& reference) {
        return parcels[reference] = "parcel " + std::to_string(parcels.size() + 1);
    }
    std::optional<std::string> parcel_of(const std::string& reference) const {
        const auto found = parcels.find(reference);
        if (found == parcels.end()) return std::nullopt;
        return found->second;
    }
    void mail(const std::string& key, const std::string& text) { mails.try_emplace(key, text); }
};

inline Json order(Context& ctx, const Json& input, Shop& shop) {
    const auto id = input.at("order").get<std::string>();

    // A window, because the processor keeps idempotency keys for a day: within it the same request
    // may go out again, and comes back with the first answer. A card that is declined stays so:
    // PermanentError leaves as StepFailed, and the order ends as failed, with that code.
    const auto charge =
        ctx.step("charge", {.provider = "cards", .idempotency_window = std::chrono::hours(24)},
                 [&](const Attempt& attempt) {
                     return shop.charge(attempt.idempotency_key, input.at("cents").get<int>());
                 });

    // A probe, because this carrier knows no such keys, but can be asked for a parcel by our
    // reference: what may have been ordered before a crash is looked up, not ordered again.
    StepOptions looked_up{.provider = "carrier"};
    looked_up.probe = probe([&](const Attempt&) { return shop.parcel_of(id); });
    const auto parcel = ctx.step("ship", looked_up, [&](const Attempt&) { return shop.ship(id); });

    // A once key, because another instance may be about the same order (somebody starts it again
    // next month, under another id): whichever comes first sends the mail, the others adopt that.
    ctx.step("mail",
             {.provider = "mail",
              .idempotency_window = std::chrono::hours(24),
              .once = "order_mail/" + id},
             [&](const Attempt& attempt) {
                 shop.mail(attempt.idempotency_key, "your order is on its way: " + parcel);
             });

    return {{"charge", charge}, {"parcel", parcel}};
}

inline Workflow order_workflow(Shop& shop) {
    return {.name = "order",
            .run = [&shop](Context& ctx, const Json& input) { return order(ctx, input, shop); }};
}

}  // namespace steplog::examples
