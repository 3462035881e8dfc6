// What the world outside remembers while the power comes and goes: which events were acknowledged,
// which steps were begun, and which of the engine's promises were broken. One a case; one thread.
#pragma once

#include <fmt/format.h>

#include <array>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "engine/types.h"
#include "tests/crash/survey.h"

namespace steplog::testing {

/// A broken promise. The numbers in brackets are those of the list of invariants.
enum class Breach {
    lost_event,           // acknowledged and gone [I1]
    repeated_step,        // finished for certain and begun again [I4]
    call_without_intent,  // begun, and no durable `started` entry says so [I5]
    repeated_effect,      // happened twice [I6]
    after_failure,        // acknowledged or begun although the store had failed for good [I15]
    unfinished,           // an instance that does not end [I10]
    damaged               // SQLite, the chain or the model's own rules say so [I2, I3, I13]
};
inline constexpr int breaches = 7;

class Ledger {
  public:
    using Step = std::pair<std::string, std::string>;  // instance, step

    void breach(Breach kind, const std::string& what) {
        ++counts_.at(static_cast<std::size_t>(kind));
        if (details_.size() < 20) details_.push_back(fmt::format("{}: {}", word(kind), what));
    }

    void acknowledged(const std::string& event) { acknowledged_.insert(event); }
    bool is_acknowledged(const std::string& event) const {
        return acknowledged_.count(event) + lost_.count(event) > 0;
    }

    /// The store said that it failed for good; `alive` again with the next life.
    void store_failed() { store_failed_ = true; }
    bool store_has_failed() const { return store_failed_; }
    void alive() { store_failed_ = false; }

    /// An effect begins: the steps of its instance that have returned are durable by now. `attempt`
    /// 0 when whoever sees the effect cannot know it.
    void invoked(const std::string& instance, const std::string& step, int attempt) {
        settle(instance);
        if (store_failed_) breach(Breach::after_failure, fmt::format("{} of {}", step, instance));
        if (final_.count({instance, step}))
            breach(Breach::repeated_step, fmt::format("{} of {}", step, instance));
        invoked_.insert({{instance, step}, attempt});
    }
    /// The step gave its result to the workflow function.
    void returned(const std::string& instance, const std::string& step) {
        returned_.insert({instance, step});
    }
    /// The engine reported that the instance is complete.
    void completed(const std::string& instance) {
        settle(instance);
        for (const auto& [step, attempt] : invoked_)
            if (step.first == instance) final_.insert(step);
    }

    /// Compares what survived with what was promised. `synced`: what is there now stays there.
    void compare(const Survey& survey, bool synced) {
        for (const auto& damage : survey.damage) breach(Breach::damaged, damage);
        if (!survey.damage.empty() && survey.events.empty() && survey.instances.empty()) return;
        // Each loss counts once, however often it is seen.
        std::erase_if(acknowledged_, [&](const std::string& event) {
            if (survey.events.count(event)) return false;
            breach(Breach::lost_event, event);
            return lost_.insert(event).second;
        });
        std::erase_if(invoked_, [&](const std::pair<Step, int>& invocation) {
            const auto& [step, attempt] = invocation;
            const auto started = survey.started.find(step);
            if (started != survey.started.end() && (attempt == 0 || started->second.count(attempt)))
                return false;
            breach(Breach::call_without_intent,
                   fmt::format("attempt {} of {} of {}", attempt, step.second, step.first));
            return true;
        });
        if (synced) final_.insert(survey.completed.begin(), survey.completed.end());
        returned_.clear();
    }

    /// Attempts that were seen to begin and not found without an intent.
    std::size_t invocations() const { return invoked_.size(); }
    int count(Breach kind) const { return counts_.at(static_cast<std::size_t>(kind)); }
    const std::array<int, breaches>& counts() const { return counts_; }
    const std::vector<std::string>& details() const { return details_; }
    std::size_t acknowledged_events() const { return acknowledged_.size() + lost_.size(); }

    static const char* word(Breach kind) {
        static constexpr std::array words = {
            "acknowledged events lost", "finished steps begun again", "calls without an intent",
            "effects repeated",         "deeds after a failure",      "instances unfinished",
            "databases damaged"};
        return words.at(static_cast<std::size_t>(kind));
    }

  private:
    void settle(const std::string& instance) {
        const auto from = returned_.lower_bound({instance, ""});
        auto to = from;
        for (; to != returned_.end() && to->first == instance; ++to) final_.insert(*to);
        returned_.erase(from, to);
    }

    std::set<std::string> acknowledged_;
    std::set<std::string> lost_;  // acknowledged, and gone
    std::set<std::pair<Step, int>> invoked_;
    std::set<Step> returned_;  // in this life, perhaps not durable yet
    std::set<Step> final_;     // finished for certain
    bool store_failed_ = false;
    std::array<int, breaches> counts_{};
    std::vector<std::string> details_;
};

}  // namespace steplog::testing
