// The step log, read: what an instance's entries say of each of its steps. Pure; used by the
// context during replay and by whoever explains an instance to a person.
#pragma once

#include <map>

#include "engine/store.h"

namespace steplog {

/// One step, folded from its entries in order.
struct StepRecord {
    enum class Status { fresh, started, retried, failed, completed } status = Status::fresh;
    std::optional<std::string> result;   // JSON text, when completed and not forgotten
    std::optional<std::string> request;  // as stored with the first intent
    int number = 0;                      // attempts begun over the life of the instance
    int attempts = 0;    // attempts used up since the last resume; interrupted ones are none
    int generation = 0;  // of the idempotency key for the next attempt
    std::int64_t key_since_ms = 0;     // first attempt under the present generation
    std::int64_t trying_since_ms = 0;  // first attempt since the last resume; 0: none yet
    std::int64_t retry_at_ms = 0;      // the next attempt's time, when it was put off
    bool in_doubt = false;             // an attempt's effect may have happened
    bool remembered = false;           // …and the provider stored its answer under the key
    bool superseded = false;           // completed without a call: what it brings is out of date
    bool decided = false;              // a person said: repeat it although it is in doubt
    std::int64_t lost_since_ms = 0;    // it may have run since then, in a history that a restore
                                       // lost, and was not begun since; 0: not so
    std::string code, error;           // of the last outcome

    void apply(const Entry& entry);
    /// A restore: whatever is not finished here may be finished in the history that was lost.
    void lose(std::int64_t since_ms);
    /// The instance has another input: what it asks for next may be something else.
    void ask_anew();

  private:
    bool doubt_before_ = false;
};

/// A wait for a signal, folded from its entries.
struct WaitRecord {
    std::string signal;  // that it waits for; "" where it did not have to wait
    bool timed_out = false;
    std::int64_t taken = 0;                // the number of the signal's entry; 0: none
    std::optional<std::int64_t> until_ms;  // as the log has it, whatever the code says now
};

/// A child that was started.
struct ChildRecord {
    std::string id, workflow;
    bool awaited_at_the_end = false;  // OnParentClose::await
};

/// How a child ended, as its parent's log has it.
struct ChildEndRecord {
    std::string ended;  // a state
    std::string code, error;
    std::optional<std::string> output;  // JSON text; absent: none or forgotten
};

class StepLog {
  public:
    std::map<std::string, StepRecord, std::less<>> steps;
    std::map<std::string, std::int64_t, std::less<>> timers;  // sleeps, with their wake times
    std::map<std::string, WaitRecord, std::less<>> waits;
    std::map<std::int64_t, std::optional<std::string>> signals;  // payloads by number of the entry
    std::map<std::string, ChildRecord, std::less<>> children;    // by the name of the start
    std::map<std::string, ChildEndRecord, std::less<>> child_ends;  // by the child's id
    std::map<std::string, Json, std::less<>> recorded;              // values by name
    // What the function has asked for, by name, with the number of the first entry about it.
    std::map<std::string, std::int64_t, std::less<>> begun;
    std::map<std::string, std::int64_t, std::less<>> keys;     // that it took
    std::map<std::string, int, std::less<>> published;         // how often, by name
    std::map<std::string, std::int64_t, std::less<>> patches;  // that it met, by id
    int resumes = 0;
    std::int64_t resumed_at = 0;  // number of the last such entry; 0: never
    int failures = 0;             // of the function itself, outside any step, since the last resume
    std::int64_t failing_since_ms = 0;

    explicit StepLog(const std::vector<Entry>& entries);
    StepLog() = default;
    void apply(const Entry& entry);
    /// The step's record, a new one where it was never begun.
    StepRecord& step(const std::string& name);

  private:
    void apply_signal(const Entry& entry);

    std::optional<std::int64_t> lost_since_ms_;
};

/// The entry that says that the instance met a patch of its workflow (Context::patched).
NewEntry patch_entry(const std::string& id);

/// The key of a step's attempts: a pure function of instance, step and generation, at most 255
/// characters (Stripe's limit; Resend's is 256). Long ids are shortened to a digest.
std::string idempotency_key(const std::string& prefix, const std::string& instance_id,
                            const std::string& step, int generation);
/// The same for a once key, whichever instance uses it.
std::string once_idempotency_key(const std::string& prefix, const std::string& once_key);

}  // namespace steplog
