// engine and latency: whole workflows of empty steps, each checkpoint synced.
#include <fmt/format.h>

#include "tools/bench/bare_loop.h"
#include "tools/bench/benches.h"
#include "tools/bench/closed_loop.h"

namespace steplog::bench {
namespace {

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
    result.note = fmt::format(
        "limit: the same commits by the bare loop, mean; wanted: at most {:.2f} ms (1.5 of that, "
        "and 0.1 ms for each commit)",
        1.5 * *result.limit + 0.1 * *result.commits);
    return {result};
}

}  // namespace steplog::bench
