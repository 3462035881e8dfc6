// One claim while its function runs: how the engine reaches the attempts that it makes, to say that
// they should end. Shared by the context, whose attempts carry the tokens, and the engine, which
// learns from the store what became of the claim. Any thread.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <stop_token>
#include <vector>

#include "engine/types.h"

namespace steplog {

class Hold {
  public:
    /// Requests both tokens when `ending` is.
    Hold(std::int64_t seq, std::int64_t now_ms, std::stop_token ending)
        : seq_(seq), renewed_at_ms_(now_ms), on_ending_(std::move(ending), [this] { lose(); }) {}

    std::int64_t seq() const { return seq_; }
    /// Whoever began it must end it soon.
    std::stop_token stop() const { return stop_.get_token(); }
    /// …and not only because somebody asked the instance to end.
    std::stop_token shutdown() const { return shutdown_.get_token(); }

    void ask_to_end() { stop_.request_stop(); }
    /// It is no longer ours, or about not to be.
    void lose() {
        shutdown_.request_stop();
        stop_.request_stop();
    }

    /// True when its lease was not renewed within `period` of now: then it counts as renewed.
    bool wants_renewal(std::int64_t now_ms, Ms period) {
        std::int64_t last = renewed_at_ms_;
        const bool lately = now_ms >= last && now_ms - last < period.count();
        return !lately && renewed_at_ms_.compare_exchange_strong(last, now_ms);
    }

  private:
    const std::int64_t seq_;
    std::atomic<std::int64_t> renewed_at_ms_;
    std::stop_source stop_, shutdown_;
    std::stop_callback<std::function<void()>> on_ending_;  // last: it may call at once
};

/// All that run now.
class Holds {
  public:
    std::shared_ptr<Hold> add(std::int64_t seq, std::int64_t now_ms, std::stop_token ending) {
        auto hold = std::make_shared<Hold>(seq, now_ms, std::move(ending));
        const std::lock_guard lock(mutex_);
        running_[seq] = hold;
        return hold;
    }
    void remove(const Hold& hold) {
        const std::lock_guard lock(mutex_);
        const auto found = running_.find(hold.seq());
        if (found != running_.end() && found->second.get() == &hold) running_.erase(found);
    }
    std::vector<std::shared_ptr<Hold>> all() const {
        const std::lock_guard lock(mutex_);
        std::vector<std::shared_ptr<Hold>> holds;
        for (const auto& [seq, hold] : running_) holds.push_back(hold);
        return holds;
    }

  private:
    mutable std::mutex mutex_;
    std::map<std::int64_t, std::shared_ptr<Hold>> running_;
};

}  // namespace steplog
