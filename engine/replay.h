// What one call of a workflow function knows and leaves behind. Shared by the context, which fills
// it, and the worker, which acts on it; nobody else includes this.
#pragma once

#include <set>
#include <thread>

#include "engine/context.h"
#include "engine/step_log.h"

namespace steplog {

/// Thrown at an effect that runs beside others and uses the context. Not a std::exception.
struct NestedUse {};

struct Context::Replay {
    // A finished step that can be taken back.
    struct Undoable {
        std::string step;
        StepOptions options;
        Json result;
    };

    const std::thread::id thread = std::this_thread::get_id();  // the only one that may use it
    StepLog log;
    std::set<std::string> asked;       // step names seen in this call
    std::map<std::string, int> drawn;  // recorded values without a name, by kind
    std::vector<NewEntry> recorded;    // values that go with whatever is written next
    std::vector<Undoable> undoable;    // in the order in which the function asked for them
    bool leaves_to_undo = false;       // it was cancelled: what has finished is to be taken back
    bool undoing = false;
    bool in_step = false;
    bool suspended = false;                 // sticks: user code cannot lose it
    bool abandoned = false;                 // the instance is no longer ours to write
    std::optional<Advance> parting;         // how it leaves, when it suspended with a transition
    std::optional<std::int64_t> due_at_ms;  // when it wakes, where the store arranged how it leaves
    std::optional<Advance> handed_in;       // the last outcome, until it is known to be durable
    std::future<Advanced> handed_in_result;
};

}  // namespace steplog
