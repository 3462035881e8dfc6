#include "engine/testing/mortal_store.h"

#include <fmt/format.h>

namespace steplog::testing {
namespace {

constexpr const char* parts[] = {"", "-wal"};

std::string described(const Advance& advance) {
    if (advance.to) return fmt::format("the state {}", to_string(advance.to->to));
    if (advance.entries.empty()) return "an entry";
    const NewEntry& last = advance.entries.back();
    return fmt::format("{} {}", to_string(last.kind), last.step);
}

}  // namespace

void Death::pass(const std::string& what) {
    if (!dead_ && ++places_ == at_) {
        dead_ = true;
        where_ = what;
        for (const char* part : parts)
            std::filesystem::copy_file(database_.string() + part, kept_.string() + part,
                                       std::filesystem::copy_options::overwrite_existing);
    }
    if (dead_) throw StoreError(StoreError::Kind::failed, "the process has died");
}

void Death::start_anew() {
    for (const char* part : parts)
        std::filesystem::copy_file(kept_.string() + part, database_.string() + part,
                                   std::filesystem::copy_options::overwrite_existing);
    std::filesystem::remove(database_.string() + "-shm");
    dead_ = false;
}

template <class Call>
auto MortalStore::around(const std::string& what, Call call) {
    death_.pass("before " + what);
    auto result = call();
    death_.pass("after " + what);
    return result;
}

std::future<Accepted> MortalStore::accept(std::optional<NewEvent> event,
                                          std::optional<NewInstance> instance, bool claim) {
    return around("it is accepted",
                  [&] { return store_.accept(std::move(event), std::move(instance), claim); });
}
std::future<ClaimResult> MortalStore::claim(ClaimRequest request) {
    if (request.limit == 0) return store_.claim(request);
    return around("it is looked for work", [&] { return store_.claim(request); });
}
std::future<Advanced> MortalStore::advance(Advance advance) {
    const std::string what = described(advance);
    return around(what, [&] { return store_.advance(std::move(advance)); });
}
std::future<Renewed> MortalStore::renew(std::vector<std::int64_t> instances) {
    return store_.renew(std::move(instances));
}
std::future<Resumed> MortalStore::resume(ResumeRequest request) {
    return around("resuming", [&] { return store_.resume(std::move(request)); });
}
std::future<Cancelled> MortalStore::cancel(CancelRequest request) {
    return around("cancelling", [&] { return store_.cancel(std::move(request)); });
}
std::future<StepDecided> MortalStore::decide(StepDecision decision) {
    return around("deciding", [&] { return store_.decide(std::move(decision)); });
}
std::future<Signalled> MortalStore::signal(SignalRequest request) {
    const std::string what = "the signal " + request.name;
    return around(what, [&] { return store_.signal(std::move(request)); });
}
std::future<Published> MortalStore::published(std::string instance) {
    return store_.published(std::move(instance));
}
std::future<Moved> MortalStore::move(MoveRequest request) {
    return around("moving", [&] { return store_.move(std::move(request)); });
}
std::future<Operated> MortalStore::operate(OperateRequest operation) {
    const std::string what = "operating: " + std::string(to_string(operation.kind));
    return around(what, [&] { return store_.operate(std::move(operation)); });
}
std::future<Purged> MortalStore::purge(PurgeRequest request) {
    return around("purging", [&] { return store_.purge(std::move(request)); });
}
std::future<Forgotten> MortalStore::forget(ForgetRequest request) {
    return around("forgetting", [&] { return store_.forget(std::move(request)); });
}
std::future<bool> MortalStore::sweep(bool rewrite) { return store_.sweep(rewrite); }
std::future<Rotated> MortalStore::rotate_keys(RotateRequest request) {
    return around("rotating keys", [&] { return store_.rotate_keys(std::move(request)); });
}
std::future<void> MortalStore::define_schedules(std::vector<Schedule> schedules) {
    return around("schedules", [&] { return store_.define_schedules(std::move(schedules)); });
}
std::future<ScheduleChanged> MortalStore::change_schedule(ScheduleChange change) {
    return around("a schedule", [&] { return store_.change_schedule(std::move(change)); });
}
std::future<std::string> MortalStore::write(Change change) {
    return around("a change", [&] { return store_.write(std::move(change)); });
}
std::future<ProviderChanged> MortalStore::change_provider(ProviderChange change) {
    return around("a provider", [&] { return store_.change_provider(std::move(change)); });
}
void MortalStore::flush() {
    if (!death_.has_come()) store_.flush();
}

}  // namespace steplog::testing
