// A store that hands everything on to a real one and to the reference, and compares their answers.
// It also knows what nobody else does: which operations were in a commit when the machine died. One
// life of one owner; one thread.
#pragma once

#include <functional>
#include <memory>

#include "tests/model/watch.h"

namespace steplog::testing {

class WatchedStore : public Store {
  public:
    /// `real` has just been opened and `watch` knows it: `owner` is this life's number. `health` is
    /// asked of the store itself.
    WatchedStore(Store& real, Watch& watch, std::int64_t owner)
        : real_(real), watch_(watch), owner_(owner) {}

    std::future<Accepted> accept(std::optional<NewEvent> event, std::optional<NewInstance> instance,
                                 bool claim) override;
    std::future<ClaimResult> claim(ClaimRequest request) override;
    std::future<Advanced> advance(Advance advance) override;
    std::future<Renewed> renew(std::vector<std::int64_t> instances) override;
    std::future<Resumed> resume(ResumeRequest request) override;
    std::future<Purged> purge(PurgeRequest request) override;
    std::future<Cancelled> cancel(CancelRequest request) override;
    std::future<StepDecided> decide(StepDecision decision) override;
    std::future<Published> published(std::string instance) override;
    std::future<Moved> move(MoveRequest request) override;
    std::future<Operated> operate(OperateRequest operation) override;
    std::future<Signalled> signal(SignalRequest request) override;
    std::future<Rotated> rotate_keys(RotateRequest request) override;
    /// Changes nothing that the reference knows.
    std::future<bool> sweep(bool rewrite) override;
    std::future<Forgotten> forget(ForgetRequest request) override;
    std::future<void> define_schedules(std::vector<Schedule> schedules) override;
    std::future<ScheduleChanged> change_schedule(ScheduleChange change) override;
    std::future<ProviderChanged> change_provider(ProviderChange change) override;
    void flush() override;
    Health health() const override { return real_.health(); }
    bool await_room(std::stop_token stop) override { return real_.await_room(stop); }

    /// How many more instances may be claimed before the engine is told that nothing is due: this
    /// is how a simulation stops an engine between two instances.
    void allow_claims(int claims) { claims_left_ = claims; }
    /// Another owner has the file: this life claims nothing any more.
    void retire() { claims_left_ = 0; }

  private:
    // One operation that was handed in, until its batch is through.
    struct Item {
        virtual ~Item() = default;
        virtual void apply(Reference& reference) = 0;  // swallows what the reference refuses
        virtual void settle(
            WatchedStore& store) = 0;  // takes the real answer, checks it, passes it on
    };
    template <class T>
    struct ItemOf;
    using Batch = std::vector<std::unique_ptr<Item>>;

    template <class T>
    std::future<T> hand_in(std::string what, std::future<T> real,
                           std::function<T(Reference&)> predict, bool lazy);
    void settle();
    void died(const std::string& what, const std::string& error);

    Store& real_;
    Watch& watch_;
    const std::int64_t owner_;
    int claims_left_ = 0;
    Batch handed_in_;
    Batch* settling_ = nullptr;
    bool dead_ = false;  // the store failed for good: nothing may succeed any more
};

}  // namespace steplog::testing
