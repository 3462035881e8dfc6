// A trouble's instance, from its beginning to its end; see tell_people.h.
#include "steps/tell_people.h"

#include <fmt/format.h>

#include "steps/json_reading.h"

namespace steplog::steps {
namespace {

// A channel that is down for longer is worth a look of its own.
const RetryPolicy patient{
    .base = Ms(1000), .cap = std::chrono::minutes(5), .retry_for = std::chrono::hours(24)};

// Side by side: one that is down keeps none of the others waiting.
void tell_all(Context& ctx, const std::string& when, const Alert& alert,
              const AlertChannels& channels) {
    std::vector<ParallelStep> tellings;
    for (const auto& channel : channels)
        tellings.push_back({fmt::format("{}/{}", when, channel->name()),
                            {.retry = patient},
                            [&alert, &channel](const Attempt& attempt) {
                                channel->tell(alert, attempt.idempotency_key, Call::of(attempt));
                                return Json(nullptr);
                            }});
    ctx.run_parallel(std::move(tellings));
}

Alert order_of(const Json& input) {
    try {
        return input.get<Alert>();
    } catch (const Json::exception&) {
        throw PermanentError("odd_order", "the input is no alert: the server starts these itself");
    }
}

Json tell_people(Context& ctx, const Json& input, const AlertChannels& channels) {
    Alert alert = order_of(input);
    tell_all(ctx, "begun", alert, channels);
    for (int number = 1; alert.stage != AlertStage::over; ++number) {
        alert = ctx.wait_for<Alert>(fmt::format("change/{}", number),
                                    {.signal = trouble_changed_signal})
                    .value();
        tell_all(ctx, alert.stage == AlertStage::over ? "over" : fmt::format("grown/{}", number),
                 alert, channels);
    }
    return {{"count", alert.count}, {"lasted_ms", alert.at_ms - alert.since_ms}};
}

}  // namespace

std::string tell_people_key(const Cause& cause) { return "tell_people:" + cause.id(); }

NewInstance tell_people_order(const Alert& begun) {
    return {.id = fmt::format("{}/{}/{}", tell_people_workflow, begun.cause.id(), begun.since_ms),
            .workflow = tell_people_workflow,
            .key = tell_people_key(begun.cause),
            .on_stuck = OnStuck::release_key,
            .input = dump_json(begun)};
}

void register_tell_people(Registry& registry, const AlertChannels& channels) {
    registry.add({.name = tell_people_workflow,
                  .version = 1,
                  .on_failure = OnFailure::fail,
                  .run = [&channels](Context& ctx, const Json& input) {
                      return tell_people(ctx, input, channels);
                  }});
}

}  // namespace steplog::steps
