// What a store must contain, as simply as it can be said: a few maps in memory, changed by the same
// operations as the real store and compared with it after each. Knows no SQL, no disk and no
// threads. The watched store drives it; copies are whole. One thread.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "engine/breaker.h"
#include "engine/bucket.h"
#include "engine/digest.h"
#include "engine/store.h"

namespace steplog::testing {

struct ReferenceEntry {
    std::string step;
    EntryKind kind = EntryKind::started;
    int attempt = 0;
    int generation = 0;
    std::int64_t at_ms = 0;
    std::string data;  // JSON text as stored
    std::optional<std::string> payload;
    std::optional<std::int64_t> sealed_by;  // number of the payload's data key
    bool says_the_same(const ReferenceEntry& other) const;
};

struct ReferenceSignal {
    std::string name, dedupe_id;
    std::int64_t arrived = 0;  // number of its entry
    std::int64_t taken = 0;    // of the entry that took it; 0: nobody has
};

struct ReferenceInstance {
    std::int64_t seq = 0;
    std::string id, workflow;
    int version = 1;
    State state = State::pending;
    std::optional<std::int64_t> due_at_ms;
    std::optional<WaitsFor> waits_for;
    std::string waits_detail;
    std::optional<std::int64_t> owner;
    std::int64_t epoch = 0;
    int deaths = 0;
    std::string key;
    std::optional<std::int64_t> ticket;
    bool holds_key = false;
    int key_place = 1, key_holders_max = 1;
    OnStuck on_stuck = OnStuck::keep_key;
    std::string step;
    int attempt = 0;
    std::string error_code, error;
    std::vector<ReferenceEntry> log;
    std::vector<ReferenceSignal> signals;
    std::optional<std::string> input, output;
    bool own_input = true;                                          // not the body of an event
    std::optional<std::int64_t> input_sealed_by, output_sealed_by;  // numbers of data keys
    std::int64_t created_at_ms = 0, updated_at_ms = 0;
    std::optional<std::int64_t> finished_at_ms, cancel_requested_at_ms, deadline_ms;
    int priority = 0;

    std::optional<std::int64_t> parent;
    std::optional<OnParentClose> on_parent_close;

    bool finished(const std::string& step_name) const;
    /// The newest that a person gave it, else the one that was accepted.
    std::optional<std::string> input_in_force() const;
    bool is_paused() const { return state == State::sleeping && waits_for == WaitsFor::pause; }
};

struct ReferenceEvent {
    std::string type, subject, disposition, reason;
    std::optional<std::int64_t> instance;
    std::string body;
    int conflicts = 0;
    bool listed = false;
    std::int64_t received_at_ms = 0;
    bool body_kept = true;
    std::optional<std::int64_t> sealed_by = {};
};

struct ReferenceOnce {
    std::string state;  // claimed, in_doubt, free, completed
    std::optional<std::int64_t> instance;
    std::string instance_id, step;
    int generation = 0;
    std::string idempotency_key;
    std::optional<std::string> request, result;
    std::optional<std::int64_t> request_sealed_by, result_sealed_by;
    std::int64_t first_attempt_at_ms = 0, updated_at_ms = 0;
};

struct ReferenceSchedule {
    Schedule schedule;  // with the key of its instances
    std::string input;
    std::optional<std::int64_t> input_sealed_by;
    std::optional<std::int64_t> next_at_ms, due_at_ms, paused_at_ms, last_at_ms;
    std::string last_outcome, last_instance, error;
    std::int64_t started = 0, skipped = 0, missed = 0;
    std::int64_t created_at_ms = 0, updated_at_ms = 0;
};

struct ReferenceSlot {
    std::string scope, name;
    std::int64_t instance = 0;
    std::string step;
    auto operator<=>(const ReferenceSlot&) const = default;
};

struct ReferenceVersion {
    std::int64_t version = 0;
    std::optional<std::int64_t> before;
    std::int64_t updated_at_ms = 0;
};

struct ReferenceDataKey {
    std::string subject;
    std::string master;  // "": destroyed
    bool operator==(const ReferenceDataKey&) const = default;
};

/// The database's own secret: the same in every simulation, so that what is forgotten has the same
/// name in each.
inline Hash simulated_secret() { return sha256("the simulation's"); }
inline std::string forgotten_name(const std::string& id) {
    return steplog::forgotten_name(simulated_secret(), id);
}

/// Every operation takes the store's owner and its clock's time, throws StoreError exactly when the
/// store must refuse the item, and then has changed nothing.
class Reference {
  public:
    using EventId = std::pair<std::string, std::string>;  // source, id

    /// A life begins: whatever ran under another is due at once. `master` is the id of the key that
    /// wraps what is new; "": payloads are written in clear. Returns the new owner.
    std::int64_t open(std::int64_t now_ms, const std::string& master);

    Accepted accept(std::int64_t owner, std::int64_t now_ms, const std::optional<NewEvent>& event,
                    const std::optional<NewInstance>& instance, bool claim);
    ClaimResult claim(std::int64_t owner, std::int64_t now_ms, const ClaimRequest& request);
    Advanced advance(std::int64_t owner, std::int64_t now_ms, const Advance& advance);
    Renewed renew(std::int64_t owner, std::int64_t now_ms,
                  const std::vector<std::int64_t>& instances);
    Resumed resume(std::int64_t now_ms, const ResumeRequest& request);
    Cancelled cancel(std::int64_t owner, std::int64_t now_ms, const CancelRequest& request);
    Signalled signal(std::int64_t now_ms, const SignalRequest& request);
    StepDecided decide(std::int64_t now_ms, const StepDecision& decision);
    Published published(const std::string& instance) const;
    Moved move(std::int64_t owner, std::int64_t now_ms, const MoveRequest& request);
    Operated operate(std::int64_t owner, std::int64_t now_ms, const OperateRequest& operation);
    Purged purge(std::int64_t now_ms, const PurgeRequest& request);
    Forgotten forget(const ForgetRequest& request);
    Rotated rotate_keys(const RotateRequest& request);
    void define_schedules(std::int64_t now_ms, const std::vector<Schedule>& schedules);
    ScheduleChanged change_schedule(std::int64_t owner, std::int64_t now_ms,
                                    const ScheduleChange& change);

    ProviderChanged change_provider(std::int64_t now_ms, const ProviderChange& change);

    const std::map<std::string, Breaker>& breakers() const { return breakers_; }
    const std::set<ReferenceSlot>& slots() const { return slots_; }
    /// By scope and name: the bucket, and the rate by which it was filled last.
    using Rates = std::map<std::pair<std::string, std::string>, std::pair<Bucket, Rate>>;
    const Rates& rates() const { return rates_; }
    /// Instances that wait for a quiet time, by workflow and hashed key.
    using Debounces = std::map<std::pair<std::string, std::string>, std::int64_t>;
    const Debounces& debounces() const { return debounces_; }
    /// Of what was updated, by its hashed name.
    const std::map<std::string, ReferenceVersion>& versions() const { return versions_; }
    const std::map<std::int64_t, ReferenceInstance>& instances() const { return instances_; }
    const std::map<EventId, ReferenceEvent>& events() const { return events_; }
    const std::map<std::string, ReferenceOnce>& once_keys() const { return once_keys_; }
    const std::map<std::string, ReferenceSchedule>& schedules() const { return schedules_; }
    std::optional<std::int64_t> next_schedule_due_ms() const;
    /// In the order in which they were made.
    const std::vector<ReferenceDataKey>& data_keys() const { return data_keys_; }
    const std::map<std::string, std::int64_t>& paused_workflows() const { return paused_; }
    std::int64_t owners() const { return owners_; }
    std::int64_t tickets() const { return tickets_; }
    std::int64_t audited() const { return audited_; }
    /// Null when there is none, or not any more.
    const ReferenceInstance* find(const std::string& id) const;
    /// The newest of this id's runs.
    const ReferenceInstance* find_newest(const std::string& id) const;
    /// Under this id, or under the name that stands for it since it was forgotten.
    const ReferenceInstance* find_known(const std::string& id) const;
    bool knows_event(const EventId& id) const { return find_event(id) != events_.end(); }

    static constexpr std::int64_t lease_ms = 30'000;

  private:
    using Instance = ReferenceInstance;
    struct Traces;
    std::map<EventId, ReferenceEvent>::const_iterator find_event(const EventId& id) const;

    Entry append(Instance& instance, std::int64_t now_ms, const NewEntry& entry);
    std::optional<std::int64_t> seal_for(const std::string& subject);
    std::optional<std::int64_t> seal(const Instance& instance,
                                     const std::optional<std::string>& payload);
    Accepted start(std::int64_t owner, std::int64_t now_ms, const NewInstance& instance,
                   const std::string& input, bool claim, std::optional<int> key_place = {});
    std::optional<Accepted> resolve_conflicts(std::int64_t now_ms, NewInstance& wanted,
                                              std::string& behind);
    std::optional<Accepted> resolve_key_conflict(std::int64_t now_ms, const NewInstance& wanted,
                                                 const std::string& replaced);
    void continue_as_new(Instance& instance, std::int64_t now_ms, const NewInstance& next);
    std::vector<Instance*> find_due(std::int64_t owner, std::int64_t now_ms, int limit);
    void ask_past_deadline(Instance& instance, std::int64_t now_ms, const std::string& was);
    Claimed hand_over(const Instance& instance) const;
    /// The place among the key's holders that it would take; 0: it must queue.
    int place_for(const Instance& instance, const std::string& key) const;
    int free_place(const Instance& instance, const std::string& key) const;
    void pass_on(const std::string& key, std::int64_t now_ms);
    bool take_key(Instance& instance, std::int64_t now_ms, const std::string& key);
    OnceVerdict claim_once(Instance& instance, std::int64_t now_ms, const OnceClaim& claim);
    void settle_once(Instance& instance, std::int64_t now_ms, const OnceSettle& settle);
    ReferenceOnce& once_key(const std::string& key);
    void wake_waiters(const std::string& once_key, std::int64_t now_ms);
    void put_back_to_work(Instance& instance, std::int64_t now_ms);
    Awaited await_signal(Instance& instance, std::int64_t now_ms, const AwaitSignal& wait);
    void start_child(Instance& parent, std::int64_t now_ms, const StartChild& start);
    std::optional<ChildEnd> await_child(Instance& parent, std::int64_t now_ms,
                                        const AwaitChild& wait);
    void require_awaitable(const Instance& parent, const AwaitChild& wait) const;
    void leave_family(const Instance& instance, std::int64_t now_ms);
    void move(Instance& instance, std::int64_t now_ms, const Transition& to);
    std::string resume_one(Instance& instance, std::int64_t now_ms, const ResumeRequest& request);
    void cancel_one(const std::string& id, std::int64_t now_ms, const CancelRequest& request,
                    Cancelled& cancelled);
    bool operate_on(const std::string& id, std::int64_t now_ms, const OperateRequest& operation,
                    Operated& operated);
    bool pause(Instance& instance, std::int64_t now_ms, Operated& operated);
    static bool unpause(Instance& instance, std::int64_t now_ms, Operated& operated);
    bool edit(Instance& instance, std::int64_t now_ms, const OperateRequest& operation);
    void unpause_workflow(const std::string& workflow, std::int64_t now_ms);
    static void hold(Instance& instance, std::int64_t now_ms, bool with_its_workflow);
    static void let_go_on(Instance& instance, std::int64_t now_ms);
    bool goes_with_retention(const Instance& instance, std::int64_t finished_before_ms) const;
    void find_by_name(const std::string& name, bool is_customer, Traces& traces) const;
    void find_data_keys(const std::string& subject, Traces& traces) const;
    void find_children(Traces& traces) const;
    void find_sealed(Traces& traces) const;
    std::set<std::string> find_events_of(Traces& traces) const;
    Traces find_traces(const std::string& subject) const;
    std::vector<std::string> unfinished(const Traces& traces) const;
    int erase_payloads(const Traces& traces, const std::string& subject);
    void destroy_data_key(std::int64_t number, const Traces& traces);
    bool is_used(std::int64_t data_key) const;
    void rename_all(const Traces& traces);
    void define_schedule(std::int64_t now_ms, const Schedule& schedule);
    static void set_next(ReferenceSchedule& row, std::optional<std::int64_t> next_at_ms);
    std::vector<ScheduleDecision> decide_schedules(std::int64_t now_ms);
    std::optional<ScheduleDecision> decide(ReferenceSchedule& row, std::int64_t now_ms);
    void start_scheduled(const ReferenceSchedule& row, std::int64_t now_ms,
                         ScheduleDecision& decision, bool triggered);
    std::vector<std::string> unfinished_of_key(const std::string& key) const;
    const Instance* holder_of(const std::string& key) const;
    void end_cancelled(Instance& instance, std::int64_t now_ms, Json said);
    void keep(const std::string& provider, const Breaker& breaker);
    Instance* find_debounced(const NewInstance& wanted, std::int64_t now_ms);
    void give_input(Instance& instance, const NewInstance& wanted, std::int64_t now_ms);
    bool is_held_back(const Instance& instance, const std::string& provider) const;
    std::optional<std::string> held_back(const Instance& instance, const Advance& advance,
                                         std::int64_t now_ms) const;
    std::int64_t room(const Limit& limit, const FlowPolicy& flow) const;
    std::int64_t turns(const Limit& limit, const Rate& rate, std::int64_t now_ms) const;
    static bool has_no_turn(const Instance& instance, std::int64_t now_ms);
    bool waits_for_turn(const Limit& limit, const Rate& rate, std::int64_t now_ms) const;
    void take_turn(const Limit& limit, const Rate& rate, std::int64_t now_ms);
    std::set<std::string> limits_in_the_way(Limit::Kind kind) const;
    std::int64_t turns_of_use(const Limit& limit, const FlowPolicy& flow, std::int64_t now_ms);
    void give_turns(std::int64_t now_ms, const ClaimRequest& request);
    std::optional<std::int64_t> next_turn_ms(std::int64_t now_ms, const ClaimRequest& request);
    std::int64_t count_slots(const std::string& scope, const std::string& name) const;
    void wake_where_room(std::int64_t now_ms, const ClaimRequest& request);
    bool park_without_room(Instance& instance, std::int64_t now_ms, const ClaimRequest& request);
    bool claim_due(std::int64_t owner, std::int64_t now_ms, const ClaimRequest& request,
                   ClaimResult& result);
    void begin_call(const Instance& instance, std::int64_t now_ms, const Advance& advance);
    bool may_update(const UpdateClaim& update, Advanced& advanced) const;
    void update(const Instance& instance, std::int64_t now_ms, const Advance& advance);
    void hear(const Instance& instance, std::int64_t now_ms, const Advance& advance,
              Advanced& advanced);
    void act_breakers(std::int64_t now_ms, const ClaimRequest& request, ClaimResult& result);
    bool is_paused(const std::string& provider) const;
    std::vector<Instance*> parked(const std::string& provider);
    static void unpark(Instance& instance, std::int64_t due_at_ms);
    static bool can_take_back(const Instance& instance);
    void leave_as_asked(Instance& instance, std::int64_t now_ms, const std::string& code);
    void end_as_asked(Instance& instance, std::int64_t now_ms, const std::string& code);

    std::map<std::int64_t, Instance> instances_;
    std::map<EventId, ReferenceEvent> events_;
    std::vector<EventId> arrivals_;  // of the events that are there, in order
    std::map<std::string, ReferenceOnce> once_keys_;
    std::map<std::string, Json> asked_to_end_;  // by instance: who asked last, and why
    std::vector<ReferenceDataKey> data_keys_;
    std::map<std::string, ReferenceSchedule> schedules_;
    std::set<ReferenceSlot> slots_;
    Rates rates_;
    std::map<std::string, ReferenceVersion> versions_;
    Debounces debounces_;
    std::map<std::string, Breaker> breakers_;     // by provider; those that are not blank
    std::map<std::string, std::int64_t> paused_;  // workflows, and since when
    std::string master_;
    std::int64_t acting_ = 0;  // whose operation this is: an owner
    std::int64_t last_seq_ = 0, owners_ = 0, tickets_ = 0, audited_ = 0;
};

}  // namespace steplog::testing
