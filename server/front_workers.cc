// See front_workers.h.
#include "server/front_workers.h"

#include <pthread.h>

#include <utility>

namespace steplog::server {

Workers::Workers(Routes& routes, int threads, int queue_max, Done done)
    : routes_(routes),
      threads_max_(threads),
      queue_max_(static_cast<std::size_t>(queue_max)),
      done_(std::move(done)) {}

Workers::~Workers() { stop(); }

void Workers::start() {
    const SignalsBlocked blocked;
    for (int i = 0; i < threads_max_; ++i) threads_.emplace_back([this] { run(); });
}

bool Workers::hand_over(std::uint64_t connection, RouteCall& call) {
    {
        const std::lock_guard lock(mutex_);
        if (stopping_ || queue_.size() >= queue_max_) return false;
        queue_.push_back({connection, std::move(call)});
    }
    changed_.notify_one();
    return true;
}

std::size_t Workers::queued() const {
    const std::lock_guard lock(mutex_);
    return queue_.size();
}

void Workers::stop() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
        queue_.clear();
    }
    changed_.notify_all();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
}

void Workers::run() {
    std::unique_lock lock(mutex_);
    for (;;) {
        changed_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
        if (stopping_) return;
        const Work work = std::move(queue_.front());
        queue_.pop_front();
        lock.unlock();
        done_(work.connection, routes_.answer(work.call));
        lock.lock();
    }
}

SignalsBlocked::SignalsBlocked() {
    sigset_t blocked;
    ::sigfillset(&blocked);
    for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP})
        ::sigdelset(&blocked, fault);
    ::pthread_sigmask(SIG_SETMASK, &blocked, &before_);
}

SignalsBlocked::~SignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

}  // namespace steplog::server
