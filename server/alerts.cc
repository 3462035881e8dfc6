// Looks for troubles; see alerts.h.
#include "server/alerts.h"

#include <fmt/format.h>

#include <algorithm>

#include "server/metrics.h"

namespace steplog::server {
namespace {

using steps::Alert;
using steps::AlertStage;
using steps::Cause;
using steps::TroubleKind;

constexpr auto pause_between_looks = std::chrono::seconds(5);
constexpr std::int64_t settle_ms = 4000;  // what is over by then is nobody's business
constexpr std::int64_t over_ms = 10'000;  // gone for so long: over
constexpr std::int64_t noted_ms = 3'600'000;
constexpr std::int64_t compared_ms = 2 * noted_ms;  // by then the next comparison has not found any
constexpr std::int64_t growth = 10;
constexpr Ms direct_timeout = std::chrono::seconds(10);
constexpr int unrouted_looked_at = 100;

// Steps of a loop are one cause, and ids are nobody's business.
std::string without_ids(const std::string& step) {
    const std::size_t slash = step.find('/');
    return slash == std::string::npos ? step : step.substr(0, slash) + steps::any_of_loop;
}

// Somebody may have started one by hand.
std::optional<Alert> parse_order(const std::optional<std::string>& input) {
    try {
        return Json::parse(input.value_or("")).get<Alert>();
    } catch (const Json::exception&) {
        return std::nullopt;
    }
}

}  // namespace

Alerts::Alerts(Sources sources, const steps::AlertChannels& channels)
    : sources_(std::move(sources)), channels_(channels) {}

void Alerts::start() {
    if (channels_.empty()) return;
    thread_ = std::jthread([this](const std::stop_token& stop) {
        stop_ = stop;
        std::mutex mutex;
        std::condition_variable_any stopped;
        while (!stop.stop_requested()) {
            look();
            std::unique_lock lock(mutex);
            stopped.wait_for(lock, stop, pause_between_looks, [] { return false; });
        }
    });
}

void Alerts::note(TroubleKind kind, std::int64_t count) {
    const std::lock_guard lock(mutex_);
    Noted& noted = noted_[kind];
    noted.count += count;
    noted.last_ms = sources_.clock.now_ms();
}

void Alerts::look() {
    try {
        tell_of_pause();
        if (!inspector_) find_what_is_told_already();
        const Counts counts = troubles();
        for (const auto& [id, found] : counts) {
            Watched& watched = watched_[id];
            watched.cause = found.first;  // an outage's code changes
            if (watched.since_ms == 0) watched.since_ms = sources_.clock.now_ms();
            go_on_with(watched, found.second);
        }
        for (auto each = watched_.begin(); each != watched_.end();) {
            const bool over = !counts.contains(each->first) && ends(each->second);
            each = over ? watched_.erase(each) : std::next(each);
        }
        failing_ = false;
    } catch (const std::exception& error) {
        if (!failing_)
            sources_.log.warn("troubles could not be looked for; tried again every few seconds",
                              {{"error", error.what()}});
        failing_ = true;
    }
}

// By this server's life before: those are told of no second time.
void Alerts::find_what_is_told_already() {
    auto inspector = std::make_unique<Inspector>(sources_.database, sources_.clock, std::string(),
                                                 sources_.keys);
    for (const InstanceRow& row : inspector->unfinished_of(steps::tell_people_workflow)) {
        const auto alert = parse_order(inspector->show(row.id).input.text);
        if (!alert) continue;
        watched_[alert->cause.id()] = {.cause = alert->cause,
                                       .instance = row.id,
                                       .since_ms = alert->since_ms,
                                       .most = alert->count,
                                       .told = alert->count,
                                       .gone_since_ms = {}};
    }
    for (const EventRow& event : inspector->events(true, unrouted_looked_at))
        if (event.disposition == "quarantined" &&
            event.received_at_ms > sources_.clock.now_ms() - noted_ms)
            note(TroubleKind::quarantined);
    inspector_ = std::move(inspector);
}

Alerts::Counts Alerts::troubles() {
    Counts counts;
    const auto add = [&counts](const Cause& cause, std::int64_t count) {
        auto& found = counts[cause.id()];
        found.first = cause;
        found.second += count;
    };
    const Backlog backlog = inspector_->backlog();
    for (const auto& group : backlog.stuck)
        add({.kind = TroubleKind::stuck,
             .workflow = group.workflow,
             .step = without_ids(group.step),
             .error_code = group.error_code},
            group.count);
    for (const BreakerView& breaker : backlog.breakers)
        if (breaker.state != BreakerState::closed && !breaker.held_at_ms)
            add({.kind = TroubleKind::provider_down,
                 .error_code = breaker.reason,
                 .provider = breaker.provider},
                breaker.parked);
    if (const auto since_ms = paid_without_account_since_ms(*inspector_)) {
        const std::int64_t waits_ms = sources_.clock.now_ms() - *since_ms;
        if (waits_ms >= sources_.waiting_max.count())
            add({.kind = TroubleKind::waiting}, waits_ms / 1000);
    }
    add_noted(counts);
    return counts;
}

void Alerts::add_noted(Counts& counts) {
    const std::lock_guard lock(mutex_);
    const std::int64_t now_ms = sources_.clock.now_ms();
    std::erase_if(noted_, [&](const auto& each) {
        const auto& [kind, noted] = each;
        const bool compared = kind != TroubleKind::quarantined && kind != TroubleKind::conflict;
        return now_ms - noted.last_ms >= (compared ? compared_ms : noted_ms) ||
               now_ms < noted.last_ms;
    });
    for (const auto& [kind, noted] : noted_) {
        const Cause cause{.kind = kind};
        counts[cause.id()] = {cause, noted.count};
    }
}

void Alerts::go_on_with(Watched& watched, std::int64_t count) {
    const std::int64_t now_ms = sources_.clock.now_ms();
    watched.gone_since_ms.reset();
    watched.since_ms = std::min(watched.since_ms, now_ms);
    watched.most = std::max(watched.most, count);
    if (!watched.instance.empty()) {
        if (count < std::max<std::int64_t>(watched.told, 1) * growth) return;
        signal(watched, AlertStage::grown, count);
        watched.told = count;
        return;
    }
    if (now_ms - watched.since_ms < settle_ms) return;
    auto order = steps::tell_people_order({.cause = watched.cause,
                                           .stage = AlertStage::begun,
                                           .count = count,
                                           .since_ms = watched.since_ms,
                                           .at_ms = now_ms});
    const std::string id = order.id;
    sources_.engine.accept(std::nullopt, std::move(order));
    watched.instance = id;
    watched.told = count;
}

bool Alerts::ends(Watched& watched) {
    if (watched.instance.empty()) return true;
    const std::int64_t now_ms = sources_.clock.now_ms();
    if (!watched.gone_since_ms || *watched.gone_since_ms > now_ms) watched.gone_since_ms = now_ms;
    if (now_ms - *watched.gone_since_ms < over_ms) return false;
    signal(watched, AlertStage::over, watched.most);
    return true;
}

// One that a person has ended in the meantime hears nothing more.
void Alerts::signal(const Watched& watched, AlertStage stage, std::int64_t count) {
    const Alert alert{.cause = watched.cause,
                      .stage = stage,
                      .count = count,
                      .since_ms = watched.since_ms,
                      .at_ms = sources_.clock.now_ms()};
    sources_.engine.signal({.instance = watched.instance,
                            .name = steps::trouble_changed_signal,
                            .payload = Json(alert).dump(),
                            .dedupe_id = fmt::format("{}/{}", to_string(stage), count)});
}

// --- what cannot be stored
// ---------------------------------------------------------------------------------

void Alerts::tell_of_pause() {
    const std::int64_t now_ms = sources_.clock.now_ms();
    const bool paused = sources_.paused();
    if (paused && !paused_since_ms_) paused_since_ms_ = now_ms;
    if (!paused && told_of_pause_.empty()) paused_since_ms_.reset();
    if (!paused_since_ms_ || now_ms - *paused_since_ms_ < settle_ms) return;
    for (const auto& channel : channels_) {
        const bool knows = told_of_pause_.contains(channel->name());
        if (knows == paused) continue;
        if (!tell_directly(*channel, paused ? AlertStage::begun : AlertStage::over)) continue;
        if (paused)
            told_of_pause_.insert(channel->name());
        else
            told_of_pause_.erase(channel->name());
    }
}

/// False: to be tried again.
bool Alerts::tell_directly(steps::AlertChannel& channel, AlertStage stage) {
    const Alert alert{.cause = {.kind = TroubleKind::store_paused},
                      .stage = stage,
                      .count = 1,
                      .since_ms = *paused_since_ms_,
                      .at_ms = sources_.clock.now_ms()};
    try {
        channel.tell(alert,
                     fmt::format("{}/{}/{}", alert.cause.id(), alert.since_ms, to_string(stage)),
                     {.timeout = direct_timeout, .stop = stop_});
    } catch (const RetryableError&) {
        return false;
    } catch (const PermanentError& error) {
        sources_.log.error("an alert was refused for good",
                           {{"channel", channel.name()}, {"error", error.what()}});
    }
    return true;
}

}  // namespace steplog::server
