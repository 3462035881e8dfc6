// The threads that run routes, and the bounded queue before them. The reactor hands requests over
// and never waits; answers go back through a callback.
#pragma once

#include <csignal>

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "server/front_routes.h"

namespace steplog::server {

class Workers {
  public:
    using Done = std::function<void(std::uint64_t connection, RouteAnswer answer)>;

    /// `done` is called by the workers' threads and must not throw. `routes` must outlive this.
    Workers(Routes& routes, int threads, int queue_max, Done done);
    ~Workers();  // as stop

    /// Starts the threads. Signals sent to the process never reach them.
    void start();

    /// False, and `call` untouched, when queue_max requests wait already. Never blocks for long.
    bool hand_over(std::uint64_t connection, RouteCall& call);

    std::size_t queued() const;

    /// Drops what waits, and returns when the last handler has returned.
    void stop();

  private:
    struct Work {
        std::uint64_t connection;
        RouteCall call;
    };
    void run();

    Routes& routes_;
    const int threads_max_;
    const std::size_t queue_max_;
    const Done done_;
    std::vector<std::thread> threads_;
    mutable std::mutex mutex_;
    // Guarded by mutex_.
    std::condition_variable changed_;
    std::deque<Work> queue_;
    bool stopping_ = false;
};

/// While it lives, threads that the current one starts receive no signal but those of their own
/// faults. SIGPIPE is among what they do not receive.
class SignalsBlocked {
  public:
    SignalsBlocked();
    ~SignalsBlocked();
    SignalsBlocked(const SignalsBlocked&) = delete;
    SignalsBlocked& operator=(const SignalsBlocked&) = delete;

  private:
    sigset_t before_;
};

}  // namespace steplog::server
