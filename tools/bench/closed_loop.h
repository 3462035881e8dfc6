// Clients that start a workflow, wait until it has ended, and start the next: what engine, latency
// and scale measure with. Any thread may call run; one at a time.
#pragma once

#include <semaphore>
#include <unordered_map>

#include "tools/bench/house.h"

namespace steplog::bench {

class ClosedLoop {
  public:
    /// Opens the database, or makes it, and starts an engine with as many workers as clients.
    ClosedLoop(const Options& options, const std::filesystem::path& database, int clients);

    struct Seen {
        double per_second = 0;
        double commits = 0;  // per workflow
        double batch = 0;    // writes in one commit, mean
        Samples took;
    };
    /// What all clients saw in so many seconds.
    Seen run(double seconds);

    Store& store() { return house_.store(); }

  private:
    void one(std::size_t client, Samples& took);
    void wake(const std::string& instance);

    const Options& options_;
    std::vector<std::unique_ptr<std::binary_semaphore>> ended_;
    std::atomic<std::uint64_t> started_{0};
    std::mutex mutex_;
    std::unordered_map<std::string, std::size_t> clients_;
    House house_;
};

}  // namespace steplog::bench
