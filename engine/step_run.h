// One call of Context::step, from intent to outcome: decides what an attempt in doubt means, makes
// the intent durable, calls the effect, and writes what became of it. Used by the context only;
// lives on the stack of one call.
#pragma once

#include "engine/replay.h"

namespace steplog {

class Context::StepRun {
  public:
    /// With `update` it brings something to a version, or is superseded: then begin() has the
    /// result null, and the step's record says so.
    StepRun(Context& context, std::string name, const StepOptions& options,
            std::optional<UpdateClaim> update = {});

    /// The three parts of it: up to the durable intent (a result where none is needed), then the
    /// effect with this attempt, then the outcome that `effect` returns or throws.
    std::optional<Json> begin();
    const Attempt& attempt() const { return attempt_; }
    Json end(const std::function<Json(const Attempt&)>& effect);

    /// All of it in one transaction with a change of the program's tables: the intent, the change,
    /// and the outcome, or only the intent and how it failed.
    Json transact(const Change& change);

    /// When the next attempt may be made (Unix ms); what lies in the past: now.
    std::int64_t retry_at_ms() const { return record_.retry_at_ms; }

  private:
    using Details = RetryableError::Details;

    // Decides what happens to an attempt whose effect may have happened: its result, or nothing
    // when the same step may be tried again. Suspends or makes stuck otherwise.
    std::optional<Json> resolve_doubt(std::int64_t key_since_ms);
    // Looking is a call as well: where its provider's breaker is open, the instance is parked.
    void ask_breaker();
    [[noreturn]] void park(const std::string& detail);
    std::int64_t give_up_at_ms() const;
    std::string waited_in_vain(const std::string& provider) const;
    bool has_turn() const;
    void call_is_begun();
    std::optional<Json> look();
    void next_generation();
    // In doubt or not: what is out of date by now need neither be looked up nor made.
    std::optional<Json> ask_version();
    Json be_superseded(std::int64_t by);

    // Makes the attempt durable before its effect. Returns a result when the once key has one.
    std::optional<Json> write_intent();
    Advance intent() const;
    void use(const OnceVerdict& verdict);

    template <class Callable>
    auto call(const Callable& callable);
    Json try_once(const std::function<Json()>& effect);
    Json make(const Change& change);
    void add_intent(Advance& outcome);

    Json complete(Json result, Json data);
    [[noreturn]] void try_again(const std::string& message, const Details& details);
    Transition after_retry(const std::string& message, const Details& details, bool interrupted);
    [[noreturn]] void fail(const PermanentError& error);
    [[noreturn]] void stuck(const std::string& code, const std::string& message);
    Transition stuck_for(const std::string& code, const std::string& message) const;

    std::int64_t now() const { return context_.surroundings_.clock.now_ms(); }
    const std::string& prefix() const { return context_.surroundings_.defaults.idempotency_prefix; }
    void tells(Advance& outcome, ProviderSign sign, const std::string& code = {},
               const std::string& provider = {}) const;
    void take_back_update(Advance& outcome) const;
    void make_room() const;
    Advance advance() const;
    NewEntry entry(EntryKind kind, Json data) const;

    Context& context_;
    Replay& replay_;
    const std::string name_;
    const StepOptions& options_;
    const std::optional<UpdateClaim> update_;
    RetryPolicy policy_;
    StepRecord& record_;
    Attempt attempt_;
    bool probed_ = false;
    bool may_call_ = false;    // its provider's breaker has been asked
    bool may_update_ = false;  // nothing newer is there, and it is this one's turn
    bool holds_once_;
    std::optional<NewEntry> unwritten_;  // the intent, where it goes with the outcome
    std::int64_t begun_at_ms_;
};

}  // namespace steplog
