#include "tools/bench/measure.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>

#include "tools/common/cli.h"

namespace steplog::bench {

double Samples::percentile(double share) const {
    if (ms_.empty()) return 0;
    std::vector<double> sorted = ms_;
    const auto rank = std::min(
        sorted.size() - 1, static_cast<std::size_t>(share * static_cast<double>(sorted.size())));
    std::nth_element(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(rank),
                     sorted.end());
    return sorted[rank];
}

void Samples::into(Result& result) const {
    result.p50_ms = percentile(0.5);
    result.p95_ms = percentile(0.95);
    result.p99_ms = percentile(0.99);
}

double sync_ms(const std::filesystem::path& directory) {
    const std::string file = (directory / "sync-probe").string();
    const int descriptor = ::open(file.c_str(), O_CREAT | O_RDWR | O_TRUNC | O_CLOEXEC, 0600);
    if (descriptor < 0)
        throw tools::Failure(
            fmt::format("cannot make {}: {}; name another --database", file, std::strerror(errno)));
    Samples samples;
    const std::string page(4096, 'x');
    for (int i = 0; i < 200; ++i) {
        if (::write(descriptor, page.data(), page.size()) != static_cast<ssize_t>(page.size()))
            break;
        const auto begun = Steady::now();
        if (::fdatasync(descriptor) != 0) break;
        samples.add(Steady::now() - begun);
    }
    ::close(descriptor);
    std::filesystem::remove(file);
    if (samples.size() < 200) throw tools::Failure("the disk could not be written and synced");
    return samples.percentile(0.5);
}

double seconds_since(Steady::time_point begun) {
    return std::chrono::duration<double>(Steady::now() - begun).count();
}

Place::Place(const std::filesystem::path& parent) {
    std::string pattern = (parent / "workflow-bench-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr)
        throw tools::Failure(
            fmt::format("cannot make a directory in {}: {}; name another place "
                        "with --database",
                        parent.string(), std::strerror(errno)));
    path_ = pattern;
}

Place::~Place() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
}

std::string payload_of(std::size_t bytes, std::uint64_t number) {
    std::string text = fmt::format(R"({{"number":{},"text":")", number);
    // Words of letters, different in each: what a compressing disk would make of an event.
    std::uint64_t state = number * 0x9e3779b97f4a7c15ull + 1;
    while (text.size() + 2 < bytes) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text += static_cast<char>('a' + state % 26);
    }
    return text + "\"}";
}

Json json_of(const Result& result) {
    Json json = {{"bench", result.bench},
                 {"case", result.name},
                 {"value", result.value},
                 {"unit", result.unit},
                 {"sync", "full"}};
    if (result.limit) {
        json["limit"] = *result.limit;
        json["ratio"] = result.value / *result.limit;
    }
    const std::pair<const char*, std::optional<double>> others[] = {
        {"p50_ms", result.p50_ms},   {"p95_ms", result.p95_ms}, {"p99_ms", result.p99_ms},
        {"commits", result.commits}, {"batch", result.batch},   {"sync_ms", result.sync_ms}};
    for (const auto& [name, value] : others)
        if (value) json[name] = *value;
    if (!result.note.empty()) json["note"] = result.note;
    return json;
}

std::string text_of(const std::vector<Result>& results) {
    tools::Table table({"BENCH", "CASE", "VALUE", "UNIT", "LIMIT", "RATIO", "P50 MS", "P95 MS",
                        "P99 MS", "COMMITS", "BATCH", "SYNC MS", "NOTE"});
    const auto number = [](const std::optional<double>& value) {
        if (!value) return std::string();
        return *value >= 100 ? fmt::format("{:.0f}", *value) : fmt::format("{:.3g}", *value);
    };
    for (const Result& result : results) {
        std::optional<double> ratio;
        if (result.limit) ratio = result.value / *result.limit;
        table.add({{result.bench},
                   {result.name},
                   {number(result.value)},
                   {result.unit},
                   {number(result.limit)},
                   {number(ratio), tools::Colour::bold},
                   {number(result.p50_ms)},
                   {number(result.p95_ms)},
                   {number(result.p99_ms)},
                   {number(result.commits)},
                   {number(result.batch)},
                   {number(result.sync_ms)},
                   {result.note}});
    }
    return table.text();
}

}  // namespace steplog::bench
