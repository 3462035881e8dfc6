// A store with the mistake that the effect ledger exists to prevent: it says that a step's intent
// is durable before it has handed it in. A negative control of the power-loss tests; one thread.
#pragma once

#include <optional>

#include "engine/store.h"

namespace steplog::testing {

class CallBeforeIntent : public Store {
  public:
    explicit CallBeforeIntent(Store& store) : store_(store) {}

    std::future<Accepted> accept(std::optional<NewEvent> event, std::optional<NewInstance> instance,
                                 bool claim) override {
        hand_in();
        return store_.accept(std::move(event), std::move(instance), claim);
    }
    std::future<ClaimResult> claim(ClaimRequest request) override {
        hand_in();
        return store_.claim(request);
    }
    std::future<Advanced> advance(Advance advance) override {
        hand_in();
        const bool only_intent = advance.entries.size() == 1 && !advance.once_claim &&
                                 !advance.to && advance.entries.front().kind == EntryKind::started;
        if (!only_intent) return store_.advance(std::move(advance));
        const NewEntry& intent = advance.entries.front();
        Advanced pretended;
        pretended.written.push_back({.step = intent.step,
                                     .kind = intent.kind,
                                     .attempt = intent.attempt,
                                     .generation = intent.generation,
                                     .data = intent.data,
                                     .payload = intent.payload});
        // What was finished before is written all the same: only the intent is late.
        store_.flush();
        late_ = std::move(advance);
        std::promise<Advanced> promise;
        promise.set_value(std::move(pretended));
        return promise.get_future();
    }
    std::future<Renewed> renew(std::vector<std::int64_t> instances) override {
        hand_in();
        return store_.renew(std::move(instances));
    }
    std::future<Resumed> resume(ResumeRequest request) override {
        hand_in();
        return store_.resume(std::move(request));
    }
    std::future<StepDecided> decide(StepDecision decision) override {
        return store_.decide(std::move(decision));
    }
    std::future<Signalled> signal(SignalRequest request) override {
        return store_.signal(std::move(request));
    }
    std::future<Published> published(std::string instance) override {
        return store_.published(std::move(instance));
    }
    std::future<Cancelled> cancel(CancelRequest request) override {
        hand_in();
        return store_.cancel(std::move(request));
    }
    std::future<Moved> move(MoveRequest request) override {
        return store_.move(std::move(request));
    }
    std::future<Operated> operate(OperateRequest operation) override {
        return store_.operate(std::move(operation));
    }
    std::future<Purged> purge(PurgeRequest request) override {
        hand_in();
        return store_.purge(std::move(request));
    }
    std::future<Forgotten> forget(ForgetRequest request) override {
        hand_in();
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
    std::future<ProviderChanged> change_provider(ProviderChange change) override {
        return store_.change_provider(std::move(change));
    }
    void flush() override {
        hand_in();
        store_.flush();
    }
    Health health() const override { return store_.health(); }
    bool await_room(std::stop_token stop) override { return store_.await_room(stop); }

  private:
    void hand_in() {
        if (!late_) return;
        Advance advance = std::move(*late_);
        late_.reset();
        store_.advance(std::move(advance)).wait();
    }

    Store& store_;
    std::optional<Advance> late_;
};

}  // namespace steplog::testing
