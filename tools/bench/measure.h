// What every measure needs: a place on a real disk, percentiles, and one way to say a result. Used
// by all of workflow-bench.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "engine/types.h"

namespace steplog::bench {

using Steady = std::chrono::steady_clock;

/// The case that is measured.
struct Options {
    std::filesystem::path directory;  // on the file system to measure
    bool quick = false;               // each measure in under 20 s
    int in_flight = 0;                // 0: the usual ones
    int steps = 4;
    std::size_t payload = 3686;  // bytes of the event: 3.6 KB
};

/// A measured value beside the machine's own limit, taken in the same run. What does not apply is
/// absent.
struct Result {
    std::string bench;  // "engine"
    std::string name;   // the case: "in_flight=64"
    double value = 0;
    std::string unit = "workflows/s";
    std::optional<double> limit = {};
    bool smaller_is_better = false;  // the ratio is then value / limit all the same
    std::optional<double> p50_ms = {}, p95_ms = {}, p99_ms = {};
    std::optional<double> commits = {};  // per workflow (or event)
    std::optional<double> batch = {};    // writes in one commit, mean
    std::optional<double> sync_ms = {};  // the device's, median, in this run
    std::string note = {};
};

Json json_of(const Result& result);
std::string text_of(const std::vector<Result>& results);

/// Durations, in milliseconds.
class Samples {
  public:
    void add(Steady::duration took) {
        ms_.push_back(std::chrono::duration<double, std::milli>(took).count());
    }
    void add(const Samples& others) { ms_.insert(ms_.end(), others.ms_.begin(), others.ms_.end()); }
    std::size_t size() const { return ms_.size(); }
    /// 0.5: the median. 0 when there are none.
    double percentile(double share) const;
    void into(Result& result) const;

  private:
    std::vector<double> ms_;
};

/// Median of an fdatasync behind a 4 KiB append to a file there.
double sync_ms(const std::filesystem::path& directory);

double seconds_since(Steady::time_point begun);

/// A directory below `parent` that goes with its content.
class Place {
  public:
    explicit Place(const std::filesystem::path& parent);
    ~Place();
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;
    const std::filesystem::path& path() const { return path_; }
    std::filesystem::path database() const { return path_ / "steplog.db"; }

  private:
    std::filesystem::path path_;
};

/// A JSON document of about so many bytes, as an event's body would be.
std::string payload_of(std::size_t bytes, std::uint64_t number);

}  // namespace steplog::bench
