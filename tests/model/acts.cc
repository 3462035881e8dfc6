// The acts of a script.
#include "tests/model/acts.h"

#include "engine/entries.h"
#include "engine/inspect.h"

namespace steplog::testing {
namespace {

Ms span(SeededRandom& dice) {
    constexpr std::array<std::int64_t, 5> longest_ms = {3'000, 90'000, 3'600'000, 86'400'000,
                                                        260'000'000};
    return Ms(1 + dice.below(static_cast<std::uint64_t>(longest_ms[dice.below(5)])));
}

}  // namespace

void Simulation::perform(const Act& act) {
    Dice dice(act.dice);
    if (watch_.telling)
        watch_.tell(fmt::format("{} (clock {}, {} ms wrong)", to_string(act.kind), clock_.now_ms(),
                                clock_.offset_ms));
    switch (act.kind) {
        case ActKind::deliver:
            return deliver(dice);
        case ActKind::deliver_again:
            return deliver_again(dice);
        case ActKind::keep_event:
            return keep_event(dice);
        case ActKind::deliver_purchase:
            return deliver_purchase(dice);
        case ActKind::work:
            return work(1 + static_cast<int>(dice.below(6)));
        case ActKind::let_pass:
            return let_pass(span(dice));
        case ActKind::reach_due:
            return reach_due();
        case ActKind::set_clock:
            return set_clock(dice);
        case ActKind::cut_power:
            return cut_power(dice);
        case ActKind::kill:
            survival_ = dice.below(2) ? Survival::page_cache : Survival::synced;
            return recover();
        case ActKind::restart:
            restart_needed_ = true;
            return;
        case ActKind::take_over:
            outside_.interlude = [this, luck = dice.next()] { take_over(luck); };
            return work(2);
        case ActKind::stop:
            outside_.interlude = [this] {
                life_->engine().stop(Ms(0));
                restart_needed_ = true;
            };
            return work(2);
        case ActKind::resume_one:
            return resume_one(dice);
        case ActKind::resume_all:
            return resume_all(dice);
        case ActKind::cancel:
            if (dice.below(2)) return cancel(dice, false);
            outside_.interlude = [this, luck = dice.next()] {
                Dice then(luck);
                cancel(then, then.below(3) > 0);
            };
            return work(2);
        case ActKind::send:
            if (dice.below(2)) return send(dice, false);
            outside_.interlude = [this, luck = dice.next()] {
                Dice then(luck);
                send(then, then.below(3) > 0);
            };
            return work(2);
        case ActKind::move:
            if (dice.below(3)) return move(dice, false);
            outside_.interlude = [this, luck = dice.next()] {
                Dice then(luck);
                move(then, true);
            };
            return work(2);
        case ActKind::pause:
            if (dice.below(2)) return pause(dice, false);
            outside_.interlude = [this, luck = dice.next()] {
                Dice then(luck);
                pause(then, then.below(3) > 0);
            };
            return work(2);
        case ActKind::edit:
            return edit(dice);
        case ActKind::purge:
            return purge(dice);
        case ActKind::fill_disk:
            vfs_.set_capacity(vfs_.used() + 4096 * static_cast<std::int64_t>(dice.below(12)));
            waits_for_room_ = static_cast<int>(dice.below(4));
            return;
        case ActKind::fail_disk:
            return fail_disk(dice);
        case ActKind::break_provider:
            if (purchase_) purchase_->break_something(dice);
            return;
        case ActKind::renew:
            return renew(dice);
        case ActKind::deploy:
            deployed_.second_version = dice.below(2) == 0;
            deployed_.once_steps = dice.below(3) > 0;
            deployed_.patch = dice.below(2) == 0;
            if (script_.schedules) deployed_.schedules = make_schedules(dice);
            restart_needed_ = true;
            return;
        case ActKind::rotate_keys:
            return rotate_keys(dice);
        case ActKind::sweep:
            return sweep(dice);
        case ActKind::change_schedule:
            return change_schedule(dice);
        case ActKind::change_provider:
            return change_provider(dice);
        case ActKind::forget:
            return forget(dice);
        case ActKind::look:
            return look(dice);
    }
}

void Simulation::after_act() {
    former_lives_.clear();
    if (vfs_.is_cut() || life_->failed()) {
        restart_needed_ = false;
        recover();
        return;
    }
    compare(false);
    if (restart_needed_ && watch_.clean()) {
        restart_needed_ = false;
        outside_.interlude = {};
        end_life();
        if (vfs_.is_cut()) return recover();
        begin_life();
    }
}

void Simulation::compare(bool wholly) {
    const std::string difference = life_->reader().difference(watch_.truth(), wholly);
    if (!difference.empty()) watch_.find("content", difference);
}

// Whoever meets a full disk waits; after a few waits there is room, or the process is told to end.
bool Simulation::disk_is_full() {
    if (--waits_for_room_ > 0) return true;
    vfs_.set_capacity(0);
    if (waits_for_room_ < 0) return true;
    restart_needed_ = true;
    return false;
}

void Simulation::failed(const StoreError& error) {
    watch_.tell(fmt::format("  {}", error.what()));
    if (error.kind() == StoreError::Kind::full) {
        disk_is_full();
        return;
    }
    const bool excused = vfs_.is_cut() || vfs_.has_failed() || restart_needed_;
    if (!excused) watch_.find("store_error", error.what());
}

void Simulation::accept(std::optional<NewEvent> event, std::optional<NewInstance> instance) {
    try {
        const std::string id = instance ? instance->id : "";
        const Ms delay = instance ? instance->delay : Ms(0);
        life_->engine().accept(std::move(event), std::move(instance));
        const ReferenceInstance* there = watch_.truth().find(id);
        if (there && delay > Ms(0) && there->log.empty())
            outside_.not_before(id, there->created_at_ms + delay.count());
    } catch (const StoreError& error) {
        failed(error);
    }
}

void Simulation::deliver(Dice&) {
    errands_.push_back(make_errand(script_.seed, static_cast<int>(errands_.size()) + 1));
    const Errand& errand = errands_.back();
    if (watch_.telling)
        watch_.tell(fmt::format("  {} key '{}' {} {}", errand.id, errand.key,
                                errand.by_hand ? "by hand" : "", errand.body));
    std::optional<NewEvent> event;
    if (!errand.by_hand) event = errand.new_event();
    accept(std::move(event), errand.new_instance());
}

void Simulation::deliver_again(Dice& dice) {
    if (errands_.empty()) return;
    const Errand& errand = errands_[dice.below(errands_.size())];
    const bool known = watch_.truth().knows_event({"shop", errand.event});
    const bool there = watch_.truth().find_known(errand.id) != nullptr;
    // What retention has taken is forgotten: a provider does not deliver so late.
    if (ended_.contains(errand.id) && !there && (!known || errand.by_hand)) return;
    if (errand.by_hand) {
        NewInstance again = errand.new_instance();
        const auto key_conflict = static_cast<KeyConflict>(dice.below(4));
        if (!again.debounce) again.key_conflict = key_conflict;
        if (dice.below(2)) {
            again.id_conflict = IdConflict::replace;
            again.delay = Ms(0);
            again.debounce.reset();
            again.key_conflict = key_conflict;
            const Json plan = Json::parse(errand.body, nullptr, false);
            if (!plan.is_discarded())
                again.input = for_another_run(plan, fmt::format("#{}", ++replaced_)).dump();
        }
        return accept(std::nullopt, std::move(again));
    }
    NewEvent event = errand.new_event();
    const auto form = dice.below(4);
    if (form == 0 && known) event.body = R"({"another":"body"})";
    if (form == 1 && there) event.id += "/other_form";
    event.listed = dice.below(4) == 0;
    accept(std::move(event), errand.new_instance());
}

void Simulation::keep_event(Dice& dice) {
    const bool odd = dice.below(2) == 0;
    if (dice.below(3) > 0 || kept_events_ == 0) ++kept_events_;
    accept(NewEvent{.source = "shop",
                    .id = fmt::format("kept_{}", kept_events_),
                    .type = "",
                    .subject = "",
                    .disposition =
                        odd ? NewEvent::Disposition::quarantined : NewEvent::Disposition::ignored,
                    .reason = "nobody wants it",
                    .body = std::string(dice.below(3000), '\x80') +
                            (dice.below(3) ? "" : fmt::format(" customer:{} ", 1 + dice.below(3))),
                    .listed = dice.below(4) == 0},
           std::nullopt);
}

void Simulation::deliver_purchase(Dice& dice) {
    if (!purchase_) return deliver(dice);
    const bool again = purchase_events_ > 0 && dice.below(4) == 0;
    if (!again && purchase_events_ == purchase_->events()) return;
    deliver_purchase_event(again ? dice.below(purchase_events_) : purchase_events_++);
}

void Simulation::deliver_purchase_event(std::size_t n) {
    steps::Intake taken = purchase_->delivery(n);
    const bool ended = taken.instance && ended_.contains(taken.instance->id);
    if (ended && !watch_.truth().find_known(taken.instance->id)) return;
    accept(std::move(taken.event), std::move(taken.instance));
}

void Simulation::work(int instances) {
    try {
        life_->work(instances);
    } catch (const StoreError& error) {
        failed(error);
    }
}

void Simulation::let_pass(Ms time) { clock_.truth.advance(time); }

void Simulation::reach_due() {
    std::optional<std::int64_t> due = watch_.truth().next_schedule_due_ms();
    for (const auto& [seq, instance] : watch_.truth().instances())
        if (instance.due_at_ms && (!due || *instance.due_at_ms < *due)) due = instance.due_at_ms;
    if (due && *due > clock_.now_ms()) let_pass(Ms(*due - clock_.now_ms()));
    work(3);
}

// Forwards and back. Where a purchase takes part never further back than its steps keep in hand:
// engine/README.md, Limits.
void Simulation::set_clock(Dice& dice) {
    constexpr std::int64_t in_hand_ms = 3'000'000;
    outside_.forget_times_reached();
    const std::int64_t by_ms = span(dice).count();
    std::int64_t offset_ms = clock_.offset_ms + (dice.below(2) ? by_ms : -by_ms);
    if (dice.below(3) == 0) offset_ms = 0;
    if (purchase_) offset_ms = std::max(offset_ms, furthest_offset_ms_ - in_hand_ms);
    furthest_offset_ms_ = std::max(furthest_offset_ms_, offset_ms);
    clock_.offset_ms = offset_ms;
}

void Simulation::cut_power(Dice& dice) {
    survival_ = static_cast<Survival>(dice.below(4));
    survival_seed_ = dice.next();
    const auto reach = dice.below(2) ? 12 : 120;
    vfs_.cut_after(1 + static_cast<std::int64_t>(dice.below(reach)));
}

// Another process owns the file from now on; whoever was at work has not noticed.
void Simulation::take_over(std::uint64_t luck) {
    Dice dice(luck);
    // One that fails to start would leave the file to the former, whom the lock forbids to go on.
    vfs_.clear_faults();
    auto successor = open_life();
    if (!successor) return;
    ++played_.take_overs;
    watch_.tell("    another life takes over");
    life_->store().retire();
    former_lives_.push_back(std::move(life_));
    life_ = std::move(successor);
    if (dice.below(2)) return work(static_cast<int>(dice.below(4)));
    // It takes the work and is slow at it: what it holds is due again with the next life.
    restart_needed_ = true;
    life_->store().allow_claims(1);
    try {
        life_->store().claim({.limit = 1 + static_cast<int>(dice.below(4))}).get();
    } catch (const StoreError& error) {
        failed(error);
    }
}

std::string Simulation::any_instance(Dice& dice) const {
    const auto& all = watch_.truth().instances();
    if (all.empty()) return "";
    auto which = all.begin();
    std::advance(which, static_cast<std::ptrdiff_t>(dice.below(all.size())));
    return which->second.id;
}

// A step that has no effect, or whose effect has happened, as a person may find out, is given the
// result that it would have had; all else is refused.
void Simulation::decide(Dice& dice) {
    StepDecision decision{.instance = dice.below(20) ? any_instance(dice) : "nobody",
                          .step = "no such step",
                          .result = "null",
                          .actor = "somebody"};
    const ReferenceInstance* instance = watch_.truth().find_newest(decision.instance);
    const auto errand = instance ? errand_of(*instance) : std::nullopt;
    const auto planned = errand ? errand->step(instance->step) : std::nullopt;
    const bool known =
        planned && planned->kind != StepKind::sleep &&
        (planned->kind == StepKind::idle || outside_.effects_of(planned->entity) > 0);
    if (known) {
        decision.step = planned->name;
        decision.result = to_text(Outside::answer_of(*planned));
    } else if (instance && !instance->log.empty() && !instance->log.front().step.empty() &&
               instance->finished(instance->log.front().step)) {
        decision.step = instance->log.front().step;
    }
    if (dice.below(2)) decision.reason = "ticket 8";
    const std::string id = instance ? instance->id : decision.instance;
    try {
        if (!life_->store().decide(std::move(decision)).get().refused.empty()) return;
        ++played_.decided;
    } catch (const StoreError& error) {
        failed(error);
        // It may have been written all the same.
        if (!vfs_.is_cut() && !vfs_.has_failed()) return;
    }
    outside_.decided(id, nullptr, false);
}

void Simulation::resume_one(Dice& dice) {
    if (dice.below(5) == 0) return decide(dice);
    const std::string id = dice.below(20) ? any_instance(dice) : "nobody";
    if (!id.empty()) resume(id);
}

// By its id: whoever does that has looked, and decides that a step in doubt is repeated.
void Simulation::resume(const std::string& whom) {
    const ReferenceInstance* instance = watch_.truth().find_newest(whom);
    const std::string id = instance ? instance->id : whom;
    const std::string step = instance ? instance->step : "";
    const auto errand = instance ? errand_of(*instance) : std::nullopt;
    try {
        if (life_->engine().resume({.ids = {id}, .actor = "somebody"}).ids.empty()) return;
    } catch (const StoreError& error) {
        failed(error);
        // It may have been written all the same.
        if (!vfs_.is_cut() && !vfs_.has_failed()) return;
    }
    const auto planned = errand ? errand->step(step) : std::nullopt;
    outside_.decided(id, planned ? &*planned : nullptr, true);
    if (!errand && step == "send_email" && purchase_) purchase_->allow_an_email();
}

void Simulation::resume_all(Dice& dice) {
    ResumeRequest request{.actor = "somebody"};
    if (dice.below(3) == 0) request.state = dice.below(2) ? State::stuck : State::sleeping;
    if (dice.below(4) == 0) request.workflow = "errand";
    if (dice.below(6) == 0) request.step = "s1";
    if (dice.below(6) == 0) request.error_code = "retries_exhausted";
    if (dice.below(4) == 0) request.older_than = Ms(dice.below(3'600'000));
    if (dice.below(3) == 0) request.limit = 1 + static_cast<int>(dice.below(3));
    const Reference before = watch_.truth();
    try {
        life_->engine().resume(request);
    } catch (const StoreError& error) {
        failed(error);
    }
    for (const auto& [seq, instance] : before.instances())
        if (instance.state == State::stuck || instance.state == State::sleeping)
            outside_.decided(instance.id, nullptr, false);
}

void Simulation::cancel(Dice& dice, bool running) {
    CancelRequest request{.actor = "somebody"};
    for (const auto& [seq, instance] : watch_.truth().instances())
        if (running && instance.state == State::running) request.ids.push_back(instance.id);
    for (auto left = 1 + dice.below(3); left > 0; --left) {
        const std::string id = dice.below(20) ? any_instance(dice) : "nobody";
        if (!id.empty()) request.ids.push_back(id);
    }
    if (dice.below(2)) request.reason = fmt::format("reason {}", dice.below(10));
    if (request.ids.empty()) return;
    try {
        life_->engine().cancel(std::move(request));
    } catch (const StoreError& error) {
        failed(error);
    }
}

// Under one of a few ids, so that some are sent again, or under none; some that nobody waits for.
void Simulation::send(Dice& dice, bool running) {
    SignalRequest request{.instance = dice.below(20) ? any_instance(dice) : "nobody"};
    for (const auto& [seq, instance] : watch_.truth().instances())
        if (running && instance.state == State::running) request.instance = instance.id;
    request.name = dice.below(8) ? "letter" : "leaflet";
    request.payload = std::to_string(dice.below(1000));
    if (dice.below(2)) request.dedupe_id = fmt::format("letter_{}", dice.below(3));
    if (dice.below(2)) request.actor = "somebody";
    if (request.instance.empty()) return;
    try {
        const Signalled signalled = life_->engine().signal(std::move(request));
        played_.signals += !signalled.duplicate && signalled.refused.empty();
        life_->store().published(any_instance(dice)).get();
    } catch (const StoreError& error) {
        failed(error);
    }
}

// What may be deleted or forgotten now is still looked at when all has ended.
void Simulation::remember_ended() {
    for (const auto& [seq, instance] : watch_.truth().instances())
        if (instance.finished_at_ms && !is_forgotten_name(instance.id))
            ended_[instance.id] = instance;
}

void Simulation::operate(OperateRequest operation) {
    operation.actor = "somebody";
    try {
        const Operated operated = life_->engine().operate(std::move(operation));
        played_.operated += static_cast<int>(operated.ids.size() + operated.requested.size());
    } catch (const StoreError& error) {
        failed(error);
    }
}

void Simulation::pause(Dice& dice, bool running) {
    using Kind = OperateRequest::Kind;
    const bool opposite = dice.below(3) == 0;
    if (!running && dice.below(3) == 0) {
        const char* workflow = dice.below(2) ? "errand" : "errand_for_people";
        return operate({.kind = opposite ? Kind::unpause_workflow : Kind::pause_workflow,
                        .ids = {dice.below(4) ? workflow : "provision_customer"}});
    }
    OperateRequest operation{.kind = opposite ? Kind::unpause : Kind::pause};
    for (const auto& [seq, instance] : watch_.truth().instances())
        if (running && instance.state == State::running) operation.ids.push_back(instance.id);
    for (auto left = 1 + dice.below(3); left > 0; --left)
        operation.ids.push_back(dice.below(20) ? any_instance(dice) : "nobody");
    if (dice.below(2)) operation.reason = fmt::format("reason {}", dice.below(10));
    operate(std::move(operation));
}

// The plan stays what it was: only that it is another input is asked for.
void Simulation::edit(Dice& dice) {
    std::vector<std::string> stuck;
    for (const auto& [seq, instance] : watch_.truth().instances())
        if (instance.state == State::stuck) stuck.push_back(instance.id);
    const bool any = stuck.empty() || dice.below(8) == 0;
    const std::string id = any ? any_instance(dice) : stuck[dice.below(stuck.size())];
    const ReferenceInstance* instance = watch_.truth().find(id);
    const auto errand = instance ? errand_of(*instance) : std::nullopt;
    if (!errand) return;
    Json plan = errand->plan;
    plan["edited"] = dice.below(1000);
    operate({.kind = OperateRequest::Kind::edit, .ids = {id}, .payload = plan.dump()});
}

void Simulation::unpause_all() {
    OperateRequest operation{.kind = OperateRequest::Kind::unpause};
    for (const auto& [seq, instance] : watch_.truth().instances())
        operation.ids.push_back(instance.id);
    operate(std::move(operation));
    OperateRequest workflows{.kind = OperateRequest::Kind::unpause_workflow};
    for (const auto& [workflow, since_ms] : watch_.truth().paused_workflows())
        workflows.ids.push_back(workflow);
    operate(std::move(workflows));
}

// By the engine, which knows the versions, or by a store that knows none, as with the server down.
void Simulation::move(Dice& dice, bool running) {
    MoveRequest request{.to_version = 1 + static_cast<int>(dice.below(3)), .actor = "somebody"};
    for (const auto& [seq, instance] : watch_.truth().instances())
        if (running && instance.state == State::running) request.ids.push_back(instance.id);
    for (auto left = 1 + dice.below(3); left > 0; --left) {
        const std::string id = dice.below(20) ? any_instance(dice) : "nobody";
        if (!id.empty()) request.ids.push_back(id);
    }
    if (dice.below(2)) request.reason = "ticket 7";
    if (request.ids.empty()) return;
    try {
        if (dice.below(2))
            life_->engine().move(std::move(request));
        else
            life_->store().move(std::move(request)).get();
    } catch (const StoreError& error) {
        failed(error);
    }
}

void Simulation::purge(Dice& dice) {
    constexpr std::array<std::int64_t, 4> ages_ms = {0, 3'600'000, 86'400'000, 2'592'000'000};
    remember_ended();
    PurgeRequest request;
    request.older_than = Ms(ages_ms[dice.below(ages_ms.size())]);
    request.limit = 1 + static_cast<int>(dice.below(50));
    if (dice.below(2)) request.actor = "somebody";
    try {
        life_->store().purge(std::move(request)).get();
    } catch (const StoreError& error) {
        failed(error);
    }
    life_->reader().look_anew();
}

// A new master key needs a restart; an old one is taken away when no data key needs it any more.
void Simulation::rotate_keys(Dice& dice) {
    const auto& data_keys = watch_.truth().data_keys();
    const bool settled = std::all_of(data_keys.begin(), data_keys.end(), [&](const auto& key) {
        return key.master.empty() || (!masters_.empty() && key.master == masters_.front().id);
    });
    if (settled || dice.below(4) == 0) {
        const auto fresh = parse_master_keys(master_key(masters_made_++)).front();
        if (settled) masters_.resize(std::min<std::size_t>(masters_.size(), 1));
        masters_.insert(masters_.begin(), fresh);
        restart_needed_ = true;
        return;
    }
    RotateRequest request{.limit = 1 + static_cast<int>(dice.below(4)), .actor = "somebody"};
    try {
        life_->store().rotate_keys(std::move(request)).get();
    } catch (const StoreError& error) {
        failed(error);
    }
}

void Simulation::sweep(Dice& dice) {
    try {
        life_->store().sweep(dice.below(2) == 0).get();
    } catch (const StoreError& error) {
        failed(error);
    }
}

void Simulation::change_schedule(Dice& dice) {
    if (!script_.schedules) return;
    constexpr std::array<const char*, 4> names = {"often", "nightly", "weekdays", "none"};
    ScheduleChange change{.kind = static_cast<ScheduleChange::Kind>(dice.below(3)),
                          .name = names.at(dice.below(names.size())),
                          .actor = "somebody"};
    try {
        life_->store().change_schedule(std::move(change)).get();
    } catch (const StoreError& error) {
        failed(error);
    }
}

void Simulation::change_provider(Dice& dice) {
    constexpr std::array<const char*, 4> names = {"shop", "clerk", "stripe", ""};
    ProviderChange change{.kind = static_cast<ProviderChange::Kind>(dice.below(2)),
                          .provider = names.at(dice.below(names.size())),
                          .actor = "somebody"};
    try {
        life_->store().change_provider(std::move(change)).get();
    } catch (const StoreError& error) {
        failed(error);
    }
}

// Of an errand that has ended, where there is one: others cannot be forgotten yet.
std::string Simulation::some_event(Dice& dice) const {
    std::vector<std::string> ended;
    for (const Errand& errand : errands_)
        if (const auto* instance = watch_.truth().find(errand.id))
            if (is_finished(instance->state)) ended.push_back(errand.event);
    if (!ended.empty() && dice.below(8)) return ended[dice.below(ended.size())];
    return errands_.empty() ? "" : errands_[dice.below(errands_.size())].event;
}

void Simulation::forget(Dice& dice) {
    remember_ended();
    ForgetRequest request{.actor = "somebody"};
    request.plan = dice.below(8) == 0;
    if (dice.below(3) == 0)
        request.subject = fmt::format("customer:{}", 1 + dice.below(3));
    else if (purchase_ && dice.below(2))
        request.subject = purchase_->customer();
    else
        request.subject = some_event(dice);
    if (request.subject.empty()) return;
    try {
        played_.forgotten += life_->store().forget(std::move(request)).get().done;
    } catch (const StoreError& error) {
        failed(error);
    }
    life_->reader().look_anew();
}

void Simulation::fail_disk(Dice& dice) {
    survival_ = dice.below(2) ? Survival::page_cache : Survival::torn;
    survival_seed_ = dice.next();
    constexpr int io_error = 10, sync_error = 1034;
    const bool sync = dice.below(2) == 0;
    vfs_.fail(sync ? Operation::sync : Operation::write,
              1 + static_cast<std::int64_t>(dice.below(12)), sync ? sync_error : io_error);
}

void Simulation::renew(Dice& dice) {
    std::vector<std::int64_t> some;
    for (const auto& [seq, instance] : watch_.truth().instances())
        if (dice.below(2)) some.push_back(seq);
    try {
        life_->store().renew(std::move(some)).get();
    } catch (const StoreError& error) {
        failed(error);
    }
}

// Whoever looks must get an answer, whatever the state.
void Simulation::look(Dice& dice) {
    try {
        Inspector inspector(stage_.database(), clock_, vfs_.name(), masters_);
        inspector.stuck();
        inspector.events(false, 0);
        const auto all = inspector.list({});
        if (all.size() != watch_.truth().instances().size())
            watch_.find("inspect", fmt::format("lists {} instances", all.size()));
        const std::string id = any_instance(dice);
        if (id.empty()) return;
        if (inspector.why(id).explanation.sentence.empty())
            watch_.find("inspect", id + " is not explained");
        if (const auto detail = inspector.show(id); !detail.damage.empty())
            watch_.find("inspect", id + ": " + detail.damage);
    } catch (const InspectError& error) {
        if (!vfs_.is_cut()) watch_.find("inspect", error.what());
    }
}

}  // namespace steplog::testing
