#include "tools/bench/closed_loop.h"

#include <thread>

namespace steplog::bench {

ClosedLoop::ClosedLoop(const Options& options, const std::filesystem::path& database, int clients)
    : options_(options),
      ended_(static_cast<std::size_t>(clients)),
      house_({.database = database,
              .workers = clients,
              .steps = options.steps,
              .on_transition = [this](const Transitioned& transitioned) {
                  if (transitioned.what == "finished") wake(transitioned.instance);
              }}) {
    for (auto& each : ended_) each = std::make_unique<std::binary_semaphore>(0);
    house_.engine().start();
}

ClosedLoop::Seen ClosedLoop::run(double seconds) {
    const auto begun = Steady::now();
    const std::uint64_t commits = house_.commits(), items = house_.items();
    const auto until = begun + std::chrono::duration_cast<Steady::duration>(
                                   std::chrono::duration<double>(seconds));
    std::vector<Samples> took(ended_.size());
    {
        std::vector<std::jthread> clients;
        for (std::size_t client = 0; client < ended_.size(); ++client)
            clients.emplace_back([&, client] {
                while (Steady::now() < until) one(client, took[client]);
            });
    }
    Seen seen;
    for (const Samples& each : took) seen.took.add(each);
    const auto workflows = static_cast<double>(seen.took.size());
    seen.per_second = workflows / seconds_since(begun);
    seen.commits = static_cast<double>(house_.commits() - commits) / workflows;
    seen.batch = static_cast<double>(house_.items() - items) /
                 static_cast<double>(house_.commits() - commits);
    return seen;
}

void ClosedLoop::one(std::size_t client, Samples& took) {
    const std::uint64_t number = ++started_;
    const std::string id = event_id(number);
    {
        const std::lock_guard lock(mutex_);
        clients_.emplace("bench/" + id, client);
    }
    const auto begun = Steady::now();
    house_.engine().accept(House::event(id, payload_of(options_.payload, number)),
                           House::instance(id));
    ended_[client]->acquire();
    took.add(Steady::now() - begun);
}

void ClosedLoop::wake(const std::string& instance) {
    std::size_t client = 0;
    {
        const std::lock_guard lock(mutex_);
        const auto found = clients_.find(instance);
        if (found == clients_.end()) return;
        client = found->second;
        clients_.erase(found);
    }
    ended_[client]->release();
}

}  // namespace steplog::bench
