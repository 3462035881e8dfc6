#include "tests/model/reference.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/entries.h"
#include "engine/run_id.h"

namespace steplog::testing {
namespace {

constexpr int deaths_until_alone = 3;
constexpr int deaths_until_stuck = 5;

[[noreturn]] void refuse(StoreError::Kind kind, const std::string& why) {
    throw StoreError(kind, why);
}

// What an instance that was asked to end must not do any more.
bool begins_something(const Advance& advance) {
    return advance.continue_as || advance.once_claim || advance.take_key || advance.await_signal ||
           advance.start_child || advance.await_child ||
           std::any_of(advance.entries.begin(), advance.entries.end(),
                       [](const NewEntry& entry) { return entry.kind == EntryKind::started; });
}

bool ends_a_step(EntryKind kind) {
    return kind == EntryKind::completed || kind == EntryKind::skipped;
}

std::string spelled(NewEvent::Disposition disposition) {
    switch (disposition) {
        case NewEvent::Disposition::routed:
            return "routed";
        case NewEvent::Disposition::ignored:
            return "ignored";
        case NewEvent::Disposition::quarantined:
            return "quarantined";
    }
    return "";
}

}  // namespace

bool ReferenceInstance::finished(const std::string& step_name) const {
    return std::any_of(log.begin(), log.end(), [&](const ReferenceEntry& entry) {
        return entry.step == step_name && ends_a_step(entry.kind);
    });
}

std::optional<std::string> ReferenceInstance::input_in_force() const {
    std::optional<std::string> newest = input;
    for (const ReferenceEntry& entry : log)
        if (entry.kind == EntryKind::recorded && parse_stored(entry.data).contains("edited"))
            newest = entry.payload;
    return newest;
}

bool ReferenceEntry::says_the_same(const ReferenceEntry& other) const {
    return step == other.step && kind == other.kind && attempt == other.attempt &&
           generation == other.generation && at_ms == other.at_ms && data == other.data &&
           payload == other.payload;
}

const ReferenceInstance* Reference::find(const std::string& id) const {
    for (const auto& [seq, instance] : instances_)
        if (instance.id == id) return &instance;
    return nullptr;
}

const ReferenceInstance* Reference::find_newest(const std::string& id) const {
    const ReferenceInstance* newest = nullptr;
    if (run_of(id) > 1) return find(id);
    for (const auto& [seq, instance] : instances_)
        if (first_run(instance.id) == id && (!newest || run_of(newest->id) < run_of(instance.id)))
            newest = &instance;
    return newest;
}

const ReferenceInstance* Reference::find_known(const std::string& id) const {
    const ReferenceInstance* found = find_newest(id);
    return found ? found : find(forgotten_name(id));
}

std::map<Reference::EventId, ReferenceEvent>::const_iterator Reference::find_event(
    const EventId& id) const {
    const auto found = events_.find(id);
    return found != events_.end() ? found : events_.find({id.first, forgotten_name(id.second)});
}

std::int64_t Reference::open(std::int64_t now_ms, const std::string& master) {
    master_ = master;
    for (auto& [seq, instance] : instances_)
        if (instance.state == State::running) instance.due_at_ms = now_ms;
    slots_.clear();
    return ++owners_;
}

Entry Reference::append(Instance& instance, std::int64_t now_ms, const NewEntry& entry) {
    instance.log.push_back({entry.step, entry.kind, entry.attempt, entry.generation, now_ms,
                            to_text(entry.data), entry.payload, seal(instance, entry.payload)});
    return {static_cast<std::int64_t>(instance.log.size()),
            entry.step,
            entry.kind,
            entry.attempt,
            entry.generation,
            now_ms,
            entry.data,
            entry.payload};
}

// --- accept
// ---------------------------------------------------------------------------------------

Accepted Reference::accept(std::int64_t owner, std::int64_t now_ms,
                           const std::optional<NewEvent>& event,
                           const std::optional<NewInstance>& wanted, bool claim) {
    acting_ = owner;
    Accepted accepted;
    std::optional<NewInstance> instance = wanted;
    std::string behind;
    if (event) {
        if (const auto known = find_event({event->source, event->id}); known != events_.end()) {
            accepted.duplicate = true;
            accepted.conflict =
                !event->listed && !known->second.listed && known->second.body != event->body;
            accepted.instance = known->second.instance.value_or(0);
            events_.at(known->first).conflicts += accepted.conflict;
            return accepted;
        }
    }
    if (instance && !event)
        if (const auto settled = resolve_conflicts(now_ms, *instance, behind)) return *settled;
    claim = claim && behind.empty();
    const Instance* there = instance ? find_known(instance->id) : nullptr;
    if (there) {
        accepted.instance = there->seq;
        accepted.duplicate = !event;
    } else if (instance && !instance->input && !event) {
        refuse(StoreError::Kind::constraint, "an instance needs an input or an event");
    }
    std::optional<std::int64_t> sealed_by;
    if (event || !there)
        sealed_by = seal_for(event && !event->subject.empty() ? event->subject
                             : instance                       ? instance->key
                                                              : "");
    if (instance && !there) audited_ += !instance->actor.empty();
    Instance* waiting = instance && !there ? find_debounced(*instance, now_ms) : nullptr;
    if (waiting) {
        accepted.instance = waiting->seq;
        accepted.debounced = true;
        waiting->input = instance->input ? *instance->input : event->body;
        waiting->own_input = instance->input.has_value();
        waiting->input_sealed_by = sealed_by;
        give_input(*waiting, *instance, now_ms);
    } else if (instance && !there) {
        accepted = start(owner, now_ms, *instance, instance->input ? *instance->input : event->body,
                         claim);
        Instance& started = instances_.at(accepted.instance);
        started.own_input = instance->input.has_value();
        started.input_sealed_by = sealed_by;
        if (instance->id != wanted->id) accepted.id = instance->id;
        if (!behind.empty()) {
            started.state = State::waiting;
            started.due_at_ms = started.deadline_ms;
            started.waits_for = WaitsFor::child;
            started.waits_detail = behind;
        }
    }
    if (!event) return accepted;
    ReferenceEvent& row = events_[{event->source, event->id}];
    row = {.type = event->type,
           .subject = event->subject,
           .disposition = spelled(event->disposition),
           .reason = event->reason,
           .instance = {},
           .body = event->body,
           .listed = event->listed,
           .received_at_ms = now_ms,
           .sealed_by = sealed_by};
    if (instance) row.instance = accepted.instance;
    arrivals_.push_back({event->source, event->id});
    return accepted;
}

Accepted Reference::start(std::int64_t owner, std::int64_t now_ms, const NewInstance& wanted,
                          const std::string& input, bool claim, std::optional<int> key_place) {
    Ms delay = wanted.delay;
    if (wanted.debounce)
        delay = std::max(std::min(wanted.debounce->period, wanted.debounce->timeout), Ms(1));
    Instance instance;
    instance.key_holders_max = wanted.key_holders_max;
    const int place = key_place            ? *key_place
                      : wanted.key.empty() ? 0
                                           : place_for(instance, wanted.key);
    const bool queued = !wanted.key.empty() && place == 0;
    instance.key_place = std::max(place, 1);
    instance.seq = ++last_seq_;
    instance.id = wanted.id;
    instance.workflow = wanted.workflow;
    instance.version = wanted.version;
    instance.key = wanted.key;
    instance.holds_key = !wanted.key.empty() && !queued;
    instance.on_stuck = wanted.on_stuck;
    instance.input = input;
    instance.created_at_ms = instance.updated_at_ms = now_ms;
    instance.priority = wanted.priority;
    if (wanted.deadline) instance.deadline_ms = now_ms + wanted.deadline->count();
    const std::int64_t earliest_ms =
        std::max(now_ms + delay.count(), wanted.start_at_ms.value_or(now_ms));
    if (queued) {
        instance.state = State::queued;
        instance.waits_for = WaitsFor::key;
        instance.ticket = ++tickets_;
        if (earliest_ms > now_ms) instance.waits_detail = std::to_string(earliest_ms);
    } else if (claim && earliest_ms <= now_ms && !paused_.contains(wanted.workflow)) {
        instance.state = State::running;
        instance.owner = owner;
        instance.epoch = 1;
        instance.due_at_ms = now_ms + lease_ms;
    } else {
        instance.due_at_ms = std::min(earliest_ms, instance.deadline_ms.value_or(earliest_ms));
    }
    if (wanted.debounce)
        debounces_[{wanted.workflow, forgotten_name(wanted.debounce->key)}] = instance.seq;
    Accepted accepted;
    accepted.instance = instance.seq;
    if (instance.state == State::running) accepted.claimed = hand_over(instance);
    instances_.emplace(instance.seq, std::move(instance));
    return accepted;
}

// One that has not begun, and whose time to start lies ahead.
ReferenceInstance* Reference::find_debounced(const NewInstance& wanted, std::int64_t now_ms) {
    if (!wanted.debounce) return nullptr;
    const auto known = debounces_.find({wanted.workflow, forgotten_name(wanted.debounce->key)});
    if (known == debounces_.end()) return nullptr;
    Instance& instance = instances_.at(known->second);
    const bool waits = instance.state == State::pending || instance.state == State::queued;
    if (!waits || instance.epoch > 0 || !instance.log.empty()) return nullptr;
    const std::int64_t starts =
        instance.due_at_ms ? *instance.due_at_ms : std::stol("0" + instance.waits_detail);
    return starts > now_ms ? &instance : nullptr;
}

void Reference::give_input(Instance& instance, const NewInstance& wanted, std::int64_t now_ms) {
    const std::int64_t latest =
        std::max(now_ms, instance.created_at_ms + wanted.debounce->timeout.count());
    const std::int64_t starts = std::min(latest, now_ms + wanted.debounce->period.count());
    instance.version = wanted.version;
    if (instance.state == State::queued)
        instance.waits_detail = std::to_string(starts);
    else
        instance.due_at_ms = std::min(starts, instance.deadline_ms.value_or(starts));
    instance.updated_at_ms = now_ms;
}

Claimed Reference::hand_over(const Instance& instance) const {
    Claimed claimed;
    claimed.seq = instance.seq;
    claimed.id = instance.id;
    claimed.workflow = instance.workflow;
    claimed.version = instance.version;
    claimed.epoch = instance.epoch;
    claimed.key = instance.key;
    claimed.on_stuck = instance.on_stuck;
    claimed.deaths = instance.deaths;
    claimed.cancelling = instance.cancel_requested_at_ms && can_take_back(instance);
    claimed.created_at_ms = instance.created_at_ms;
    claimed.deadline_ms = instance.deadline_ms;
    claimed.priority = instance.priority;
    claimed.input = instance.input_in_force();
    for (const ReferenceEntry& entry : instance.log)
        claimed.log.push_back({static_cast<std::int64_t>(claimed.log.size()) + 1, entry.step,
                               entry.kind, entry.attempt, entry.generation, entry.at_ms,
                               parse_stored(entry.data), entry.payload});
    return claimed;
}

// --- claim
// ----------------------------------------------------------------------------------------

// By priority among the first and the last of what is due, then by time.
std::vector<ReferenceInstance*> Reference::find_due(std::int64_t owner, std::int64_t now_ms,
                                                    int limit) {
    std::vector<Instance*> due;
    for (auto& [seq, instance] : instances_)
        if (instance.due_at_ms && *instance.due_at_ms <= now_ms &&
            !(instance.state == State::running && instance.owner == owner))
            due.push_back(&instance);
    std::stable_sort(due.begin(), due.end(), [](const Instance* left, const Instance* right) {
        return *left->due_at_ms < *right->due_at_ms;
    });
    const auto window = static_cast<std::size_t>(std::max(limit, claim_window));
    if (due.size() > 2 * window)
        due.erase(due.begin() + static_cast<std::ptrdiff_t>(window),
                  due.end() - static_cast<std::ptrdiff_t>(window));
    std::stable_sort(due.begin(), due.end(), [](const Instance* left, const Instance* right) {
        return left->priority > right->priority;
    });
    due.resize(std::min(due.size(), static_cast<std::size_t>(std::max(limit, 0))));
    return due;
}

void Reference::ask_past_deadline(Instance& instance, std::int64_t now_ms, const std::string& was) {
    instance.cancel_requested_at_ms = now_ms;
    asked_to_end_[instance.id] = {{"by", "engine"},
                                  {"was", was},
                                  {"code", deadline_code},
                                  {"reason", "its deadline has passed"}};
    ++audited_;
}

bool Reference::claim_due(std::int64_t owner, std::int64_t now_ms, const ClaimRequest& request,
                          ClaimResult& result) {
    const auto may_take = [&](const Instance& instance) {
        return instance.due_at_ms && !(instance.state == State::running && instance.owner == owner);
    };
    std::vector<Instance*> due = find_due(owner, now_ms, request.limit);
    std::set<const Instance*> late;
    for (Instance* instance : due)
        if (instance->deadline_ms && *instance->deadline_ms <= now_ms &&
            !instance->cancel_requested_at_ms) {
            ask_past_deadline(*instance, now_ms, std::string(to_string(instance->state)));
            late.insert(instance);
        }

    const auto deaths = [](const Instance& instance) {
        return instance.deaths + (instance.state == State::running);
    };
    const auto suspect = [&](const Instance& instance) {
        const bool ends = instance.cancel_requested_at_ms && !can_take_back(instance);
        return !ends && deaths(instance) >= deaths_until_alone &&
               deaths(instance) < deaths_until_stuck;
    };
    const bool paused =
        std::erase_if(due, [&](Instance* instance) {
            const bool ends = instance->cancel_requested_at_ms && !can_take_back(*instance);
            const bool asked = instance->state == State::running && instance->waits_for;
            if (ends || deaths(*instance) >= deaths_until_stuck ||
                (!asked && !paused_.contains(instance->workflow)))
                return false;
            instance->deaths = deaths(*instance);
            hold(*instance, now_ms, !asked);
            return true;
        }) > 0;
    result.solo = std::any_of(due.begin(), due.end(), [&](Instance* i) { return suspect(*i); });
    bool parked = false;
    for (Instance* instance : due) {
        if (!may_take(*instance) || *instance->due_at_ms > now_ms)
            continue;  // went with its parent
        if (instance->cancel_requested_at_ms && !can_take_back(*instance)) {
            end_as_asked(*instance, now_ms, "");
            continue;
        }
        if (deaths(*instance) >= deaths_until_stuck) {
            instance->deaths = deaths(*instance);
            const std::string message = fmt::format(
                "the server died {} times in a row while this instance ran, without any step "
                "coming to an end; find out why before resuming it",
                instance->deaths);
            append(*instance, now_ms, stuck_entry(instance->step, "poison", message));
            move(*instance, now_ms, {.to = State::stuck, .error_code = "poison", .error = message});
            continue;
        }
        const bool alone = suspect(*instance) && request.busy == 0 && result.claimed.empty();
        if (result.solo && !alone) continue;
        if (park_without_room(*instance, now_ms, request)) {
            parked = true;
            continue;
        }
        const std::string parked_for =
            instance->waits_for == WaitsFor::circuit && !late.contains(instance)
                ? instance->waits_detail
                : "";
        if (instance->epoch == 0)
            std::erase_if(debounces_, [&](const auto& row) { return row.second == instance->seq; });
        instance->deaths = deaths(*instance);
        instance->state = State::running;
        instance->owner = owner;
        ++instance->epoch;
        instance->due_at_ms = now_ms + lease_ms;
        instance->waits_for.reset();
        instance->waits_detail.clear();
        instance->updated_at_ms = now_ms;
        result.claimed.push_back(hand_over(*instance));
        if (parse_limit(parked_for))
            result.claimed.back().turn = parked_for;
        else
            result.claimed.back().gave_up_on = parked_for;
    }
    return (parked || paused) && result.claimed.empty() && !result.solo;
}

ClaimResult Reference::claim(std::int64_t owner, std::int64_t now_ms, const ClaimRequest& request) {
    acting_ = owner;
    ClaimResult result;
    if (request.limit > 0) {
        result.schedules = decide_schedules(now_ms);
        act_breakers(now_ms, request, result);
        wake_where_room(now_ms, request);
        give_turns(now_ms, request);
        for (int looks = 0; looks < 100; ++looks)
            if (!claim_due(owner, now_ms, request, result)) break;
    }
    const auto may_take = [&](const Instance& instance) {
        return instance.due_at_ms && !(instance.state == State::running && instance.owner == owner);
    };
    for (const auto& [seq, instance] : instances_)
        if (may_take(instance) &&
            (!result.next_due_ms || *instance.due_at_ms < *result.next_due_ms))
            result.next_due_ms = instance.due_at_ms;
    const auto scheduled = next_schedule_due_ms();
    if (scheduled && (!result.next_due_ms || *scheduled < *result.next_due_ms))
        result.next_due_ms = scheduled;
    const auto turn = next_turn_ms(now_ms, request);
    if (turn && (!result.next_due_ms || *turn < *result.next_due_ms)) result.next_due_ms = turn;
    for (const auto& [provider, breaker] : breakers_)
        if (breaker.next_at_ms &&
            (!result.next_due_ms || *breaker.next_at_ms < *result.next_due_ms))
            result.next_due_ms = breaker.next_at_ms;
    return result;
}

Renewed Reference::renew(std::int64_t owner, std::int64_t now_ms,
                         const std::vector<std::int64_t>& instances) {
    Renewed renewed;
    for (const std::int64_t seq : instances) {
        const auto found = instances_.find(seq);
        const bool ours = found != instances_.end() && found->second.state == State::running &&
                          found->second.owner == owner;
        if (!ours) {
            renewed.lost.push_back(seq);
            continue;
        }
        found->second.due_at_ms = now_ms + lease_ms;
        if (!found->second.cancel_requested_at_ms && found->second.deadline_ms &&
            *found->second.deadline_ms <= now_ms)
            ask_past_deadline(found->second, now_ms, "running");
        if (found->second.cancel_requested_at_ms) renewed.asked_to_end.push_back(seq);
    }
    return renewed;
}

// --- advance
// --------------------------------------------------------------------------------------

Advanced Reference::advance(std::int64_t owner, std::int64_t now_ms, const Advance& advance) {
    const auto found = instances_.find(advance.instance);
    if (found == instances_.end() || found->second.epoch != advance.epoch ||
        found->second.owner != owner || found->second.state != State::running)
        refuse(StoreError::Kind::fenced, "the instance was claimed by someone else since");
    acting_ = owner;
    Instance& instance = found->second;
    Advanced advanced;
    const bool ends = advance.to && is_finished(advance.to->to) && !advance.continue_as;
    if (!instance.cancel_requested_at_ms && !advance.takes_back && !ends && instance.deadline_ms &&
        *instance.deadline_ms <= now_ms)
        ask_past_deadline(instance, now_ms, "running");
    const bool asked_to_end = instance.cancel_requested_at_ms && !advance.takes_back;
    if (asked_to_end && begins_something(advance)) {
        advanced.cancelled = true;
        leave_as_asked(instance, now_ms, "");
        return advanced;
    }
    const bool asked_to_pause = instance.waits_for == WaitsFor::pause;
    if (asked_to_pause && begins_something(advance)) {
        advanced.paused = true;
        return advanced;
    }
    if (advance.update && !may_update(*advance.update, advanced)) return advanced;
    if (!advance.calls.empty()) advanced.held_back = held_back(instance, advance, now_ms);
    if (advanced.held_back) return advanced;
    for (const NewEntry& entry : advance.entries)
        if (ends_a_step(entry.kind) && instance.finished(entry.step))
            refuse(StoreError::Kind::constraint, "the step is finished");
    if (advance.once_settle) {
        const auto once = once_keys_.find(advance.once_settle->key);
        if (once == once_keys_.end() || once->second.state != "claimed" ||
            once->second.instance != instance.seq)
            refuse(StoreError::Kind::constraint, "it does not hold its once key");
    }
    if (advance.await_child) require_awaitable(instance, *advance.await_child);

    if (advance.once_claim) {
        advanced.once = claim_once(instance, now_ms, *advance.once_claim);
        if (advanced.once->kind == OnceVerdict::Kind::busy)
            move(instance, now_ms,
                 {.to = State::waiting,
                  .waits_for = WaitsFor::once,
                  .waits_detail = advance.once_claim->key});
        if (advanced.once->kind != OnceVerdict::Kind::granted) return advanced;
    }
    if (advance.update) update(instance, now_ms, advance);
    if (!advance.calls.empty()) begin_call(instance, now_ms, advance);
    if (advance.answer) hear(instance, now_ms, advance, advanced);
    for (const NewEntry& entry : advance.entries)
        if (entry.kind == EntryKind::completed || entry.kind == EntryKind::retried ||
            entry.kind == EntryKind::failed)
            std::erase_if(slots_, [&](const ReferenceSlot& slot) {
                return slot.scope != "workflow" && slot.instance == instance.seq &&
                       slot.step == entry.step;
            });
    for (NewEntry entry : advance.entries) {
        if (advance.once_claim && entry.kind == EntryKind::started)
            entry.data["idempotency_key"] = advanced.once->idempotency_key;
        advanced.written.push_back(append(instance, now_ms, entry));
    }
    if (advance.once_settle) settle_once(instance, now_ms, *advance.once_settle);
    if (advance.await_signal)
        advanced.awaited = await_signal(instance, now_ms, *advance.await_signal);
    if (advance.start_child) start_child(instance, now_ms, *advance.start_child);
    if (advance.await_child)
        advanced.child_end = await_child(instance, now_ms, *advance.await_child);
    if (!advance.step.empty()) {
        instance.step = advance.step;
        instance.attempt = advance.attempt;
    }
    if (advance.progress) instance.deaths = 0;
    instance.updated_at_ms = now_ms;
    if (advance.take_key) advanced.queued = !take_key(instance, now_ms, *advance.take_key);
    if (advanced.awaited && advanced.awaited->kind == Awaited::Kind::waiting)
        move(instance, now_ms,
             {.to = State::waiting,
              .waits_for = WaitsFor::signal,
              .waits_detail = advance.await_signal->signal,
              .due_at_ms = advance.await_signal->until_ms});
    if (advance.await_child && !advanced.child_end)
        move(instance, now_ms,
             {.to = State::waiting,
              .waits_for = WaitsFor::child,
              .waits_detail = advance.await_child->child});
    if (!advance.to) return advanced;
    advanced.cancelled = asked_to_end && !is_finished(advance.to->to);
    if (advanced.cancelled)
        leave_as_asked(instance, now_ms, advance.to->error_code);
    else if (advance.to->to == State::cancelled)
        end_as_asked(instance, now_ms, "");
    else if (advance.continue_as)
        continue_as_new(instance, now_ms, *advance.continue_as);
    else
        move(instance, now_ms, *advance.to);
    if (asked_to_pause && !is_finished(advance.to->to) && advance.to->to != State::stuck)
        hold(instance, now_ms, false);
    if (!advance.to->claim_next) return advanced;
    ClaimResult next = claim(owner, now_ms, {.limit = 1, .busy = 1, .flow = advance.flow});
    if (!next.claimed.empty()) advanced.next = std::move(next.claimed.front());
    advanced.schedules = std::move(next.schedules);
    advanced.breakers.insert(advanced.breakers.end(), next.breakers.begin(), next.breakers.end());
    return advanced;
}

void Reference::move(Instance& instance, std::int64_t now_ms, const Transition& to) {
    const bool ends = is_finished(to.to);
    const bool has_once_key =
        std::any_of(once_keys_.begin(), once_keys_.end(), [&](const auto& row) {
            return row.second.state == "claimed" && row.second.instance == instance.seq;
        });
    const bool lets_pass = to.to == State::stuck && to.release_key && !has_once_key;
    const bool lets_go = instance.holds_key && (ends || lets_pass);
    instance.state = to.to;
    instance.due_at_ms = to.due_at_ms;
    if (to.delay) instance.due_at_ms = now_ms + to.delay->count();
    std::erase_if(slots_, [&](const ReferenceSlot& slot) { return slot.instance == instance.seq; });
    instance.waits_for = to.waits_for;
    instance.waits_detail = to.waits_detail;
    const bool parks = to.waits_for == WaitsFor::circuit && !parse_limit(to.waits_detail);
    if (parks && !is_held_back(instance, to.waits_detail)) unpark(instance, now_ms);
    if (instance.waits_for == WaitsFor::circuit && is_paused(to.waits_detail))
        instance.due_at_ms.reset();
    const bool waits = instance.state == State::sleeping || instance.state == State::waiting;
    if (waits && instance.deadline_ms && !instance.cancel_requested_at_ms)
        instance.due_at_ms =
            std::min(*instance.deadline_ms, instance.due_at_ms.value_or(*instance.deadline_ms));
    instance.owner.reset();
    instance.ticket.reset();
    instance.error_code = to.error_code;
    instance.error = to.error;
    instance.output = to.output;
    instance.output_sealed_by = seal(instance, to.output);
    if (ends) instance.finished_at_ms = now_ms;
    if (ends)
        std::erase_if(debounces_, [&](const auto& row) { return row.second == instance.seq; });
    instance.updated_at_ms = now_ms;
    if (lets_go) instance.holds_key = false;
    if (ends) {
        for (auto& [key, once] : once_keys_) {
            if (once.state != "claimed" || once.instance != instance.seq) continue;
            once.state = "in_doubt";
            once.updated_at_ms = now_ms;
            wake_waiters(key, now_ms);
        }
        leave_family(instance, now_ms);
    }
    if (lets_go || (ends && !instance.key.empty())) pass_on(instance.key, now_ms);
}

}  // namespace steplog::testing
