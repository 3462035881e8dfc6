// recovery, sleepers, backlog: many unfinished instances, and how an engine that starts, idles or
// catches up carries them.
#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <thread>

#include "engine/inspect.h"
#include "tools/bench/benches.h"
#include "tools/bench/house.h"
#include "tools/bench/process.h"

namespace steplog::bench {
namespace {

/// Starts so many instances, due after `delay`, hundreds in a commit.
void fill(Store& store, int instances, Ms delay, std::size_t payload) {
    std::deque<std::future<Accepted>> waiting;
    for (int i = 0; i < instances; ++i) {
        NewInstance instance = House::instance(event_id(static_cast<std::uint64_t>(i) + 1));
        instance.input = payload_of(payload, static_cast<std::uint64_t>(i));
        instance.delay = delay;
        waiting.push_back(store.accept(std::nullopt, std::move(instance), false));
        if (waiting.size() >= 512) {
            waiting.front().get();
            waiting.pop_front();
        }
    }
    for (auto& each : waiting) each.get();
}

/// Counts instances that ended, and when the first step after the start did.
struct Progress {
    Steady::time_point begun = Steady::now();
    std::atomic<std::int64_t> first_us{0};
    std::atomic<int> ended{0};

    std::function<void(const Transitioned&)> watch() {
        return [this](const Transitioned& transitioned) {
            if (transitioned.what == "completed") {
                std::int64_t none = 0;
                first_us.compare_exchange_strong(
                    none,
                    std::chrono::duration_cast<std::chrono::microseconds>(Steady::now() - begun)
                        .count());
            }
            if (transitioned.what == "finished") ++ended;
        };
    }
    void wait_for(int count) const {
        while (ended < count) std::this_thread::sleep_for(Ms(1));
    }
};

constexpr int victims_workers = 64;

}  // namespace

int run_victim(const std::filesystem::path& database, int instances) {
    House house({.database = database, .workers = victims_workers, .in_step = [] {
                     std::this_thread::sleep_for(Ms(20));
                 }});
    fill(house.store(), instances, Ms(0), 1024);
    house.engine().start();
    std::this_thread::sleep_for(std::chrono::minutes(5));
    return 1;
}

std::vector<Result> bench_recovery(const Options& options) {
    const int instances = options.quick ? 2'000 : 10'000;
    const Place place(options.directory);
    const pid_t victim = start_self("--victim", place.database().c_str(), instances);
    SystemClock clock;
    const auto give_up = Steady::now() + std::chrono::minutes(2);
    // Killed when all are in and the first have begun.
    while (Steady::now() < give_up) {
        std::this_thread::sleep_for(Ms(50));
        try {
            Inspector inspector(place.database(), clock);
            const Backlog backlog = inspector.backlog();
            std::int64_t unfinished = 0;
            for (const auto& [state, count] : backlog.by_state) unfinished += count;
            if (unfinished >= instances * 9 / 10 && backlog.by_state.at(State::running) > 0) break;
        } catch (const InspectError&) {
            continue;  // not made yet
        }
    }
    kill_and_wait(victim);

    std::int64_t unfinished = 0;
    for (const auto& [state, count] : Inspector(place.database(), clock).backlog().by_state)
        unfinished += count;
    Progress progress;
    House house({.database = place.database(),
                 .workers = victims_workers,
                 .on_transition = progress.watch()});
    house.engine().start();
    progress.wait_for(static_cast<int>(unfinished));
    const double all_s = seconds_since(progress.begun);
    const double sync = sync_ms(place.path());
    Result first{.bench = "recovery",
                 .name = fmt::format("instances={},first", unfinished),
                 .value = static_cast<double>(progress.first_us) / 1000,
                 .unit = "ms",
                 .limit = 300,
                 .smaller_is_better = true,
                 .sync_ms = sync,
                 .note = "from opening the file to the first step's end; limit: 0.3 s"};
    Result all{.bench = "recovery",
               .name = fmt::format("instances={},all", unfinished),
               .value = static_cast<double>(unfinished) / all_s,
               .sync_ms = sync,
               .note = fmt::format("all ended {:.2f} s after the start", all_s)};
    return {first, all};
}

std::vector<Result> bench_sleepers(const Options& options) {
    const int sleepers = options.quick ? 100'000 : 1'000'000;
    const Place place(options.directory);
    SystemClock clock;
    {
        const auto store = open_sqlite_store({.database = place.database()}, clock);
        fill(*store, sleepers, std::chrono::hours(24), 16);
    }
    std::vector<Result> results;
    const auto add = [&](const char* what, double value, const char* unit, double limit,
                         const char* note) {
        results.push_back({.bench = "sleepers",
                           .name = fmt::format("instances={},{}", sleepers, what),
                           .value = value,
                           .unit = unit,
                           .limit = limit,
                           .smaller_is_better = true,
                           .note = note});
    };
    const std::int64_t before = resident_bytes();
    const auto begun = Steady::now();
    std::atomic<std::int64_t> fired_ms{0};
    House house({.database = place.database(),
                 .steps = 1,
                 .on_transition = [&](const Transitioned& transitioned) {
                     if (transitioned.what == "finished") fired_ms = clock.now_ms();
                 }});
    house.engine().start();
    add("start", seconds_since(begun) * 1000, "ms", 1000, "opening and starting; limit: 1 s");
    std::this_thread::sleep_for(std::chrono::seconds(2));
    add("memory", static_cast<double>(resident_bytes() - before) / sleepers, "bytes each", 100,
        "limit: 100");
    const double cpu = cpu_seconds();
    const double idle_s = options.quick ? 4 : 20;
    std::this_thread::sleep_for(std::chrono::duration<double>(idle_s));
    add("idle_cpu", (cpu_seconds() - cpu) / idle_s * 100, "% of a core", 0.5, "limit: 0.5 %");
    Samples late;
    for (int i = 0; i < (options.quick ? 10 : 50); ++i) {
        fired_ms = 0;
        NewInstance instance = House::instance(fmt::format("timer_{}", i));
        instance.input = "{}";
        instance.delay = Ms(200);
        const std::int64_t due_ms = clock.now_ms() + instance.delay.count();
        house.engine().accept(std::nullopt, std::move(instance));
        while (fired_ms == 0) std::this_thread::sleep_for(Ms(1));
        late.add(std::chrono::duration_cast<Steady::duration>(Ms(fired_ms - due_ms)));
    }
    add("timer", late.percentile(0.99), "ms late", 50, "p99, its step durable; limit: 50 ms");
    return results;
}

std::vector<Result> bench_backlog(const Options& options) {
    const int instances = options.quick ? 2'000 : 50'000;
    static constexpr Ms provider{50};
    const Place place(options.directory);
    Progress progress;
    House house({.database = place.database(),
                 .workers = 64,
                 .steps = 1,
                 .in_step = [] { std::this_thread::sleep_for(provider); },
                 .on_transition = progress.watch()});
    fill(house.store(), instances, Ms(0), 1024);
    progress.begun = Steady::now();
    house.engine().start();
    progress.wait_for(instances);
    Result result{.bench = "backlog",
                  .name = fmt::format("instances={}", instances),
                  .value = instances / seconds_since(progress.begun),
                  .limit = 64 / std::chrono::duration<double>(provider).count(),
                  .sync_ms = sync_ms(place.path()),
                  .note = "64 workers, a provider of 50 ms; limit: never idle"};
    return {result};
}

}  // namespace steplog::bench
