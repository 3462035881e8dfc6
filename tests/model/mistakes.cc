#include "tests/model/mistakes.h"

#include <array>

#include "tests/crash/call_before_intent.h"

namespace steplog::testing {
namespace {

// Hands everything on as it is.
class Forwarding : public Store {
  public:
    explicit Forwarding(Store& store) : store_(store) {}

    std::future<Accepted> accept(std::optional<NewEvent> event, std::optional<NewInstance> instance,
                                 bool claim) override {
        return store_.accept(std::move(event), std::move(instance), claim);
    }
    std::future<ClaimResult> claim(ClaimRequest request) override { return store_.claim(request); }
    std::future<Advanced> advance(Advance advance) override {
        return store_.advance(std::move(advance));
    }
    std::future<Renewed> renew(std::vector<std::int64_t> instances) override {
        return store_.renew(std::move(instances));
    }
    std::future<Resumed> resume(ResumeRequest request) override {
        return store_.resume(std::move(request));
    }
    std::future<StepDecided> decide(StepDecision decision) override {
        return store_.decide(std::move(decision));
    }
    std::future<Signalled> signal(SignalRequest request) override {
        return store_.signal(std::move(request));
    }
    std::future<Cancelled> cancel(CancelRequest request) override {
        return store_.cancel(std::move(request));
    }
    std::future<Published> published(std::string instance) override {
        return store_.published(std::move(instance));
    }
    std::future<Moved> move(MoveRequest request) override {
        return store_.move(std::move(request));
    }
    std::future<Operated> operate(OperateRequest operation) override {
        return store_.operate(std::move(operation));
    }
    std::future<Purged> purge(PurgeRequest request) override {
        return store_.purge(std::move(request));
    }
    std::future<Forgotten> forget(ForgetRequest request) override {
        return store_.forget(std::move(request));
    }
    std::future<bool> sweep(bool rewrite) override { return store_.sweep(rewrite); }
    std::future<Rotated> rotate_keys(RotateRequest request) override {
        return store_.rotate_keys(std::move(request));
    }
    std::future<void> define_schedules(std::vector<Schedule> schedules) override {
        return store_.define_schedules(std::move(schedules));
    }
    std::future<ScheduleChanged> change_schedule(ScheduleChange change) override {
        return store_.change_schedule(std::move(change));
    }
    bool has_tables() const override { return store_.has_tables(); }
    std::future<std::string> write(Change change) override {
        return store_.write(std::move(change));
    }
    std::future<ProviderChanged> change_provider(ProviderChange change) override {
        return store_.change_provider(std::move(change));
    }
    void flush() override { store_.flush(); }
    Health health() const override { return store_.health(); }
    bool await_room(std::stop_token stop) override { return store_.await_room(stop); }

  protected:
    Store& store_;
};

bool begins_a_step(const Advance& advance) {
    return !advance.entries.empty() && advance.entries.front().kind == EntryKind::started;
}

class MistakenEngine : public Forwarding {
  public:
    MistakenEngine(Store& store, Mistake mistake) : Forwarding(store), mistake_(mistake) {}

    std::future<Advanced> advance(Advance advance) override {
        if (mistake_ == Mistake::keeps_outcomes_to_itself && advance.lazy) return pretended();
        distort(advance);
        const bool is_deaf =
            mistake_ == Mistake::goes_on_when_cancelled || mistake_ == Mistake::goes_on_when_paused;
        if (is_deaf && !advance.lazy && !advance.to)
            return deaf(store_.advance(std::move(advance)));
        return store_.advance(std::move(advance));
    }

  private:
    static std::future<Advanced> pretended() {
        std::promise<Advanced> promise;
        promise.set_value({});
        return promise.get_future();
    }

    // Does not hear that the instance has ended, or rests, instead.
    std::future<Advanced> deaf(std::future<Advanced> answer) const {
        std::promise<Advanced> promise;
        try {
            Advanced advanced = answer.get();
            if (mistake_ == Mistake::goes_on_when_cancelled) advanced.cancelled = false;
            if (mistake_ == Mistake::goes_on_when_paused) advanced.paused = false;
            promise.set_value(std::move(advanced));
        } catch (...) {
            promise.set_exception(std::current_exception());
        }
        return promise.get_future();
    }

    void distort(Advance& advance) const {
        switch (mistake_) {
            case Mistake::claims_no_once_key:
                advance.once_claim.reset();
                advance.once_settle.reset();
                break;
            case Mistake::compares_no_versions:
                advance.update.reset();
                break;
            case Mistake::takes_no_key:
                advance.take_key.reset();
                break;
            case Mistake::calls_unknown_refused:
                for (NewEntry& entry : advance.entries)
                    if (entry.kind == EntryKind::retried) entry.data["outcome"] = "refused";
                break;
            case Mistake::ignores_retry_after:
                if (advance.to && advance.to->to == State::sleeping) advance.to->delay = Ms(1);
                break;
            case Mistake::counts_every_start_as_progress:
                advance.progress = advance.progress || begins_a_step(advance);
                break;
            default:
                break;
        }
    }

    const Mistake mistake_;
};

class MistakenStore : public Forwarding {
  public:
    MistakenStore(Store& store, Mistake mistake, MistakesMemory& memory)
        : Forwarding(store), mistake_(mistake), memory_(memory) {
        memory_.newest = &store;
    }

    std::future<Accepted> accept(std::optional<NewEvent> event, std::optional<NewInstance> instance,
                                 bool claim) override {
        const bool known = event && !memory_.events.insert(event->id).second;
        if (known && (mistake_ == Mistake::folds_no_duplicates ||
                      (mistake_ == Mistake::knows_nobody_forgotten &&
                       memory_.forgotten.contains(event->id)))) {
            event->id += "/again";
            if (instance) instance->id += "/again";
        }
        return store_.accept(std::move(event), std::move(instance), claim);
    }
    std::future<ClaimResult> claim(ClaimRequest request) override {
        ClaimResult result = store_.claim(request).get();
        for (const Claimed& claimed : result.claimed) memory_.epochs[claimed.seq] = claimed.epoch;
        std::promise<ClaimResult> promise;
        promise.set_value(std::move(result));
        return promise.get_future();
    }
    std::future<ScheduleChanged> change_schedule(ScheduleChange change) override {
        auto changed = store_.change_schedule(change);
        if (mistake_ != Mistake::pauses_nothing || change.kind != ScheduleChange::Kind::pause)
            return changed;
        changed.wait();
        change.kind = ScheduleChange::Kind::unpause;
        store_.change_schedule(std::move(change)).wait();
        return changed;
    }
    std::future<Operated> operate(OperateRequest operation) override {
        auto operated = store_.operate(operation);
        if (mistake_ != Mistake::pauses_no_instance ||
            operation.kind != OperateRequest::Kind::pause)
            return operated;
        operated.wait();
        operation.kind = OperateRequest::Kind::unpause;
        store_.operate(std::move(operation)).wait();
        return operated;
    }
    std::future<Forgotten> forget(ForgetRequest request) override {
        Forgotten forgotten = store_.forget(std::move(request)).get();
        memory_.forgotten.insert(forgotten.words.begin(), forgotten.words.end());
        std::promise<Forgotten> promise;
        promise.set_value(std::move(forgotten));
        return promise.get_future();
    }
    // Whoever held the instance once may still write, as if the newest claim were his.
    std::future<Advanced> advance(Advance advance) override {
        if (mistake_ == Mistake::abandons_children && advance.start_child)
            advance.start_child->on_close = OnParentClose::abandon;
        const auto epoch = memory_.epochs.find(advance.instance);
        const bool stale = epoch != memory_.epochs.end() && epoch->second > advance.epoch;
        if (mistake_ != Mistake::ignores_epochs || !stale)
            return store_.advance(std::move(advance));
        advance.epoch = epoch->second;
        return memory_.newest->advance(std::move(advance));
    }

  private:
    const Mistake mistake_;
    MistakesMemory& memory_;
};

}  // namespace

const char* to_string(Mistake mistake) {
    static constexpr std::array<const char*, mistakes> words = {"none",
                                                                "synchronous=NORMAL",
                                                                "lying fsync",
                                                                "acknowledgement before the commit",
                                                                "a clock that never goes back",
                                                                "call before its intent",
                                                                "once key not claimed",
                                                                "key not taken",
                                                                "unknown outcomes called refused",
                                                                "Retry-After ignored",
                                                                "every start counted as progress",
                                                                "outcomes kept to itself",
                                                                "going on when cancelled",
                                                                "versions not compared",
                                                                "going on when paused",
                                                                "epochs ignored",
                                                                "duplicates not folded",
                                                                "children abandoned",
                                                                "who was forgotten not known",
                                                                "schedules not paused",
                                                                "instances not paused"};
    return words.at(static_cast<std::size_t>(mistake));
}

std::unique_ptr<Store> engine_with_mistake(Mistake mistake, Store& watched) {
    if (mistake == Mistake::calls_before_intent) return std::make_unique<CallBeforeIntent>(watched);
    if (mistake > Mistake::calls_before_intent && mistake < Mistake::ignores_epochs)
        return std::make_unique<MistakenEngine>(watched, mistake);
    return nullptr;
}

std::unique_ptr<Store> store_with_mistake(Mistake mistake, Store& real, MistakesMemory& memory) {
    if (mistake < Mistake::ignores_epochs) return nullptr;
    return std::make_unique<MistakenStore>(real, mistake, memory);
}

}  // namespace steplog::testing
