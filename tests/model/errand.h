// A workflow that does what its input says, so that a seed can ask for every feature of the engine:
// steps of all kinds, a key taken on the way, refusals for good that are caught or not, code that
// catches too much, functions that throw, names used twice, and a deploy that leaves steps out.
#pragma once

#include "engine/workflow.h"
#include "tests/model/outside.h"

namespace steplog::testing {

/// What a program's life knows: deploys change it.
struct Deployed {
    bool second_version = true;
    bool once_steps = true;  // false: a version of the code that has no such steps
    bool patch = true;       // false: code from before the patch
    std::vector<Schedule> schedules = {};
};

/// An errand as an event brings it.
struct Errand {
    std::string event, id, workflow;
    int version = 1;
    std::string key;
    OnStuck on_stuck = OnStuck::keep_key;
    Ms delay{0};
    std::optional<Debounce> debounce = {};
    std::optional<Ms> deadline = {};
    int priority = 0;
    KeyConflict key_conflict = KeyConflict::queue;  // by hand only
    Json plan;
    std::string body;      // the event's; the plan, or something that is no JSON
    bool by_hand = false;  // started without an event

    NewEvent new_event() const;
    NewInstance new_instance() const;
    /// Null when no step of the plan is named so.
    std::optional<PlannedStep> step(const std::string& name) const;
    /// Whether nobody can ever make it go on once it is stuck with this code.
    bool hopeless(const std::string& code) const;
};

/// The same steps for another run: what may happen only once is another thing there, by this
/// suffix.
Json for_another_run(Json plan, const std::string& suffix);

/// The n-th errand under this seed.
Errand make_errand(std::uint64_t seed, int number);

/// Errands that the clock starts.
std::vector<Schedule> make_schedules(SeededRandom& dice);

/// What an instance is about, whoever started it; nothing when it is no errand.
std::optional<Errand> errand_of(const ReferenceInstance& instance);

void register_errands(Registry& registry, Outside& outside, const Deployed& deployed);

/// Whether its step found that a newer version had been brought about, as its log says.
bool is_superseded(const ReferenceInstance& instance, const std::string& step);
/// What its output must be. Steps in `failed` ended with StepFailed.
Json expected_results(const Errand& errand, const ReferenceInstance& instance);

}  // namespace steplog::testing
