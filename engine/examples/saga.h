// A journey of three bookings at three companies: all of them, or none. There is no transaction
// around other people's systems, so whoever cannot get the last one gives the first ones back.
#pragma once

#include <map>
#include <set>

#include "engine/workflow.h"

namespace steplog::examples {

/// The companies, in memory.
struct Companies {
    std::map<std::string, std::string> bookings;  // what was booked, by our reference
    std::set<std::string> sold_out;

    std::string book(const std::string& reference, const std::string& what) {
        if (sold_out.contains(what)) throw PermanentError("sold_out", what + ": none left");
        bookings[reference] = what;
        return reference;
    }
    std::optional<std::string> find(const std::string& reference) const {
        if (!bookings.contains(reference)) return std::nullopt;
        return reference;
    }
    void cancel(const std::string& reference) { bookings.erase(reference); }
};

inline Json journey(Context& ctx, Companies& companies) {
    const auto book = [&](const std::string& what) {
        StepOptions options{.provider = what};

        // Booked under a reference of ours, the idempotency key, so that after a crash a probe
        // finds the booking by it. Without that the traveller could end up with two seats.
        options.probe =
            probe([&](const Attempt& attempt) { return companies.find(attempt.idempotency_key); });

        // Said here, beside the booking, for whoever needs it: a later step that is refused, or a
        // person who cancels the journey. Cancelling what is cancelled changes nothing, so this
        // bears being called again after a crash. It is called when this function has been left,
        // and so refers to nothing in it.
        options.undo =
            undo<std::string>([&companies](const std::string& reference, const Attempt&) {
                companies.cancel(reference);
            });

        return ctx.step("book_" + what, options, [&](const Attempt& attempt) {
            return companies.book(attempt.idempotency_key, what);
        });
    };

    // Only a no leaves this function: then the hotel is given back, then the flight, and the
    // journey has failed for that reason. A company that does not answer is asked again for three
    // days, and then a person decides: what may still be had must not be given back.
    const auto flight = book("flight");
    const auto hotel = book("hotel");
    const auto car = book("car");
    return {{"flight", flight}, {"hotel", hotel}, {"car", car}};
}

inline Workflow journey_workflow(Companies& companies) {
    return {.name = "journey",
            .run = [&companies](Context& ctx, const Json&) { return journey(ctx, companies); }};
}

}  // namespace steplog::examples
