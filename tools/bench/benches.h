// The measures of workflow-bench, a file each. Each makes a database of its own in the directory of
// the options, measures, and says what it saw beside the machine's limit in the same run.
#pragma once

#include <vector>

#include "tools/bench/measure.h"

namespace steplog::bench {

/// Workflows per second with so many in flight, beside a bare SQLite loop.
std::vector<Result> bench_engine(const Options& options);
/// One workflow at a time, beside the same commits by the bare loop.
std::vector<Result> bench_latency(const Options& options);
/// Signed events per second, acknowledged when durable, beside a bare httplib and a bare writer.
std::vector<Result> bench_webhook(const Options& options);
/// Requests per second that the front alone answers, beside the library's own server.
std::vector<Result> bench_front(const Options& options);
/// SIGKILL with thousands of unfinished instances; how soon they go on.
std::vector<Result> bench_recovery(const Options& options);
/// Sleeping instances: memory, idle CPU, start, and how late timers fire.
std::vector<Result> bench_sleepers(const Options& options);
/// Everything due at once after an outage, and a provider that takes its time.
std::vector<Result> bench_backlog(const Options& options);
/// Throughput, and what an operator asks, with millions of finished instances in the file.
std::vector<Result> bench_scale(const Options& options);

/// The process that bench_recovery kills: fills the database and goes on working until then.
/// Returns only on failure.
int run_victim(const std::filesystem::path& database, int instances);

}  // namespace steplog::bench
