// Sends what instances do to an OpenTelemetry collector, by OTLP over HTTP in JSON. Spans wait in a
// bounded queue, the oldest give way, and one thread sends them: the engine never waits for a
// collector. Nothing is lost with a span that is not in the step log. Made and ended by serve().
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <stop_token>
#include <thread>
#include <vector>

#include "engine/clock.h"
#include "server/log.h"
#include "server/metrics.h"
#include "server/trace_spans.h"
#include "steps/http.h"

namespace steplog::server {

class Traces {
  public:
    /// The numbers of opentelemetry.io's batch processor, but for a longer queue.
    struct Limits {
        std::size_t queue_max = 8192, batch_max = 512;
        Ms pause = std::chrono::seconds(5);     // what is fewer than a batch waits so long
        Ms timeout = std::chrono::seconds(10);  // of one request
        int tries_max = 4;
        Ms backoff = std::chrono::seconds(1);  // doubled with every try, unless Retry-After says
    };
    /// Whom it refers to must outlive it.
    struct Surroundings {
        steps::HttpTransport& http;
        const Clock& clock;
        Log& log;
        Metrics& metrics;
    };
    Traces(const TraceSettings& settings, const Surroundings& surroundings)
        : Traces(settings, surroundings, Limits()) {}
    Traces(const TraceSettings& settings, const Surroundings& surroundings, const Limits& limits);
    /// What is queued then is dropped.
    ~Traces();
    Traces(const Traces&) = delete;
    Traces& operator=(const Traces&) = delete;

    /// Queues the span that ends with this, if one does. Any thread; never blocks, never throws.
    void observe(const Transitioned& transitioned) noexcept;

    /// Sends what is queued, for so long at most, and ends. Nothing is observed any more.
    void stop(Ms within);

  private:
    enum class Verdict { taken, again, refused };
    struct Answer {
        Verdict verdict;
        std::int64_t rejected = 0;
        std::optional<Ms> retry_after = {};
        std::string code = {};
    };

    void run(const std::stop_token& stop);
    std::vector<Span> next_batch(const std::stop_token& stop);
    void deliver(const std::vector<Span>& spans, const std::stop_token& stop);
    Answer send(const std::string& body);
    void tell(const Answer& answer, std::size_t spans);

    const TraceSettings settings_;
    const Surroundings around_;
    const Limits limits_;
    std::stop_source cut_;  // requested: end the running request now
    bool failing_ = false;  // the last batch was dropped; the thread's own
    std::mutex mutex_;
    std::deque<Span> queue_;  // guarded by mutex_
    bool ended_ = false;      // guarded by mutex_
    std::condition_variable_any changed_;
    std::jthread thread_;
};

}  // namespace steplog::server
