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
    // What this call of the function has asked for, by name; the rest of the log is from calls that
    // came further, or from other code.
    std::map<std::string, EntryKind, std::less<>> asked;
    std::set<std::string, std::less<>> ends_awaited;  // of children, by the wait's name in the log
    std::set<std::string, std::less<>> keys_taken;
    std::map<std::string, bool, std::less<>> patches;  // as they were answered
    std::string at;                                    // what it asked for last, by name; "a key"
    struct Difference {
        std::string name, code, what;
    };
    std::vector<Difference> differences;  // between the log and what the code asks for
    std::map<std::string, int> drawn;     // recorded values without a name, by kind
    std::map<std::string, int, std::less<>> published;  // how often by this call, by name
    std::vector<NewEntry> recorded;  // values that go with whatever is written next
    std::vector<Undoable> undoable;  // in the order in which the function asked for them
    std::int64_t written = 0;        // entries that this call has handed in
    bool told_of_long_log = false;
    bool leaves_to_undo = false;  // it was cancelled: what has finished is to be taken back
    bool undoing = false;
    bool in_step = false;
    bool suspended = false;                 // sticks: user code cannot lose it
    bool abandoned = false;                 // the instance is no longer ours to write
    std::optional<Advance> parting;         // how it leaves, when it suspended with a transition
    std::optional<std::int64_t> due_at_ms;  // when it wakes, where the store arranged how it leaves
    std::optional<Advance> handed_in;       // the last outcome, until it is known to be durable
    std::future<Advanced> handed_in_result;

    bool has_asked_for(std::string_view name) const {
        return asked.contains(name) || ends_awaited.contains(name);
    }
    /// What earlier calls asked for and this one has not yet, in the order of the log.
    std::vector<std::string> not_asked_for() const;
    /// Whether a person has resumed it since all that was asked for, and its function then wanted
    /// something else first, as it may (Context::continuations), and stands there.
    bool stands_at_another_look() const;
    /// What the log has under this name, where that is not what is asked for under it; else null.
    const char* recorded_otherwise(const std::string& name, EntryKind as) const;
    /// Whether an earlier call has come further than this one is now.
    bool came_further() const;
};

}  // namespace steplog
