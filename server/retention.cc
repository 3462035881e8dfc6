// The hourly sweep; see retention.h.
#include "server/retention.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>

namespace steplog::server {
namespace {

constexpr auto pause = std::chrono::hours(1);
constexpr int rows_per_transaction =
    500;  // a few milliseconds: a webhook waits no longer than that behind it

}  // namespace

int Retention::sweep(Store& store, const Clock& clock, Ms retention, const std::stop_token& stop) {
    const auto now_ms = clock.now_ms();
    const auto finished_before_ms = now_ms - retention.count();
    const auto received_before_ms = now_ms - std::max(retention, events_kept_min).count();
    int gone = 0;
    while (!stop.stop_requested()) {
        const int rows =
            store.purge(finished_before_ms, received_before_ms, rows_per_transaction).get();
        if (rows == 0) break;
        gone += rows;
    }
    return gone;
}

Retention::Retention(Store& store, const Clock& clock, Log& log, Ms retention)
    : thread_([&store, &clock, &log, retention](const std::stop_token& stop) {
          std::mutex mutex;
          std::condition_variable_any stopped;
          while (!stop.stop_requested()) {
              try {
                  const int rows = sweep(store, clock, retention, stop);
                  if (rows > 0) log.info("old rows deleted", {{"rows", rows}});
              } catch (const StoreError& error) {
                  log.warn("old rows could not be deleted; tried again in an hour",
                           {{"error", error.what()}});
              }
              std::unique_lock lock(mutex);
              stopped.wait_for(lock, stop, pause, [] { return false; });
          }
      }) {}

}  // namespace steplog::server
