// What each change of durable state writes: the bodies of the store's transactions, whatever the
// database. Every function runs on the writer, inside the current batch's transaction, one after
// the other; what it returns is true once that batch is committed. This is the file to keep small:
// few transitions, each whole.
#pragma once

#include <set>

#include "engine/breaker.h"
#include "engine/bucket.h"
#include "engine/clock.h"
#include "engine/once_record.h"
#include "engine/payloads.h"
#include "engine/restore.h"
#include "engine/statements.h"
#include "engine/store.h"

namespace steplog {

class StepLog;

/// The keyed hashes of what an accept brings, made before the writer is reached.
struct BodyHashes {
    Hash event{};
    Hash input{};
};

/// Absent rather than empty: what is not known is NULL in the database.
inline std::optional<std::string> or_null(const std::string& text) {
    return text.empty() ? std::nullopt : std::optional(text);
}

/// What the program allows: the defaults where it does not say.
inline const FlowPolicy& policy_of(const std::shared_ptr<const FlowPolicy>& flow) {
    static const FlowPolicy defaults;
    return flow ? *flow : defaults;
}

/// How a queued instance's row says that it is to be held when its turn comes, and the earliest
/// time that it has beside that; "": none.
bool is_paused_in_line(std::string_view waits_detail);
std::string not_before_in_line(const std::string& waits_detail);
/// The time that a text begins with; 0: none.
std::int64_t time_in_line(const std::string& not_before);

/// What the table signals knows of an instance that has ended; its log goes on telling of them.
void delete_signals(Statements& statements, std::int64_t instance);

/// What is stored of an entry, made ready outside of the transaction.
struct EntryBytes {
    EntryBytes(const NewEntry& entry, const Hash& secret);
    std::string data;
    Hash content;
    std::optional<Hash> payload;
};

struct TransitionsOptions {
    std::string database;  // its name, for messages
    std::vector<MasterKey> keys = {};
    Ms lease = std::chrono::seconds(30);
    /// Makes a change of the program's own tables; only where the store has some.
    std::function<std::string(const Change&)> make_change = {};
};

class Transitions {
  public:
    /// Throws OpenError when the database holds payloads that the keys cannot open.
    Transitions(Connection& connection, Clock& clock, const Hash& payload_hash_key,
                TransitionsOptions options);

    /// The first transaction of an owner: what it takes over, and what that one left open.
    void take_ownership(const std::string& program);

    Accepted accept(const std::optional<NewEvent>& event,
                    const std::optional<NewInstance>& instance, bool claim,
                    const BodyHashes& hashes);
    ClaimResult claim(const ClaimRequest& request);
    /// `ready` has what is stored of each of its entries.
    Advanced advance(const Advance& advance, const std::vector<EntryBytes>& ready);
    /// Writes what an advance has put off: before anything but an advance, and before the end of
    /// each transaction and savepoint.
    void settle();
    /// Drops it, where that was rolled back.
    void forget_unsettled() { open_.reset(); }
    Renewed renew(const std::vector<std::int64_t>& instances);
    Resumed resume(const ResumeRequest& request);
    Cancelled cancel(const CancelRequest& request);
    StepDecided decide(const StepDecision& decision);
    Signalled signal(const SignalRequest& request);
    Published published(const std::string& instance);
    Moved move(const MoveRequest& request);
    Operated operate(const OperateRequest& operation);
    Purged purge(const PurgeRequest& request);
    Forgotten forget(const ForgetRequest& request);
    Rotated rotate_keys(const RotateRequest& request);
    void define_schedules(const std::vector<Schedule>& schedules);
    ScheduleChanged change_schedule(const ScheduleChange& change);
    std::string write(const Change& change) { return options_.make_change(change); }
    ProviderChanged change_provider(const ProviderChange& change);

    /// What the first transaction of this owner found: that the file is a restored backup, and how
    /// many instances were unfinished in it.
    struct Restored {
        Restore restore;
        std::int64_t unfinished = 0;
    };
    const std::optional<Restored>& restored() const { return restored_; }

    /// A clean end of this owner's life.
    void end_ownership();
    /// Whether nobody has taken over the file since this life began.
    bool is_owner();

  private:
    // What an instance's row says while it is changed.
    struct Row {
        std::int64_t seq = 0;
        std::string id;
        std::string key;
        bool holds_key = false;
        std::string step;
        std::int64_t log_length = 0;
        Hash log_hash{};
    };
    // …and while it runs. Mostly an outcome is followed by the intent of the next step in the same
    // transaction: the row is then read once and written once.
    struct Open {
        Row row;
        std::int64_t epoch = 0;
        bool asked_to_end = false;
        bool asked_to_pause = false;
        std::optional<std::int64_t> deadline_ms;
        bool is_changed = false;     // and not yet written:
        std::optional<int> attempt;  // of its step; absent: as it was
        bool progress = false;
    };
    // …and what a person is told of it.
    struct Standing {
        Row row;
        std::string state, waits_for, waits_detail, code, workflow;
        bool living_holder = false;
        bool asked_to_end = false;
        bool is_paused() const { return state == "sleeping" && waits_for == "pause"; }
        /// Of a paused one: what it would be.
        Json place() const;
    };
    struct Due;
    struct ScheduleRow;

    std::int64_t now() const { return clock_.now_ms(); }
    void notice_restore(const BackupMark& mark, const std::string& program);
    Entry record_restore(Row& row, std::int64_t lost_since_ms);
    std::optional<std::int64_t> write_payload(const Row& row,
                                              const std::optional<std::string>& body);
    std::optional<std::string> read_payload(std::optional<std::int64_t> id);
    Entry append(Row& row, const NewEntry& entry);
    Entry append(Row& row, const NewEntry& entry, const EntryBytes& bytes);
    Open open_row(const Advance& advance);
    void write_row(Open& at);

    Accepted insert_instance(const NewInstance& instance, std::int64_t input_payload,
                             const Hash& input_hash, bool claim,
                             std::optional<std::int64_t> deadline_ms,
                             std::optional<std::int64_t> key_place = {});
    std::optional<Accepted> find_debounced(const NewInstance& instance);
    void put_off(const NewInstance& instance, std::int64_t seq);
    void forget_debounce(std::int64_t seq);
    void give_input(const Accepted& waiting, const NewInstance& instance, std::int64_t payload,
                    const Hash& hash);
    std::optional<std::int64_t> deadline_of(const NewInstance& instance) const;
    void note_priority(int priority);
    std::optional<Accepted> resolve_conflicts(NewInstance& wanted, std::string& behind);
    std::optional<Accepted> replace_run(NewInstance& wanted, const std::string& old_id,
                                        std::string& behind);
    std::optional<Accepted> resolve_key_conflict(const NewInstance& wanted,
                                                 const std::string& replaced);
    CancelRequest request_to_replace(const NewInstance& wanted) const;
    void cancel_all_of_key(const std::string& key, CancelRequest request);
    void wait_behind(Accepted& accepted, const std::string& run);
    std::string newest_run(const std::string& id);
    void note_run();
    static void require_may_be_given(const std::string& id);
    std::int64_t seq_of(const std::string& exact_id);
    Row read_row(std::int64_t seq);
    void continue_as_new(Row& row, const NewInstance& next);
    void carry_signals(const Row& from, Row& to);
    std::optional<Accepted> find_event(const NewEvent& event, const Hash& body_hash);
    std::optional<std::int64_t> find_instance(const std::string& id);
    /// Under which name an id stands where it was forgotten; itself where nothing ever was.
    std::string name_it_may_have(const std::string& id) const;
    std::int64_t place_for(const std::string& key, int holders_max);
    int key_holders_max_of(std::int64_t seq);
    std::int64_t draw_ticket();
    void promote_next(const std::string& key);
    bool promote_one(const std::string& key);
    std::int64_t free_place(const std::string& key, std::int64_t holders_max);
    std::vector<Due> read_due(int limit);
    ClaimResult take_due(const ClaimRequest& request);
    bool claim_due(const ClaimRequest& request, ClaimResult& result);
    bool is_due(std::int64_t seq);
    Claimed take(const Due& due);
    Claimed read_whole(const Due& due);
    Claimed look_at(std::int64_t seq);
    bool hold_paused(std::vector<Due>& due);
    void load_log(Claimed& claimed, const Due& due);
    void make_stuck(const Due& due, const std::string& code, const std::string& message);

    OnceVerdict claim_once(Row& row, const OnceClaim& claim);
    OnceVerdict begin_once(Row& row, const OnceClaim& claim,
                           const std::optional<OnceRecord>& refused);
    void take_over_once(Row& row, const OnceClaim& claim, const OnceRecord& known,
                        OnceVerdict& verdict);
    void settle_once(const Row& row, const OnceSettle& settle);
    void let_go_of_once_keys(const Row& row);
    void wake_once_waiters(const std::string& key);
    std::optional<Hash> hash_of(const std::optional<std::string>& payload) const;
    bool holds_once_key(const Row& row);
    bool take_key(Row& row, const std::string& key);
    void start_child(Row& row, const StartChild& start);
    std::optional<ChildEnd> await_child(Row& row, const AwaitChild& wait);
    void leave_family(const Row& row);
    Awaited await_signal(Row& row, const AwaitSignal& wait);
    std::optional<std::string> take_signal(const Row& row, std::int64_t arrived,
                                           std::int64_t taken_by);
    std::optional<std::int64_t> arrived_signal(const Row& row, const AwaitSignal& wait);
    void apply(Row& row, const Transition& to);
    std::string resume_one(std::int64_t seq, const ResumeRequest& request);
    std::string retry_now(Row& row, const std::string& state, const std::string& waits_for,
                          const ResumeRequest& request);
    std::string why_not_decided(const Row& row, const std::string& step);
    void settle_decided_once_key(const Row& row, const StepDecision& decision);
    void put_back_to_work(Row& row);
    std::string move_one(const std::string& id, const MoveRequest& request, Moved& moved);
    std::string operate_on(const std::string& id, const OperateRequest& operation,
                           Operated& operated);
    std::optional<Standing> find_standing(const std::string& id);
    void audit_operation(const OperateRequest& operation, const Standing& at);
    bool is_workflow_paused(const std::string& workflow);
    std::set<std::string> paused_workflows();
    void hold(std::int64_t seq, bool with_its_workflow);
    void let_go_on(std::int64_t seq, const Json& place);
    std::string pause_one(Standing& at, const OperateRequest& operation, Operated& operated);
    std::string unpause_one(Standing& at, const OperateRequest& operation, Operated& operated);
    std::string pause_workflow(const std::string& workflow, const OperateRequest& operation);
    std::string unpause_workflow(const std::string& workflow, const OperateRequest& operation);
    std::string edit(Standing& at, const OperateRequest& operation, Operated& operated);
    std::string fork_one(Standing& at, const OperateRequest& operation, Operated& operated);
    std::string free_fork_id(const std::string& id);
    Row insert_fork(const Standing& at, const Claimed& whole, const std::string& id);
    void copy_log(Row& fresh, const std::vector<Entry>& entries, StepLog& log, std::int64_t before);
    void forget_arrival(const Row& row, std::int64_t arrived);
    int purge_instances(std::int64_t finished_before_ms, int limit);
    void forget_bodies_for(const std::vector<std::int64_t>& instances);
    int purge_events(std::int64_t received_before_ms, int limit);
    void audit(const std::string& actor, const std::string& action, const std::string& target,
               const Json& detail);
    void list_waiting(const ResumeRequest& request, Resumed& resumed);
    void cancel_one(const std::string& id, const CancelRequest& request, Cancelled& cancelled);
    bool can_take_back(const Row& row);
    void end_cancelled(Row& row, Json said);
    void ask_past_deadline(const Row& row, const std::string& state);
    void leave_as_asked(Row& row, const std::string& code = "");
    void end_as_asked(Row& row, const std::string& code = "");

    std::optional<Breaker> read_breaker(const std::string& provider);
    void write_breaker(const std::string& provider, const Breaker& breaker);
    std::int64_t count_parked(const std::string& provider);
    std::optional<std::string> held_back(const Row& row, const Advance& advance);
    bool has_room(LimitOf scope, const std::string& name, int running_max);
    std::int64_t room(LimitOf scope, const std::string& name, const FlowPolicy& flow);
    void take_slot(LimitOf scope, const std::string& name, std::int64_t instance,
                   const std::string& step);
    void give_back_slots(std::int64_t instance);
    void give_back_slots_of_ended_steps(const Row& row, const Advance& advance);
    std::int64_t count_slots(LimitOf scope, const std::string& name);
    void wake_where_room(const ClaimRequest& request);
    std::vector<Limit> parked_for(Limit::Kind kind);
    void wake_parked(const std::string& detail, std::optional<std::int64_t> due_at,
                     std::int64_t count);
    bool park_without_room(Due& due, const ClaimRequest& request);
    Bucket read_bucket(LimitOf scope, const std::string& name);
    void take_turns(LimitOf scope, const std::string& name, const Rate& rate, std::int64_t count);
    void write_bucket(LimitOf scope, const std::string& name, const Rate& rate,
                      const Bucket& bucket);
    bool waits_for_turn(LimitOf scope, const std::string& name, const Rate& rate);
    bool anybody_waits(const std::string& detail);
    std::int64_t turns_of_use(const Limit& limit, const FlowPolicy& flow);
    void give_turns(const ClaimRequest& request);
    std::optional<std::int64_t> next_turn_ms(const ClaimRequest& request);
    void begin_call(const Row& row, const Advance& advance);
    bool may_update(const Advance& advance, Advanced& advanced);
    void begin_update(const Row& row, const Advance& advance);
    void take_back_update(const UpdateClaim& update);
    void hear(const Row& row, const Advance& advance, std::vector<BreakerNews>& news);
    void act_breakers(const std::shared_ptr<const FlowPolicy>& flow,
                      std::vector<BreakerNews>& news);
    std::optional<std::int64_t> next_breaker_due_ms();
    void let_one_try(const std::string& provider);

    std::optional<ScheduleRow> read_schedule(const std::string& name);
    std::optional<std::int64_t> next_schedule_due_ms();
    std::string holder_of(const std::string& key);
    std::set<std::string> names_of_schedules();
    void define_schedule(const Schedule& schedule);
    std::int64_t write_schedule_input(const std::string& name, const std::string& text);
    void set_next(const Schedule& schedule, bool paused, std::optional<std::int64_t> next_at_ms);
    std::vector<ScheduleDecision> decide_schedules();
    void decide(const ScheduleRow& row, const Cron& cron, std::vector<ScheduleDecision>& decisions);
    void note(const ScheduleDecision& decision);
    static std::string id_of(const ScheduleRow& row, const ScheduleDecision& decision,
                             bool triggered);
    void start_scheduled(const ScheduleRow& row, ScheduleDecision& decision, bool triggered);
    void cancel_others(const Schedule& schedule);
    std::string pause(const ScheduleRow& row);
    std::string unpause(const ScheduleRow& row);
    std::string trigger(const ScheduleRow& row, std::string& instance);

    const TransitionsOptions options_;
    Statements statements_;
    Payloads payloads_;
    Clock& clock_;
    const Hash payload_hash_key_;
    const std::int64_t lease_ms_;
    std::int64_t owner_ = 0;
    std::optional<Open> open_;   // what the last advance of this transaction left to the next
    bool any_breaker_ = false;   // there may be rows in breakers: only then are they asked
    bool any_slot_ = false;      // there may be rows in slots
    bool any_rate_ = false;      // there may be rows in rates, or who is parked at one
    bool any_debounce_ = false;  // there may be rows in debounces
    bool any_priority_ = false;  // there may be instances with one
    bool any_run_ = false;       // there may be ids with several runs
    bool any_workflow_paused_ = false;  // there may be rows of paused workflows in meta
    bool anything_forgotten_ = false;   // ids may stand as hashes: look for those too
    std::vector<Restore> restores_;
    std::optional<Restored> restored_;
};

}  // namespace steplog
