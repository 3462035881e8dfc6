// The comparison, page by page; see missed_events.h. Worker threads.
#include "steps/missed_events.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/rfc3339.h"
#include "steps/encoding.h"
#include "steps/json_reading.h"

namespace steplog::steps {
namespace {

using std::chrono::hours;
using std::chrono::minutes;

constexpr Ms settle = minutes(10);              // younger ones are still being delivered
constexpr Ms overlap = hours(1);                // looked at by two comparisons
constexpr Ms looked_back_max = hours(24 * 29);  // their ids are kept for 30 days, as Stripe's are
constexpr int page_size = 100;
constexpr int small_page_size = 10;
constexpr std::size_t named_max = 1000;
constexpr std::string_view webhook_path = "/api/stripe-webhook";

struct Window {
    std::int64_t from_s = 0, to_s = 0;
};

/// 401 and 403 are everyone's trouble where a purchase is at stake; that the key may not read what
/// only this workflow wants is its own.
template <class F>
Json unless_forbidden(F&& ask) {
    try {
        return ask();
    } catch (const RetryableError& error) {
        if (error.details().trouble != RetryableError::Trouble::our_key) throw;
        return {{"forbidden", true}};
    } catch (const StoreError& error) {
        throw RetryableError(error.what(), {.code = "store_busy",
                                            .outcome = Outcome::refused,
                                            .interrupted = error.kind() == StoreError::Kind::closed,
                                            .trouble = RetryableError::Trouble::request});
    }
}

EventPage read_page(const StripeClient& stripe, const Window& window, const std::string& after,
                    const Call& call) {
    EventQuery query{.types = wanted_event_types(),
                     .from_s = window.from_s,
                     .to_s = window.to_s,
                     .after = after,
                     .limit = page_size};
    try {
        return stripe.list_events(query, call);
    } catch (const RetryableError& error) {
        if (error.details().code != "oversized_reply") throw;
        query.limit = small_page_size;
        return stripe.list_events(query, call);
    }
}

/// Whether its thin form was delivered instead.
bool has_twin(const Json& event, Inbox& inbox) {
    const std::string object = text_at(event, {"data", "object", "id"});
    return !object.empty() && inbox.has("v1." + text_at(event, {"type"}), object);
}

/// A page compared: {"checked","missing":[{"id","type"}],"next"}. May be repeated: what was taken
/// in is then there.
Json compare_page(const EventPage& page, Inbox& inbox, const RoutingPolicy& policy) {
    Json result = {{"checked", page.events.size()}, {"missing", Json::array()}, {"next", nullptr}};
    for (const Json& event : page.events) {
        if (has_twin(event, inbox)) continue;
        Intake intake = steps::intake(dump_json(event), policy);
        intake.event.listed = true;
        const Json named = {{"id", intake.event.id}, {"type", intake.event.type}};
        if (inbox.take(std::move(intake))) result["missing"].push_back(named);
    }
    if (page.has_more && !page.events.empty()) result["next"] = text_at(page.events.back(), {"id"});
    return result;
}

/// Endpoints of ours that Stripe sends nothing to any more.
std::int64_t count_disabled(const StripeClient& stripe, const Call& call) {
    const auto endpoints = stripe.list_webhook_endpoints(call);
    return std::count_if(endpoints.begin(), endpoints.end(), [](const Json& endpoint) {
        return text_at(endpoint, {"url"}).ends_with(webhook_path) &&
               text_at(endpoint, {"status"}) == "disabled";
    });
}

std::optional<Window> window_of(Context& ctx, Inbox& inbox, const Clock& clock) {
    const Json window = ctx.step("window", [&](const Attempt& attempt) -> Json {
        const std::int64_t now_ms = clock.now_ms();
        auto from_ms = inbox.compare_from_ms(attempt.instance_id);
        if (!from_ms) return nullptr;
        *from_ms = std::max(*from_ms - overlap.count(), now_ms - looked_back_max.count());
        return {{"from_s", *from_ms / 1000}, {"to_s", (now_ms - settle.count()) / 1000}};
    });
    if (!window.is_object()) return std::nullopt;
    return Window{window.at("from_s").get<std::int64_t>(), window.at("to_s").get<std::int64_t>()};
}

Json find_missed_events(Context& ctx, const StripeClient& stripe, Inbox& inbox, const Clock& clock,
                        const RoutingPolicy& policy) {
    Json output = {{"from", nullptr},          {"to", nullptr},     {"checked", 0},
                   {"missing", Json::array()}, {"missingCount", 0}, {"endpointsDisabled", 0}};
    Inbox::Found found{.instance = ctx.instance_id()};
    const auto window = window_of(ctx, inbox, clock);
    std::string after;
    for (int number = 1; window && window->from_s <= window->to_s; ++number) {
        const Json page = ctx.step(
            fmt::format("compare/{}", number), {.provider = "stripe"}, [&](const Attempt& attempt) {
                return unless_forbidden([&] {
                    return compare_page(read_page(stripe, *window, after, Call::of(attempt)), inbox,
                                        policy);
                });
            });
        if (page.contains("forbidden"))
            throw PermanentError("forbidden",
                                 "Stripe's key may not list events: give it read access to events, "
                                 "or set STEPLOG_MISSED_EVENTS=off");
        found.checked += page.at("checked").get<std::int64_t>();
        found.missing += static_cast<std::int64_t>(page.at("missing").size());
        for (const Json& event : page.at("missing"))
            if (output["missing"].size() < named_max) output["missing"].push_back(event);
        if (!page.at("next").is_string()) break;
        after = page.at("next").get<std::string>();
    }
    const Json disabled =
        ctx.step("endpoints", {.provider = "stripe"}, [&](const Attempt& attempt) {
            return unless_forbidden(
                [&] { return Json(count_disabled(stripe, Call::of(attempt))); });
        });
    if (disabled.is_number_integer()) found.endpoints_disabled = disabled.get<std::int64_t>();
    if (window) {
        output["from"] = format_rfc3339(window->from_s * 1000);
        output["to"] = format_rfc3339(window->to_s * 1000);
    }
    output["checked"] = found.checked;
    output["missingCount"] = found.missing;
    output["endpointsDisabled"] = found.endpoints_disabled;
    inbox.tell(found);
    return output;
}

}  // namespace

Schedule missed_events_schedule(const std::string& cron, const std::string& time_zone) {
    return {.name = "missed_events",
            .workflow = missed_events_workflow,
            .cron = cron,
            .time_zone = time_zone,
            .overlap = Overlap::skip,
            .key = missed_events_workflow,
            .on_stuck = OnStuck::release_key,
            .input = Json::object()};
}

void register_missed_events(Registry& registry, const StripeClient& stripe, Inbox& inbox,
                            const Clock& clock, const RoutingPolicy& policy) {
    registry.add({.name = missed_events_workflow,
                  .version = 1,
                  .on_failure = OnFailure::fail,
                  .run = [&stripe, &inbox, &clock, policy](Context& ctx, const Json&) {
                      return find_missed_events(ctx, stripe, inbox, clock, policy);
                  }});
}

}  // namespace steplog::steps
