// One simulation: the real engine on the real store over a disk that forgets, a world outside, and
// a script of what befalls them, all in one thread and a function of the seed alone. After each act
// the database is compared with the reference; at the end everything must have come to its end,
// every effect once. Used by the tests of this room.
#pragma once

#include <string>
#include <vector>

#include "tests/crash/power_cut.h"
#include "tests/model/mistakes.h"

namespace steplog::testing {

enum class ActKind {
    deliver,        // the next errand's event, or an errand started by hand
    deliver_again,  // a known event: as it was, with another body, or in its other form
    keep_event,     // an event that starts nothing
    deliver_purchase,
    work,       // the engine takes some instances
    let_pass,   // true time passes
    reach_due,  // …until something is due
    set_clock,  // the wall clock jumps
    cut_power,  // soon
    kill,       // the process dies between two operations
    restart,    // ends and starts in good order
    take_over,  // within the next effect another life becomes the owner
    stop,       // within the next effect the engine is told to stop
    resume_one,
    resume_all,
    cancel,  // what waits ends now; what runs is asked to, half of the time within an effect
    send,    // a letter to some instance, half of the time within an effect
    move,    // to another version, sometimes one that no program has
    pause,   // an instance or a workflow, or the opposite; half of the time within an effect
    edit,    // another input for one that is stuck
    purge,
    fill_disk,
    fail_disk,  // an operation of the disk fails, and with it the process
    break_provider,
    renew,
    deploy,
    rotate_keys,  // another master key, or the first one; then some of the data keys follow
    sweep,
    change_schedule,  // pauses, unpauses or triggers one
    change_provider,  // pauses or unpauses one
    forget,           // a customer, or whoever one event is about
    look              // an operator looks at everything
};
inline constexpr int act_kinds = static_cast<int>(ActKind::look) + 1;
const char* to_string(ActKind kind);

struct Act {
    ActKind kind;
    std::uint64_t dice;  // what it needs of chance
};

struct Script {
    std::uint64_t seed = 0;
    bool purchase = false;   // provision_customer takes part
    bool encrypted = false;  // from the beginning; a rotation may begin it as well
    bool schedules = false;  // the clock starts errands
    unsigned trouble = 0;    // per mille of calls that go wrong
    int checkpoint_frames = 1000;
    std::vector<Act> acts;
};
Script script_for(std::uint64_t seed);

/// What came of a script.
struct Played {
    std::string kind;  // of the first finding; "": none
    std::vector<std::string> findings;
    std::vector<std::string> story;  // when it was told
    int lives = 0, cuts = 0, take_overs = 0, instances = 0, cancelled = 0, signals = 0, decided = 0,
        operated = 0, forgotten = 0, effects = 0;
    std::int64_t store_calls = 0;
    bool clean() const { return findings.empty(); }
};

/// The machine on which scripts are played one after the other.
class Stage {
  public:
    explicit Stage(Mistake mistake = Mistake::none);

    Played play(const Script& script, bool telling = false);

    /// The script without the acts that its first finding does not need.
    Script shrink(const Script& script, const std::string& kind);

    Mistake mistake() const { return mistake_; }
    const std::string& database() const { return database_; }
    CrashVfs& disk() { return vfs_; }
    const CrashVfs::Image& empty() const { return empty_; }

  private:
    const Mistake mistake_;
    const std::string database_ = "steplog.db";
    CrashVfs vfs_;
    CrashVfs::Image empty_;
};

}  // namespace steplog::testing
