// scale: the engine and what an operator asks, on a file with millions of finished instances.
#include <fmt/format.h>

#include <functional>
#include <thread>

#include "engine/inspect.h"
#include "server/retention.h"
#include "tools/bench/benches.h"
#include "tools/bench/closed_loop.h"
#include "tools/bench/finished_past.h"

namespace steplog::bench {
namespace {

constexpr int clients = 64;
constexpr double question_ms_max = 50;
constexpr double purging_share_min = 0.8;

struct Case {
    const Options& options;
    const std::filesystem::path database;
    const int past;
    std::vector<Result>& results;

    Result result(const std::string& what) const {
        return {.bench = "scale", .name = fmt::format("finished={},{}", past, what)};
    }
    double seconds() const { return options.quick ? 2 : 10; }
};

// As each of the operator's commands and views does it: opened, asked, closed.
void ask(const Case& at, const std::string& what, const std::function<void(Inspector&)>& question) {
    SystemClock clock;
    Samples took;
    for (int i = 0; i < 20; ++i) {
        const auto begun = Steady::now();
        Inspector inspector(at.database, clock);
        question(inspector);
        took.add(Steady::now() - begun);
    }
    Result result = at.result(what);
    result.unit = "ms";
    result.value = took.percentile(0.5);
    result.limit = question_ms_max;
    result.smaller_is_better = true;
    took.into(result);
    result.note = "limit: 50 ms";
    at.results.push_back(std::move(result));
}

void ask_all(const Case& at) {
    const int some = at.past / 2 + 1;
    ask(at, "list", [](Inspector& inspector) { inspector.list({.limit = 50}); });
    ask(at, "list_failed",
        [](Inspector& inspector) { inspector.list({.state = State::failed, .limit = 50}); });
    ask(at, "list_of_key",
        [&](Inspector& inspector) { inspector.list({.key = past_customer(some), .limit = 50}); });
    ask(at, "stuck", [](Inspector& inspector) { inspector.stuck(); });
    ask(at, "stats", [](Inspector& inspector) { inspector.stats(); });
    ask(at, "backlog", [](Inspector& inspector) { inspector.backlog(); });
    ask(at, "events", [](Inspector& inspector) { inspector.events(false, 50); });
    if (at.past == 0) return;
    ask(at, "why", [&](Inspector& inspector) { inspector.why(past_id(some)); });
    ask(at, "show", [&](Inspector& inspector) { inspector.show(past_id(some)); });
    ask(at, "customer", [&](Inspector& inspector) { inspector.customer(past_customer(some)); });
}

// Throughput, and while retention deletes the older half.
double work(const Case& at, std::optional<double> on_an_empty_file) {
    ClosedLoop loop(at.options, at.database, clients);
    loop.run(at.seconds() / 4);
    const ClosedLoop::Seen alone = loop.run(at.seconds());
    Result result = at.result("in_flight=64");
    result.value = alone.per_second;
    result.limit = on_an_empty_file;
    result.commits = alone.commits;
    result.batch = alone.batch;
    alone.took.into(result);
    if (on_an_empty_file) result.note = "limit: an empty file, in this run";
    at.results.push_back(std::move(result));
    if (at.past == 0) return alone.per_second;

    int deleted = 0;
    ClosedLoop::Seen beside;
    double purged_s = 0;
    {
        const std::jthread retention([&](const std::stop_token& stop) {
            const auto begun = Steady::now();
            deleted = server::Retention::sweep(loop.store(), std::chrono::hours(24 * past_days / 2),
                                               stop);
            purged_s = seconds_since(begun);
        });
        beside = loop.run(at.seconds());
    }
    Result purging = at.result("in_flight=64,purging");
    purging.value = beside.per_second;
    purging.limit = alone.per_second;
    purging.commits = beside.commits;
    beside.took.into(purging);
    purging.note =
        fmt::format("{:.0f} instances and events/s deleted meanwhile; wanted: {} of without",
                    deleted / purged_s, purging_share_min);
    at.results.push_back(std::move(purging));
    return alone.per_second;
}

void make(const std::filesystem::path& database) {
    SystemClock clock;
    open_sqlite_store({.database = database}, clock);
}

}  // namespace

std::vector<Result> bench_scale(const Options& options) {
    std::vector<int> pasts = {0, 1'000'000, 10'000'000};
    if (options.quick) pasts = {0, 100'000};
    std::vector<Result> results;
    std::optional<double> empty;
    for (const int past : pasts) {
        const Place place(options.directory);
        const Case at{options, place.database(), past, results};
        make(at.database);
        if (past > 0) load_past(at.database, past);
        ask_all(at);
        const std::uintmax_t bytes = std::filesystem::file_size(at.database);
        const double per_second = work(at, empty);
        if (past == 0) empty = per_second;
        results.back().sync_ms = sync_ms(place.path());
        if (past == 0) continue;
        Result size = at.result("file");
        size.unit = "MiB";
        size.value = static_cast<double>(bytes) / (1024 * 1024);
        size.smaller_is_better = true;
        size.note = fmt::format(
            "{:.0f} MiB when so much was deleted",
            static_cast<double>(std::filesystem::file_size(at.database)) / (1024 * 1024));
        results.push_back(std::move(size));
    }
    return results;
}

}  // namespace steplog::bench
