// The hourly sweep; see retention.h.
#include "server/retention.h"

#include <condition_variable>
#include <mutex>

#include "server/lost_commits.h"

namespace steplog::server {
namespace {

constexpr auto pause = std::chrono::hours(1);

// What is written meanwhile waits for a bite: so bites are small, and take a fifth of the time.
constexpr int bite = 50;
constexpr int rests = 4;

void wait(const std::stop_token& stop, std::chrono::steady_clock::duration duration) {
    std::mutex mutex;
    std::condition_variable_any stopped;
    std::unique_lock lock(mutex);
    stopped.wait_for(lock, stop, duration, [] { return false; });
}

}  // namespace

int Retention::sweep(Store& store, Ms retention, const std::stop_token& stop) {
    int gone = 0;
    while (!stop.stop_requested()) {
        const auto begun = std::chrono::steady_clock::now();
        const Purged purged = store.purge({.older_than = retention, .limit = bite}).get();
        if (purged.instances + purged.events == 0) break;
        gone += purged.instances + purged.events;
        wait(stop, rests * (std::chrono::steady_clock::now() - begun));
    }
    return gone;
}

Retention::Retention(Store& store, Log& log, Ms retention, const std::filesystem::path& database,
                     const Clock& clock)
    : thread_([&store, &log, retention, database, &clock](const std::stop_token& stop) {
          while (!stop.stop_requested()) {
              try {
                  const int gone = sweep(store, retention, stop);
                  if (gone > 0) log.info("old instances and events deleted", {{"deleted", gone}});
              } catch (const StoreError& error) {
                  log.warn("old instances could not be deleted; tried again in an hour",
                           {{"error", error.what()}});
              }
              tell_of_kept_wal(log, database, retention, clock);
              wait(stop, pause);
          }
      }) {}

}  // namespace steplog::server
