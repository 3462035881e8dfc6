// Notices troubles and has people told of them: once for each cause, with a count, again when it
// has grown tenfold, and when it is over. What is told is a workflow's affair
// (steps/tell_people.h), so that it survives a crash; only of a store that takes nothing in people
// are told directly. A thread of its own looks every few seconds; main holds it.
#pragma once

#include <condition_variable>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <thread>

#include "engine/engine.h"
#include "engine/inspect.h"
#include "server/log.h"
#include "steps/tell_people.h"

namespace steplog::server {

class Alerts {
  public:
    struct Sources {
        std::filesystem::path database;
        std::vector<MasterKey> keys;
        Engine& engine;
        const Clock& clock;
        Log& log;
        std::function<bool()> paused;  // whether the store takes nothing in
        Ms waiting_max;                // how long a paying customer may be without an account
    };
    /// What it refers to must outlive it; the database must be there already.
    Alerts(Sources sources, const steps::AlertChannels& channels);

    /// Looks every few seconds from now on. Without channels there is nothing to do.
    void start();

    /// Events came that could not be understood, or again with another body, or did not come: a
    /// trouble until there has been none for a while. Any thread.
    void note(steps::TroubleKind kind, std::int64_t count = 1);

    /// One look. Never throws: what could not be done is done with a later look.
    void look();

  private:
    struct Watched {
        steps::Cause cause;
        std::string instance;  // that tells people; "" until it is started
        std::int64_t since_ms = 0, most = 0, told = 0;
        std::optional<std::int64_t> gone_since_ms;
    };
    struct Noted {
        std::int64_t count = 0, last_ms = 0;
    };
    using Counts = std::map<std::string, std::pair<steps::Cause, std::int64_t>>;  // by cause

    void find_what_is_told_already();
    Counts troubles();
    void add_noted(Counts& counts);
    void go_on_with(Watched& watched, std::int64_t count);
    /// True when it is over, and those who were told of it are told that.
    bool ends(Watched& watched);
    void signal(const Watched& watched, steps::AlertStage stage, std::int64_t count);
    void tell_of_pause();
    bool tell_directly(steps::AlertChannel& channel, steps::AlertStage stage);

    Sources sources_;
    const steps::AlertChannels& channels_;
    std::unique_ptr<Inspector> inspector_;
    std::map<std::string, Watched> watched_;  // by cause
    std::optional<std::int64_t> paused_since_ms_;
    std::set<std::string> told_of_pause_;  // channels
    bool failing_ = false;                 // the last look did not succeed
    std::mutex mutex_;
    std::map<steps::TroubleKind, Noted> noted_;  // guarded by mutex_
    std::stop_token stop_;
    std::jthread thread_;
};

}  // namespace steplog::server
