// Delivers events to a webhook endpoint as Stripe does: signed, at least once, in no order one
// could rely on, again and again until a 2xx comes (docs.stripe.com/webhooks). Only the schedule is
// shorter. Used by the program and by system tests. Threads of its own; every function may be
// called from any.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <queue>
#include <random>
#include <thread>

#include "engine/clock.h"
#include "tools/sandbox/events.h"
#include "tools/sandbox/http_call.h"

namespace steplog::sandbox {

/// Posts a body to a URL; the default is http_call.
using Post = std::function<HttpAnswer(const std::string& url, const steps::Headers& headers,
                                      const std::string& body, Ms timeout)>;

struct SenderOptions {
    std::string url;                   // of the webhook endpoint
    std::vector<std::string> secrets;  // several while a secret is being rolled
    Ms backoff_base{100};              // before the second try; doubles
    Ms backoff_cap{5000};
    int attempts_max = 50;
    Ms timeout{10000};
    int threads = 4;
    std::uint64_t seed = 1;        // of shuffling
    const Clock* clock = nullptr;  // for the signature's t; the system's when null
    Post post;
    std::function<void(const std::string& event_id)> on_delivered;
};

struct SendOptions {
    bool shuffle = false;
    int copies = 1;  // of each event: duplicates
};

/// What became of an event.
struct Acknowledgement {
    std::string event;
    std::string type;
    int status = 0;    // of the last answer; 0: none came
    std::string note;  // of a 2xx answer, "already_processed" …; or why there was no answer
    int attempts = 0;
    std::int64_t took_ms = 0;  // the last attempt
    bool acknowledged = false;
    bool given_up = false;
};

class Sender {
  public:
    explicit Sender(SenderOptions options);
    ~Sender();  // waits for attempts that are running, abandons what is not delivered yet
    Sender(const Sender&) = delete;
    Sender& operator=(const Sender&) = delete;

    /// Queues the events and returns at once. Returns the number of deliveries queued.
    std::size_t send(const std::vector<Event>& events, const SendOptions& options = {});

    /// Waits until every delivery is acknowledged or given up. False when `timeout` passed before.
    bool wait_until_idle(Ms timeout);

    /// One per delivery (a copy is a delivery of its own), in the order of sending.
    std::vector<Acknowledgement> acknowledgements() const;
    /// Deliveries neither acknowledged nor given up.
    std::size_t pending() const;

  private:
    using Time = std::chrono::steady_clock::time_point;
    struct Delivery {
        Time due;
        std::size_t number;  // index into acknowledgements_ and bodies_
        bool operator>(const Delivery& other) const {
            return std::tie(due, number) > std::tie(other.due, other.number);
        }
    };
    void run(const std::stop_token& stop);
    void attempt(std::size_t number);

    SenderOptions options_;
    mutable std::mutex mutex_;
    std::condition_variable_any changed_;
    // Guarded by mutex_:
    std::priority_queue<Delivery, std::vector<Delivery>, std::greater<>> due_;
    std::vector<Acknowledgement> acknowledgements_;
    std::vector<std::string> bodies_;
    std::size_t pending_ = 0;
    std::mt19937_64 random_;

    std::vector<std::jthread> threads_;  // last: they use everything above
};

/// As JSON: {"event","type","status","note","attempts","took_ms","acknowledged","given_up"}.
Json to_json(const Acknowledgement& acknowledgement);

}  // namespace steplog::sandbox
