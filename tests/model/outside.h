// The world outside the engine: true time beside the engine's wall clock, a provider whose effects
// are counted, and the checks that only the provider's side can make: an intent before each effect,
// one idempotency key a generation, nothing before its time, nothing twice. Everything it does is a
// function of the seed, the caller and the number of the call. One thread.
#pragma once

#include <map>
#include <set>

#include "engine/context.h"
#include "tests/model/watch.h"
#include "tests/support/crash_vfs.h"
#include "tests/support/manual_clock.h"

namespace steplog::testing {

/// What the engine's clock shows: true time, and how far it is set wrong.
class WallClock : public Clock {
  public:
    std::int64_t now_ms() const override { return truth.now_ms() + offset_ms; }
    ManualClock truth;
    std::int64_t offset_ms = 0;
};

/// How a step of an errand promises to behave. Spelled as in the errand's input.
enum class StepKind {
    look,        // its effect can be looked up
    keyed,       // the provider honours its idempotency key for a day; at most once
    remembered,  // …and stores its errors under the key; it can be looked up
    once,        // happens once whoever asks, under a key; at most once
    most,        // neither looked up nor keyed: at most once
    least,       // …at least once
    idle,        // has no effect
    sleep,       // is no step: a durable sleep
    state        // brings something that others bring to other versions to its own
};
std::string_view to_string(StepKind);

/// One step of an errand's plan.
struct PlannedStep {
    std::string name;
    StepKind kind = StepKind::idle;
    std::string entity;  // what the effect is about
    std::string key;     // that its instance must hold by then; "": whichever it has
    int refusals = 0;    // the first calls are refused for good
    int deaths = 0;      // the first calls kill the process
    bool big = false;    // its result fills several pages
    std::int64_t sleep_ms = 0;
    std::int64_t version = 0;  // of a state
};
PlannedStep planned_step(const Json& json);

class Outside {
  public:
    Outside(Watch& watch, CrashVfs& vfs, WallClock& clock, std::uint64_t seed)
        : watch_(watch), vfs_(vfs), clock_(clock), seed_(seed) {}

    /// The effect of a step.
    Json call(const Attempt& attempt, const PlannedStep& step);
    /// The probe of a step.
    std::optional<Json> look_up(const Attempt& attempt, const PlannedStep& step);
    /// Counts the calls of an instance's function.
    int function_called(const std::string& instance) { return ++functions_[instance]; }

    /// A person resumed it by its id: a step in doubt may be repeated, and need not wait.
    void decided(const std::string& instance, const PlannedStep* step, bool by_id);
    /// It must not begin before this time of the wall clock.
    void not_before(const std::string& instance, std::int64_t wall_ms) {
        not_before_[instance] = {.wall_ms = wall_ms};
    }

    /// It sleeps for so long from now on, once its log says so and unless it has said so before.
    void about_to_sleep(const std::string& instance, const PlannedStep& step);

    /// What it was told of a patch before this step: as its log says, and never otherwise again.
    void patch_answered(const std::string& instance, const std::string& step, bool in_force);

    /// The wall clock is about to change: whose time has come may have begun.
    void forget_times_reached();

    static Json answer_of(const PlannedStep& step);
    int effects_of(const std::string& entity) const;
    std::size_t effects() const { return effects_.size(); }
    int calls() const { return calls_; }

    /// Per mille of the calls that go wrong in some way.
    unsigned trouble = 0;
    /// Called once while an effect's answer is on its way; whoever calls it takes it away.
    std::function<void()> interlude;

  private:
    struct Memory {
        std::int64_t since_ms = 0;   // true time
        std::int64_t offset_ms = 0;  // of the wall clock then
        bool is_error = false;
    };
    struct Earliest {
        std::int64_t wall_ms = 0;
        // Once its log has this entry: a process that died took what it had not written with it.
        std::string step = {};
        EntryKind kind = EntryKind::retried;
        int attempt = 0;
    };
    using Step = std::pair<std::string, std::string>;  // instance, step

    void check(const Attempt& attempt, const PlannedStep& step, bool is_probe);
    void check_time(const ReferenceInstance& instance);
    void check_key(const Attempt& attempt, const PlannedStep& step, const ReferenceEntry& intent);
    bool remembers(const Attempt& attempt, const PlannedStep& step) const;
    bool replayed(const Attempt& attempt, const PlannedStep& step);
    void happen(const PlannedStep& step, const Attempt& attempt);
    std::int64_t first_intent_ms(const Attempt& attempt, const PlannedStep& step) const;
    void misbehave(const Attempt& attempt, const PlannedStep& step, SeededRandom& dice);
    [[noreturn]] void refuse(const Attempt& attempt, const PlannedStep& step, SeededRandom& dice);
    SeededRandom dice_for(const std::string& what, int number) const;

    Watch& watch_;
    CrashVfs& vfs_;
    WallClock& clock_;
    const std::uint64_t seed_;
    int calls_ = 0;
    std::map<Step, int> called_;
    std::map<std::string, int> functions_;
    std::set<Step> past_the_patch_;       // told that it had gone past the patch before this step
    std::map<std::string, int> effects_;  // by entity
    std::map<std::string, std::int64_t> versions_;  // of states, by entity
    std::map<std::string, int> decisions_;  // by entity: a person allowed so many repetitions
    std::map<std::string, Memory> memory_;  // by idempotency key
    std::map<std::pair<Step, int>, std::string> keys_;  // by step and generation
    std::map<Step, int> deaths_;                        // since the last resume
    std::map<std::string, Earliest> not_before_;        // by instance
};

}  // namespace steplog::testing
