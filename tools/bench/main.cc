// workflow-bench: measures engine and webhook, each beside the machine's own limit in the same run
// on the same file system, so that the ratio holds on a noisy machine.
#include <fmt/format.h>

#include <iostream>
#include <map>

#include "engine/text.h"
#include "tools/bench/benches.h"
#include "tools/bench/finished_past.h"
#include "tools/common/cli.h"

namespace steplog::tools {
namespace {

constexpr const char* program = "workflow-bench";

constexpr const char* examples = R"(Measures (all, when none is named):
  engine    workflows/s, 1, 64 and 256 in flight, beside a bare SQLite loop
  latency   one workflow at a time, beside the same commits
  webhook   signed, durable events/s over HTTP, beside a bare httplib and a bare writer
  front     requests/s of the front alone, beside cpp-httplib's own server
  recovery  SIGKILL with 10,000 unfinished instances: how soon they go on
  sleepers  1,000,000 sleeping instances: memory, idle CPU, start, lateness
  backlog   50,000 instances due at once, and a provider that takes 50 ms
  scale     0, 1 and 10 million finished instances in the file (needs 12 GB and some minutes)

Examples:
  workflow-bench
  workflow-bench engine latency --quick
  workflow-bench engine --in-flight 64 --steps 4 --payload 4KiB --json
  workflow-bench --database /var/lib/steplog/bench.db

Every commit is synced (synchronous=FULL), in the engine and in what it is compared with. Databases are
made beside --database and removed again; a disk in memory measures nothing. Only ratios of one run
mean something. Exit codes: 0 done, 1 failed, 2 wrong usage.)";

using Bench = std::vector<bench::Result> (*)(const bench::Options&);
const std::vector<std::pair<std::string, Bench>> benches = {
    {"engine", bench::bench_engine},     {"latency", bench::bench_latency},
    {"webhook", bench::bench_webhook},   {"front", bench::bench_front},
    {"recovery", bench::bench_recovery}, {"sleepers", bench::bench_sleepers},
    {"backlog", bench::bench_backlog},   {"scale", bench::bench_scale},
};

int measure(const CommonOptions& common, bench::Options options,
            const std::vector<std::string>& names) {
    check_database_name(common.database);
    options.directory =
        std::filesystem::absolute(std::filesystem::path(common.database)).parent_path();
    std::vector<bench::Result> results;
    for (const auto& [name, run] : benches) {
        if (!names.empty() && std::find(names.begin(), names.end(), name) == names.end()) continue;
        if (!common.json) complain(program, fmt::format("measuring {}", name));
        for (bench::Result& result : run(options)) {
            if (common.json) print_line(bench::json_of(result).dump());
            results.push_back(std::move(result));
        }
    }
    if (!common.json) print(bench::text_of(results));
    return exit_done;
}

}  // namespace

int run(int argc, char** argv) {
    // What bench_recovery starts and kills.
    if (argc == 4 && std::string(argv[1]) == "--victim")
        return bench::run_victim(argv[2], std::atoi(argv[3]));
    // What the browser test looks at.
    if (argc == 4 && std::string(argv[1]) == "--make-past") {
        bench::make_past(argv[2], std::atoi(argv[3]));
        return exit_done;
    }
    CLI::App app("Measures the engine beside the machine's limit.", program);
    CommonOptions common;
    bench::Options options;
    std::vector<std::string> names;
    add_common_options(app, common, program);
    app.footer(examples);
    std::vector<std::string> known;
    for (const auto& [name, run] : benches) known.push_back(name);
    app.add_option("MEASURE", names, "which measures")->check(CLI::IsMember(known));
    app.add_flag("--quick", options.quick, "each measure in less than 20 s");
    app.add_option("--in-flight", options.in_flight, "so many workflows at a time")
        ->check(CLI::Range(1, 1024))
        ->type_name("N");
    app.add_option("--steps", options.steps, "steps of a workflow")
        ->check(CLI::Range(1, 100))
        ->type_name("N");
    app.add_option_function<std::string>(
           "--payload",
           [&options](const std::string& text) {
               const auto bytes = parse_size(text);
               if (!bytes || *bytes > 1024 * 1024)
                   throw CLI::ValidationError("--payload", "wants a size such as 4KiB, up to 1MiB");
               options.payload = *bytes;
           },
           "an event's size, such as 4KiB")
        ->type_name("SIZE");
    return run_program(program, app, argc, argv, [&] { return measure(common, options, names); });
}

}  // namespace steplog::tools

int main(int argc, char** argv) { return steplog::tools::run(argc, argv); }
