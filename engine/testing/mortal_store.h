// A store whose process can die: before or after anything that is written, and wherever else it is
// told of a place. Used by WorkflowTest.
#pragma once

#include <filesystem>

#include "engine/store.h"

namespace steplog::testing {

/// Counts the places of a run, and ends the process at one of them: what is in the file then is
/// kept, and from then on everything fails.
class Death {
  public:
    /// `at`: the number of the place, from 1; 0: lives.
    Death(std::filesystem::path database, std::filesystem::path kept, int at)
        : database_(std::move(database)), kept_(std::move(kept)), at_(at) {}

    /// Throws StoreError at the place, and ever after.
    void pass(const std::string& what);
    bool has_come() const { return dead_; }
    const std::string& where() const { return where_; }
    int places() const { return places_; }
    /// The next process: the file is what it was at that moment. Nothing may have it open.
    void start_anew();

  private:
    const std::filesystem::path database_, kept_;
    const int at_;
    int places_ = 0;
    bool dead_ = false;
    std::string where_;
};

class MortalStore : public Store {
  public:
    MortalStore(Store& store, Death& death) : store_(store), death_(death) {}

    std::future<Accepted> accept(std::optional<NewEvent> event, std::optional<NewInstance> instance,
                                 bool claim) override;
    std::future<ClaimResult> claim(ClaimRequest request) override;
    std::future<Advanced> advance(Advance advance) override;
    std::future<Renewed> renew(std::vector<std::int64_t> instances) override;
    std::future<Resumed> resume(ResumeRequest request) override;
    std::future<Cancelled> cancel(CancelRequest request) override;
    std::future<StepDecided> decide(StepDecision decision) override;
    std::future<Signalled> signal(SignalRequest request) override;
    std::future<Published> published(std::string instance) override;
    std::future<Moved> move(MoveRequest request) override;
    std::future<Operated> operate(OperateRequest operation) override;
    std::future<Purged> purge(PurgeRequest request) override;
    std::future<Forgotten> forget(ForgetRequest request) override;
    std::future<bool> sweep(bool rewrite) override;
    std::future<Rotated> rotate_keys(RotateRequest request) override;
    std::future<void> define_schedules(std::vector<Schedule> schedules) override;
    std::future<ScheduleChanged> change_schedule(ScheduleChange change) override;
    bool has_tables() const override { return store_.has_tables(); }
    std::future<std::string> write(Change change) override;
    std::future<ProviderChanged> change_provider(ProviderChange change) override;
    void flush() override;
    Health health() const override { return store_.health(); }
    bool await_room(std::stop_token stop) override { return store_.await_room(std::move(stop)); }

  private:
    template <class Call>
    auto around(const std::string& what, Call call);

    Store& store_;
    Death& death_;
};

}  // namespace steplog::testing
