// What the server counts and measures, for Prometheus: GET /metrics. Made by main and told by
// whoever saw something happen; no label ever holds an id, an address or a payload. Any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "engine/clock.h"
#include "engine/inspect.h"
#include "engine/inspect_dashboard.h"

namespace httplib {
class Server;
}

namespace steplog {
struct Transitioned;
}

namespace steplog::server {

struct FrontEvent;
struct FrontStats;
enum class WebhookOutcome;

/// Since when the longest-waiting paying customer has been without an account.
std::optional<std::int64_t> paid_without_account_since_ms(Inspector& inspector);

/// How many paying customers got none: stuck now, or failed for good in the recent past.
Unreached paid_without_account_lately(DashboardReader& reader);

class Metrics {
  public:
    explicit Metrics(std::string_view version);
    ~Metrics();
    Metrics(const Metrics&) = delete;
    Metrics& operator=(const Metrics&) = delete;

    /// A delivery was answered, so long after its handler began.
    void observe(WebhookOutcome outcome, std::chrono::nanoseconds took);
    /// How far ahead of our clock the sender of a good signature was, in seconds.
    void observe_skew(std::int64_t seconds);
    void observe(const Transitioned& transitioned);
    void observe(const FrontEvent& event);
    void observe_commit(std::size_t items, std::chrono::microseconds took);
    /// Spans that a collector took, and that it never will. Shown from the first call on.
    void observe_spans(std::size_t exported, std::size_t dropped);

    // What is looked up when somebody asks.
    void set(const Backlog& backlog, std::int64_t now_ms);
    void set_limited(const std::vector<LimitView>& limits);
    /// 0: nobody waits.
    void set_paid_without_account(std::chrono::milliseconds longest);
    void set(const FrontStats& stats);
    void set_sizes(std::uintmax_t database_bytes, std::uintmax_t wal_bytes);
    void set_ready(bool ready);
    void count_failed_sample();

    /// Prometheus' text format 0.0.4.
    std::string text() const;

  private:
    struct Families;
    std::unique_ptr<Families> families_;
};

/// The route, and the looks that it takes: at most one every few seconds, however many ask.
class MetricsRoute {
  public:
    struct Sources {
        std::filesystem::path database;
        const Clock& clock;
        std::function<FrontStats()> front;
        std::function<bool()> ready;
    };
    /// What it refers to must outlive it; the database must be there already.
    MetricsRoute(Metrics& metrics, Sources sources);

    /// Registers GET /metrics. This object must outlive the front's last answer.
    void add_to(httplib::Server& routes);

    std::string answer();

  private:
    void sample();

    Metrics& metrics_;
    const Sources sources_;
    std::mutex mutex_;  // guards what follows: one look at a time
    std::unique_ptr<Inspector> inspector_;
    std::int64_t sampled_at_ms_ = 0;
};

}  // namespace steplog::server
