// Counters, gauges and histograms, by prometheus-cpp; see metrics.h.
#include "server/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "engine/context.h"
#include "server/front.h"
#include "server/webhook.h"

namespace steplog::server {
namespace {

using Buckets = prometheus::Histogram::BucketBoundaries;
using Seconds = std::chrono::duration<double>;

// An answer to a webhook, an attempt of a step, a commit: from half a millisecond to ten seconds.
const Buckets short_s = {.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10};
// A whole instance: retries may take it to three days.
const Buckets long_s = {.01, .1, .5, 1, 5, 30, 60, 300, 1800, 3600, 21'600, 86'400, 259'200};
const Buckets batch_items = {1, 2, 4, 8, 16, 32, 64, 128, 256};

std::string_view to_string(WebhookOutcome outcome) {
    switch (outcome) {
        case WebhookOutcome::routed:
            return "routed";
        case WebhookOutcome::ignored:
            return "ignored";
        case WebhookOutcome::quarantined:
            return "quarantined";
        case WebhookOutcome::already_processed:
            return "already_processed";
        case WebhookOutcome::signature_refused:
            return "signature_refused";
        case WebhookOutcome::rate_limited:
            return "rate_limited";
        case WebhookOutcome::unavailable:
            return "unavailable";
    }
    return "";
}

// A loop's steps ("refund/re_1", "refund/re_2") are one label: labels must stay few, and free of
// ids.
std::string label_of(const std::string& step) { return step.substr(0, step.find('/')); }

double seconds(std::int64_t ms) { return static_cast<double>(ms) / 1000; }

}  // namespace

struct Metrics::Families {
    explicit Families(std::string_view version)
        : database_bytes(gauge("steplog_database_bytes", "Size of the database file.")),
          wal_bytes(gauge("steplog_wal_bytes", "Size of the write-ahead log.")),
          ready(gauge("steplog_ready", "1 while events can be accepted.")),
          oldest_due(gauge("steplog_oldest_due_seconds",
                           "How long the instance that waits longest for a worker has been due.")),
          paid_without_account(
              gauge("steplog_paid_without_account_seconds",
                    "How long the longest-waiting paying customer has been without an account.")),
          skew(gauge("steplog_webhook_clock_skew_seconds",
                     "The last good signature's time less our clock.")),
          connections(gauge("steplog_http_connections", "Open connections.")),
          queued(gauge("steplog_http_queued_requests", "Requests that wait for a worker.")),
          buffered(gauge("steplog_http_buffered_bytes", "Held for requests and answers.")),
          failed_samples(prometheus::BuildCounter()
                             .Name("steplog_sample_failures_total")
                             .Help("Looks at the database for these metrics that did not succeed.")
                             .Register(registry)
                             .Add({})),
          commit_seconds(histogram("steplog_commit_seconds",
                                   "One group commit, from its begin to its sync.", short_s)),
          commit_items(
              histogram("steplog_commit_items", "Writes in one group commit.", batch_items)),
          webhook_seconds(histogram("steplog_webhook_seconds",
                                    "From a delivery's handler to its answer.", short_s)) {
        prometheus::BuildGauge()
            .Name("steplog_build_info")
            .Help("Always 1; the version is in the label.")
            .Register(registry)
            .Add({{"version", std::string(version)}})
            .Set(1);
        for (const auto outcome :
             {WebhookOutcome::routed, WebhookOutcome::ignored, WebhookOutcome::quarantined,
              WebhookOutcome::already_processed, WebhookOutcome::signature_refused,
              WebhookOutcome::rate_limited, WebhookOutcome::unavailable})
            webhook(outcome);
    }

    prometheus::Gauge& gauge(const char* name, const char* help) {
        return prometheus::BuildGauge().Name(name).Help(help).Register(registry).Add({});
    }
    prometheus::Histogram& histogram(const char* name, const char* help, const Buckets& buckets) {
        return prometheus::BuildHistogram().Name(name).Help(help).Register(registry).Add({},
                                                                                         buckets);
    }
    prometheus::Counter& webhook(WebhookOutcome outcome) {
        return webhooks.Add({{"outcome", std::string(to_string(outcome))}});
    }

    prometheus::Registry registry;
    prometheus::Family<prometheus::Counter>& webhooks =
        prometheus::BuildCounter()
            .Name("steplog_webhooks_total")
            .Help("Deliveries at the webhook, by what became of them.")
            .Register(registry);
    prometheus::Family<prometheus::Counter>& steps = prometheus::BuildCounter()
                                                         .Name("steplog_step_attempts_total")
                                                         .Help("What attempts of steps came to.")
                                                         .Register(registry);
    prometheus::Family<prometheus::Histogram>& step_seconds = prometheus::BuildHistogram()
                                                                  .Name("steplog_step_seconds")
                                                                  .Help("One attempt of a step.")
                                                                  .Register(registry);
    prometheus::Family<prometheus::Counter>& ended =
        prometheus::BuildCounter()
            .Name("steplog_instances_ended_total")
            .Help("Instances that completed, failed or were cancelled.")
            .Register(registry);
    prometheus::Family<prometheus::Histogram>& instance_seconds =
        prometheus::BuildHistogram()
            .Name("steplog_instance_seconds")
            .Help("A whole instance, from its creation to its end.")
            .Register(registry);
    prometheus::Family<prometheus::Counter>& stuck =
        prometheus::BuildCounter()
            .Name("steplog_instances_stuck_total")
            .Help("Times that an instance began to wait for a person.")
            .Register(registry);
    prometheus::Family<prometheus::Gauge>& instances = prometheus::BuildGauge()
                                                           .Name("steplog_instances")
                                                           .Help("Unfinished instances, by state.")
                                                           .Register(registry);
    prometheus::Family<prometheus::Gauge>& breakers =
        prometheus::BuildGauge()
            .Name("steplog_breaker_open")
            .Help("1 while a provider's breaker is open or paused, 0.5 while it is being tried.")
            .Register(registry);
    prometheus::Family<prometheus::Gauge>& parked =
        prometheus::BuildGauge()
            .Name("steplog_parked_instances")
            .Help("Instances that wait for a provider's breaker to close.")
            .Register(registry);
    std::set<std::string> providers;  // seen in these two; guarded by who samples
    prometheus::Family<prometheus::Gauge>& limited =
        prometheus::BuildGauge()
            .Name("steplog_limited_instances")
            .Help("Instances that wait for room, or for their turn, by what is limited.")
            .Register(registry);
    std::set<std::array<std::string, 3>> limits;  // seen there; guarded by who samples
    prometheus::Family<prometheus::Counter>& http =
        prometheus::BuildCounter()
            .Name("steplog_http_requests_total")
            .Help("Requests by what became of them and the status, 0 where none was sent.")
            .Register(registry);
    prometheus::Family<prometheus::Counter>& spans_exported =
        prometheus::BuildCounter()
            .Name("steplog_trace_spans_exported_total")
            .Help("Spans that the trace collector took.")
            .Register(registry);
    prometheus::Family<prometheus::Counter>& spans_dropped =
        prometheus::BuildCounter()
            .Name("steplog_trace_spans_dropped_total")
            .Help("Spans that it did not take, or that waited behind too many others.")
            .Register(registry);
    prometheus::Gauge &database_bytes, &wal_bytes, &ready, &oldest_due, &paid_without_account,
        &skew, &connections, &queued, &buffered;
    prometheus::Counter& failed_samples;
    prometheus::Histogram &commit_seconds, &commit_items, &webhook_seconds;
};

Metrics::Metrics(std::string_view version) : families_(std::make_unique<Families>(version)) {}
Metrics::~Metrics() = default;

void Metrics::observe(WebhookOutcome outcome, std::chrono::nanoseconds took) {
    families_->webhook(outcome).Increment();
    families_->webhook_seconds.Observe(Seconds(took).count());
}

void Metrics::observe_skew(std::int64_t seconds_ahead) {
    families_->skew.Set(static_cast<double>(seconds_ahead));
}

void Metrics::observe(const Transitioned& transitioned) {
    const std::string step = label_of(transitioned.step);
    const std::string& what = transitioned.what;
    if (what == "stuck") {
        families_->stuck
            .Add({{"workflow", transitioned.workflow},
                  {"step", step},
                  {"error_code", transitioned.error_code}})
            .Increment();
    } else if (what == "finished" || what == "instance_failed" || what == "cancelled") {
        const std::string state = what == "finished"          ? "completed"
                                  : what == "instance_failed" ? "failed"
                                                              : what;
        families_->ended.Add({{"workflow", transitioned.workflow}, {"state", state}}).Increment();
        families_->instance_seconds.Add({{"workflow", transitioned.workflow}}, long_s)
            .Observe(seconds(transitioned.took_ms));
    } else if (what != "started" && what != "sleeps" && what != "parked" && !step.empty()) {
        families_->steps
            .Add({{"workflow", transitioned.workflow}, {"step", step}, {"outcome", what}})
            .Increment();
        families_->step_seconds.Add({{"workflow", transitioned.workflow}, {"step", step}}, short_s)
            .Observe(seconds(transitioned.took_ms));
    }
}

void Metrics::observe(const FrontEvent& event) {
    const char* what = "failed";
    switch (event.kind) {
        case FrontEvent::Kind::answered:
            what = "answered";
            break;
        case FrontEvent::Kind::refused:
            what = "refused";
            break;
        case FrontEvent::Kind::expired:
            what = "expired";
            break;
        case FrontEvent::Kind::evicted:
            what = "evicted";
            break;
        case FrontEvent::Kind::failed:
            break;
    }
    families_->http.Add({{"what", what}, {"status", std::to_string(event.status)}}).Increment();
}

void Metrics::observe_commit(std::size_t items, std::chrono::microseconds took) {
    families_->commit_items.Observe(static_cast<double>(items));
    families_->commit_seconds.Observe(Seconds(took).count());
}

void Metrics::observe_spans(std::size_t exported, std::size_t dropped) {
    families_->spans_exported.Add({}).Increment(static_cast<double>(exported));
    families_->spans_dropped.Add({}).Increment(static_cast<double>(dropped));
}

void Metrics::set(const Backlog& backlog, std::int64_t now_ms) {
    for (const auto& [state, count] : backlog.by_state)
        families_->instances.Add({{"state", std::string(steplog::to_string(state))}})
            .Set(static_cast<double>(count));
    for (const BreakerView& breaker : backlog.breakers)
        families_->providers.insert(breaker.provider);
    for (const std::string& provider : families_->providers) {
        const auto found =
            std::find_if(backlog.breakers.begin(), backlog.breakers.end(),
                         [&](const BreakerView& one) { return one.provider == provider; });
        const bool known = found != backlog.breakers.end();
        const double open = !known || found->state == BreakerState::closed ? 0
                            : found->state == BreakerState::half_open      ? 0.5
                                                                           : 1;
        families_->breakers.Add({{"provider", provider}}).Set(open);
        families_->parked.Add({{"provider", provider}})
            .Set(known ? static_cast<double>(found->parked) : 0);
    }
    set_limited(backlog.limits);
    families_->oldest_due.Set(backlog.oldest_due_at_ms ? seconds(std::max<std::int64_t>(
                                                             0, now_ms - *backlog.oldest_due_at_ms))
                                                       : 0);
}

// What is updated has no name to be shown: all of it together.
void Metrics::set_limited(const std::vector<LimitView>& limits) {
    std::map<std::array<std::string, 3>, std::int64_t> parked;
    for (const auto& known : families_->limits) parked[known] = 0;
    for (const LimitView& view : limits) {
        const bool named = view.limit.scope != LimitOf::entity;
        parked[{view.limit.kind == Limit::Kind::rate ? "rate" : "slot",
                std::string(to_string(view.limit.scope)), named ? view.limit.name : ""}] +=
            view.parked;
    }
    for (const auto& [limit, count] : parked) {
        families_->limits.insert(limit);
        families_->limited.Add({{"limit", limit[0]}, {"of", limit[1]}, {"name", limit[2]}})
            .Set(static_cast<double>(count));
    }
}

void Metrics::set_paid_without_account(std::chrono::milliseconds longest) {
    families_->paid_without_account.Set(Seconds(longest).count());
}

void Metrics::set(const FrontStats& stats) {
    families_->connections.Set(static_cast<double>(stats.connections));
    families_->queued.Set(static_cast<double>(stats.queued));
    families_->buffered.Set(static_cast<double>(stats.buffered_bytes));
}

void Metrics::set_sizes(std::uintmax_t database_bytes, std::uintmax_t wal_bytes) {
    families_->database_bytes.Set(static_cast<double>(database_bytes));
    families_->wal_bytes.Set(static_cast<double>(wal_bytes));
}

void Metrics::set_ready(bool ready) { families_->ready.Set(ready ? 1 : 0); }

void Metrics::count_failed_sample() { families_->failed_samples.Increment(); }

std::string Metrics::text() const {
    return prometheus::TextSerializer().Serialize(families_->registry.Collect());
}

}  // namespace steplog::server
