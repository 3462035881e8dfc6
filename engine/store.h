// The store's interface: every way in which durable state changes, each one atomic. The engine, the
// commands and the tests speak to a database only through this. A method hands a change in and
// returns a future; when the future is ready, the change is on the disk (synced) or has not
// happened. Any thread may call any method. Nothing here assumes one process: a worker is known by
// owner and epoch, and the store's own clock decides what is due.
#pragma once

#include <functional>
#include <future>
#include <memory>
#include <stop_token>

#include "engine/errors.h"
#include "engine/flow.h"
#include "engine/limits.h"
#include "engine/orders.h"
#include "engine/schedule.h"
#include "engine/types.h"

namespace SQLite {
class Database;
}

namespace steplog {

/// A change of the program's own tables, "app_…", in a store that can hold some: what
/// Context::transact says holds for it.
using Change = std::function<Json(SQLite::Database&)>;

/// A provider's message for the inbox.
struct NewEvent {
    std::string source;   // "stripe"
    std::string id;       // the provider's id; (source, id) folds deliveries
    std::string type;     // "" when it is not known
    std::string subject;  // the customer or what stands for one; "" when it is not known
    enum class Disposition { routed, ignored, quarantined } disposition = Disposition::routed;
    std::string reason = {};  // why it is ignored or quarantined
    std::string body = {};    // raw bytes
    bool listed = false;      // not delivered, but read from the provider's list: the bytes differ
};

/// Puts off the start of an instance until nothing more has come for a while. Whoever comes
/// meanwhile, of the same workflow and under the same key, is not started: its input and its
/// version take the place of those of the one that waits, whose id, key and all else stay. What
/// comes after the start begins anew.
struct Debounce {
    std::string key;                        // 1 to 512 characters; kept as a hash only
    Ms period = std::chrono::seconds(10);   // of quiet, before it starts
    Ms timeout = std::chrono::minutes(10);  // it starts so long after the first, whatever comes
};

/// The highest priority of an instance, and with a minus the lowest.
inline constexpr int priority_max = 1000;

/// An instance to be. Its id names it for ever: a second one with the same id is not started unless
/// it is to replace the first. Ids ending in /run:<number> are the store's.
struct NewInstance {
    std::string id;
    std::string workflow;
    int version = newest_version;  // the engine puts the number in its place; a store, which knows
                                   // no programs, takes it for 1
    std::string key = {};          // "": no key
    int key_holders_max = 1;       // holders of the key that it bears, itself counted; the engine
                                   // puts what its workflow allows in its place
    OnStuck on_stuck = OnStuck::keep_key;
    std::optional<std::string> input = {};         // JSON text; absent: the event's body
    Ms delay{0};                                   // due so long after the store's now…
    std::optional<std::int64_t> start_at_ms = {};  // …and not before this time (Unix ms)
    std::optional<Debounce> debounce = {};         // in place of both
    std::optional<Ms> deadline = {};  // more than 0: so long after the store's now it is asked to
                                      // end, deadline_exceeded, unless it has ended
    int priority = 0;                 // of those that are due the highest goes first;
                                      // -priority_max to priority_max
    std::optional<std::int64_t> caused_at_ms = {};  // when its cause came about, by the provider's
                                                    // clock: what is younger than the last restore
                                                    // cannot have run before it
    IdConflict id_conflict = IdConflict::join;      // other than the first of these: only without
    KeyConflict key_conflict = KeyConflict::queue;  // an event, whose instance is its own
    std::string actor = {};   // a person who starts it, for the audit: "uid:1000"; "": nobody's row
    std::string reason = {};  // for the audit
};

/// What a worker holds after a claim: the right (epoch) and all it needs to replay.
struct Claimed {
    std::int64_t seq = 0;
    std::string id;
    std::string workflow;
    int version = 1;
    std::int64_t epoch = 0;
    std::string key;
    OnStuck on_stuck = OnStuck::keep_key;
    int deaths = 0;  // holders that died in a row without progress, the present claim not counted
    bool cancelling = false;  // asked to end, and finished steps can be taken back: nothing else
    std::string gave_up_on;   // the provider for which it was parked for as long as it may be
    std::string turn;         // Limit::detail of the rate at which it was parked and has its turn
    std::int64_t created_at_ms = 0;
    std::optional<std::int64_t> deadline_ms = {};  // Unix ms
    int priority = 0;
    std::optional<std::string> input;  // absent: forgotten
    std::vector<Entry> log;
    std::string damage;  // "" or what does not verify: the instance must not run
};

/// What became of what was handed in. It is durable in any case, now or since before.
struct Accepted {
    bool duplicate =
        false;  // the event (or, without one, the instance) was there already; nothing was written
    bool conflict = false;      // …with another body under the same id
    bool debounced = false;     // nothing was started: `instance` has its input now
    std::int64_t instance = 0;  // seq of the instance, 0 for an event without one
    std::string id = {};  // of that, where it is not the one that was asked for: another run of
                          // its id, or the holder of its key that was joined (duplicate)
    std::string refused = {};        // "" or why nothing was started
    std::optional<Claimed> claimed;  // handed to the caller in the same transaction
};

/// An entry to write.
struct NewEntry {
    std::string step = {};
    EntryKind kind = EntryKind::started;
    int attempt = 0;
    int generation = 0;
    Json data = Json::object();
    std::optional<std::string> payload = {};  // JSON text
};

/// Claims a once key in the transaction of the intent.
struct OnceClaim {
    std::string key;
    std::string step;
    std::string idempotency_key;     // the store appends "/g<n>" after n refusals for good
    std::int64_t lost_since_ms = 0;  // it may have been done since then in a history that a restore
                                     // lost: a key that nobody holds is then inherited, in doubt
    std::optional<std::string> request = {};  // rendered request, stored with the first claim
    bool decided = false;                     // what was inherited in doubt may be attempted again
};

/// What became of a once key. Only `granted` wrote the entries that came with the claim.
struct OnceVerdict {
    enum class Kind {
        granted,    // ours; the intent is written
        adopted,    // finished before by another: `result` holds what it recorded
        busy,       // another instance is at it: this one now waits and must suspend
        inherited,  // ours now, but an attempt of a former owner is in doubt: decide, then claim
                    // again as decided; until then every claim of ours is told so
        damaged     // what is stored of it is not what was written: nothing may be made of it
    } kind = Kind::granted;
    std::string idempotency_key;
    std::optional<std::string> request;  // as stored by the first claim
    std::optional<std::string> result;
    std::int64_t first_attempt_at_ms = 0;
    std::string instance_id;  // whose attempt or result it is
};

/// Ends a claim of a once key.
struct OnceSettle {
    std::string key;
    bool completed = false;  // true: `result` is recorded for ever; false: refused, free again
    bool for_good = false;   // refused for good: the next attempt needs another idempotency key
    std::optional<std::string> result = {};
};

/// Brings something outside to a version (Context::update). With the intent: only if no newer one
/// was, or may have been, brought about, and while nobody else is at it. With an outcome: what
/// became of the attempt.
struct UpdateClaim {
    std::string entity;  // 1 to 512 characters; kept as a keyed hash only
    std::int64_t version = 0;
    bool refused = false;  // the attempt that ends has for certain brought nothing about
};
/// Characters of UpdateClaim::entity.
inline constexpr std::size_t entity_length_max = 512;

/// Takes a signal or, when none has arrived, waits for one.
struct AwaitSignal {
    std::string wait;                      // the wait's own name in the log
    std::string signal;                    // of this name
    bool first_only = false;               // every wait gets the first one that ever arrived
    bool begun = false;                    // that it waits stands in the log
    std::optional<std::int64_t> until_ms;  // absent: for as long as it takes
};

/// What became of a wait for a signal.
struct Awaited {
    enum class Kind { taken, timed_out, waiting } kind = Kind::waiting;
    std::optional<std::string> payload;  // JSON text; absent: forgotten
};

/// Starts an instance as a child of the one that advances. An instance of that id which exists
/// already is joined: it is nobody's child by that. Its deadline is the earlier of its own and its
/// parent's.
struct StartChild {
    std::string name;      // of the entry in the parent's log
    NewInstance instance;  // with an input; a key of its own, or none
    OnParentClose on_close = OnParentClose::cancel;
};

/// Takes the end of another instance or, while it has not ended, waits for it.
struct AwaitChild {
    std::string wait;   // the wait's own name in the log
    std::string child;  // id
};

/// How a child ended, as its parent's log has it.
struct ChildEnd {
    State state = State::completed;     // completed, failed or cancelled
    std::string code, error;            // of a failed one
    std::optional<std::string> output;  // JSON text, of a completed one; absent: forgotten
};

/// What an attempt that has ended tells about its provider.
struct ProviderAnswer {
    std::string provider;
    ProviderSign sign = ProviderSign::well;
    std::string code = {};  // of a failure
};

/// A breaker that opened or recovered.
struct BreakerNews {
    std::string provider;
    BreakerChange change = BreakerChange::none;
    std::string code = {};  // of the failure that opened it
    bool our_key = false;   // … because our key was rejected
};

/// A change of state that goes with an advance.
struct Transition {
    State to = State::sleeping;
    std::optional<WaitsFor> waits_for = {};
    std::string waits_detail = {};
    std::optional<Ms> delay = {};                // due so long after the store's now
    std::optional<std::int64_t> due_at_ms = {};  // due at this time; neither: not due by time
    std::string error_code = {};
    std::string error = {};
    std::optional<std::string> output = {};  // JSON text, for completed
    bool release_key = false;                // for stuck: let later ones of the key pass
    bool claim_next = false;  // hand over the next due instance in the same transaction
};

/// The one transition of a running instance: entries for its log, and what changes with them.
struct Advance {
    std::int64_t instance = 0;
    std::int64_t epoch = 0;
    std::vector<NewEntry> entries = {};
    std::string step = {};  // where it stands now; "" keeps what is stored
    int attempt = 0;
    std::optional<OnceClaim> once_claim = {};
    std::optional<OnceSettle> once_settle = {};
    std::optional<UpdateClaim> update = {};
    std::optional<std::string> take_key = {};
    std::optional<AwaitSignal> await_signal = {};  // last of the entries
    std::optional<StartChild> start_child = {};
    std::optional<AwaitChild> await_child = {};
    std::optional<NewInstance> continue_as =
        {};              // with `to` completed: its next run, in this input
                         // and version; all else is the present run's
    Change change = {};  // made first; its result is the payload of the entry that completes
    std::optional<Transition> to = {};
    bool takes_back = false;  // on the way to its end: written although it is asked to end
    bool progress = false;    // a step ended: the count of deaths starts anew
    bool lazy = false;        // joins the next commit, whatever causes it; alone after 1 ms
    std::string calls = {};   // the provider that it is about to call, if its breaker lets it
    bool has_turn = false;    // … and whose rate has let it through
    std::optional<ProviderAnswer> answer = {};  // what the attempt that ends tells of its provider
    std::shared_ptr<const FlowPolicy> flow = {};  // what the program allows; absent: the defaults
};

/// What an advance brought back.
struct Advanced {
    std::optional<OnceVerdict> once;
    bool queued = false;  // take_key: another instance holds it, this one queues and must suspend
    bool cancelled = false;  // it was asked to end and has ended: nothing was begun, suspend
    bool paused = false;     // a person pauses it: nothing was begun, suspend
    std::optional<Awaited> awaited;     // `waiting`: the instance waits now, suspend
    std::optional<ChildEnd> child_end;  // await_child without it: the instance waits now, suspend
    /// The provider's breaker is open, as many of its steps run as may, its rate makes this one
    /// wait, or somebody else updates the same thing: nothing was written, park as one that waits
    /// for `circuit` with this detail.
    std::optional<std::string> held_back;
    /// A newer version was brought about, or may have been, than the update wants: this one.
    /// Nothing was written.
    std::optional<std::int64_t> superseded_by;
    std::vector<Entry> written;  // the entries as stored
    std::optional<Claimed> next;
    std::vector<ScheduleDecision> schedules;  // decided while the next one was looked for
    std::vector<BreakerNews> breakers;        // what the answer, or that look, did to breakers
};

/// Among how many due instances, from either end, priorities are compared.
inline constexpr int claim_window = 100;

/// How much work a worker can take.
struct ClaimRequest {
    int limit = 1;
    int busy = 0;                                 // instances that the caller's threads hold now
    std::shared_ptr<const FlowPolicy> flow = {};  // what the program allows; absent: the defaults
};

/// What was claimed, and when to ask again.
struct ClaimResult {
    std::vector<Claimed> claimed;
    std::optional<std::int64_t> next_due_ms;  // when to ask again, if nothing wakes us before
    bool solo =
        false;  // a suspected poison waits for (or got) the house to itself: claim nothing else
    std::vector<ScheduleDecision> schedules;  // what was decided about times that have come
    std::vector<BreakerNews> breakers;        // … and which have recovered
};

/// What a renewal found out about the instances that it was asked for.
struct Renewed {
    std::vector<std::int64_t> lost;  // no longer run by this owner: ended, or claimed by another
    std::vector<std::int64_t> asked_to_end;  // renewed, and somebody wants them to end
};

/// The seam between the engine and what keeps its state. Every future fails with StoreError.
class Store {
  public:
    virtual ~Store() = default;

    /// Writes the event, its instance, or both, in one transaction. With `claim` a fresh instance
    /// that may run at once comes back claimed by the caller. What an instance does where its id or
    /// its key is in use, it says itself (IdConflict, KeyConflict).
    virtual std::future<Accepted> accept(std::optional<NewEvent> event,
                                         std::optional<NewInstance> instance, bool claim) = 0;

    /// Takes up to `limit` due instances: those of the highest priority, of those the oldest due.
    /// Where more than claim_window are due, priorities order the claim_window that have been due
    /// longest and as many that have become due last. Never one that a thread of this owner
    /// holds. With a limit above 0 it first decides about the schedules that are due, so that what
    /// they start can be taken at once.
    virtual std::future<ClaimResult> claim(ClaimRequest request) = 0;

    /// Fails with StoreError::fenced when the claim (epoch) is no longer valid, and as write() does
    /// where a change comes with it: then nothing of the advance is written.
    virtual std::future<Advanced> advance(Advance advance) = 0;

    /// Extends the leases of these running instances of this owner, and says which of them it does
    /// not run any more and which were asked to end.
    virtual std::future<Renewed> renew(std::vector<std::int64_t> instances) = 0;

    /// Puts stuck instances, and those sleeping between attempts, back to work: a `resumed` entry,
    /// an audit row and the new state in one transaction. Everything else is skipped with a reason.
    virtual std::future<Resumed> resume(ResumeRequest request) = 0;

    /// Ends instances: a `cancelled` entry, an audit row and the new state in one transaction; what
    /// queued for the key goes on, once keys are let go. A running one is only asked to, in one
    /// transaction with the audit row: the outcome of what it is at is still recorded, then it ends
    /// in place of whatever it would begin or wait for next, or at its next claim; if its function
    /// returns first, it ends as it would have. So does an instance whose deadline has passed, by
    /// itself: what waits for a time, a signal, a child or a provider at that moment, what runs
    /// before it begins anything more, what is queued or stuck when it would go on. One with a
    /// finished step that can be taken back (its entry says so) is asked to end too, and made due:
    /// its function leaves before it begins anything, undoes, and ends. What has ended is skipped
    /// with a reason.
    virtual std::future<Cancelled> cancel(CancelRequest request) = 0;

    /// Records a step as finished with a given result (a `skipped` entry), or as failed for good,
    /// with an audit row, and puts the instance back to work, in one transaction. A once key that
    /// it holds for the step is settled the same way. Only for a step that it has tried, and only
    /// while it is stuck or sleeps between attempts; refused otherwise.
    virtual std::future<StepDecided> decide(StepDecision decision) = 0;

    /// Writes a signal into the log of an unfinished instance, and wakes it where it waits for one
    /// of that name, in one transaction with an audit row where a person sent it. What arrives
    /// before it is waited for is kept.
    virtual std::future<Signalled> signal(SignalRequest request) = 0;

    /// What an instance has published, durable by then. Changes nothing.
    virtual std::future<Published> published(std::string instance) = 0;

    /// Puts instances under another version: a `moved` entry, an audit row and the new version in
    /// one transaction. One that is stuck because its version was missing goes on under it; every
    /// other stands where it stood. What runs, has ended, or is at that version is skipped with a
    /// reason.
    virtual std::future<Moved> move(MoveRequest request) = 0;

    /// Does what OperateRequest::Kind says, to each of the ids in turn, in one transaction with an
    /// audit row for each; what stands otherwise than the kind wants is skipped with a reason that
    /// says what to do. Fails with StoreError::constraint when the operation itself is not valid.
    virtual std::future<Operated> operate(OperateRequest operation) = 0;

    /// Deletes finished instances with their log and payloads, and inbox rows whose instance is
    /// gone. What a person asked for is audited in the same transaction. Once keys stay.
    virtual std::future<Purged> purge(PurgeRequest request) = 0;

    /// Forgets a customer, in one transaction with an audit row: payloads are erased, data keys
    /// destroyed, and ids, keys and once keys become keyed hashes that still fold what is delivered
    /// again. Log, chains and counts stay. Nothing happens while an instance of theirs is
    /// unfinished. Old bytes are out of the files only after a sweep.
    virtual std::future<Forgotten> forget(ForgetRequest request) = 0;

    /// Moves the write-ahead log into the database and empties it. False when a reader holds it
    /// back: try again. With `rewrite` the whole database is written anew before, because unused
    /// parts of its pages can hold copies of rows that were moved: that takes seconds for each GiB,
    /// and all other writes wait.
    virtual std::future<bool> sweep(bool rewrite) = 0;

    /// Wraps some of the data keys that an older master key wraps with the first one, with an audit
    /// row; call it until none is left. Fails with StoreError::constraint when nothing is encrypted
    /// here.
    virtual std::future<Rotated> rotate_keys(RotateRequest request) = 0;

    /// Makes these the schedules of the database: new ones begin with their next time, changed ones
    /// go on under the new definition, others are deleted; what a person paused stays paused. What
    /// came due while no server ran is still to be decided afterwards. Fails with
    /// StoreError::constraint when one is not valid: then nothing is written.
    virtual std::future<void> define_schedules(std::vector<Schedule> schedules) = 0;

    /// Pauses, unpauses or triggers a schedule, with an audit row in the same transaction.
    virtual std::future<ScheduleChanged> change_schedule(ScheduleChange change) = 0;

    /// Whether programs may keep tables of their own here, and change them in its transactions.
    virtual bool has_tables() const { return false; }

    /// Makes a change of those tables and returns its result as JSON text. Fails with ChangeThrew,
    /// which carries what the change threw or a ChangeRefused; with StoreError::constraint where
    /// there are none.
    virtual std::future<std::string> write(Change change);

    /// Pauses or unpauses a provider, with an audit row in the same transaction.
    virtual std::future<ProviderChanged> change_provider(ProviderChange change) = 0;

    /// Commits whatever was handed in lazily; returns when it is durable.
    virtual void flush() = 0;

    enum class Health { ok, full, failed };
    virtual Health health() const = 0;

    /// After StoreError::full: waits a moment for room. False when it is no use to try again now.
    virtual bool await_room(std::stop_token stop) = 0;
};

}  // namespace steplog
