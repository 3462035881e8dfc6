// What a workflow function is given: the way to run steps whose results are kept. A workflow is
// called again from the top each time it continues; finished steps answer from the log. The context
// belongs to one call of the function on one thread.
#pragma once

#include <algorithm>
#include <concepts>
#include <functional>
#include <memory>
#include <stop_token>

#include "engine/clock.h"
#include "engine/errors.h"
#include "engine/retry.h"
#include "engine/store.h"

namespace steplog {

/// What a step may return: a value with to_json and from_json (nlohmann/json), or void.
template <class T>
concept StepResult = std::is_void_v<T> ||
    (std::default_initializable<T>&& requires(Json json, const T value) {
        {Json(value)};
        { json.get<T>() } -> std::same_as<T>;
    });

/// One try of a step, as its effect sees it.
struct Attempt {
    int number = 1;  // counts from 1 over the life of the instance
    int generation = 0;
    std::string idempotency_key;  // the same for all attempts of one generation
    Json request;                 // StepOptions::request as it was stored at the first attempt
    std::string instance_id;
    Ms timeout{0};  // how long this attempt may take
    // Requested when it should end soon, with RetryableError: the server must go, somebody wants
    // the instance to end, or its lease is lost and what it returns counts for nothing.
    std::stop_token stop;
    // …but not because somebody wants the instance to end: for calls that are worth hearing out.
    std::stop_token shutdown;
    std::function<void()> on_heartbeat = {};  // what heartbeat() does

    /// Says that the attempt lives: renews the instance's lease and learns whether the attempt
    /// should end (`stop`). For effects that take long: costs next to nothing where the lease was
    /// renewed a moment ago, else a commit. Any thread; returns however the store is.
    void heartbeat() const {
        if (on_heartbeat) on_heartbeat();
    }
};

/// Asked about an attempt in doubt: did the effect happen? What it returns is adopted as the
/// result. It must change nothing.
using Probe = std::function<std::optional<Json>(const Attempt&)>;

/// Takes back what a finished step did: given a new attempt and the step's result. Must bear being
/// called again, as an effect must; its attempts share one idempotency key. Called when the
/// function has been left: what it captures by reference must outlive that call.
using Undo = std::function<void(const Attempt&, const Json& result)>;

/// What happens to an attempt in doubt that can be neither probed nor repeated under its key.
enum class Repeat { at_least_once, at_most_once };

/// What the engine must know of a step to try it, and to decide about an attempt in doubt.
struct StepOptions {
    std::optional<int> attempts_max = {};
    std::optional<RetryPolicy> retry = {};   // absent: the engine's default
    std::optional<Ms> attempt_timeout = {};  // absent: the engine's default
    std::string provider = {};               // "stripe": for operators and its circuit breaker
    Repeat repeat = Repeat::at_least_once;
    Ms idempotency_window{0};  // how long the provider honours the key; 0: not at all
    std::string once = {};     // finished by any instance, never repeated by another
    std::optional<Json> once_forgotten =
        {};  // adopted where that result was forgotten since; absent: stuck, result_forgotten
    Json request = nullptr;  // rendered request: stored with the intent, the same for every try
    Probe probe = {};
    Undo undo = {};  // where the instance fails or is cancelled after this step has finished
};

/// What Context::update brings something outside to, and how.
struct UpdateOptions {
    std::string entity;        // what is updated: "plan/cus_1"; 1 to 512 characters, kept as a hash
    std::int64_t version = 0;  // of the state that it is brought to: what grows with every change
                               // of it, for example when the event that tells of it was created
    StepOptions step = {};     // without a once key
};

/// How Context::transact is tried again when what it calls throws.
struct TransactOptions {
    std::optional<int> attempts_max = {};
    std::optional<RetryPolicy> retry = {};  // absent: the engine's default
};

/// One of several steps that run at the same time.
struct ParallelStep {
    std::string name;
    StepOptions options = {};  // without a once key
    std::function<Json(const Attempt&)> effect;
};

/// How one of them ended: with a result, or failed for good.
struct ParallelEnd {
    std::optional<Json> result;
    std::optional<StepFailed> failure;
};

/// How many steps run at once unless it is said.
inline constexpr int concurrency_default = 8;

/// How Context::map treats its items.
struct MapOptions {
    int concurrency = concurrency_default;  // so many items at once, each in a thread
    StepOptions step = {};                  // of each item; without a once key
};

/// Which of several signals of one name a wait gets.
enum class SignalPolicy {
    queue,  // the oldest that no other wait has taken: one each
    first   // the first that ever arrived, however often it is waited for; later ones are ignored
};

/// What Context::wait_for waits for, and how long.
struct WaitOptions {
    std::string signal = {};         // absent: the wait's own name
    std::optional<Ms> timeout = {};  // absent: for as long as it takes
    SignalPolicy policy = SignalPolicy::queue;
};

/// How Context::start_child starts a child.
struct ChildOptions {
    std::string id = {};  // absent: "<this instance's id>/<name>"
    int version = newest_version;
    std::string key = {};  // its own, or none: one that this instance holds it would wait for
    OnStuck on_stuck = OnStuck::keep_key;
    Ms delay{0};
    std::optional<Ms> deadline = {};   // from its start on; its parent's, where that is earlier
    std::optional<int> priority = {};  // absent: its parent's
    OnParentClose on_close = OnParentClose::cancel;  // `await` counts where this one completes
};

/// Turns a callable that returns std::optional<T> into a Probe.
template <class F>
Probe probe(F&& find) {
    return [find = std::forward<F>(find)](const Attempt& attempt) -> std::optional<Json> {
        if (auto found = find(attempt)) return Json(*found);
        return std::nullopt;
    };
}

/// Turns a callable (const T& result, const Attempt&) into an Undo.
template <class T, class F>
Undo undo(F&& take_back) {
    return [take_back = std::forward<F>(take_back)](const Attempt& attempt, const Json& result) {
        take_back(result.get<T>(), attempt);
    };
}

/// Turns a callable (SQLite::Database&) into a Change. It must outlive that.
template <class F>
Change change_of(F& change) {
    return [&change](SQLite::Database& database) {
        if constexpr (std::is_void_v<std::invoke_result_t<F&, SQLite::Database&>>) {
            change(database);
            return Json(nullptr);
        } else {
            return Json(change(database));
        }
    };
}

/// Thrown to leave the function until there is a reason to continue. Not a std::exception, and the
/// context remembers it, so that user code which catches everything cannot lose it.
struct Suspended {};

/// What the engine decides for all steps of all workflows.
struct StepDefaults {
    RetryPolicy retry;
    Ms attempt_timeout = std::chrono::seconds(20);
    std::string idempotency_prefix =
        "steplog";  // keys are <prefix>:<instance id>:<step>[/g<generation>]
};

/// What an instance just did, for logs and metrics. Holds no payload and no personal data.
struct Transitioned {
    std::string instance, workflow, step;
    std::string
        what;  // "started", "completed", "adopted", "superseded", "retried", "failed", "stuck", …
    std::string error_code, error;
    int attempt = 0;
    std::int64_t epoch = 0;
    std::int64_t took_ms = 0;  // of the attempt; of the whole instance for "finished"
};

/// The way in which effects and probes are called: a seam for tests, which count, replace or
/// interrupt them, and for tracing. Called from any thread where steps run at the same time.
class EffectSeam {
  public:
    virtual ~EffectSeam() = default;
    virtual Json call(const std::string& step, const StepOptions& options, const Attempt& attempt,
                      const std::function<Json(const Attempt&)>& effect) = 0;
    virtual std::optional<Json> look(const std::string& step, const StepOptions& options,
                                     const Attempt& attempt) = 0;
};

class Registry;
class Hold;
class Holds;

/// What a context needs of the engine around it. The references outlive it.
struct Surroundings {
    Store* store;  // null: nothing is written, and nothing done that the log does not answer
    const Registry& registry;
    Clock& clock;
    Random& random;
    const StepDefaults& defaults;
    std::function<void(const Transitioned&)> observe = {};
    bool threads = false;  // steps that run at the same time get threads; else one after another
    EffectSeam* effects = nullptr;       // none: called as they are
    std::function<void()> due_now = {};  // something just became due for another worker
    std::stop_token draining = {};       // requested: begin no further step
    std::stop_token ending = {};         // requested: end the running attempt soon
    std::shared_ptr<const FlowPolicy> flow =
        {};                  // what providers are allowed; absent: the defaults
    Holds* holds = nullptr;  // where the engine finds what runs; none: it is not found
    std::function<void(Hold&)> heartbeat = {};  // an attempt says that it lives
    Limits limits = {};
};

/// Tells of breakers that opened or recovered: "breaker_opened", "breaker_opened_again" and
/// "breaker_closed", with "provider:<name>" in an instance's place.
void tell_breakers(const Surroundings& surroundings, const std::vector<BreakerNews>& news);

/// One call of a workflow's function: the steps of its instance, and all else that must be the same
/// when the function is called again.
class Context {
  public:
    Context(const Surroundings& surroundings, Claimed claimed);
    ~Context();
    Context(const Context&) = delete;
    Context& operator=(const Context&) = delete;

    const std::string& instance_id() const { return claimed_.id; }
    const std::string& key() const { return claimed_.key; }
    std::int64_t created_at_ms() const { return claimed_.created_at_ms; }
    /// When it must have ended (Unix ms), where it was started with a deadline.
    std::optional<std::int64_t> deadline_ms() const { return claimed_.deadline_ms; }

    /// The wall clock (Unix ms), 64 random bits, and a random UUID (version 4, RFC 4122): drawn
    /// when the call is first reached, and the same in every later call of the function. Durable
    /// before anything that this instance does next, without a commit of its own. Told apart by
    /// their order among calls of their kind; one that new code puts before others needs a name,
    /// unique among the instance's steps. Not to be called inside a step.
    std::int64_t now_ms(std::string_view name = {});
    std::uint64_t random(std::string_view name = {});
    std::string uuid(std::string_view name = {});

    /// Tells the outside how far it has come: the last value under each name is shown by
    /// workflow-inspect, and asked for by Engine::published. Durable with whatever this instance
    /// writes next, without a commit of its own. A name may be published again and again; a later
    /// call of the function does not publish anew what was published before, by order among those
    /// of its name. `name` has 1 to 255 characters and is apart from those of steps; `value` is at
    /// most Limits::published_bytes_max as text. Not to be called inside a step.
    void publish(std::string_view name, const Json& value);

    /// How often a person has resumed this instance, and how many whole days it has existed: a
    /// number that grows whenever what was read before may be out of date. Not recorded: use it
    /// only to decide whether to look again, in a step of another name.
    int continuations() const;

    /// True when the step has a stored result: calling it will answer from the log.
    bool finished(std::string_view step) const;

    /// Runs `effect` until it has a result, and keeps that. The name is unique within the instance.
    /// On return the result is recorded (durable before anything else that this instance does).
    /// Throws StepFailed when the effect threw PermanentError.
    template <class F>
    requires std::invocable<F, const Attempt&>
    auto step(std::string_view name, const StepOptions& options, F&& effect) {
        using T = std::invoke_result_t<F, const Attempt&>;
        static_assert(
            StepResult<T>,
            "a step's result must convert to and from JSON: give its type to_json and from_json");
        if constexpr (std::is_void_v<T>) {
            step_json(name, options, [&](const Attempt& attempt) {
                effect(attempt);
                return Json(nullptr);
            });
        } else {
            return decode<T>(name, step_json(name, options, [&](const Attempt& attempt) {
                                 return Json(effect(attempt));
                             }));
        }
    }
    template <class F>
    auto step(std::string_view name, F&& effect) {
        return step(name, StepOptions{}, std::forward<F>(effect));
    }

    /// A step that brings something outside to the state that an event, say, tells of, and never
    /// back to an older one: where a newer version was brought about before, or may have been, by
    /// whichever instance, nothing is called, and nothing (for void: false) returned; that is
    /// recorded, and the same in every later call. Attempts for one entity are made one at a time,
    /// whoever makes them; one that is refused for certain counts as not made. Of equal versions
    /// each is applied. Throws and is recorded as step() does otherwise.
    template <class F>
    requires std::invocable<F, const Attempt&>
    auto update(std::string_view name, const UpdateOptions& options, F&& effect) {
        using T = std::invoke_result_t<F, const Attempt&>;
        static_assert(
            StepResult<T>,
            "a step's result must convert to and from JSON: give its type to_json and from_json");
        if constexpr (std::is_void_v<T>) {
            return update_json(name, options,
                               [&](const Attempt& attempt) {
                                   effect(attempt);
                                   return Json(nullptr);
                               })
                .has_value();
        } else {
            const std::optional<Json> result =
                update_json(name, options, [&](const Attempt& a) { return Json(effect(a)); });
            return result ? std::optional<T>(decode<T>(name, *result)) : std::optional<T>();
        }
    }

    /// A step that changes the program's own tables, in the transaction that also records it: what
    /// it wrote and that it is finished become durable together or not at all, so it happens
    /// exactly once and needs no idempotency key. `change(SQLite::Database&)` runs on the store's
    /// writer while every other write waits, within 50 ms (SqliteOptions::change_limit), and can be
    /// called again: it may have no other effect. Its tables, indexes, triggers and views are named
    /// "app_…"; a table of the store's, PRAGMA, ATTACH, temporary tables and whatever begins or
    /// ends a transaction are refused, and make the instance stuck (change_refused), as does a
    /// store that holds no such tables. Throws as step() does for what `change` throws. A commit of
    /// its own.
    template <class F>
    requires std::invocable<F, SQLite::Database&>
    auto transact(std::string_view name, const TransactOptions& options, F&& change) {
        using T = std::invoke_result_t<F, SQLite::Database&>;
        static_assert(
            StepResult<T>,
            "a change's result must convert to and from JSON: give its type to_json and from_json");
        const Json result = transact_json(name, options, change_of(change));
        if constexpr (!std::is_void_v<T>) return decode<T>(name, result);
    }
    template <class F>
    auto transact(std::string_view name, F&& change) {
        return transact(name, TransactOptions{}, std::forward<F>(change));
    }

    /// Runs steps at the same time, at most `concurrency` of them, and returns how each ended, in
    /// their order. Each is a step like any other, with a name, attempts and a checkpoint of its
    /// own: what is finished never runs again, and one that has to wait for its next attempt keeps
    /// none of the others from being finished first. Their effects run in threads of their own and
    /// must not touch this context. `Parallel` and `map` are the typed forms.
    std::vector<ParallelEnd> run_parallel(std::vector<ParallelStep> steps,
                                          int concurrency = concurrency_default);

    /// Calls `effect(item, attempt)` for every item, some at the same time, each as a step named
    /// "<name>/<key(item)>", and returns the results in the items' order. When all have ended it
    /// throws the first StepFailed, in that order.
    template <class Items, class Key, class F>
    auto map(std::string_view name, const Items& items, const Key& key, const F& effect,
             const MapOptions& options = {}) {
        using T = std::invoke_result_t<F, const typename Items::value_type&, const Attempt&>;
        static_assert(StepResult<T> && !std::is_void_v<T>,
                      "what map calls must return something that converts to and from JSON");
        std::vector<ParallelStep> steps;
        for (const auto& item : items)
            steps.push_back({std::string(name) + "/" + std::string(key(item)), options.step,
                             [&](const Attempt& attempt) { return Json(effect(item, attempt)); }});
        std::vector<T> results;
        for (const ParallelEnd& end : run_parallel(steps, options.concurrency)) {
            if (end.failure) throw *end.failure;
            results.push_back(decode<T>(steps[results.size()].name, *end.result));
        }
        return results;
    }

    /// Lets the instance sleep, holding no thread, and goes on when the time has come by the wall
    /// clock, never before. The wake time is durable: a restart, a deploy or another duration in
    /// the code change nothing about a sleep that has begun. What lies in the past does not sleep.
    /// `name` is unique among the instance's steps and sleeps. Not to be called inside a step.
    void sleep_for(std::string_view name, Ms duration);
    void sleep_until(std::string_view name, std::int64_t at_ms);

    /// Waits, holding no thread, for a signal (Engine::signal), and returns what it brought;
    /// nothing when the time-out has passed first. A signal that arrived before is taken at once.
    /// What was taken is recorded, and so is the end of the time-out when the wait begins. `name`
    /// is unique among the instance's steps, sleeps and waits: a loop puts a number into it and
    /// names the signal in the options. Not to be called inside a step.
    template <StepResult T = Json>
    std::optional<T> wait_for(std::string_view name, const WaitOptions& options = {}) {
        const std::optional<Json> signal = wait_for_json(name, options);
        if (!signal) return std::nullopt;
        return decode<T>(name, *signal);
    }

    /// Starts another workflow as a child, in one transaction with the entry that says so, and
    /// returns its id. An instance of that id which exists already is joined instead. `name` is
    /// unique among the instance's steps, sleeps, waits and children.
    std::string start_child(std::string_view name, const std::string& workflow,
                            const Json& input = Json::object(), const ChildOptions& options = {});

    /// Waits, holding no thread, until the child that was started under this name has ended, and
    /// returns its output. Throws ChildFailed when it failed or was cancelled.
    template <StepResult T = Json>
    T await_child(std::string_view name) {
        const Json output = await_child_json(name);
        if constexpr (!std::is_void_v<T>) return decode<T>(name, output);
    }

    /// A stored result as the code wants it; makes the instance stuck where it does not convert.
    template <class T>
    T decode(std::string_view name, const Json& stored) {
        try {
            return stored.get<T>();
        } catch (const Json::exception& error) {
            undecodable(name, stored, error.what());
        }
    }

    /// For code that is changed while instances are in flight, without a version of its own:
    /// `if (ctx.patched("vat")) …new… else …old…`. True for an instance that comes here for the
    /// first time under code that asks this: that is recorded, durable before anything that
    /// follows, and true from then on. False, from then on as well, for one whose log shows that it
    /// had gone past this place before. `id` has 1 to 255 characters and is one patch of the
    /// workflow, however often it is asked for; a loop that may meet it half way puts what tells
    /// its rounds apart into it. Not to be called inside a step.
    bool patched(std::string_view id);

    /// Takes another key once it is known, letting go of the present one: one transaction, then
    /// this instance runs only when no other unfinished one holds the key, in order of taking.
    void take_key(const std::string& key);

    /// Ends this run and begins the next one with this input, in one transaction, for workflows
    /// that go on without end: the next run has a log of its own, and its steps have their names
    /// free again. It is reached under the same id, holds the key, and has the deadline, the
    /// priority, the parent and the unfinished children of this one, and the signals that nobody
    /// has taken; it runs under the newest version that this program has. Children to be awaited
    /// are awaited first; nothing is taken back. Not to be called inside a step. Does not return.
    [[noreturn]] void continue_as_new(const Json& input);
    /// Which run this is: 1, 2, … instance_id() of a later one ends in "/run:<number>".
    int run() const;

    /// Makes the instance stuck with a code and a sentence for a support person. Does not return.
    [[noreturn]] void stuck(const std::string& code, const std::string& message);

  private:
    friend class Worker;
    class StepRun;
    class ParallelRun;
    struct Replay;  // the log folded by step, and what this call of the function has seen

    // What steps, sleeps, waits and children are known by: suspends or makes stuck where the name
    // is no good. `as` is the kind of the first entry that each of them writes.
    std::string asked_for(std::string_view name, EntryKind as);
    void require_room_for(const std::string& step);
    void require_size(const std::string& what, std::size_t bytes, std::size_t bytes_max,
                      const char* name);
    void warn_near_limit(const std::string& message);
    Json call_effect(const std::string& step, const StepOptions& options, const Attempt& attempt,
                     const std::function<Json(const Attempt&)>& effect) const;
    // The result in the log, or nothing: then the step has to be run.
    std::optional<Json> stored_result(const std::string& step);
    void remember_undo(const std::string& step, const StepOptions& options, const Json& result);
    void undo_finished_steps();
    void leave_if_cancelling();
    bool is_cancelling() const;
    Json step_json(std::string_view name, const StepOptions& options,
                   const std::function<Json(const Attempt&)>& effect);
    std::optional<Json> update_json(std::string_view name, const UpdateOptions& options,
                                    const std::function<Json(const Attempt&)>& effect);
    Json transact_json(std::string_view name, const TransactOptions& options, const Change& change);
    Json recorded(const char* kind, std::string_view name, const std::function<Json()>& draw);
    std::optional<Json> wait_for_json(std::string_view name, const WaitOptions& options);
    Json signal_of(std::string_view name, const std::optional<std::string>& payload);
    Json await_child_json(std::string_view name);
    void await_children();
    [[noreturn]] void undecodable(std::string_view name, const Json& stored,
                                  const std::string& why);

    // Durability: an outcome is handed in at once and joins the commit of whatever comes next.
    void hand_in(Advance outcome);
    void settle_handed_in();
    Advanced commit(Advance advance);
    void prepare(Advance& advance);
    void wait_or_abandon(const StoreError& error);

    // Leaving the function: with a transition, as the store has arranged, or because it is no
    // longer ours.
    [[noreturn]] void suspend(Advance with);
    [[noreturn]] void leave_as_stored();
    [[noreturn]] void abandon();
    void stay_suspended() const;
    void begin_no_more_if_draining();
    [[noreturn]] void leave_paused();
    [[noreturn]] void leave_pending();
    bool may_release_key() const;

    void observe(const std::string& step, const char* what, int attempt,
                 const std::string& code = {}, const std::string& error = {},
                 std::int64_t took_ms = 0) const;

    const Surroundings& surroundings_;
    Claimed claimed_;
    std::unique_ptr<Replay> replay_;
    std::shared_ptr<Hold> hold_;
};

}  // namespace steplog
