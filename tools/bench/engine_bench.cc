// engine and latency: whole workflows of empty steps, each checkpoint synced.
#include <fmt/format.h>

#include <semaphore>
#include <thread>
#include <unordered_map>

#include "tools/bench/bare_loop.h"
#include "tools/bench/benches.h"
#include "tools/bench/house.h"

namespace steplog::bench {
namespace {

/// Clients that start a workflow, wait until it has ended, and start the next.
class ClosedLoop {
  public:
    ClosedLoop(const Options& options, const std::filesystem::path& database, int clients)
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

    struct Seen {
        double per_second = 0;
        double commits = 0;  // per workflow
        double batch = 0;
        Samples took;
    };

    Seen run(double seconds) {
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

  private:
    void one(std::size_t client, Samples& took) {
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

    void wake(const std::string& instance) {
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

    const Options& options_;
    std::vector<std::unique_ptr<std::binary_semaphore>> ended_;
    std::atomic<std::uint64_t> started_{0};
    std::mutex mutex_;
    std::unordered_map<std::string, std::size_t> clients_;
    House house_;
};

/// Workflows per second of the bare loop, so many side by side.
double bare_per_second(const Options& options, const std::filesystem::path& database, int batch,
                       double seconds) {
    BareLoop loop(database, options.steps, options.payload);
    loop.run_batch(batch);
    const auto begun = Steady::now();
    int workflows = 0;
    while (seconds_since(begun) < seconds) {
        loop.run_batch(batch);
        workflows += batch;
    }
    return workflows / seconds_since(begun);
}

}  // namespace

std::vector<Result> bench_engine(const Options& options) {
    std::vector<int> cases = {1, 64, 256};
    if (options.in_flight > 0) cases = {options.in_flight};
    const double seconds = options.quick ? 2 : 5;
    std::vector<Result> results;
    for (const int in_flight : cases) {
        const Place place(options.directory);
        Result result{.bench = "engine", .name = fmt::format("in_flight={}", in_flight)};
        // The limit before and after, so that a disk that changes its mind shows.
        const double before =
            bare_per_second(options, place.path() / "bare1.db", in_flight, seconds / 2);
        ClosedLoop::Seen seen;
        {
            ClosedLoop loop(options, place.database(), in_flight);
            loop.run(seconds / 4);
            seen = loop.run(seconds);
        }
        const double after =
            bare_per_second(options, place.path() / "bare2.db", in_flight, seconds / 2);
        result.value = seen.per_second;
        result.limit = (before + after) / 2;
        result.commits = seen.commits;
        result.batch = seen.batch;
        seen.took.into(result);
        result.sync_ms = sync_ms(place.path());
        results.push_back(std::move(result));
    }
    return results;
}

std::vector<Result> bench_latency(const Options& options) {
    const Place place(options.directory);
    const double seconds = options.quick ? 2 : 5;
    Result result{.bench = "latency",
                  .name = fmt::format("steps={}", options.steps),
                  .unit = "ms",
                  .smaller_is_better = true};
    const double before =
        1000 / bare_per_second(options, place.path() / "bare1.db", 1, seconds / 2);
    ClosedLoop::Seen seen;
    {
        ClosedLoop loop(options, place.database(), 1);
        loop.run(seconds / 4);
        seen = loop.run(seconds);
    }
    const double after = 1000 / bare_per_second(options, place.path() / "bare2.db", 1, seconds / 2);
    seen.took.into(result);
    result.value = seen.took.percentile(0.5);
    result.limit = (before + after) / 2;
    result.commits = seen.commits;
    result.batch = seen.batch;
    result.sync_ms = sync_ms(place.path());
    result.note = "limit: the same commits by the bare loop, mean";
    return {result};
}

}  // namespace steplog::bench
