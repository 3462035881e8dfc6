// See traces.h.
#include "server/traces.h"

#include <algorithm>

#include "engine/context.h"
#include "engine/errors.h"
#include "steps/provider.h"

namespace steplog::server {

Traces::Traces(const TraceSettings& settings, const Surroundings& surroundings,
               const Limits& limits)
    : settings_(settings), around_(surroundings), limits_(limits) {
    around_.metrics.observe_spans(0, 0);
    thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
}

Traces::~Traces() { stop(Ms(0)); }

void Traces::observe(const Transitioned& transitioned) noexcept try {
    auto span = span_of(transitioned, around_.clock.now_ms());
    if (!span) return;
    bool full = false;
    {
        const std::lock_guard lock(mutex_);
        full = queue_.size() >= limits_.queue_max;
        if (full) queue_.pop_front();
        queue_.push_back(std::move(*span));
        if (queue_.size() == limits_.batch_max) changed_.notify_all();
    }
    if (full) around_.metrics.observe_spans(0, 1);
} catch (const std::exception&) {
    // No memory for a span: the work goes on, and the database remembers what it did.
}

void Traces::stop(Ms within) {
    if (!thread_.joinable()) return;
    thread_.request_stop();
    {
        std::unique_lock lock(mutex_);
        changed_.wait_for(lock, within, [this] { return ended_; });
    }
    cut_.request_stop();
    thread_.join();
    thread_ = {};
    around_.metrics.observe_spans(0, queue_.size());
}

void Traces::run(const std::stop_token& stop) {
    while (!cut_.stop_requested()) {
        const auto spans = next_batch(stop);
        if (!spans.empty()) deliver(spans, stop);
        if (spans.empty() && stop.stop_requested()) break;
    }
    const std::lock_guard lock(mutex_);
    ended_ = true;
    changed_.notify_all();
}

std::vector<Span> Traces::next_batch(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, stop, limits_.pause,
                      [this] { return queue_.size() >= limits_.batch_max; });
    const auto count = static_cast<std::ptrdiff_t>(std::min(queue_.size(), limits_.batch_max));
    std::vector<Span> spans(std::make_move_iterator(queue_.begin()),
                            std::make_move_iterator(queue_.begin() + count));
    queue_.erase(queue_.begin(), queue_.begin() + count);
    return spans;
}

void Traces::deliver(const std::vector<Span>& spans, const std::stop_token& stop) {
    const std::string body = otlp_request(spans, settings_.service);
    Answer answer{.verdict = Verdict::again};
    for (int tries = 1; tries <= limits_.tries_max; ++tries) {
        const bool last = tries == limits_.tries_max || stop.stop_requested();
        answer = send(body);
        if (answer.verdict != Verdict::again || last) break;
        std::unique_lock lock(mutex_);
        changed_.wait_for(lock, stop,
                          answer.retry_after.value_or(limits_.backoff * (1 << (tries - 1))),
                          [] { return false; });
    }
    const bool taken = answer.verdict == Verdict::taken;
    const auto rejected = std::min(static_cast<std::size_t>(answer.rejected), spans.size());
    const std::size_t dropped = taken ? rejected : spans.size();
    around_.metrics.observe_spans(spans.size() - dropped, dropped);
    tell(answer, dropped);
}

// Only these may be tried again (opentelemetry.io/docs/specs/otlp, failures); and who was not
// reached. That a span may then arrive twice does no harm: its id is the same.
Traces::Answer Traces::send(const std::string& body) try {
    steps::Headers headers = {{"Content-Type", "application/json"},
                              {"User-Agent", "steplog/" STEPLOG_VERSION}};
    headers.insert(headers.end(), settings_.headers.begin(), settings_.headers.end());
    const steps::HttpReply reply = around_.http.send({.method = "POST",
                                                      .base = settings_.base,
                                                      .target = settings_.target,
                                                      .headers = std::move(headers),
                                                      .body = body,
                                                      .timeout = limits_.timeout,
                                                      .stop = cut_.get_token()});
    const int status = reply.status;
    if (status >= 200 && status <= 299)
        return {.verdict = Verdict::taken, .rejected = rejected_spans(reply.body)};
    const bool may_pass = status == 429 || status == 502 || status == 503 || status == 504;
    return {.verdict = may_pass ? Verdict::again : Verdict::refused,
            .retry_after =
                steps::parse_retry_after(reply.header("Retry-After"), around_.clock.now_ms()),
            .code = "http_" + std::to_string(status)};
} catch (const RetryableError& error) {
    return {.verdict = Verdict::again, .code = error.details().code};
} catch (const std::exception&) {
    return {.verdict = Verdict::refused, .code = "not_sendable"};
}

void Traces::tell(const Answer& answer, std::size_t dropped) {
    const bool failed = answer.verdict != Verdict::taken;
    const auto count = static_cast<std::int64_t>(dropped);
    if (failed && !failing_)
        around_.log.warn("the trace collector does not take spans; they are dropped",
                         {{"error_code", answer.code}, {"spans", count}});
    if (!failed && failing_) around_.log.info("the trace collector takes spans again");
    failing_ = failed;
}

}  // namespace steplog::server
